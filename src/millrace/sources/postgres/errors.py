"""What PostgreSQL and its driver say when it is read, in our errors; those of the connection have numbers.

Sources: https://www.postgresql.org/docs/current/errcodes-appendix.html, and the words of libpq where no SQLSTATE is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from millrace.connect.sql import libpq
from millrace.errors import AuthError, ConfigError, MillraceError, Transient, in_words

# How following the log is made possible, where something is in its way.
HINTS: Mapping[str, str] = {
    "postgres_1011": "Let the user replicate: ALTER ROLE … WITH REPLICATION (on Amazon RDS: rds_replication).",
    "postgres_1012": "Set wal_level = logical on the server and restart it, or read with ingestion_mode: table.",
    "postgres_1024": "Raise max_wal_senders and max_replication_slots, or drop slots that nobody reads.",
}
STANDBY_HINT = (
    "Name the primary in db_host; or a standby of version 16 or newer, and in publication_name a publication that you "
    "made at the primary. Queries, ingestion_mode: table, need neither."
)


FAILOVER_HINT = "Leave failover_slot out; or name a primary of version 17 or newer in db_host."


def no_failover(version: int, *, standby: bool) -> str | None:
    """Why a slot of the server cannot go on at a standby; None where it can.

    Source: https://www.postgresql.org/docs/17/logicaldecoding-explanation.html
    """
    if version < 170_000:
        return f"a slot of version {version // 10_000} cannot go on at a standby"
    return "a slot that a standby has of its own cannot go on at another" if standby else None


def no_log_of_standby(version: int, *, own: bool) -> str | None:
    """Why a standby of this version has no log that can be followed; None where it has. ``own``: there is a
    publication that a person made.

    Source: https://www.postgresql.org/docs/16/logicaldecoding-explanation.html
    """
    if version < 160_000:
        return f"it is a standby of version {version // 10_000}"
    return None if own else "it is a standby, at which nothing can be published"


# Beginnings of SQLSTATE that mean the connection or the moment, not the statement.
_PASSING = ("08", "40", "53", "55P03", "55006", "57P", "57014", "25P03", "58")
GONE = ("42P01", "42703", "3F000")
_ENCRYPTION = ("SSL", "certificate", "encryption", "tls")


def translated(state: str | None, text: str, where: str, user: str = "", database: str = "") -> MillraceError:
    """Our error for one of the driver's. ``where`` names the server and database, without the password."""
    if state is None:
        return _unreachable(libpq.without_query(text), where, user, database)
    said = _said(text)
    if state == "42501" and "replication" in said:
        return _may_not_replicate(where, said)
    if state == "42501":
        return ConfigError(
            f"The user of {where} lacks a right: {said}.",
            hint="Grant the user USAGE on the schema and SELECT on the tables.",
            code="PERMISSION_DENIED",
        )
    if state == "55000" and "wal_level" in said:
        return ConfigError(
            f"{where} keeps no log that could be followed: {said}.",
            hint=HINTS["postgres_1012"],
            code="postgres_1012",
        )
    if state in ("53300", "53400") and ("replication slots" in said or "wal_senders" in said):
        return _no_room(where, said)
    if state in ("22021", "22P05"):
        return ConfigError(
            f"{where} has text that cannot be read as UTF-8: {said}.",
            hint="Rename or correct it at the server, or leave it out by a query (ingestion_mode: custom_sql).",
            code="sql",
        )
    if state in GONE:
        # The next run asks for the tables anew.
        return Transient(f"{where} has changed while it was read: {said}.", hint="Run again: tables are listed anew.")
    if state == "25006":
        text = f"{where} was asked to write, and Millrace only reads: {said}."
        return ConfigError(text, hint="Write a query that reads.", code="writes")
    if state.startswith(_PASSING):
        return Transient(f"{where} could not go on: {said}.")
    return ConfigError(f"{where} refuses a query: {said}.", code="sql")


# Words of errors that end a stream, with the SQLSTATE that they stand for.
_WORDS = (
    ("read-only transaction", "25006"),
    ("canceling statement", "57014"),
    ("terminating connection", "57P01"),
    ("conflict with recovery", "40001"),
    ("permission denied", "42501"),
    ("No space left", "53100"),
    ("out of memory", "53200"),
)


def state_of(text: str) -> str:
    """The SQLSTATE of an error of which only words are left: the query's fault, or that of the connection."""
    known = next((state for words, state in _WORDS if words in text), None)
    return known or ("XX000" if "ERROR:" in text else "08006")


def unknown_host(host: str, cause: Exception) -> MillraceError:
    return _no_host(f"The host {host} is not known: {in_words(cause)}.")


def _unreachable(text: str, where: str, user: str, database: str) -> MillraceError:
    """A connection that could not be made or is gone: the driver hands on words without a SQLSTATE.

    Those of the client are English, those of the server in the language of its settings; what of ours they name tells
    them apart in any language.
    """
    said = _said(text)
    words = text.partition(" failed: ")[2].split("\n")[0]
    busy = "too many connections for" in words or "not currently accepting connections" in words
    if "could not translate host name" in text:
        return _no_host(f"The host of {where} is not known: {said}.")
    if "wal_senders" in text or "number of requested standby connections" in text:
        return _no_room(where, said)
    if "must be superuser or replication role" in text or "permission denied to start WAL sender" in text:
        return _may_not_replicate(where, said)
    if "pg_hba.conf" in text:
        return ConfigError(
            f"{where} lets nobody in from here: {said}.",
            hint="Add a line for the user, the database and this machine's address to pg_hba.conf, and reload.",
            path="db_host",
            code="postgres_1023",
        )
    if "permission denied for database" in text:
        hint = "Grant the user CONNECT on the database."
        return ConfigError(f"The user may not connect to {where}: {said}.", hint=hint, code="PERMISSION_DENIED")
    if "authentication failed" in text or "no password supplied" in text or (_names(words, user) and not busy):
        return AuthError(
            f"{where} refused the user: {said}.",
            hint="Check db_user and db_password.",
            path="db_password",
            code="postgres_1003",
        )
    if _names(words, database) and not busy:
        return ConfigError(
            f"{where} has no such database: {said}.", hint="Check db_name.", path="db_name", code="postgres_1014"
        )
    gone, besides = libpq.lost(text)
    if any(word in besides for word in _ENCRYPTION):
        return ConfigError(
            f"{where} and the settings of encryption do not go together: {said}.",
            hint="Check ssl_mode and the certificates, and that PostgreSQL answers at db_port and nothing else.",
            path="ssl_mode",
            code="postgres_1017",
        )
    timeout = "timeout expired" in text or "timed out" in text
    hint = "Check db_host and db_port, that the server runs, and that no firewall swallows what is sent to it."
    # It may be that the server only starts again.
    passing = Transient(f"{where} cannot be reached: {gone or said}.", hint=hint)
    passing.code = "postgres_1017" if timeout else "postgres_1006"
    return passing


def _no_host(message: str) -> ConfigError:
    return ConfigError(message, hint="Check db_host.", path="db_host", code="postgres_1006")


def _may_not_replicate(where: str, said: str) -> ConfigError:
    return ConfigError(
        f"The user of {where} may not replicate: {said}.",
        hint=HINTS["postgres_1011"],
        code="postgres_1011",
    )


def _no_room(where: str, said: str) -> ConfigError:
    return ConfigError(
        f"{where} has no room for another follower: {said}.",
        hint=HINTS["postgres_1024"],
        code="postgres_1024",
    )


def _names(words: str, name: str) -> bool:
    return bool(name) and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", words) is not None


def _said(text: str) -> str:
    """The server's own first line: without the statement, and without the row that a DETAIL would show."""
    match = re.search(r"(?:ERROR|FATAL|PANIC):\s+([^\n]*)", text) or re.search(r" failed: [^\s:]+:\s+([^\n]*)", text)
    line = match[1] if match else text.strip().split("\n")[0]
    line = re.sub(r"^\w+: (\[libpq\] )?", "", line)
    return re.sub(r"\s*SQLSTATE: \w+$", "", line).strip().rstrip(".")
