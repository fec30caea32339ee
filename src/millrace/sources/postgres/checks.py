"""The test of a connection: the server lets the user in, and there is something to read."""

from __future__ import annotations

from millrace.connect.source import Context, Verdict
from millrace.errors import MillraceError
from millrace.sources.postgres import catalog
from millrace.sources.postgres.config import Config
from millrace.sources.postgres.custom import custom
from millrace.sources.postgres.log.checks import verdict
from millrace.sources.postgres.session import Server, Session

# The oldest version of which snapshots can be shared and ranges of a sample be read.
_OLDEST = 100_000


def verdicts(config: Config, context: Context) -> list[Verdict]:
    """Findings in order: connection, version, objects. A "fail" is the last."""
    server = Server(config, context)
    try:
        return _found(config, server)
    except MillraceError as error:
        return [Verdict("connection", "fail", error.message, error.hint)]
    finally:
        server.close()


def _found(config: Config, server: Server) -> list[Verdict]:
    with server.session() as session:
        found = [Verdict("connection", "pass", f"{config.db_user} is let in at {config.address}")]
        ((number, version, standby),) = session.rows(
            "SELECT current_setting('server_version_num')::int4, current_setting('server_version'), pg_is_in_recovery()"
        )
        words = f"PostgreSQL {version}" + (", a standby" if standby else "")
        if number < _OLDEST:
            return [*found, Verdict("version", "fail", f"{words} is too old", "Use a server of version 10 or newer.")]
        found.append(Verdict("version", "pass", words))
        if config.ingestion_mode == "log":
            found.append(verdict(session, own=config.publication_name is not None, failover=bool(config.failover_slot)))
            if found[-1].state == "fail":
                return found
        try:
            return [*found, _objects(config, server, session)]
        except MillraceError as error:
            return [*found, Verdict("objects", "fail", error.message, error.hint)]


def _objects(config: Config, server: Server, session: Session) -> Verdict:
    if config.ingestion_mode == "custom_sql":
        (described,) = custom(server).values()
        return Verdict("query", "pass", f"the query gives {len(described.relation.columns)} columns")
    known = catalog.relations(session, config.schemas)
    if not known:
        schemas = f" in {', '.join(config.schemas)}" if config.schemas else ""
        return Verdict(
            "objects",
            "fail",
            f"there is no table{schemas} that {config.db_user} may read",
            "Grant the user USAGE on the schema and SELECT on its tables.",
        )
    if hidden := sorted(name for name, one in known.items() if one.partial):
        return Verdict(
            "objects",
            "warn",
            f"policies of the server may hide rows of {', '.join(hidden)} from {config.db_user}",
            "Let the user see all rows for sure: ALTER ROLE … BYPASSRLS. The log has them in any case.",
        )
    keyless = sum(not one.relation.identity for one in known.values())
    words = f"{len(known)} tables and views" + (f", {keyless} of them without a key" if keyless else "")
    return Verdict("objects", "pass", words)
