"""A folder of files keeps the contract of destinations, in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pytest
from pyarrow import parquet
from pydantic import ValidationError
from tests.contract.disk import small_disk

from millrace.connect.destination import Load
from millrace.connect.files import layout
from millrace.connect.files.formats import Format
from millrace.connect.source import Context
from millrace.connect.testing.destination import FEED, DestinationContract
from millrace.connect.testing.rows import META, Rows, counted, rows, table
from millrace.data import columns, types
from millrace.destinations.folder import destination as module
from millrace.destinations.folder.catalog import Catalog
from millrace.destinations.folder.destination import Config, Destination
from millrace.errors import ConfigError, EnvironmentProblem


class FolderContract(DestinationContract):
    type_ = "folder"
    format: ClassVar[Format]

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "lake"

    def config(self) -> dict[str, Any]:
        return {"path": str(self.path), "format": self.format}

    def files(self) -> list[str]:
        """Keys of all files but the notes."""
        keys = (str(path.relative_to(self.path)) for path in self.path.rglob("*") if path.is_file())
        return sorted(key for key in keys if not key.startswith("_millrace/"))

    def data_files(self) -> list[str]:
        """Keys of the files that hold rows."""
        return [key for key in self.files() if not Path(key).name.startswith("_SUCCESS")]

    @pytest.mark.parametrize("partition", [layout.DEFAULT, "${DATE}"])
    def test_a_load_that_is_whole_has_its_marker_beside_its_files(self, partition: str) -> None:
        one = Destination(Config.model_validate(self.config() | {"partition": partition}))
        made, given = counted("t")
        one.ensure(made)
        one.load(made, Load(FEED, 0, 1, 5, given))
        one.load(made, Load(FEED, 1, 2, 5, Rows(given.table.slice(0, 0))))  # no row, no file, no marker
        one.load(made, Load(FEED, 2, 3, 5, given))
        markers = [Path(key) for key in self.files() if key not in self.data_files()]
        assert len(markers) == len(set(markers)) == 2
        for marker in markers:
            told = json.loads((self.path / marker).read_bytes())
            assert told["rows"] == given.count
            assert all((self.path / marker.parent / file).is_file() for file in told["files"])
            assert marker.name == "_SUCCESS" or partition == "${DATE}"
        one.drop("t")
        assert self.files() == []

    def test_a_marker_that_a_crash_kept_from_being_made_is_made_by_the_next_load(
        self, destination: Destination
    ) -> None:
        made, given = counted("t")
        destination.ensure(made)

        def crash(_: object, note: object) -> None:
            raise MemoryError(note)

        with pytest.MonkeyPatch.context() as patch, pytest.raises(MemoryError):
            patch.setattr(Catalog, "mark", crash)
            destination.load(made, Load(FEED, 0, 1, 5, given))
        assert destination.held(FEED, "t") == 1
        assert self.files() == self.data_files() != []
        destination.load(made, Load(FEED, 1, 2, 5, given))
        assert len(self.files()) == len(self.data_files()) + 2

    def test_files_of_a_full_reload_lie_under_the_name_of_the_table_that_they_become(
        self, destination: Destination
    ) -> None:
        made, given = counted("t__fresh")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 5, given, pipeline="orders", becomes="t"))
        destination.swap("t__fresh", "t")
        assert [Path(key).parts[:2] for key in self.data_files()] == [("orders", "t")]
        assert not [key for key in self.files() if "fresh" in key]
        assert len(self.contents(destination, "t")) == given.count

    def test_integers_that_no_double_is_equal_to_keep_their_column_from_becoming_one(
        self, destination: Destination
    ) -> None:
        for name, large, becomes in (("near", 2**53, types.DOUBLE), ("far", 2**53 + 1, types.VARCHAR)):
            for segment, (type_, value) in enumerate(((types.LONG, large), (types.LONG, None), (types.DOUBLE, 0.5))):
                made = table(name, {"k": types.LONG, "v": type_}, mode="append")
                destination.ensure(made)
                schema = {"k": types.LONG, "v": type_, columns.INGESTED_AT: types.LONG}
                destination.load(made, Load(FEED, segment, segment + 1, 1, rows(schema, (segment, value, 1))))
            assert (destination.schema(name) or {})["v"] == becomes
            found = [row["v"] for row in self.contents(destination, name, order="k")]
            assert found == ([float(large), None, 0.5] if becomes == types.DOUBLE else [str(large), None, "0.5"])

    def test_deleted_rows_and_the_time_of_a_change_have_columns_in_every_file(self, destination: Destination) -> None:
        plain = table("t", {"k": types.LONG}, mode="append")
        destination.ensure(plain)
        schema = {"k": types.LONG, columns.INGESTED_AT: types.LONG}
        destination.load(plain, Load(FEED, 0, 1, 1, rows(schema, (1, 1))))
        changed = {"k": types.LONG, columns.SOURCE_MODIFIED_AT: types.TIMESTAMPTZ}
        made = table("t", changed, mode="append", meta=replace(META, marked_deleted=columns.MARKED_DELETED))
        destination.ensure(made)
        schema = changed | {columns.INGESTED_AT: types.LONG, columns.OP_TYPE: types.VARCHAR}
        moment = datetime(2026, 3, 14, tzinfo=UTC)
        destination.load(made, Load(FEED, 1, 2, 1, rows(schema, (2, moment, 1, "U"), (3, moment, 1, "D"))))
        found = self.contents(destination, "t", order="k")
        deleted, modified = columns.MARKED_DELETED, columns.SOURCE_MODIFIED_AT
        assert [(row["k"], row[deleted], row[modified]) for row in found] == [
            (1, False, None),
            (2, False, moment),
            (3, True, moment),
        ]

    def test_files_of_an_unfinished_load_are_gone_after_the_next(self, destination: Destination) -> None:
        made, given = counted("t")
        destination.ensure(made)
        state = destination.catalog.state("t")
        assert state.id
        stem = "pipeline/t/2026/01/01/x/t-1-1-dead-"
        destination.catalog.intend(state.id, FEED, 0, "1-1-dead", stem)
        left = self.path / f"{stem}0.{self.format}"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half a file")
        assert self.contents(destination, "t") == []  # not part of the table, though it lies there
        destination.load(made, Load(FEED, 0, 1, 1, given))
        assert not left.exists()
        assert len(self.data_files()) == 1
        assert len(self.contents(destination, "t")) == given.count

    def test_paths_have_the_name_of_the_pipeline_and_notes_its_feed(self) -> None:
        one = Destination(Config.model_validate(self.config() | {"partition": "p=${PIPELINE_NAME}/${DATE}"}))
        made, given = counted("t")
        one.ensure(made)
        feeds = ("3f2a:1", "3f2a:2", "77c0:1")  # two generations of a pipeline, and another one of the same name
        for feed in feeds:
            one.load(made, Load(feed, 0, 1, 5, given, pipeline="orders"))
        assert {str(Path(file).parent) for file in self.data_files()} == {"orders/t/p=orders/1970-01-01"}
        assert len({Path(file).name.rsplit("-", 2)[1][:12] for file in self.data_files()}) == len(feeds)
        assert [one.held(feed, "t") for feed in (*feeds, "orders")] == [1, 1, 1, None]
        one.load(made, Load(feeds[0], 1, 2, 5, given, pipeline="renamed"))
        assert [one.held(feed, "t") for feed in feeds] == [2, 1, 1]
        one.load(made, Load(feeds[1], 1, 2, 5, given, pipeline="_millrace"))
        assert len(self.data_files()) == 5, "rows do not lie among the notes"
        assert len(self.contents(one, "t")) == 5 * given.count

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT * FROM read_text('{file}')",
            "SELECT * FROM '{file}'",
            "COPY (SELECT 1) TO '{file}'",
            "ATTACH '{file}' AS other",
            "SET enable_external_access = true",
        ],
    )
    def test_who_is_not_at_this_machine_reaches_tables_and_no_file(
        self, destination: Destination, tmp_path: Path, sql: str
    ) -> None:
        made, given = counted("asked")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 7, given))
        file = tmp_path / "secret.csv"
        file.write_text("hush\n")
        confined = Destination(destination.config, Context(confined=True))
        try:
            assert confined.query('SELECT count(*) AS n FROM "asked"').to_pylist() == [{"n": given.count}]
            with pytest.raises(ConfigError):
                confined.query(sql.format(file=file))
        finally:
            confined.close()
        assert file.read_text() == "hush\n"

    def test_a_wider_type_reads_old_files_and_new(self, destination: Destination) -> None:
        for segment, (type_, value) in enumerate(((types.INTEGER, 7), (types.LONG, 2**40), (types.VARCHAR, "abc"))):
            made = table("w", {"k": types.LONG, "v": type_} | ({"late": types.DATE} if segment else {}), mode="append")
            destination.ensure(made)
            schema = {"k": types.LONG, "v": type_, columns.INGESTED_AT: types.LONG}
            destination.load(made, Load(FEED, segment, segment + 1, 1, rows(schema, (segment, value, 1))))
        found = self.contents(destination, "w", order="k")
        assert [(row["v"], row["late"]) for row in found] == [("7", None), (str(2**40), None), ("abc", None)]

    def test_files_roll_at_a_number_of_rows(self, destination: Destination, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "FILE_ROWS", 4)
        made, given = counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, Rows(given.table, batch_rows=2)))
        assert len(self.data_files()) == 3
        assert len(self.contents(destination, "t")) == given.count

    def test_a_dropped_table_leaves_no_file(self, destination: Destination) -> None:
        made, given = counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 1, given))
        destination.forget(FEED, "t")
        destination.load(made, Load(FEED, 0, 1, 1, given))
        destination.drop("t")
        assert self.data_files() == []

    def test_a_full_disk_is_named_and_nothing_is_kept(self, tmp_path: Path) -> None:
        with small_disk(tmp_path / "disk", 4) as disk:
            destination = Destination(Config.model_validate(self.config() | {"path": str(disk), "compression": "none"}))
            made, given = counted("t")
            destination.ensure(made)
            destination.load(made, Load(FEED, 0, 1, 1, given))
            noise = pa.array([f"{n * 2654435761 % 2**64:x}" * 20 for n in range(30_000)])
            numbers = pa.array(range(30_000))
            big = Rows(pa.table({"k": numbers, "v": noise, columns.INGESTED_AT: numbers}))
            with pytest.raises(EnvironmentProblem) as error:
                destination.load(made, Load(FEED, 1, 2, 1, big))
            assert error.value.code == "DISK_FULL"
            assert destination.held(FEED, "t") == 1
            assert len(self.contents(destination, "t")) == given.count
            destination.load(made, Load(FEED, 1, 2, 1, given))


class TestParquet(FolderContract):
    format = "parquet"

    def test_the_files_are_plain_parquet(self, destination: Destination) -> None:
        made, given = counted("t")
        destination.ensure(made)
        destination.load(made, Load(FEED, 0, 1, 5, given))
        (file,) = self.data_files()
        found = parquet.read_table(self.path / file)
        ours = (columns.INGESTED_AT, columns.SOURCE_MODIFIED_AT, columns.LOADED_AT, columns.MARKED_DELETED)
        assert found.column_names == ["k", "v", *ours]
        assert found.column("k").to_pylist() == given.table.column("k").to_pylist()


class TestJSONLines(FolderContract):
    format = "jsonl"


class TestCSV(FolderContract):
    format = "csv"

    def test_null_and_empty_text_differ_in_a_csv(self) -> None:
        destination = Destination(Config(path=str(self.path), format="csv", compression="none"))
        made = table("t", {"v": types.VARCHAR, "n": types.LONG}, mode="append")
        destination.ensure(made)
        schema = {"v": types.VARCHAR, "n": types.LONG, columns.INGESTED_AT: types.LONG}
        given = rows(schema, ("", 1, 1), (None, None, 1), ('a"b,c\nd', 2, 1))
        destination.load(made, Load(FEED, 0, 1, 5, given))
        (file,) = self.data_files()
        assert (self.path / file).read_text() == (
            f'"v","n","{columns.INGESTED_AT}","{columns.SOURCE_MODIFIED_AT}","{columns.LOADED_AT}",'
            f'"{columns.MARKED_DELETED}"\n"",1,1,,5,"false"\n,,1,,5,"false"\n"a""b,c\nd",2,1,,5,"false"\n'
        )


@pytest.mark.parametrize("partition", ["plain", "${NOPE}", "../${DATE}", "/${DATE}", "a b/${DATE}", "${DATE}//x"])
def test_a_partition_that_cannot_be_is_refused(partition: str) -> None:
    with pytest.raises(ValidationError):
        Config(path="x", partition=partition)


def test_a_compression_that_the_format_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="jsonl files cannot be compressed by snappy"):
        Destination(Config(path=str(tmp_path), format="jsonl", compression="snappy"))


def test_a_path_that_cannot_be_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(ConfigError) as error:
        Destination(Config(path=str(tmp_path / "file" / "lake"))).schema("t")
    assert error.value.path == "path"


def test_a_folder_that_cannot_be_written_is_told_before_a_load(tmp_path: Path) -> None:
    Destination(Config(path=str(tmp_path))).ready()
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    for path in ("/proc/lake", "/proc"):
        with pytest.raises((ConfigError, EnvironmentProblem)) as error:
            Destination(Config(path=path)).ready()
        assert error.value.hint
