"""Formats, compressions and encodings: what is in a file comes as the rows that it is, or is refused in words."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import resource
import zlib
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import parquet

from millrace.connect.source import Context, NoMemory
from millrace.data import types
from millrace.data.cast import cast
from millrace.data.columns import is_measured
from millrace.data.rows import to_rows
from millrace.sources.files import lines, parts, texts
from millrace.sources.files.choosing import Kind, kind, own_name, wanted
from millrace.sources.files.config import Config
from millrace.sources.files.parts import Bad, Unreadable
from millrace.sources.files.places import place
from millrace.sources.files.reading import parts as read_parts
from millrace.sources.files.state import Seen, State
from millrace.sources.files.values import typed

Rows = list[dict[str, Any]]


def read(
    folder: Path, name: str, content: bytes, begun: int = 0, **settings: Any
) -> tuple[list[tuple[int, dict[str, Any]]], list[Bad]]:
    """Numbered rows of a file, and what could not be one."""
    (folder / name).write_bytes(content)
    config = Config(url=str(folder), **settings)
    there = place(config, Context())
    (found,) = [one for one in there.files() if one.path == name]
    known = kind(config, name)
    assert known is not None
    rows: list[tuple[int, dict[str, Any]]] = []
    bad: list[Bad] = []
    for part in read_parts(there, found, known, config, begun):
        assert len(part.numbers) == part.rows.num_rows
        rows += zip(part.numbers.tolist(), to_rows(part.rows, numbers="exact"), strict=True)
        bad += part.bad
    return rows, bad


def values(folder: Path, name: str, content: bytes, **settings: Any) -> Rows:
    rows, bad = read(folder, name, content, **settings)
    assert bad == [] and [number for number, _ in rows] == list(range(1, len(rows) + 1))
    return [row for _, row in rows]


def test_csv_as_people_write_it(tmp_path: Path) -> None:
    assert values(tmp_path, "a.csv", b'\xef\xbb\xbfa,b\r\n"x\r\ny",""\r\n"say ""hi""",\r\n') == [
        {"a": "x\r\ny", "b": ""},
        {"a": 'say "hi"', "b": None},
    ]
    assert values(tmp_path, "a.csv", b"a;b\n1;'x;y'\n", delimiter=";", quote="'") == [{"a": 1, "b": "x;y"}]
    assert values(tmp_path, "a.tsv", b"a\tb\n1\t\n") == [{"a": 1, "b": None}]
    assert values(tmp_path, "a.csv", b"1,x\n2,y\n", header=False)[1] == {"column_1": 2, "column_2": "y"}
    assert values(tmp_path, "a.csv", b"a,a,\n1,2,3\n") == [{"a": 1, "a_B": 2, "column": 3}]
    assert values(tmp_path, "a.csv", 'a\ngrün\n"ß"\n'.encode("latin-1"), encoding="latin-1") == [
        {"a": "grün"},
        {"a": "ß"},
    ]
    assert values(tmp_path, "a.csv", "a,b\n1,ö\n".encode("utf-16"), encoding="utf-16") == [{"a": 1, "b": "ö"}]
    assert values(tmp_path, "a.csv", b'a,b\n1,5" pipe\n', quote="") == [{"a": 1, "b": '5" pipe'}]
    for nothing in (b"", b"\n", b"a,b\n", b"a,b"):
        assert values(tmp_path, "a.csv", nothing) == []


def until(folder: Path, name: str, content: bytes, **settings: Any) -> tuple[Rows, list[Bad], str]:
    """The rows in front of what cannot be read, and what is said of that."""
    (folder / name).write_bytes(content)
    config = Config(url=str(folder), **settings)
    there = place(config, Context())
    (found,) = [one for one in there.files() if one.path == name]
    known = kind(config, name)
    assert known is not None
    rows: Rows = []
    bad: list[Bad] = []
    try:
        for part in read_parts(there, found, known, config, 0):
            assert len(part.numbers) == part.rows.num_rows
            rows += to_rows(part.rows, numbers="exact")
            bad += part.bad
    except Unreadable as error:
        return rows, bad, error.message
    return rows, bad, ""


def test_a_quote_that_is_not_closed_swallows_no_rows_in_silence(tmp_path: Path) -> None:
    for content, whole in (
        (b'a,b\n1,x\n2,"y\n3,z\n4,w\n', 1),
        (b'a,b\n1,x\n"2,y\n3,z\n', 1),
        (b'a,b\n1,x\n2,"y', 1),
        (b'a\nx\n"y\nz\n', 1),
        (b'a,b\n"1,x\n', 0),
    ):
        rows, bad, said = until(tmp_path, "a.csv", content)
        assert (len(rows), bad, said) == (whole, [], "a quote is not closed"), content
    for content in (b'a,b\n1,5" pipe\n', b'a,b\n1,"x""y"', b'a,b\n1,"x\n"\n\n', b'a,b\r1,""\r', b'a,b\n1,"'):
        rows, bad, said = until(tmp_path, "a.csv", content)
        assert (len(rows), bad, said) == ((0, [], "a quote is not closed") if content[-2:] == b',"' else (1, [], ""))
    assert until(tmp_path, "a.csv", b'a,b\n1,"x\n2\n', quote="")[2] == ""


@pytest.mark.parametrize(
    ("name", "row", "around"),
    [
        ("a.csv", "{n},{v}\n", ("n,v\n", "")),
        ("a.jsonl", '{{"n":{n},"v":"{v}"}}\n', ("", "")),
        ("a.json", '{{"n":{n},"v":"{v}"}},\n', ("[", "{}]")),
        ("a.xml", "<r><n>{n}</n><v>{v}</v></r>\n", ("<a>", "</a>")),
    ],
)
@pytest.mark.parametrize("ending", ["gz", "zst"])
def test_rows_in_front_of_damage_are_there_and_none_that_is_cut(
    tmp_path: Path, name: str, row: str, around: tuple[str, str], ending: str
) -> None:
    chance = random.Random(7)
    every = [(n, f"w{chance.getrandbits(60):x}") for n in range(20_000)]
    whole = (around[0] + "".join(row.format(n=n, v=v) for n, v in every) + around[1]).encode()
    packed = gzip.compress(whole) if ending == "gz" else pa.compress(whole, "zstd", asbytes=True)
    for cut in (len(packed) // 2, len(packed) * 3 // 4):
        rows, bad, said = until(tmp_path, f"{name}.{ending}", packed[:cut])
        assert said and bad == []
        assert [(one["n"], one["v"]) for one in rows] == [(type(rows[0]["n"])(n), v) for n, v in every[: len(rows)]]
        assert len(rows) > 20_000 * (cut / len(packed)) * 0.6


def test_rows_of_avro_in_front_of_damage_are_there(tmp_path: Path) -> None:
    content = avro_file("deflate")
    rows, _, said = until(tmp_path, "a.avro", content[: len(content) - 20])
    assert said and len(rows) == 2800


def test_csv_begins_with_its_first_line_that_is_not_empty(tmp_path: Path) -> None:
    for before in (b"\n", b"\r\n\r\n", b"\xef\xbb\xbf\n", b"\n" * 3_000_000):
        assert values(tmp_path, "a.csv", before + b"a,b\n1,2\n\n3,4\n") == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
    long = "x" * 200_000
    assert values(tmp_path, "a.csv", f"{long},1\n".encode(), header=False) == [{"column_1": long, "column_2": 1}]


def test_csv_with_very_many_columns_of_one_name(tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    for names in (["c"] * 10_000, [f"c{n}" for n in range(10_000)], [""] * 10_000):
        found = parts.distinct(names)
        assert len({*found}) == 10_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 1


def test_a_csv_row_of_another_length_is_bad_and_keeps_its_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(texts, "_BLOCK", 64)
    lines_ = [f"{n},{'x' * (n % 9)}" if n % 5 else f"{n}" for n in range(1, 400)]
    content = ("a,b\n" + "\n".join(lines_) + "\n").encode()
    rows, bad = read(tmp_path, "a.csv", content, types="text")
    assert [number for number, _ in rows] == [n for n in range(1, 400) if n % 5]
    assert all(row["a"] == str(number) for number, row in rows)
    assert [(one.number, one.text) for one in bad] == [(n, str(n)) for n in range(5, 400, 5)]
    wrong, worse = read(tmp_path, "b.csv", b"a,b\n1,\xff\n\xfe\n3,x\n4,\xef\xb7\x90\n", types="text")
    assert [number for number, _ in wrong] == [3]
    assert [(one.number, one.text) for one in worse] == [(1, r"1,\xff"), (2, r"\xfe"), (4, "4,\ufdd0")]
    few, bad_ones = read(tmp_path, "c.csv", b"1,x\n2\n\n3,y\n", header=False)
    assert [number for number, _ in few] == [1, 3] and [one.number for one in bad_ones] == [2]
    for begun in (1, 5, 57, 398, 399):
        later, worse = read(tmp_path, "a.csv", content, begun, types="text")
        assert later == [one for one in rows if one[0] > begun]
        assert worse == [one for one in bad if one.number > begun]


def test_text_is_taken_for_what_it_says_only_where_it_says_that_alone() -> None:
    def of(*column: str | None) -> Any:
        return typed(pa.RecordBatch.from_pydict({"c": pa.array(column, pa.string())})).column(0)

    big = "9" * 30
    for column, kind_ in (
        (["1", None, "-3"], pa.int32()),
        (["1", "2147483648"], pa.int64()),
        (["1", "9223372036854775807"], pa.int64()),
        (["1", big], pa.decimal128(38, 0)),
        (["1.50", "12.25", "-0.50"], pa.decimal128(4, 2)),
        (["1.5", "12", "-0.25"], pa.decimal128(4, 2)),
        (["1.50", "12.5"], pa.string()),
        (["1.50", "12"], pa.string()),
        (["1.0", "12"], pa.string()),
        (["-0.00", "1.00"], pa.string()),
        (["true", "false"], pa.bool_()),
        (["2024-02-29"], pa.date32()),
        (["2024-02-29T12:00:01.5"], pa.timestamp("us")),
        (["2024-02-29 12:00:01Z"], pa.timestamp("us", "UTC")),
        (["2024-02-29 12:00:01Z", "2024-02-29 12:00:01.5Z"], pa.string()),
        (["2024-02-29 12:00:01", "2024-02-29T12:00:01"], pa.string()),
        (["2024-02-29 12:00:01.5", "2024-02-29 12:00:01Z"], pa.string()),
        (["2024-02-29 12:00:01.5Z", "2024-02-29 12:00:01.25"], pa.string()),
        (["2024-02-29 12:00:01.25", "2024-02-29 12:00:01.50"], pa.timestamp("us")),
        (["2023-02-29"], pa.string()),
        (["007"], pa.string()),
        (["1e5"], pa.string()),
        (["-0"], pa.string()),
        (["+1"], pa.string()),
        ([" 1"], pa.string()),
        (["True"], pa.string()),
        (["1", ""], pa.string()),
        ([None, None], pa.null()),
        (["9" * 80], pa.string()),
    ):
        assert of(*column).type == kind_, column
    assert of("1", big).to_pylist() == [1, int(big)]
    assert of("1.5", "-0.25").to_pylist() == [Decimal("1.5"), Decimal("-0.25")]


WRITTEN = st.one_of(
    st.none(),
    st.integers(-(10**25), 10**25).map(str),
    st.decimals(-1000, 1000, places=3).map(str),
    st.from_regex(r"-?[0-9]{1,3}(\.[0-9]{1,3})?", fullmatch=True),
    st.text(max_size=3),
)


@given(st.lists(WRITTEN, max_size=6))
def test_a_number_that_text_was_taken_for_is_that_number(column: list[str | None]) -> None:
    rows = typed(pa.RecordBatch.from_pydict({"c": pa.array(column, pa.string())}))
    found = rows.column(0)
    if pa.types.is_string(found.type):
        assert found.to_pylist() == column
    elif pa.types.is_integer(found.type):
        assert [None if one is None else str(one) for one in found.to_pylist()] == column
    elif pa.types.is_decimal(found.type):
        assert found.to_pylist() == [None if one is None else Decimal(one) for one in column]
        measured = is_measured(rows.schema.field(0))
        assert cast(found, types.VARCHAR, strict=True, measured=measured).values.to_pylist() == column


def test_json_lines_and_arrays(tmp_path: Path) -> None:
    assert values(tmp_path, "a.jsonl", b'{"a":1,"b":{"c": 1.10}}\n{"a":12345678901234567890,"b":null}') == [
        {"a": 1, "b": {"c": 1.1}},
        {"a": 12345678901234567890, "b": None},
    ]
    raw = place(Config(url=str(tmp_path)), Context())
    (found,) = raw.files()
    (part,) = read_parts(raw, found, Kind("json", ""), Config(url=str(tmp_path)), 0)
    assert part.rows.column("b").storage.to_pylist() == ['{"c": 1.10}', None]
    pretty = json.dumps([{"n": n, "s": 'quote " \\ ] [ , é', "l": [n, {"x": []}]} for n in range(50)], indent=2)
    found = values(tmp_path, "a.json", b"\xef\xbb\xbf \n" + pretty.encode() + b"\n \n")
    assert found == json.loads(pretty)
    assert values(tmp_path, "a.json", b"[ ]") == []
    assert values(tmp_path, "a.json", b"") == []
    rows, bad = read(tmp_path, "a.json", b'[{"a":1}, 5, {"a":01}, {"a":2}]')
    assert [number for number, _ in rows] == [1, 4] and [one.number for one in bad] == [2, 3]
    rows, bad = read(tmp_path, "a.jsonl", b'{"a":1}\n\n{"a":\xff}\n' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"\n")
    assert [number for number, _ in rows] == [1] and [one.number for one in bad] == [3, 4]


VALUES = st.recursive(
    st.none() | st.text() | st.integers(),
    lambda one: st.lists(one) | st.dictionaries(st.text(max_size=3), one),
    max_leaves=5,
)


@given(
    st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=3), max_size=5),
    st.integers(1, 9),
    st.sampled_from([None, 1]),
)
def test_an_array_is_taken_apart_wherever_it_is_cut(rows: Rows, piece: int, indent: int | None) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            del size
            return super().read(piece)

    text = json.dumps(rows, indent=indent, ensure_ascii=False).encode("utf-8", "surrogatepass")
    found = [json.loads(element) for _, element in lines._elements(text[:1], Slow(text[1:]))]
    assert found == rows


@pytest.mark.parametrize("content", [b"[{}", b'[{"a": "', b"[{},]", b"[{}] x", b"[}", b"[,{}]"])
def test_an_array_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(Unreadable):
        read(tmp_path, "a.json", content)


def test_parquet_in_the_types_of_the_file(tmp_path: Path) -> None:
    table = pa.table(
        {
            "i": pa.array(range(50_000), pa.int64()),
            "d": pa.array([Decimal("1.25")] * 50_000),
            "s": pa.array(["x"] * 50_000).dictionary_encode(),
            "n": pa.array([[{"a": 1}]] * 50_000),
        }
    ).replace_schema_metadata({"millrace": "1"})
    sink = io.BytesIO()
    parquet.write_table(table, sink, row_group_size=7000)
    rows, _ = read(tmp_path, "a.parquet", sink.getvalue())
    assert len(rows) == 50_000
    assert rows[41] == (42, {"i": 41, "d": Decimal("1.25"), "s": "x", "n": [{"a": 1}]})
    for begun in (6999, 7000, 20_001):
        later, _ = read(tmp_path, "a.parquet", sink.getvalue(), begun)
        assert later == rows[begun:]
    with pytest.raises(Unreadable):
        read(tmp_path, "a.parquet.gz", gzip.compress(sink.getvalue()))


SCHEMA = {
    "type": "record",
    "name": "row",
    "fields": [
        {"name": "i", "type": "int"},
        {"name": "l", "type": ["null", "long"]},
        {"name": "s", "type": "string"},
        {"name": "d", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "m", "type": {"type": "map", "values": "long"}},
        {"name": "e", "type": {"type": "enum", "name": "colour", "symbols": ["RED", "BLUE"]}},
    ],
}
AVRO: Rows = [
    {
        "i": n,
        "l": None if n % 3 else 2**60 + n,
        "s": f"text {n}",
        "d": Decimal(n) / 4,
        "day": date(2024, 5, 1),
        "at": datetime(2024, 5, 1, 10, 0, 0, n, UTC),
        "m": {"k": n},
        "e": "BLUE",
    }
    for n in range(3000)
]


def _compressed(content: bytes, codec: str) -> bytes:
    match codec:
        case "deflate":
            packing = zlib.compressobj(wbits=-15)
            return packing.compress(content) + packing.flush()
        case "bzip2":
            return bz2.compress(content)
        case "xz":
            return lzma.compress(content)
        case "snappy":
            return pa.compress(content, "snappy", asbytes=True) + zlib.crc32(content).to_bytes(4, "big")
        case "zstandard":
            return pa.compress(content, "zstd", asbytes=True)
        case _:
            return content


def _number(value: int) -> bytes:
    value = (value << 1) ^ (value >> 63)
    found = b""
    while value > 0x7F:
        found += bytes([value & 0x7F | 0x80])
        value >>= 7
    return found + bytes([value])


def avro_of(schema: Any, blocks: list[tuple[int, bytes]], codec: str = "null") -> bytes:
    """Written by hand, so that codecs which fastavro has only with further packages are here too, and what nobody but
    an attacker writes."""
    about = {
        "avro.codec": codec.encode(),
        "avro.schema": schema if isinstance(schema, bytes) else json.dumps(schema).encode(),
    }
    sync = bytes(range(16))
    found = b"Obj\x01" + _number(len(about))
    for name, value in about.items():
        found += _number(len(name)) + name.encode() + _number(len(value)) + value
    found += _number(0) + sync
    for count, block in blocks:
        packed = _compressed(block, codec)
        found += _number(count) + _number(len(packed)) + packed + sync
    return found


def avro_file(codec: str) -> bytes:
    blocks: list[tuple[int, bytes]] = []
    for start in range(0, len(AVRO), 700):
        block = io.BytesIO()
        some = AVRO[start : start + 700]
        for row in some:
            fastavro.schemaless_writer(block, fastavro.parse_schema(SCHEMA), row)
        blocks.append((len(some), block.getvalue()))
    return avro_of(SCHEMA, blocks, codec)


@pytest.mark.parametrize("codec", ["null", "deflate", "bzip2", "xz", "snappy", "zstandard"])
def test_avro_with_every_codec_in_the_types_of_its_schema(tmp_path: Path, codec: str) -> None:
    content = avro_file(codec)
    found = values(tmp_path, "a.avro", content)
    assert len(found) == 3000
    assert found[3] | {"at": None, "day": None} == AVRO[3] | {"at": None, "day": None}
    assert (found[3]["day"], found[3]["at"]) == ("2024-05-01", "2024-05-01T10:00:00.000003Z")
    rows, _ = read(tmp_path, "a.avro", content, 2999)
    assert [number for number, _ in rows] == [3000]
    for cut in (3, 40, 400, len(content) // 2, len(content) - 1):
        with pytest.raises(Unreadable):
            read(tmp_path, "a.avro", content[:cut])


def test_avro_as_its_own_library_writes_it(tmp_path: Path) -> None:
    sink = io.BytesIO()
    fastavro.writer(sink, fastavro.parse_schema(SCHEMA), AVRO, codec="deflate")
    assert len(values(tmp_path, "a.avro", sink.getvalue())) == 3000


def _record(*types: Any) -> dict[str, Any]:
    fields = [{"name": f"f{place}", "type": one} for place, one in enumerate(types)]
    return {"type": "record", "name": f"R{random.getrandbits(60)}", "fields": fields}


def _lists(levels: int) -> bytes:
    whole, nothing = json.dumps(_record("?")).split('"?"')
    return (whole + '{"type": "array", "items": ' * levels + '"int"' + "}" * levels + nothing).encode()


DOUBLED = [{"type": "record", "name": "D0", "fields": [{"name": "f", "type": "null"}]}] + [
    {"type": "record", "name": f"D{n}", "fields": [{"name": name, "type": f"D{n - 1}"} for name in "ab"]}
    for n in range(1, 60)
]
CHAIN = [_record("int") | {"name": "C0"}] + [_record(f"C{n - 1}") | {"name": f"C{n}"} for n in range(1, 2000)]


@pytest.mark.parametrize(
    ("schema", "blocks", "says"),
    [
        (_record(["null", "L"]) | {"name": "L"}, [(1, b"\x02" * 100_000 + b"\0")], "to any depth"),
        (_record({"type": "map", "values": "a.L"}) | {"name": "a.L"}, [(1, b"\0")], "to any depth"),
        (_lists(5000), [(1, b"\x02" * 5000)], "too deep"),
        (_lists(250), [(1, b"\x02" * 250)], "deeper than 200"),
        (_record(*CHAIN), [(1, b"\x02" * 2000)], "deeper than 200"),
        (_record(*DOUBLED), [(1, b"")], "take no bytes"),
        (_record(), [(10**12, b"")], "more rows than there are bytes"),
        (_record("null", "int"), [(10**12, b"\0")], "more rows than there are bytes"),
        (
            _record({"type": "array", "items": "null"}),
            [(1, _number(10**9) + b"\0")],
            "lists of values that take no bytes",
        ),
        (_record({"type": "array", "items": _record("null")}), [(1, _number(10**9) + b"\0")], "take no bytes"),
        (_record({"type": "int", "logicalType": ["x"]}), [(1, b"\0")], "schema is none"),
        (_record({"type": "array", "items": []}), [(1, b"\0")], "schema is none"),
    ],
)
def test_an_avro_file_that_would_be_endless_or_bottomless_is_refused(
    tmp_path: Path, schema: Any, blocks: list[tuple[int, bytes]], says: str
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
    with pytest.raises(Unreadable, match=says):
        read(tmp_path, "a.avro", avro_of(schema, blocks))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_utime - before < 5


def test_avro_values_without_bytes_and_types_by_name_are_read(tmp_path: Path) -> None:
    point = _record("int") | {"name": "n.Point"}
    schema = _record("int", "null", point, ["null", "n.Point"], {"type": "array", "items": ["null", "int"]})
    row = b"\x02" + b"\x04" + b"\x02\x06" + b"\x04\0\x02\x08\0"
    assert (
        values(tmp_path, "a.avro", avro_of(schema, [(2, row * 2)]))
        == [{"f0": 1, "f2": {"f0": 2}, "f3": {"f0": 3}, "f4": [None, 4]}] * 2
    )


def test_xml_has_a_row_for_each_child_of_the_root(tmp_path: Path) -> None:
    content = b"""<?xml version="1.0" encoding="ISO-8859-1"?>
    <orders of="us"><!-- no row -->
      <order id="1" when="2024-05-01"><name>gr\xfcn &amp; co</name>
        <item n="2">a</item><item n="3">b</item><none/></order>
      <order id="2"><name>x</name></order>
      plain
      <remark>so</remark>
    </orders>"""
    assert values(tmp_path, "a.xml", content) == [
        {
            "id": 1,
            "when": "2024-05-01",
            "name": "grün & co",
            "item": [{"n": "2", "value": "a"}, {"n": "3", "value": "b"}],
            "value": None,
        },
        {"id": 2, "when": None, "name": "x", "item": None, "value": None},
        {"id": None, "when": None, "name": None, "item": None, "value": "so"},
    ]
    for wrong in (
        b'<!DOCTYPE a [<!ENTITY b "c">]><a><e>&b;</e></a>',
        b'<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a><e>&b;</e></a>',
        b'<!DOCTYPE a SYSTEM "a.dtd"><a><e>1&euro;2</e></a>',
        b'<!DOCTYPE a PUBLIC "a" "a.dtd"><a><e b="1" c="1&euro;2"/></a>',
        '<!DOCTYPE a SYSTEM "a.dtd"><a><e c="1&euro;2"/></a>'.encode("utf-16"),
        b"<!DOCTYPE a [%other;]><a><e>1&euro;2</e></a>",
        b"<!DOCTYPE a [%other;]><a><e c='1&euro;2'/></a>",
        b"<a><e>&euro;</e></a>",
        b"<a><b></a>",
        b"<a>" * 300,
        b"",
        b"<a><b/>",
    ):
        with pytest.raises(Unreadable):
            read(tmp_path, "a.xml", wrong)


def test_xml_keeps_the_blanks_of_text_and_what_stands_between_children(tmp_path: Path) -> None:
    content = b"""<rows>
      <e><p lang="d">  hi  </p><q>  hi  </q><r lang="d">  </r><s>  </s></e>
      <e>
        <p>x</p> and <p>y</p>
      </e>
      <e>  so  </e>
    </rows>"""
    first, second, third = values(tmp_path, "a.xml", content)
    assert first == {
        "p": {"lang": "d", "value": "  hi  "},
        "q": "  hi  ",
        "r": {"lang": "d", "value": "  "},
        "s": "  ",
        "value": None,
    }
    assert (second["p"], second["value"].split()) == (["x", "y"], ["and"])
    assert third["value"] == "  so  "


def test_xml_of_a_type_that_stands_elsewhere_is_read_where_it_names_nothing_of_it(tmp_path: Path) -> None:
    row = b'<e a="1&amp;2 &#8364;" b=\'>"&lt;\'>&quot;<![CDATA[&euro;]]></e>'
    head = b'<?xml version="1.0"?>\n<!DOCTYPE rows SYSTEM "http://localhost:1/rows.dtd">\n<rows>'
    found = values(tmp_path, "a.xml", head + row * 2000 + b"</rows>")
    assert found == [{"a": "1&2 \u20ac", "b": '>"<', "value": '"&euro;'}] * 2000


CONTENT = b"a,b\n" + b"".join(b"%d,%x\n" % (n, random.Random(n).getrandbits(80)) for n in range(30_000))


@pytest.mark.parametrize(
    ("ending", "pack"),
    [(".gz", gzip.compress), (".zst", lambda content: pa.compress(content, "zstd", asbytes=True))],
)
def test_compressed_files_are_unpacked_and_cut_ones_told(
    tmp_path: Path, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    packed = pack(CONTENT)
    assert len(values(tmp_path, f"a.csv{ending}", packed)) == 30_000
    # As gzip itself does, two files that stand one behind the other are one.
    both = pack(CONTENT) + pack(CONTENT.partition(b"\n")[2])
    assert len(values(tmp_path, f"b.csv{ending}", both)) == 60_000
    for cut in (1, 9, len(packed) // 2, len(packed) - 1):
        with pytest.raises(Unreadable):
            read(tmp_path, f"c.csv{ending}", packed[:cut])


@pytest.mark.parametrize(
    "name", ["a.csv", "a.json", "a.parquet", "a.avro", "a.xml", "a.csv.gz", "a.csv.zst", "a.jsonl"]
)
def test_garbage_ends_in_words_or_in_bad_rows(tmp_path: Path, name: str) -> None:
    chance = random.Random(name)
    for size in (1, 4, 100, 5000):
        for _ in range(10):
            try:
                read(tmp_path, name, chance.randbytes(size))
            except Unreadable as error:
                assert error.message


def test_files_are_chosen_by_their_names() -> None:
    def means(pattern: str, path: str) -> bool:
        return wanted(Config(url="/x", pattern=pattern), path)

    assert means("*", "a/b/c.csv") and not means("*", "a/_temporary/c.csv") and not means("*", ".a.csv")
    assert means("*.csv", "a/b.csv") and not means("*.csv", "a/b.csv.gz")
    assert means("a/*.csv", "a/b.csv") and not means("a/*.csv", "a/b/c.csv") and not means("a/*.csv", "b.csv")
    assert means("a/**/*.csv", "a/b.csv") and means("a/**/*.csv", "a/b/c/d.csv")
    assert means("[ab]?.csv", "a1.csv") and not means("[!ab]?.csv", "a1.csv") and means("a+(1).csv", "a+(1).csv")
    assert [own_name(Config(url=url)) for url in ("/x/in/", "s3://bucket", "s3://bucket/a/b", "/")] == [
        "in",
        "bucket",
        "b",
        "files",
    ]
    found = kind(Config(url="/x"), "A/B.JSONL.GZ")
    assert found is not None and (found.format, found.compression) == ("json", "gzip")
    assert kind(Config(url="/x"), "a.gz") is None and kind(Config(url="/x"), "a") is None
    given = kind(Config(url="/x", format="csv"), "2024-05-01.gz")
    assert given is not None and (given.format, given.compression) == ("csv", "gzip")


@pytest.mark.parametrize(
    "settings",
    [
        {"url": "ftp://host/x"},
        {"url": "file:///x"},
        {"url": "sftp://host/x", "ssh_password": "p", "ssh_host_key": "k"},
        {"url": "sftp://me:secret@host/x", "ssh_host_key": "k", "ssh_password": "p"},
        {"url": "sftp://me@host/x", "ssh_password": "p"},
        {"url": "sftp://me@host/x", "ssh_host_key": "k"},
        {"url": "/x", "encoding": "klingon"},
        {"url": "/x", "encoding": "base64"},
        {"url": "/x", "delimiter": "é"},
        {"url": "/x", "delimiter": "'", "quote": "'"},
        {"url": "s3://b", "endpoint": "gopher://x"},
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error") as error:
        Config(**settings)
    assert "secret" not in str(error.value)


def test_marks_are_gathered_when_there_are_many() -> None:
    class Kept(NoMemory):
        data: list[bytes] = []  # noqa: RUF012  filled below

        def recall(self, part: str) -> list[bytes]:
            return self.data if part == "files" else []

    for n in range(300):
        state = State(NoMemory())
        state.note([Seen(f"{n}.csv", "v", 1, 2), Seen(f"old {n}.csv", "", 1, 2)])
        state.note([Seen(f"old {n}.csv", "", 1, 2, gone=True)])
        Kept.data += [mark.data for mark in state.marks() if mark.data is not None]
    state = State(Kept())
    first, *rest = state.marks()
    assert first.replace and first.data is None and len(rest) == 1
    Kept.data = [mark.data for mark in rest if mark.data is not None]
    assert {*State(Kept()).files} == {f"{n}.csv" for n in range(300)}
    assert State(Kept()).marks() == ()
    assert parts.letters(701) == "ZZ"
