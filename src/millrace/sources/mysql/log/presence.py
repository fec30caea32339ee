"""Rows of a table as they are now, by their keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from millrace.connect.mysql.errors import no_table
from millrace.connect.mysql.session import Session
from millrace.errors import ConfigError, SchemaError, Transient
from millrace.sources.mysql.catalog import Described, quoted

# Rows that are asked for in one statement.
_AT_ONCE = 200


def present(
    session: Session,
    described: Described | None,
    key: Sequence[str],
    wanted: Sequence[str],
    keys: Sequence[tuple[Any, ...]],
) -> Mapping[tuple[Any, ...], Sequence[bytes | None]]:
    """Values of the ``wanted`` columns as the server writes them; keys without a row are not there.

    A column that has gone by now has no values: what is asked of the others is there all the same. Of a table that had
    gone before the run no row is there. Raises Transient where either goes meanwhile: the table may come back.
    """
    if described is None or not {*key} <= described.types.keys():
        return {}
    left = [name for name in wanted if name in described.types]
    # Texts that a collation takes for the same are two keys at a destination.
    texts = [place for place in range(len(key)) if keys and isinstance(keys[0][place], str)]
    asked = [quoted(key[place]) for place in texts]
    asked += [described.types[name].sql.format(c=quoted(name)) for name in left]
    found: dict[tuple[Any, ...], Sequence[bytes | None]] = {}
    for at in range(0, len(keys), _AT_ONCE):
        some = keys[at : at + _AT_ONCE]
        statements = [
            f"(SELECT {', '.join([str(number), *asked])} FROM {described.relation.source} WHERE {_same(key, one)})"
            for number, one in enumerate(some)
        ]
        try:
            _, columns = session.answer(" UNION ALL ".join(statements))
        except ConfigError as cause:
            if not (isinstance(cause, SchemaError) or no_table(cause)):
                raise
            raise Transient(
                f"{described.relation.name} has changed while its changes were read.",
                hint="Run again: tables are looked up anew.",
            ) from cause
        for number, *values in zip(*columns, strict=True):
            one = some[int(number or 0)]
            told, rest = values[: len(texts)], values[len(texts) :]
            if [one[place] for place in texts] == [(value or b"").decode(errors="replace") for value in told]:
                known = dict(zip(left, rest, strict=True))
                found[one] = [known.get(name) for name in wanted]
    return found


def _same(key: Sequence[str], values: Sequence[Any]) -> str:
    return " AND ".join(
        f"{quoted(name)} IS NULL" if value is None else f"{quoted(name)} = {literal(value)}"
        for name, value in zip(key, values, strict=True)
    )


def literal(value: Any) -> str:
    """A value of Arrow's in SQL; the session's moments are in UTC."""
    match value:
        case bool():
            return str(int(value))
        case int() | Decimal():
            return str(value)
        case float():
            return repr(value)
        case bytes():
            return f"x'{value.hex()}'"
        case datetime():
            return f"'{value.replace(tzinfo=None).isoformat(' ')}'"
        case date() | time():
            return f"'{value.isoformat()}'"
        case _:
            return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"
