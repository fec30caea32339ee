"""What columns of the control database hold: moments, JSON, text from outside, and secrets."""

# ruff: noqa: ARG002  the methods of column types are named by SQLAlchemy

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, Dialect, LargeBinary, Text, TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Moment(TypeDecorator[datetime]):
    """A moment, aware and UTC, kept as whole microseconds since 1970."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:
        return None if value is None else (value - _EPOCH) // timedelta(microseconds=1)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else _EPOCH + timedelta(microseconds=value)


class Document(TypeDecorator[Any]):
    """A JSON value. Kept as ASCII text, so that every database takes every string in it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        return json.dumps(value, separators=(",", ":"))

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Free(TypeDecorator[str]):
    """Text from outside. Escaped as in JSON: PostgreSQL takes no NUL, and no driver a lone surrogate."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return None if value is None else json.dumps(value)[1:-1]

    def process_result_value(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json.loads(f'"{value}"')


class Sealed(TypeDecorator[bytes]):
    """Secrets, sealed (`sealing`). Every column that holds such is of this type: a change of the key finds it by it."""

    impl = LargeBinary
    cache_ok = True
