"""restic: a repository in a bucket, two backups, a check of all its data, a forgotten backup pruned, and restores compared
with what was backed up."""

import os

from programs import content, find, run, sums, sums_below, write_tree


def test_backup_check_prune_and_restore(server, bucket, tmp_path):
    program, user = find("restic"), server.users["writer"]
    environment = {
        "AWS_ACCESS_KEY_ID": user.name, "AWS_SECRET_ACCESS_KEY": user.secret, "RESTIC_PASSWORD": "open sesame",
        "RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket}/a/repository", "HOME": str(tmp_path),
    }
    trusted = ["--cacert", server.certificate.authority] if server.certificate else []

    def restic(*arguments, **options):
        return run(program, "--no-cache", *trusted, *arguments, environment=environment, **options)

    repository, source = server.path(bucket, "a/repository"), tmp_path / "source"
    restic("init")
    first = write_tree(source)
    restic("backup", "--tag", "first", ".", cwd=source)
    stored = {path.name: path.read_bytes() for path in (repository / "data").rglob("*") if path.is_file()}
    assert stored and sums(stored) == {name: name for name in stored}, "restic names its packs by their SHA-256"
    owners = {(path.stat().st_uid, path.stat().st_gid) for path in repository.rglob("*") if path.is_file()}
    assert owners == {(user.uid, user.gid)}

    (source / "large/0").unlink()
    (source / "plain.txt").write_bytes(b"changed")
    (source / "large/2").write_bytes(content("large 2", 9_000_000))
    second = sums_below(source)
    restic("backup", "--tag", "second", ".", cwd=source)
    restic("check", "--read-data")
    restic("restore", "latest", "--tag", "first", "--target", tmp_path / "first")
    assert sums_below(tmp_path / "first") == sums(first)

    assert len(os.listdir(repository / "snapshots")) == 2
    restic("forget", "--keep-tag", "second", "--group-by", "", "--prune", "--max-unused", "0")
    assert len(os.listdir(repository / "snapshots")) == 1
    left = {path.name for path in (repository / "data").rglob("*") if path.is_file()}
    assert set(stored) - left, "pruning has deleted packs"
    restic("check", "--read-data")
    restic("restore", "latest", "--target", tmp_path / "second")
    assert sums_below(tmp_path / "second") == second
    assert not (repository / "locks").exists(), "restic has deleted its locks"

    # One byte of a pack is changed behind the server: restic has to notice, so what it checks comes from these files.
    pack = next(path for path in (repository / "data").rglob("*") if path.is_file())
    body = bytearray(pack.read_bytes())
    body[len(body) // 2] ^= 1
    pack.write_bytes(body)
    assert pack.name[:8] in restic("check", "--read-data", status=1)
