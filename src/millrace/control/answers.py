"""Answers as JSON: the same dataclasses whoever asks, on a command line or over HTTP."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.data.batch import JSON


def plain(value: object, *, decimals: bool = False) -> JSON:
    """``value`` in lists, dicts, text, numbers, truth values and None; dataclasses with what is derived from them.

    Moments are ISO in UTC, bytes are base64. Exact decimals are text, or, with ``decimals``, stay what they are.
    """
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            return value if value - value == 0 else str(value)
        case datetime() if value.tzinfo is not None:
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Decimal() if decimals and value.is_finite():
            return value
        case Decimal() | PurePath():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case Mapping():
            return {_key(key): plain(below, decimals=decimals) for key, below in value.items()}
        case Sequence() | Set():
            return [plain(item, decimals=decimals) for item in value]
        case _ if is_dataclass(value):
            names = (*(one.name for one in fields(value)), *derived(type(value)))
            return {name: plain(getattr(value, name), decimals=decimals) for name in names}
        case _ if hasattr(value, "model_dump"):
            dumped: Any = value
            return dumped.model_dump(mode="json", exclude_none=True)
        case _ if hasattr(value, "to_batches"):
            return rows(value)
        case _:
            return str(value)


def derived(cls: type) -> list[str]:
    """Names of what a dataclass says of itself beside its fields."""
    return [name for name, member in vars(cls).items() if isinstance(member, property)]


def rows(value: Any) -> JSON:
    """An Arrow table as columns with their types, and rows in that order."""
    result: pa.Table = value
    columns = [{"name": field.name, "type": str(field.type)} for field in result.schema]
    cells = [column.to_pylist() for column in result.columns]
    return {"columns": columns, "rows": [[plain(cell) for cell in row] for row in zip(*cells, strict=True)]}


def _key(key: object) -> str:
    return ".".join(str(part) for part in key) if isinstance(key, tuple) else str(key)  # pyright: ignore[reportUnknownVariableType]  # parts of any kind
