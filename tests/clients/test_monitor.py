"""What the server tells a monitoring system."""

import contextlib
import http.client
import json
import re
import shutil
import socket
import subprocess
import threading
import time

import botocore.exceptions
import pytest
from conftest import with_users
from prometheus_client.parser import text_string_to_metric_families

import sluicegate
from webhook import Webhook


@contextlib.contextmanager
def monitored_server(*options):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sluicegate.Server(options=["--monitor-listen", f"127.0.0.1:{port}", *options]) as server:
        server.monitor = port
        yield with_users(server)


@pytest.fixture(scope="module")
def monitored():
    with monitored_server() as server:
        yield server


def ask(server, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.monitor, timeout=sluicegate.PATIENCE)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def metrics(server):
    """Values by name and labels, read as strictly as Prometheus reads them."""
    status, text = ask(server, "/metrics")
    assert status == 200
    found, types = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in types, "a metric is described once"
            types[name] = kind
        elif not line.startswith("# HELP "):
            match = re.fullmatch(r'([a-z_]+)((?:\{(?:[a-z]+="[^"\\]*",?)+\})?) (-?[0-9.e+-]+)', line)
            assert match, line
            base = re.sub(r"_(bucket|sum|count)$", "", match[1])
            assert match[1] in types or types.get(base) == "histogram", line
            assert match[1] + match[2] not in found, "a value stands once"
            found[match[1] + match[2]] = float(match[3])
    # Prometheus's own reader takes it as well.
    assert sum(len(family.samples) for family in text_string_to_metric_families(text)) == len(found)
    return found


def requests(operation, status):
    return f'sluicegate_requests_total{{operation="{operation}",status="{status}"}}'


def test_requests_are_counted_by_operation_and_status(monitored):
    s3 = monitored.s3()
    s3.create_bucket(Bucket="counted")
    before = metrics(monitored)
    body = b"x" * 100_000
    for number in range(3):
        s3.put_object(Bucket="counted", Key=f"k{number}", Body=body)
    assert s3.get_object(Bucket="counted", Key="k0")["Body"].read() == body
    with pytest.raises(botocore.exceptions.ClientError):
        s3.get_object(Bucket="counted", Key="missing")

    def counted():
        after = metrics(monitored)
        return after if after.get(requests("GetObject", 404), 0) > before.get(requests("GetObject", 404), 0) else None

    # An answer is counted once all of it was sent, which the client may know first.
    after = sluicegate.wait_until(counted, "the last answer to be counted")

    def grown(name):
        return after.get(name, 0) - before.get(name, 0)

    assert grown(requests("PutObject", 200)) == 3
    assert grown(requests("GetObject", 200)) == 1
    assert grown(requests("GetObject", 404)) == 1
    duration = "sluicegate_request_duration_seconds"
    assert grown(f'{duration}_count{{operation="GetObject"}}') == 2
    assert grown(f'{duration}_bucket{{operation="GetObject",le="+Inf"}}') == 2
    assert grown(f'{duration}_sum{{operation="PutObject"}}') > 0
    buckets = [value for name, value in after.items() if name.startswith(f'{duration}_bucket{{operation="PutObject"')]
    assert buckets == sorted(buckets) and len(buckets) == 21
    first_byte = "sluicegate_first_byte_seconds"
    assert grown(f'{first_byte}_count{{operation="GetObject"}}') == 2
    assert 0 < grown(f'{first_byte}_sum{{operation="GetObject"}}') <= grown(f'{duration}_sum{{operation="GetObject"}}')
    assert grown('sluicegate_errors_total{code="NoSuchKey"}') == 1
    assert grown('sluicegate_cache_lookups_total{cache="signing_keys",result="found"}') >= 4
    assert grown("sluicegate_received_bytes_total") > 300_000
    assert grown("sluicegate_sent_bytes_total") > 100_000
    # Where the file system has no journal that commits in order, the data of each is flushed by itself before its name.
    assert grown("sluicegate_flushes_total") in (3, 6)
    assert after["sluicegate_panics_total"] == 0


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not on PATH: it is Prometheus's own")
def test_promtool_has_nothing_to_say(tmp_path):
    """Its rules for names, units, types and helps, of a page with every kind of line."""
    with Webhook() as hook, monitored_server("--notify-webhook", f"hook={hook.url}", "--audit-log", tmp_path / "audit",
                                             "--access-log", tmp_path / "access") as server:
        s3 = server.s3()
        s3.create_bucket(Bucket="counted")
        s3.put_object(Bucket="counted", Key="key", Body=b"x")
        with pytest.raises(botocore.exceptions.ClientError):
            s3.get_object(Bucket="counted", Key="missing")
        status, text = ask(server, "/metrics")
        assert status == 200
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")
        # It reads what it is given.
        wrong = text.replace("sluicegate_connections", "sluicegate_Connections_total")
        assert subprocess.run(["promtool", "check", "metrics"], input=wrong, capture_output=True, text=True).returncode


def test_what_is_no_request_is_counted_too(monitored):
    before = metrics(monitored)
    with socket.create_connection((monitored.host, monitored.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert connection.recv(100).startswith(b"HTTP/1.1 400 ")

    def counted():
        grown = {name: value - before.get(name, 0) for name, value in metrics(monitored).items()}
        return grown if grown.get(requests("unknown", 400)) else None

    grown = sluicegate.wait_until(counted, "the answer to be counted")
    assert grown[requests("unknown", 400)] == 1 and grown['sluicegate_errors_total{code="BadRequest"}'] == 1
    cores = [value for name, value in grown.items() if name.startswith("sluicegate_core_requests_total{")]
    assert len(cores) == monitored.workers and sum(cores) == 1


def test_the_first_byte_of_a_large_object_comes_before_its_last(monitored):
    s3 = monitored.s3()
    s3.create_bucket(Bucket="slow")
    s3.put_object(Bucket="slow", Key="large", Body=bytes(32 << 20))
    before = metrics(monitored)
    body = s3.get_object(Bucket="slow", Key="large")["Body"]
    body.read(1)
    time.sleep(0.3)
    body.read()

    def grown():
        after = metrics(monitored)
        return [after[name] - before.get(name, 0) for name in (
            'sluicegate_first_byte_seconds_sum{operation="GetObject"}',
            'sluicegate_request_duration_seconds_sum{operation="GetObject"}')]

    first, last = sluicegate.wait_until(lambda: grown()[1] and grown(), "the end of the request")
    assert first + 0.2 < last


def test_look_ups_of_listings_are_counted(monitored):
    s3 = monitored.s3()
    s3.create_bucket(Bucket="listed")
    for number in range(40):
        s3.put_object(Bucket="listed", Key=f"k{number}", Body=b"")
    time.sleep(0.3)  # The directory's time has to be in the past before its snapshot is kept.
    before = metrics(monitored)
    for _ in range(3):
        s3.list_objects_v2(Bucket="listed")
    name = 'sluicegate_cache_lookups_total{cache="directories",result="%s"}'
    assert metrics(monitored)[name % "found"] - before[name % "found"] >= 2


def test_connections_and_requests_under_way(monitored):
    def open_connections():
        return sum(value for name, value in metrics(monitored).items() if name.startswith("sluicegate_connections{"))

    before = open_connections()
    with socket.create_connection((monitored.host, monitored.port)) as idle:
        sluicegate.wait_until(lambda: open_connections() == before + 1, "the connection to be counted")
        assert metrics(monitored)["sluicegate_requests_in_flight"] == 0
        # A body that does not come keeps its request under way.
        user = monitored.users["writer"]
        s3 = monitored.s3(user, signature_version="s3v4")
        url = s3.generate_presigned_url("put_object", Params={"Bucket": "counted", "Key": "slow"})
        target = url.split(f":{monitored.port}", 1)[1]
        idle.sendall(f"PUT {target} HTTP/1.1\r\nHost: {monitored.host}:{monitored.port}\r\nContent-Length: 5\r\n\r\n"
                     .encode())
        sluicegate.wait_until(lambda: metrics(monitored)["sluicegate_requests_in_flight"] == 1, "the request to begin")
    sluicegate.wait_until(lambda: open_connections() == before, "the end of the connection")
    assert metrics(monitored)["sluicegate_requests_in_flight"] == 0


def test_process_and_capabilities(monitored):
    found = metrics(monitored)
    assert any(name.startswith("sluicegate_info{") and f'driver="{monitored.driver}"' in name for name in found)
    assert found['sluicegate_capability{name="attributes"}'] == 1
    assert 1 << 20 < found["process_resident_memory_bytes"] < 1 << 30
    assert abs(found["process_open_fds"] - monitored.descriptors()) <= 4
    assert found["process_start_time_seconds"] > 1_700_000_000


def test_lifecycle_and_notices():
    with Webhook() as hook, monitored_server("--lifecycle-day", "1ms", "--lifecycle-interval", "50ms",
                                             "--notify-webhook", f"hook={hook.url}") as server:
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        assert metrics(server)['sluicegate_lifecycle_total{what="objects"}'] == 0
        rule = {"QueueArn": "arn:sluicegate:sqs::hook:webhook", "Events": ["s3:ObjectCreated:*"]}
        s3.put_bucket_notification_configuration(
            Bucket="photos", NotificationConfiguration={"QueueConfigurations": [rule]})
        sluicegate.wait_until(lambda: hook.calls, "the test event")
        hook.answers = [200, 403]
        for key in ["a", "b"]:
            s3.put_object(Bucket="photos", Key=key, Body=b"1")
        s3.create_multipart_upload(Bucket="photos", Key="c")
        rule = {"Status": "Enabled", "Filter": {}, "Expiration": {"Days": 1},
                "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}
        s3.put_bucket_lifecycle_configuration(Bucket="photos", LifecycleConfiguration={"Rules": [rule]})
        expected = {
            'sluicegate_lifecycle_total{what="objects"}': 2, 'sluicegate_lifecycle_total{what="uploads"}': 1,
            'sluicegate_notices_total{result="delivered"}': 2, 'sluicegate_notices_total{result="dropped"}': 1,
        }
        sluicegate.wait_until(lambda: expected.items() <= metrics(server).items(), "the counters")


def test_health_and_nothing_else(monitored):
    assert ask(monitored, "/health/live") == (200, "live\n")
    assert ask(monitored, "/health/ready") == (200, "ready\n")
    assert ask(monitored, "/metrics", "POST")[0] == 405
    assert ask(monitored, "/v1/users")[0] == 404
    # Callers that say nothing do not keep others from asking.
    silent = [socket.create_connection(("127.0.0.1", monitored.monitor)) for _ in range(20)]
    threads = [threading.Thread(target=ask, args=(monitored, "/metrics")) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert ask(monitored, "/health/ready")[0] == 200
    [connection.close() for connection in silent]


def test_a_data_directory_that_is_gone_is_not_ready():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with sluicegate.Server(options=["--monitor-listen", f"127.0.0.1:{port}"]) as server:
        server.monitor = port
        assert ask(server, "/health/ready")[0] == 200
        system = server.root / ".sluicegate"
        system.rename(server.root / ".elsewhere")
        assert ask(server, "/health/ready")[0] == 503
        (server.root / ".elsewhere").rename(system)
        assert ask(server, "/health/ready")[0] == 200


def test_the_dashboard_shows_what_the_server_says(monitored):
    """Every metric and label that the dashboard names is exported under that name, and every metric is shown."""
    s3 = monitored.s3()
    s3.create_bucket(Bucket="dashboard")
    with pytest.raises(botocore.exceptions.ClientError):
        s3.get_object(Bucket="dashboard", Key="missing")
    _, text = ask(monitored, "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    labels = {}
    for family in families.values():
        labels[family.name] = set().union(*(sample.labels for sample in family.samples), ["instance"])
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels, ["instance"])
    # Nothing is configured that these speak of; they are tested where something is.
    labels["sluicegate_journal_lines_total"] = {"sink", "result", "instance"}
    labels["sluicegate_journal_waiting"] = {"sink", "instance"}
    dashboard = json.loads(monitored.admin("dashboard"))
    shown = set()
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            expression = target["expr"]
            names = set(re.findall(r"\b(?:sluicegate|process)_[a-z_]+\b", expression))
            assert names, panel["title"]
            for name in names:
                assert name in labels, f"{name} in {panel['title']} is not exported"
                used = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
                for grouping in re.findall(r"by \(([a-z, ]+)\)", expression):
                    used |= set(grouping.split(", "))
                for selector in re.findall(re.escape(name) + r"\{([^}]*)\}", expression):
                    used |= set(re.findall(r"(\w+)=", selector))
                assert used <= labels[name], f"{used - labels[name]} of {name} in {panel['title']}"
            shown |= names
    base = {re.sub(r"_(bucket|sum|count|total)$", "", name) for name in shown}
    assert base == {re.sub(r"_total$", "", name) for name in families}, "all is shown"
