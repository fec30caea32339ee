"""`millrace discover | preview | query`: what a source offers, some of its rows, and SQL at a destination."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.text import count, dim, table
from millrace.errors import EnvironmentProblem

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.control.connecting.connections import Offer

Format = Literal["table", "csv", "json"]
WIDEST = 60


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(app, "discover", examples=["millrace discover clevertap", "millrace discover clevertap --json"])(discover)
    command(
        app, "preview", examples=["millrace preview clevertap", "millrace preview clevertap Events --limit 5 --json"]
    )(preview)
    command(
        app,
        "query",
        examples=[
            'millrace query "SELECT event_name, count(*) FROM events GROUP BY 1 ORDER BY 2 DESC"',
            'millrace query "SELECT * FROM events" --destination warehouse --limit 20 --format csv > events.csv',
        ],
    )(query)


def discover(face: Face, source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a source.")]) -> None:
    """List the objects that a source offers.

    With their keys, the columns that are known before rows are read, and whether they have a history.
    """
    from millrace.control.operations import tables

    with face.desk() as desk:
        offers = desk.ask(tables.discover, source)
    face.answer(offers, _offered(offers))


def _offered(offers: list[Offer]) -> Iterator[str]:
    rows = [
        (
            f"{one.name} (if named)" if one.extra else one.name,
            ", ".join(one.key) or None,
            one.cursor_field,
            one.historical,
            len(one.columns) or None,
        )
        for one in offers
    ]
    yield from table(("object", "key", "position by", "history", "columns"), rows)
    for one in offers:
        if one.columns:
            yield ""
            yield dim(one.name)
            yield from (f"  {column.name}  {dim(column.type)}" for column in one.columns)


def preview(
    face: Face,
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="Name of a source.")],
    stream: Annotated[str | None, typer.Argument(metavar="OBJECT", help="Object; left out: the only one.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, metavar="N", help="Rows at most.")] = 10,
) -> None:
    """Read some rows of an object and show them. Nothing is staged, loaded or remembered."""
    from millrace.control.operations import tables

    with face.desk() as desk:
        rows = desk.ask(tables.look, source, stream, limit)
    face.answer(rows, shown(rows))


def query(
    face: Face,
    sql: Annotated[str, typer.Argument(metavar="SQL", help="One statement; - reads it from stdin.")],
    destination: Annotated[
        str | None, typer.Option("--destination", "-d", metavar="NAME", help="Destination; left out: the only one.")
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", "-n", min=1, metavar="N", help="Rows at most.")] = None,
    format: Annotated[Format, typer.Option("--format", "-f", help="How rows are shown.")] = "table",
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write rows here.")] = None,
) -> None:
    """Run SQL at a destination and show its rows."""
    from millrace.control.operations import tables

    statement = sys.stdin.read() if sql == "-" else sql
    with face.desk() as desk:
        rows = desk.ask(tables.query, statement, destination, limit)
    if output is not None or format == "csv":
        written(rows, output)
        if output is not None:
            face.remark(f"Wrote {count(rows.num_rows, 'row')} to {output}.")
        return
    if format == "json":
        Face(json=True).answer(rows, [])
        return
    face.answer(rows, shown(rows))


def shown(rows: pa.Table) -> Iterator[str]:
    """Rows for a screen. Long cells are cut with an ellipsis; CSV and JSON hold them whole."""
    columns = [[_cut(value) for value in column.to_pylist()] for column in rows.columns]
    yield from table(rows.column_names, list(zip(*columns, strict=True)) if columns else [])
    yield dim(count(rows.num_rows, "row"))


def written(rows: pa.Table, file: Path | None) -> None:
    """The rows as CSV in ``file``, or on stdout; an existing file is replaced."""
    import pyarrow as pa
    from pyarrow import csv

    from millrace.data.cast import cast

    texts = [cast(column.combine_chunks(), pa.string(), strict=True).values for column in rows.columns]
    text = pa.Table.from_arrays(texts, rows.column_names)
    if file is None:
        sys.stdout.flush()
        csv.write_csv(text, sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    try:
        csv.write_csv(text, file)
    except OSError as wrong:
        raise EnvironmentProblem(
            f"{file} cannot be written: {wrong}", hint="Choose a folder that you may write to.", code="unwritable"
        ) from wrong


def _cut(value: object) -> object:
    """The value as it can be copied into SQL: nothing is rounded, and a time without a zone gets none."""
    match value:
        case bool():
            return str(value).lower()
        case int() | float():
            return str(value)
        case datetime():
            zone = "" if value.tzinfo is None else " UTC"
            moment = value if value.tzinfo is None else value.astimezone(UTC)
            return f"{moment.replace(tzinfo=None)}{zone}"
        case _:
            return _shortened(value)


def _shortened(value: object) -> object:
    """Bytes as hexadecimal digits; a long text ends with an ellipsis."""
    if isinstance(value, bytes):
        value = value.hex()
    if isinstance(value, (str, dict, list, tuple)):
        text = " ".join(str(value).split())
        return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"
    return value
