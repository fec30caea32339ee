"""Fields that rows of a pipeline are known to have: before its steps, after them, and in its tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.control.database.tables import samples
from millrace.data import json_text
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.engine.mapping import Mapping as Shape

# More names than these are not listed in a hint.
_SHOWN = 20


def check(home: Home, pipeline_id: str, names: Iterable[str], mappings: Mapping[str, Shape | None]) -> None:
    """Raises ConfigError for a name that no field of these event types has, with those that there are, nearest first.

    ``mappings``: by event type, None where it has none. Where nothing is known of any field, every name will do.
    """
    known = _sampled(home, pipeline_id, mappings)
    for mapping in mappings.values():
        known.update(() if mapping is None else _mapped(mapping))
    unknown = next((name for name in names if name not in known), None)
    if not known or unknown is None:
        return
    same = [name for name in sorted(known) if name.casefold() == unknown.casefold()]
    near = get_close_matches(unknown, sorted(known), n=len(known), cutoff=0.0)
    ordered = list(dict.fromkeys([*same, *near]))
    more = f" and {len(ordered) - _SHOWN} more" if len(ordered) > _SHOWN else ""
    raise ConfigError(
        f"no event type has a field {unknown!r}",
        hint=f"Fields: {', '.join(ordered[:_SHOWN])}{more}.",
        code="unseen_field",
    )


def _mapped(mapping: Shape) -> set[str]:
    """Fields of the event type and columns of its table, now and formerly."""
    known = {name for name, *_ in (*mapping.unmapped, *mapping.found, *mapping.nested)}
    known.update(mapping.ignored, mapping.key, mapping.names)
    return known | {column.source for column in mapping.columns}


def _sampled(home: Home, pipeline_id: str, streams: Iterable[str]) -> set[str]:
    """Fields of the rows that are kept as samples, as the source gave them."""
    query = sa.select(samples.c.row).where(samples.c.pipeline_id == pipeline_id, samples.c.stream.in_(list(streams)))
    with home.database.reading() as connection:
        rows = [json_text.loads(row) for row in connection.execute(query).scalars()]
    return {name for row in rows if isinstance(row, dict) for name in row}
