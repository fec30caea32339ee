"""Where files are: the same files in a folder, a bucket and at a real SSH server give the same rows."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pyarrow as pa
import pytest
from obstore.store import from_url
from pyarrow import parquet
from tests.sources.files.conftest import World
from tests.sshd import SshServer, ssh_server

from millrace.connect.reach import ANYWHERE, WORLD
from millrace.connect.source import Context, NoMemory, Reading
from millrace.control.connecting import files
from millrace.control.people.actors import FIRST_TEAM, Actor
from millrace.errors import AuthError, ConfigError, MillraceError
from millrace.sources.files.config import Config
from millrace.sources.files.places import Folder
from millrace.sources.files.source import Source

__all__ = ["ssh_server"]

CSV = b"id,v\n" + b"".join(b"%d,value %d\n" % (n, n) for n in range(50_000))


def parquet_file() -> bytes:
    sink = io.BytesIO()
    parquet.write_table(pa.table({"id": range(40_000)}), sink, row_group_size=9000)
    return sink.getvalue()


def rows_of(source: Source) -> dict[str, int]:
    """How many rows each object has."""
    found: dict[str, int] = {}
    for stream in source.streams():
        items = source.read(Reading(stream, "incremental", memory=NoMemory()))
        found[stream.name] = sum(getattr(item, "num_rows", 0) for item in items)
    source.close()
    return found


def test_files_of_a_bucket(world: World, s3: str, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = from_url(bucket)

    def put(key: str, content: bytes) -> None:
        store.put(key, content)

    put("in/big/a.csv", CSV)
    put("in/big/b.parquet", parquet_file())
    put("in/big/", b"")
    put("in/c.jsonl", b'{"id":1}\n')
    put("in/ein ü.jsonl", b'{"id":2}\n')
    put("other/d.csv", CSV)
    world.create(url=f"{bucket}/in")
    assert world.run().balance.even
    assert world.sql("SELECT count(*), count(DISTINCT __hevo_id) FROM big") == [(90_000, 90_000)]
    assert world.sql('SELECT id, __hevo_id FROM "in" ORDER BY id') == [(1, "c.jsonl_1"), (2, "ein ü.jsonl_1")]
    assert world.run().balance.read == 0
    put("in/c.jsonl", b'{"id":3}\n')
    assert world.run().balance.read == 1
    assert world.sql('SELECT id FROM "in" ORDER BY id') == [(2,), (3,)]
    assert world.log()["c.jsonl"].attempts == 2
    # With keys of its own, and nothing of the environment.
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT", "AWS_REGION"):
        monkeypatch.delenv(variable)
    keys = {"access_key_id": "test", "secret_access_key": "test", "endpoint": s3, "region": "us-east-1"}
    source = Source(Config.model_validate({"url": f"{bucket}/in", "objects": "one", **keys}))
    assert rows_of(source) == {"in": 90_002}


def test_an_object_in_an_archive_fails_alone_and_a_key_that_cannot_be_named_is_told(
    world: World, s3: str, bucket: str
) -> None:
    client = boto3.client(
        "s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="test", aws_secret_access_key="test"
    )
    name = bucket.removeprefix("s3://").partition("/")[0]
    client.put_object(Bucket=name, Key="in/cold.csv", Body=b"id\n1\n", StorageClass="GLACIER")
    client.put_object(Bucket=name, Key="in/cold.parquet", Body=parquet_file(), StorageClass="GLACIER")
    client.put_object(Bucket=name, Key="in/warm.csv", Body=b"id\n2\n")
    world.create(url=f"s3://{name}/in")
    assert world.run().status == "COMPLETED_WITH_FAILURES"
    assert {path: one.status for path, one in world.log().items()} == {
        "cold.csv": "failed",
        "cold.parquet": "failed",
        "warm.csv": "ingested",
    }
    assert "archive" in (world.log()["cold.csv"].error or "")
    client.put_object(Bucket=name, Key="in//odd.csv", Body=b"id\n3\n")
    with pytest.raises(ConfigError, match=r"in//odd\.csv") as error:
        world.run()
    assert error.value.code == "bad_key"


@pytest.mark.parametrize(
    ("settings", "code"),
    [
        ({}, "server_credentials"),
        ({"endpoint": "https://s3.example.com"}, "own_keys"),
        ({"endpoint": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b"}, "private_address"),
        ({"account_name": "abc"}, "server_credentials"),
    ],
)
def test_who_is_not_at_the_machine_reads_no_bucket_by_its_keys(settings: dict[str, Any], code: str) -> None:
    source = Source(Config.model_validate({"url": "s3://bucket/x", **settings}), Context(reach=WORLD))
    with pytest.raises(ConfigError) as error:
        source.streams()
    assert error.value.code == code


@pytest.mark.parametrize(
    ("url", "name", "aim"),
    [
        ("az://c/x", "account_name", "127.0.0.1:9443#"),
        ("az://c/x", "account_name", "127.0.0.1:9443/?"),
        ("s3://bucket/x", "region", "@127.0.0.1:9443/#"),
        ("s3://bucket/x", "region", "x.127.0.0.1:9443/"),
        ("s3://bucket/x", "region", "eu-central-1\n"),
    ],
)
def test_no_name_is_an_address(url: str, name: str, aim: str) -> None:
    with pytest.raises(ValueError, match=name):
        Config.model_validate({"url": url, name: aim})
    for good in ("eu-central-1", "RegionOne", "auto") if name == "region" else ("exports24",):
        Config.model_validate({"url": url, name: good})


def test_a_folder_of_the_server_is_for_who_may_name_it(world: World, tmp_path: Path) -> None:
    world.write("a.csv", "x\n1\n")
    there = world.home.acting(Actor("user", "u@example.com", permissions=frozenset(("view", "pipelines.edit"))))
    for url in (str(world.folder), "/etc", "../../.."):
        with pytest.raises(ConfigError) as error:
            files.placed(there, Config, {"url": url})
        assert error.value.code == "foreign_file"
    mine = world.home.path / "files" / FIRST_TEAM / "in"
    mine.mkdir(parents=True)
    (mine / "a.csv").write_text("x\n1\n")
    (mine / "b.csv").symlink_to("/etc/passwd")
    assert files.placed(there, Config, {"url": "in"}) == {"url": str(mine)}
    assert files.placed(there, Config, {"url": "s3://bucket/x"}) == {"url": "s3://bucket/x"}
    source = Source(Config.model_validate({"url": str(mine)}), Context(reach=WORLD))
    assert rows_of(source) == {"in": 1}


def test_a_folder_that_may_not_be_listed_does_not_look_empty(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.write("a/a.csv", "x\n1\n")
    world.create()
    world.run()
    real = os.scandir

    def refuses(path: Any) -> Any:
        if str(path).endswith("/a"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", refuses)
    with pytest.raises(MillraceError, match="cannot be listed"):
        world.run()
    monkeypatch.undo()
    assert world.log()["a/a.csv"].status == "ingested"


def test_a_folder_that_may_be_listed_and_not_entered_does_not_look_empty() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        Path(root).chmod(0o755)
        inner = Path(root) / "o"
        inner.mkdir()
        (inner / "a.csv").write_text("v\n1\n")
        inner.chmod(0o744 if os.geteuid() == 0 else 0o444)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            with pytest.raises(MillraceError, match=f"{inner} cannot be listed: Permission denied"):
                list(Folder(Path(root), links=True).files())
        finally:
            os.seteuid(user)
            inner.chmod(0o755)
        assert [one.path for one in Folder(Path(root), links=True).files()] == ["o/a.csv"]


@pytest.fixture
def at(ssh_server: SshServer, tmp_path: Path) -> Callable[..., Config]:
    def make(folder: str = str(tmp_path / "data"), **more: Any) -> Config:
        return Config.model_validate(
            {
                "url": f"sftp://{ssh_server.user}@127.0.0.1:{ssh_server.port}{folder}",
                "ssh_private_key": ssh_server.private_key,
                "ssh_host_key": ssh_server.host_key,
            }
            | more
        )

    return make


def test_files_of_an_sftp_server(world: World, at: Callable[..., Config], ssh_server: SshServer) -> None:
    world.write("big/a.csv", CSV)
    world.write("big/b.parquet", parquet_file())
    world.write("c.jsonl", '{"id":1}\n')
    world.write("_hidden/x.csv", "a\n1\n")
    config = at()
    world.create(
        url=config.url, ssh_private_key=ssh_server.private_key, ssh_host_key=ssh_server.host_key, object_name="rest"
    )
    assert world.run().balance.even
    assert world.sql("SELECT count(*), count(DISTINCT __hevo_id) FROM big") == [(90_000, 90_000)]
    assert world.sql("SELECT id, __hevo_id FROM rest") == [(1, "c.jsonl_1")]
    assert world.run().balance.read == 0
    os.utime(world.write("c.jsonl", '{"id":2}\n'), (2e9, 2e9))
    assert world.run().balance.read == 1
    assert world.sql("SELECT id FROM rest") == [(2,)]


def test_another_server_or_a_wrong_login_is_refused(world: World, at: Callable[..., Config], tmp_path: Path) -> None:
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1lQ1mP9lI1Z8j1mNQdYy1r8q8w5M2nWf1Qw8m3yq2K"
    with pytest.raises(ConfigError) as refused:
        Source(at(ssh_host_key=other)).streams()
    assert refused.value.code == "ssh_host_key"
    with pytest.raises(AuthError):
        Source(at(ssh_private_key=None, ssh_password="no")).streams()
    (verdict,) = Source(at(str(tmp_path / "nowhere"))).check()
    assert (verdict.state, "no folder" in verdict.message) == ("fail", True)
    with pytest.raises(ConfigError) as walled:
        Source(at(), Context(reach=WORLD)).streams()
    assert walled.value.code == "private_address"
    assert Source(at(), Context(reach=ANYWHERE)).check()[0].state == "warn"
