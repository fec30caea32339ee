"""What is in the way of following a binary log, in our errors.

The numbers and names of the failures are those of sources.md 3.1.
"""

from __future__ import annotations

import pymysql

from millrace.connect.log import expired
from millrace.connect.mysql.errors import translated
from millrace.errors import ConfigError, MillraceError

_RIGHTS = (1044, 1045, 1142, 1143, 1227, 3530)
# The server cannot go on from the position: the file was purged, or is another one.
_NO_SUCH_LOG = (1236, 1373, 1220)


def wrong_format(why: str) -> ConfigError:
    """The log does not have rows as they are."""
    return ConfigError(
        f"Unsupported BinLog format (1027): {why}.",
        hint="Set binlog_format = ROW and binlog_row_image = FULL on the server, and let no session change them. Where "
        "something else is in the log already, run `millrace resync --mode drop-and-load`.",
        code="mysql_1027",
    )


def no_place(where: str, why: str) -> ConfigError:
    return ConfigError(
        f"Failed to determine binlog filename/position: {where} {why}.",
        hint="Turn the log on (log_bin) and restart the server, or read with ingestion_mode: table.",
        code="mysql_binlog_position",
    )


def not_tracked(where: str, database: str) -> ConfigError:
    return ConfigError(
        f"Schema '{database}' is not tracked via bin logs of {where}.",
        hint="Take the database out of binlog_ignore_db, or put it into binlog_do_db, and restart the server.",
        code="mysql_not_tracked",
    )


def may_not_lock(source: str, said: str) -> ConfigError:
    return ConfigError(
        f"The user may not lock {source} while the state that is read gets its place in the log: {said}",
        hint="Grant the user LOCK TABLES on the database.",
        code="PERMISSION_DENIED",
    )


def may_not(where: str, said: str) -> ConfigError:
    return ConfigError(
        f"Replication access denied (1012): the user of {where} may not follow: {said}.",
        hint="Let the user replicate: GRANT REPLICATION SLAVE, REPLICATION CLIENT ON *.* (on MariaDB 10.5 and newer: "
        "REPLICATION SLAVE, BINLOG MONITOR).",
        code="mysql_1012",
    )


def of_dump(error: pymysql.Error, where: str) -> MillraceError | Exception:
    """Our error for what a server says in place of its log."""
    number = error.args[0] if error.args else 0
    said = str(error.args[1]).strip().rstrip(".") if len(error.args) > 1 else str(error)
    if number in _RIGHTS:
        return may_not(where, said)
    if number in _NO_SUCH_LOG:
        # The same number stands for a replica of another's id that took its place.
        if "same server_uuid/server_id" in said or "same server_id" in said:
            return translated(pymysql.OperationalError(2013, said), where)
        return expired(f"the server does not have this part of its log any more ({said})")
    return translated(error, where)


def of_question(error: MillraceError, where: str) -> MillraceError:
    """The same for a question about the log, where a right to ask it is missing."""
    if isinstance(error, ConfigError) and error.code == "PERMISSION_DENIED":
        return may_not(where, error.message.rpartition(" lacks a right: ")[2].rstrip("."))
    return error
