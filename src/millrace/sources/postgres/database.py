"""PostgreSQL, as it is asked by queries."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any

from millrace.connect.sql.reading import objects
from millrace.connect.sql.reading.database import Session as Asked
from millrace.connect.sql.reading.relation import Column, Relation
from millrace.data.batch import JSON
from millrace.sources.postgres.catalog import Described, literal, quoted
from millrace.sources.postgres.session import Server, Session

# How far behind the position rows are looked for that were committed late.
_BACK_DAYS = 1
# Transactions that are remembered; where there are more, their rows may come once more.
_MOST_KNOWN = 10_000
# Rows that are looked at to cut a table into equal parts.
_SAMPLE_ROWS = 30_000


class Postgres:
    """One database, and the one relation in it that is read."""

    rows_compare = True

    def __init__(
        self, server: Server, described: Mapping[str, Described], left_out: Callable[[str, int], None]
    ) -> None:
        self.server, self._described, self._left_out = server, described, left_out

    @contextmanager
    def session(self, snapshot: str | None = None) -> Generator[Session]:
        (name,) = self._described
        with self.server.session() as session:
            with objects.asked(name):
                session.begin([*self._described.values()], snapshot)
            yield session.described(self._described, self._left_out)

    def quoted(self, name: str) -> str:
        return quoted(name)

    def literal(self, text: str, column: Column) -> str:
        return f"CAST({literal(text)} AS {column.type})"

    def until(self, session: Asked, column: Column, delay_ms: int) -> str:
        moment = f"now() - interval '{int(delay_ms)} milliseconds'"
        if column.type != "timestamp with time zone":
            # Clocks on the wall show the time of the zone that the server is set to, whatever this session's is.
            zone = "SELECT reset_val FROM pg_settings WHERE name = 'TimeZone'"
            moment = f"({moment}) AT TIME ZONE ({zone})"
        return str(session.value(f"SELECT CAST({moment} AS {column.type})"))

    def back(self, text: str, column: Column) -> str:
        return f"{self.literal(text, column)} - interval '{_BACK_DAYS} days'"

    def bounds(self, session: Asked, relation: Relation, column: Column, parts: int) -> list[str]:
        if not relation.versioned or not relation.rows:
            return []
        share = min(max(100 * _SAMPLE_ROWS / relation.rows, 0.01), 100)
        at = ", ".join(str(number / parts) for number in range(1, parts))
        name = quoted(column.name)
        return session.values(
            f"SELECT DISTINCT cut FROM (SELECT percentile_disc(ARRAY[{at}]) WITHIN GROUP (ORDER BY {name}) AS cuts "
            f"FROM {relation.source} TABLESAMPLE SYSTEM ({share:.4f})) AS sampled, unnest(cuts) AS cut "
            "WHERE cut IS NOT NULL ORDER BY cut"
        )

    def seen(self, session: Asked, relation: Relation, where: str) -> JSON:
        oldest = int(session.value("SELECT txid_snapshot_xmin(txid_current_snapshot())") or 0)
        among = f"({where}) AND " if where else ""
        known = session.values(
            f"SELECT DISTINCT CAST(xmin AS text) FROM {relation.source} WHERE {among}{_since(oldest)} "
            f"LIMIT {_MOST_KNOWN + 1}"
        )
        known = sorted(known) if len(known) <= _MOST_KNOWN else []
        return {"xmin": oldest, "known": known, "file": self._file(session, relation)}

    def unseen(self, seen: Any) -> str:
        known = ", ".join(literal(str(one)) for one in seen["known"])
        since = _since(int(seen["xmin"]))
        return f"{since} AND CAST(xmin AS text) NOT IN ({known})" if known else since

    def written_anew(self, session: Asked, relation: Relation, seen: Any) -> bool:
        before = seen.get("file")
        if before is None:
            return True
        files, now = _files(before), _files(self._file(session, relation) or "")
        # Parts that came or went say nothing of the others.
        return any(file != now[part] for part, file in files.items() if part in now)

    def _file(self, session: Asked, relation: Relation) -> str | None:
        """Where the server keeps the rows, which is another place where they are written anew; of a table in parts, of
        each part by its number."""
        source = literal(relation.source)
        return session.value(
            f"WITH RECURSIVE parts (part) AS (SELECT CAST(CAST({source} AS regclass) AS oid) UNION ALL "
            "SELECT i.inhrelid FROM parts JOIN pg_inherits i ON i.inhparent = part) "
            f"SELECT COALESCE(CAST(pg_relation_filenode({source}) AS text), "
            "(SELECT string_agg(part || ':' || pg_relation_filenode(part), ',' ORDER BY part) FROM parts "
            "WHERE pg_relation_filenode(part) IS NOT NULL))"
        )


def _files(told: str) -> dict[str, str]:
    """Files by parts; a table that is none has its file alone."""
    pairs = (one.rpartition(":") for one in told.split(",") if one)
    return {part: file for part, _, file in pairs}


def _since(oldest: int) -> str:
    """Rows written by this transaction or a later one. Numbers of transactions are kept in 32 bits, and go round."""
    return f"age(xmin) <= age(CAST('{oldest % (1 << 32)}' AS xid))"
