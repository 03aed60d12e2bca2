"""What a running server reads again: its certificate, its settings, without touching a connection."""

import os
import re
import shutil
import signal
import socket
import ssl
import threading
import time

import pytest
from botocore.exceptions import ClientError

import sluicegate
from conftest import with_users
from sluicegate import Server, wait_until
from webhook import Webhook


def serial(server):
    """The serial number of the certificate that a new connection gets."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection((server.host, server.port)) as plain:
        with context.wrap_socket(plain) as connection:
            return connection.getpeercert(binary_form=True)


class Changing:
    """A certificate whose files can be replaced by those of another."""

    def __init__(self, directory):
        self.directory = directory
        self.number = 0
        self.replace()

    def replace(self):
        self.number += 1
        made = self.directory / str(self.number)
        made.mkdir()
        certificate = sluicegate.Certificate(made)
        self.file, self.key, self.authority = (self.directory / name for name in ("cert", "key", "authority"))
        for source, target in [(certificate.file, self.file), (certificate.key, self.key),
                               (certificate.authority, self.authority)]:
            shutil.copy(source, target)


def hang_up(server, said):
    """Sends SIGHUP and waits until the server has said this once more."""
    before = server.log().count(said)
    os.kill(server.pid, signal.SIGHUP)
    wait_until(lambda: server.log().count(said) > before, f"{said!r} in {server.log()}")


def test_new_connections_get_the_new_certificate_and_old_ones_live_on(tmp_path):
    changing = Changing(tmp_path)
    with Server(certificate=changing) as server:
        with_users(server)
        s3 = server.s3()
        s3.create_bucket(Bucket="photos")
        body = os.urandom(8 << 20)
        s3.put_object(Bucket="photos", Key="large", Body=body)
        streams = [s3.get_object(Bucket="photos", Key="large")["Body"] for _ in range(3)]
        begun = [stream.read(1) for stream in streams]
        first = serial(server)
        failures, stop = [], threading.Event()

        def keep_asking():
            own = server.s3()
            while not stop.is_set():
                try:
                    own.head_object(Bucket="photos", Key="large")
                except Exception as failure:
                    failures.append(failure)

        asking = threading.Thread(target=keep_asking)
        asking.start()
        time.sleep(0.2)
        changing.replace()
        hang_up(server, "the configuration was read again")
        second = serial(server)
        assert second != first
        time.sleep(0.2)
        stop.set()
        asking.join()
        # The connection that was open was not dropped; boto3 would not trust the new certificate.
        assert not failures
        for stream, byte in zip(streams, begun):
            assert byte + stream.read() == body
        assert server.s3().get_object(Bucket="photos", Key="large")["Body"].read() == body
        # What cannot be used changes nothing.
        changing.file.write_text("no certificate")
        hang_up(server, "could not be read again")
        assert serial(server) == second
        assert str(changing.file) in server.refused("reload")
        changing.replace()
        mixed = changing.key.read_bytes()
        changing.replace()
        changing.key.write_bytes(mixed)
        assert str(changing.file) in server.refused("reload"), "the key is that of another certificate"
        assert serial(server) == second
        changing.replace()
        assert "New connections get the certificate" in server.admin("reload")
        assert serial(server) not in (first, second)


@pytest.fixture
def configured(tmp_path):
    file = tmp_path / "sluicegate.toml"
    file.write_text("idle_timeout = '10m'\n")
    with Server(options=["--config", file]) as server:
        server.file = file
        yield with_users(server)


def taken_up(server):
    """How many connections the workers have taken up."""
    with socket.socket(socket.AF_UNIX) as asking:
        asking.connect(str(server.root / ".sluicegate/admin.sock"))
        asking.sendall(b"GET /v1/metrics HTTP/1.0\r\n\r\n")
        page = b"".join(iter(lambda: asking.recv(1 << 16), b"")).decode()
    return sum(int(count) for count in re.findall(r"^sluicegate_connections\{.*\} (\d+)$", page, re.MULTILINE))


def test_settings_hold_at_once_or_are_named(configured):
    configured.s3().create_bucket(Bucket="photos")
    assert configured.admin("reload") == "Read again: no setting changed.\n"
    others = taken_up(configured)
    with socket.create_connection((configured.host, configured.port)) as before:
        # One that waits to be accepted would get the new limit.
        wait_until(lambda: taken_up(configured) > others, "the connection to be taken up")
        configured.file.write_text(
            "idle_timeout = '1s'\nlog_level = 'debug'\nconnections_max = 3\nregion = 'eu-west-1'\nworkers = 7\n")
        said = configured.admin("reload")
        assert "Changed: idle-timeout, connections-max, log-level." in said
        assert "after a restart only: workers, region." in said
        assert "answered" not in configured.log()
        configured.s3().head_bucket(Bucket="photos")
        wait_until(lambda: "answered" in configured.log(), "a line of the new level")
        with socket.create_connection((configured.host, configured.port)) as idle:
            begun = time.monotonic()
            idle.settimeout(sluicegate.PATIENCE)
            assert idle.recv(1) == b"", "the new limit holds for a new connection"
            assert time.monotonic() - begun > 0.5
        before.settimeout(0.1)
        with pytest.raises(TimeoutError):
            before.recv(1)  # The limit that was set before is kept.
    connections = [socket.create_connection((configured.host, configured.port)) for _ in range(3 * configured.workers + 5)]
    wait_until(lambda: "the limit of connections is reached" in configured.log(), "the new limit")
    [connection.close() for connection in connections]
    # What needs a restart is named until there was one.
    assert "after a restart only: workers, region." in configured.admin("reload")
    configured.file.write_text("")
    assert "Changed: idle-timeout, connections-max, log-level." in configured.admin("reload")


def test_an_invalid_file_changes_nothing_and_says_why(configured):
    configured.file.write_text("idle_timeout = '1s'\nlog_level = 'loud'\n")
    assert "log-level" in configured.refused("reload") and "loud" in configured.refused("reload")
    hang_up(configured, "the configuration could not be read again")
    assert "loud" in configured.log()
    configured.file.write_text("idle_timeout = '10m'\n")
    assert configured.admin("reload") == "Read again: no setting changed.\n", "the other setting was not taken"
    configured.file.unlink()
    assert str(configured.file) in configured.refused("reload")
    configured.s3().list_buckets()


def test_signals_in_a_row_end_nothing(configured):
    s3 = configured.s3()
    s3.create_bucket(Bucket="photos")
    for number in range(50):
        os.kill(configured.pid, signal.SIGHUP)
        s3.put_object(Bucket="photos", Key=f"k{number}", Body=b"1")
    assert configured.process.poll() is None


def test_the_end_of_its_terminal_ends_a_quickstart():
    with Server(command="quickstart") as server:
        os.kill(server.pid, signal.SIGHUP)
        server.ended(0)


def subscribe(server, *names):
    """Lets each of these webhooks be told of new objects below its name."""
    queues = [{"QueueArn": f"arn:sluicegate:sqs::{name}:webhook", "Events": ["s3:ObjectCreated:*"],
               "Filter": {"Key": {"FilterRules": [{"Name": "prefix", "Value": name}]}}} for name in names]
    server.s3().put_bucket_notification_configuration(
        Bucket="photos", NotificationConfiguration={"QueueConfigurations": queues})


def told(server, hook, key):
    """Makes an object and returns with which Authorization the webhook was told of it."""
    server.s3().put_object(Bucket="photos", Key=key, Body=b"x")

    def headers():
        return [headers for _, headers, body, _ in list(hook.calls)
                if [record["s3"]["object"]["key"] for record in body.get("Records", [])] == [key]]

    wait_until(headers, f"the webhook to be told of {key}")
    return headers()[0]["Authorization"]


def test_webhooks_change_at_once(tmp_path):
    token, file = tmp_path / "token", tmp_path / "sluicegate.toml"
    token.write_text("Bearer one")
    with Webhook() as first, Webhook() as second:
        file.write_text(f"notify_webhook = ['hook={first.url}']\nnotify_token_file = ['hook={token}']\n")
        with Server(options=["--config", file]) as server:
            with_users(server).s3().create_bucket(Bucket="photos")
            subscribe(server, "hook")
            assert told(server, first, "hook-one") == "Bearer one"
            # A token that was replaced in its place.
            token.write_text("Bearer two")
            assert server.admin("reload") == "Read again: no setting changed.\n"
            assert told(server, first, "hook-two") == "Bearer two"
            # One that cannot be used changes nothing.
            token.write_text("")
            assert str(token) in server.refused("reload")
            assert told(server, first, "hook-kept") == "Bearer two"
            # Another URL, and another target.
            token.write_text("Bearer three")
            file.write_text(f"notify_webhook = ['hook={second.url}', 'more={first.url}']\n"
                            f"notify_token_file = ['hook={token}', 'more={token}']\n")
            assert server.admin("reload") == "Read again. Changed: notify-webhook, notify-token-file.\n"
            assert told(server, second, "hook-three") == "Bearer three"
            subscribe(server, "hook", "more")
            assert told(server, first, "more-four") == told(server, second, "hook-five") == "Bearer three"
            # A target that is gone is told nothing and cannot be named any more.
            file.write_text(f"notify_webhook = ['more={first.url}']\n")
            assert server.admin("reload") == "Read again. Changed: notify-webhook, notify-token-file.\n"
            assert told(server, first, "more-six") is None
            count = len(second.calls)
            server.s3().put_object(Bucket="photos", Key="hook-six", Body=b"x")
            assert told(server, first, "more-seven") is None
            assert len(second.calls) == count
            with pytest.raises(ClientError, match="InvalidArgument"):
                subscribe(server, "hook")


def test_what_waits_for_a_webhook_goes_where_it_is_now(tmp_path):
    file = tmp_path / "sluicegate.toml"
    with Webhook() as away, Webhook() as new:
        file.write_text(f"notify_webhook = ['hook={away.url}']\n")
        with Server(options=["--config", file]) as server:
            with_users(server).s3().create_bucket(Bucket="photos")
            subscribe(server, "hook")
            wait_until(lambda: away.calls, "the test event")
            away.stop()
            for key in ("hook-one", "hook-two"):
                server.s3().put_object(Bucket="photos", Key=key, Body=b"x")
            wait_until(lambda: "takes no calls" in server.log(), "the first call to fail")
            file.write_text(f"notify_webhook = ['hook={new.url}']\n")
            server.admin("reload")
            wait_until(lambda: [event["s3"]["object"]["key"] for event in new.events()] == ["hook-one", "hook-two"],
                       "what waited, in order")
        away.start()


def test_the_webhook_of_the_audit_changes_at_once(tmp_path):
    token, file = tmp_path / "token", tmp_path / "sluicegate.toml"
    with Webhook() as first, Webhook() as second:
        for hook in (first, second):
            hook.take = lambda body: None
        token.write_text("Bearer one")
        file.write_text(f"audit_webhook = '{first.url}'\naudit_token_file = '{token}'\n")
        with Server(options=["--config", file]) as server:
            def audited(hook):
                before = len(hook.calls)
                server.s3().list_buckets()
                wait_until(lambda: len(hook.calls) > before, "an audit event")
                return hook.calls[-1][1]["Authorization"]

            with_users(server)
            assert audited(first) == "Bearer one"
            token.write_text("Bearer two")
            server.admin("reload")
            assert audited(first) == "Bearer two"
            file.write_text(f"audit_webhook = '{second.url}'\naudit_batch = 5\n")
            assert server.admin("reload") == "Read again. Changed: audit-webhook, audit-token-file, audit-batch.\n"
            assert audited(second) is None
            # Whether there is one at all is known at start.
            file.write_text("audit_batch = 5\n")
            assert "after a restart only: audit-webhook." in server.admin("reload")


def test_lifecycle_rules_are_carried_out_as_the_settings_say_now(tmp_path):
    file = tmp_path / "sluicegate.toml"
    file.write_text("lifecycle_interval = '1h'\n")
    with Server(options=["--config", file]) as server:
        s3 = with_users(server).s3()
        s3.create_bucket(Bucket="photos")
        s3.put_bucket_lifecycle_configuration(Bucket="photos", LifecycleConfiguration={"Rules": [
            {"ID": "a", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]})
        s3.put_object(Bucket="photos", Key="old", Body=b"x")
        file.write_text("lifecycle_interval = '50ms'\nlifecycle_day = '10ms'\n")
        assert server.admin("reload") == "Read again. Changed: lifecycle-interval, lifecycle-day.\n"
        wait_until(lambda: not server.path("photos", "old").exists(), "the object to expire")
        # And back again: nothing runs any more.
        file.write_text("lifecycle_interval = '1h'\n")
        server.admin("reload")
        s3.put_object(Bucket="photos", Key="new", Body=b"x")
        time.sleep(0.3)
        assert server.path("photos", "new").exists()
