"""One query of the user's as a relation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from millrace.connect.source import Clock
from millrace.connect.sql.reading.relation import Relation
from millrace.errors import ConfigError
from millrace.sources.postgres.catalog import Described, column
from millrace.sources.postgres.errors import GONE, translated
from millrace.sources.postgres.locks import PATIENCE_S, PAUSE_S, WAIT_MS
from millrace.sources.postgres.session import Server
from millrace.sources.postgres.types import SESSION, typed

if TYPE_CHECKING:
    import psycopg
    from psycopg import pq

_TYPES = """
WITH RECURSIVE below (id, modifier, top) AS (
  SELECT t.oid, -1, t.oid FROM pg_type AS t WHERE t.oid = ANY(%s::oid[])
  UNION ALL
  SELECT t.typbasetype, CASE WHEN b.modifier < 0 THEN t.typtypmod ELSE b.modifier END, b.top
  FROM below AS b JOIN pg_type AS t ON t.oid = b.id WHERE t.typtype = 'd'
)
SELECT b.top::int8, format_type(b.top, -1),
  CASE WHEN n.nspname = 'pg_catalog' AND t.typtype = 'b' THEN t.typname ELSE '' END::text, b.modifier
FROM below AS b JOIN pg_type AS t ON t.oid = b.id AND t.typtype <> 'd'
JOIN pg_namespace AS n ON n.oid = t.typnamespace"""


def custom(server: Server) -> Mapping[str, Described]:
    """The query of the settings, by its name, with the columns that the server says it has.

    Raises ConfigError for what is not one query that reads, with columns of distinct names.
    """
    # Imported here: tables are read without. ADBC does not tell a column's modifier.
    import psycopg

    config = server.config
    source = f"({(config.custom_sql or '').strip().rstrip(';')}\n) AS query"
    try:
        with psycopg.connect(server.uri(), autocommit=True) as connection:
            for name, value in SESSION.items():
                connection.execute("SELECT set_config(%s, %s, false)", (name, value))
            result = _described(connection, f"SELECT * FROM {source} LIMIT 0", server.context.clock)
            places = range(result.nfields)
            names = [(result.fname(place) or b"").decode() for place in places]
            oids = [result.ftype(place) for place in places]
            modifiers = [result.fmod(place) for place in places]
            types = {row[0]: row[1:] for row in connection.execute(_TYPES, (list(set(oids)),)).fetchall()}
            ((cents,),) = connection.execute("SELECT scale(CAST(CAST('0' AS money) AS numeric))").fetchall()
    except psycopg.Error as error:
        found = translated(error.sqlstate, _words(error), config.where, config.db_user, config.db_name)
        if error.sqlstate in GONE:
            # Nothing was there before that could have changed.
            found = ConfigError(
                f"{config.where} does not know a name in the query: {str(error).splitlines()[0]}.",
                hint="Correct custom_sql, or make at the server what it names.",
                path="custom_sql",
                code="sql",
            )
        raise found from error
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ConfigError(
            f"the query has two columns named {twice!r}",
            hint="Give one of them another name with AS.",
            path="custom_sql",
            code="duplicate_columns",
        )
    columns = [column(name, types[oid][0], types[oid][1], True) for name, oid in zip(names, oids, strict=True)]
    known = {
        name: typed(types[oid][1], modifier if modifier >= 0 else types[oid][2], money_scale=cents)
        for name, oid, modifier in zip(names, oids, modifiers, strict=True)
    }
    return {config.custom_sql_name: Described(Relation(config.custom_sql_name, source, tuple(columns)), known)}


def _described(connection: psycopg.Connection[Any], sql: str, clock: Clock) -> pq.abc.PGresult:
    """The empty answer of a query. It waits for no lock while it holds another, but for a moment."""
    import psycopg

    until = clock.monotonic() + PATIENCE_S
    while True:
        connection.execute("BEGIN READ ONLY")
        connection.execute(f"SELECT set_config('lock_timeout', CAST(({WAIT_MS}) AS text), true)".encode())
        try:
            # Prepared, so that the server takes one statement and no more.
            result = connection.execute(sql.encode(), prepare=True).pgresult
            assert result is not None
            return result
        except psycopg.errors.LockNotAvailable:
            if clock.monotonic() > until:
                raise
            clock.sleep(PAUSE_S)
        finally:
            connection.execute("ROLLBACK")


def _words(error: Exception) -> str:
    return f"ERROR: {error}" if getattr(error, "sqlstate", None) else str(error)
