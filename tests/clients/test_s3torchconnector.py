"""The S3 connector for PyTorch (the AWS common runtime, as Mountpoint has it): datasets read from a prefix, and checkpoints
written and read as streams and in pieces.

PyTorch itself is 3 GB and never speaks to the server: its place is taken by the few names of it that the connector needs,
and a pickled dictionary is the checkpoint."""

import hashlib
import json
import pathlib
import pickle
import shutil
import subprocess
import sys
import types

import pytest

from programs import MIB, check_bucket, content, keys, run

# The only authorities that the common runtime trusts on Debian.
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def test_datasets_and_checkpoints(server, bucket):
    samples = {f"train/{number % 3}/sample {number:03} é+%": content(number, 1000 * number) for number in range(40)}
    samples["train/large"] = content("large", 21 * MIB + 7)
    for name, body in samples.items():
        path = server.path(bucket, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    settings = json.dumps([server.endpoint, bucket])
    program = [sys.executable, "-c", f"import test_s3torchconnector; test_s3torchconnector.job({settings!r})"]
    told = run(*trusting(server.certificate), *program, environment=keys(server), cwd=pathlib.Path(__file__).parent)
    found = json.loads(told)

    sums = {name: hashlib.sha256(body).hexdigest() for name, body in samples.items()}
    assert found["map"] == found["iterable"] == sums
    assert found["first of train/0"] == "train/0/sample 000 é+%"
    large = samples["train/large"]
    assert found["pieces"] == [hashlib.sha256(piece).hexdigest() for piece in
                               [large[5 * MIB - 1:14 * MIB], large[-100:], large[:16]]]
    assert found["checkpoint"] == "equal"
    assert found["missing"] == found["deleted"] == "S3Exception"
    path, user = server.path(bucket, "checkpoints/epoch 1.pt"), server.users["writer"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == found["written"]
    assert (path.stat().st_uid, path.stat().st_gid) == (user.uid, user.gid)
    path.unlink()
    shutil.rmtree(server.path(bucket, "train"))
    check_bucket(server, bucket, {"copied": b"", "empty": b""})


def trusting(certificate):
    """What a command is run under so that it trusts the authority: a view of the files of its own, where the authority is
    the only one. The common runtime has no setting that the connector passes on."""
    if not certificate:
        return []
    if not pathlib.Path(AUTHORITIES).exists():
        pytest.skip(f"{AUTHORITIES} is not there to be replaced")
    script = 'mount --bind "$0" "$1" && shift && exec "$@"'
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", script, certificate.authority, AUTHORITIES]
    if subprocess.run([*prefix, "true"], capture_output=True).returncode != 0:
        pytest.skip("this user may not have a view of the files of its own: unshare")
    return prefix


def job(settings):
    """What runs in a process of its own."""
    stand_in_for_torch()
    import s3torchconnector

    endpoint, bucket = json.loads(settings)
    config = s3torchconnector.S3ClientConfig(force_path_style=True, max_attempts=1)
    place = {"region": "us-east-1", "endpoint": endpoint, "s3client_config": config}
    found, uri = {}, f"s3://{bucket}"

    def read(reader):
        return reader.key, hashlib.sha256(reader.read()).hexdigest()

    dataset = s3torchconnector.S3MapDataset.from_prefix(f"{uri}/train/", transform=read, **place)
    found["map"] = dict(dataset[index] for index in reversed(range(len(dataset))))
    found["iterable"] = dict(s3torchconnector.S3IterableDataset.from_prefix(f"{uri}/train/", transform=read, **place))
    dataset = s3torchconnector.S3MapDataset.from_prefix(f"{uri}/train/0/", transform=read, **place)
    found["first of train/0"] = dataset[0][0]
    ranged = s3torchconnector.S3ReaderConstructor.range_based()
    large = s3torchconnector.S3MapDataset.from_objects([f"{uri}/train/large"], reader_constructor=ranged, **place)[0]
    pieces = []
    for start, whence, size in [(5 * MIB - 1, 0, 9 * MIB + 1), (-100, 2, None), (0, 0, 16)]:
        large.seek(start, whence)
        pieces.append(hashlib.sha256(large.read(size)).hexdigest())
    found["pieces"] = pieces

    checkpoint = s3torchconnector.S3Checkpoint(**place)
    state = {"epoch": 1, "weights": {f"layer {number}": content(number, 3 * MIB) for number in range(7)}}
    with checkpoint.writer(f"{uri}/checkpoints/epoch 1.pt") as writer:
        pickle.dump(state, writer)
    with checkpoint.reader(f"{uri}/checkpoints/epoch 1.pt") as reader:
        found["checkpoint"] = "equal" if pickle.load(reader) == state else "different"
    with checkpoint.reader(f"{uri}/checkpoints/epoch 1.pt") as reader:
        found["written"] = hashlib.sha256(reader.read()).hexdigest()
    with checkpoint.writer(f"{uri}/empty"):
        pass
    client = checkpoint._client
    client.copy_object(bucket, "empty", bucket, "copied")
    client.copy_object(bucket, "empty", bucket, "gone")
    client.delete_object(bucket, "gone")
    for name, key in [("missing", "none"), ("deleted", "gone")]:
        try:
            checkpoint.reader(f"{uri}/{key}").read()
        except s3torchconnector.S3Exception as failure:
            found[name] = type(failure).__name__
    print(json.dumps(found))


def stand_in_for_torch():
    torch, utils, data, distributed = (types.ModuleType(name) for name in [
        "torch", "torch.utils", "torch.utils.data", "torch.distributed"])
    data.Dataset, data.IterableDataset = type("Dataset", (), {}), type("IterableDataset", (), {})
    data.get_worker_info, distributed.is_initialized = lambda: None, lambda: False
    torch.utils, utils.data, torch.distributed, torch.__version__ = utils, data, distributed, "0"
    sys.modules.update({module.__name__: module for module in [torch, utils, data, distributed]})
