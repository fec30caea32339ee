"""What PostgreSQL and its driver say, in our errors. Source: https://www.postgresql.org/docs/current/errcodes-appendix.html"""

from __future__ import annotations

import re

from millrace.connect.sql import libpq
from millrace.connect.sql.refusals import RowsRefused
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, SchemaError, Transient

# Beginnings of SQLSTATE that mean the connection or the moment, not the statement.
_PASSING = ("08", "40", "53300", "53400", "55P03", "55006", "57P", "57014")
_ROWS = {"22001": "STRING_TOO_LONG", "54000": "ROW_TOO_LARGE"}


def translated(state: str | None, text: str, where: str, user: str = "", database: str = "") -> Exception:
    """Our error for one of the driver's. ``where`` names the server and database, without the password.

    ``user`` and ``database``: those of the settings, to understand a server that speaks another language.
    """
    if state is None:
        return _unreachable(libpq.without_query(text), where, user, database)
    said = _said(text)
    if state in _ROWS:
        return RowsRefused(said, _ROWS[state])
    if state.startswith("22"):
        return RowsRefused(said, "INCOMPATIBLE_TYPE")
    if state.startswith("23"):
        return RowsRefused(said, "CONSTRAINT_VIOLATION")
    if state == "42501":
        return ConfigError(
            f"The user of {where} lacks a right: {said}.",
            hint="Grant the user USAGE and CREATE on the schema, and ownership of the tables that it loads.",
            code="PERMISSION_DENIED",
        )
    if state in ("53100", "53200") or state.startswith("58"):
        full = state == "53100" or "No space left" in text
        return EnvironmentProblem(
            f"The server of {where} has no {'disk' if full else 'memory'} left: {said}; nothing of this load was kept.",
            hint="Make room on the database server and run again.",
            code="DISK_FULL" if full else "server",
        )
    if state.startswith(_PASSING):
        hint = "What is staged waits: run again, or `millrace load`."
        return Transient(f"{where} could not go on: {said}.", hint=hint)
    if state in ("2BP01", "54011", "42701", "42P07"):
        return SchemaError(f"{where} refuses a change: {said}.", hint="Mend the table by hand.")
    if state == "25006":
        return ConfigError(f"{where} only allows reading: {said}.", hint="Name the primary server.", code="read_only")
    return ConfigError(f"{where} refuses a statement: {said}", code="sql")


def _unreachable(text: str, where: str, user: str, database: str) -> Exception:
    """A connection that could not be made: the driver hands on words without a SQLSTATE.

    Those of the client are English, those of the server in the language of its settings. What of ours they name tells
    them apart in any language, where English words do not do it better.
    """
    said = _said(text)
    words = text.partition(" failed: ")[2].split("\n")[0]
    # One connection too many is told of a user or a database too, and passes.
    busy = "too many connections for" in words or "not currently accepting connections" in words
    about_user, about_database = _names(words, user) and not busy, _names(words, database) and not busy
    if "could not translate host name" in text:
        return ConfigError(f"The host of {where} is not known: {said}.", path="db_host", code="unknown_host")
    gone, besides = libpq.lost(text)
    if "SSL" in besides or "certificate" in besides or "pg_hba.conf" in besides:
        return ConfigError(
            f"{where} and the settings of encryption do not go together, or it lets nobody in from here: {said}.",
            hint="Look at ssl_mode here, and at pg_hba.conf on the server.",
            path="ssl_mode",
            code="ssl",
        )
    if "permission denied for database" in text:
        return ConfigError(
            f"The user may not connect to {where}: {said}.",
            hint="Grant the user CONNECT on the database.",
            code="PERMISSION_DENIED",
        )
    if "authentication failed" in text or about_user:
        also = " and db_name" if about_database else ""
        return AuthError(
            f"{where} refused the user: {said}.", hint=f"Check db_user and db_password{also}.", path="db_password"
        )
    if about_database:
        return ConfigError(
            f"{where} has no such database, or lets nobody in: {said}.",
            hint="Check db_name, and that the user may connect to it.",
            path="db_name",
            code="no_database",
        )
    return Transient(
        f"{where} cannot be reached: {gone or said}.",
        hint="Check db_host and db_port, and that the server runs and lets this machine in.",
    )


def _names(words: str, name: str) -> bool:
    return bool(name) and re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w.-])", words) is not None


def _said(text: str) -> str:
    """The server's own first line: without the statement, and without the row that a DETAIL would show."""
    match = re.search(r"(?:ERROR|FATAL|PANIC):\s+([^\n]*)", text) or re.search(r" failed: [^\s:]+:\s+([^\n]*)", text)
    line = match[1] if match else text.strip().split("\n")[0]
    line = re.sub(r"^\w+: (\[libpq\] )?", "", line)
    return re.sub(r"\s*SQLSTATE: \w+$", "", line).strip().rstrip(".")
