"""Answers as JSON: one document for one command, the same dataclasses that the text is made from."""

from __future__ import annotations

import json
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


def encode(value: object) -> str:
    """One JSON document. Moments are ISO in UTC, exact decimals and bytes (base64) are text."""
    return json.dumps(plain(value), ensure_ascii=False, indent=2, allow_nan=False)


def plain(value: object) -> JSON:
    """``value`` in lists, dicts, text, numbers, truth values and None."""
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
        case Decimal() | PurePath():
            return str(value)
        case bytes() | bytearray() | memoryview():
            return b64encode(value).decode()
        case Mapping():
            return {_key(key): plain(below) for key, below in value.items()}
        case Sequence() | Set():
            return [plain(item) for item in value]
        case _ if is_dataclass(value):
            derived = [name for name, member in vars(type(value)).items() if isinstance(member, property)]
            return {name: plain(getattr(value, name)) for name in (*(one.name for one in fields(value)), *derived)}
        case _ if hasattr(value, "to_batches"):
            return rows(value)
        case _:
            return str(value)


def rows(value: Any) -> JSON:
    """An Arrow table as columns with their types, and rows in that order."""
    result: pa.Table = value
    columns = [{"name": field.name, "type": str(field.type)} for field in result.schema]
    cells = [column.to_pylist() for column in result.columns]
    return {"columns": columns, "rows": [[plain(cell) for cell in row] for row in zip(*cells, strict=True)]}


def _key(key: object) -> str:
    return ".".join(str(part) for part in key) if isinstance(key, tuple) else str(key)  # pyright: ignore[reportUnknownVariableType]  # parts of any kind
