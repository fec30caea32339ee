"""What MySQL, MariaDB and the driver say, in our errors.

Sources: https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html,
https://mariadb.com/kb/en/mariadb-error-code-reference/; the numbers of failed connections are those of sources.md 3.1.
"""

from __future__ import annotations

import re
import socket
import ssl

import pymysql

from millrace.connect.sql.refusals import RowsRefused
from millrace.errors import AuthError, ConfigError, EnvironmentProblem, MillraceError, SchemaError, Transient

_ROWS: dict[int, str] = {
    1406: "STRING_TOO_LONG",
    1118: "ROW_TOO_LARGE",  # more bytes than half a page
    1030: "ROW_TOO_LARGE",  # the engine's word for the same (error 139)
    1071: "ROW_TOO_LARGE",  # a key longer than an index takes
    1153: "ROW_TOO_LARGE",
    1301: "ROW_TOO_LARGE",
    **dict.fromkeys((1264, 1265, 1292, 1300, 1366, 1367, 1416, 1690, 3140, 3144, 3156, 3157), "INCOMPATIBLE_TYPE"),
    **dict.fromkeys(
        (1048, 1062, 1169, 1216, 1217, 1364, 1369, 1451, 1452, 1526, 1557, 1586, 1644, 3819, 4025, 1761, 1762),
        "CONSTRAINT_VIOLATION",
    ),
}
_SAID = (1044, 1045, 1049, 1130, 1698)
_RIGHTS = (1044, 1142, 1143, 1227, 1370, 1410, 1419)
# The connection or the moment, not the statement: lost, shut down, too many at once, locks, deadlocks, killed.
_PASSING = (
    1040, 1053, 1080, 1129, 1152, 1158, 1159, 1160, 1161, 1180, 1203, 1205, 1213, 1226, 1317, 1412, 1613, 1614, 1615,
    1637, 1879, 1927, 1969, 2002, 2003, 2006, 2013, 2014, 2027, 2055, 3024, 3058, 3101, 4031,
)  # fmt: skip
# The other side went away in the middle of TLS, which tells nothing of the settings.
_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
_MALFORMED = 2027
_READ_ONLY = (1290, 1792, 1836)
_PRIMARY = "Name the primary server."
_SCHEMA = (
    1050, 1051, 1054, 1060, 1061, 1068, 1071, 1072, 1074, 1075, 1091, 1103, 1113, 1117, 1118, 1138, 1166, 1170, 1451,
    1553, 1833, 1846, 3730, 3780,
)  # fmt: skip


def not_reached(error: OSError | UnicodeError, where: str) -> MillraceError:
    """Nobody was there to talk to: an unknown name, a closed port, silence."""
    if isinstance(error, socket.gaierror | UnicodeError):
        return ConfigError(
            f"Connection to host failed (1006): the name of {where} does not resolve.",
            hint="Check db_host: a name or an address, without a protocol in front.",
            path="db_host",
            code="mysql_1006",
        )
    late = isinstance(error, TimeoutError)
    passing = Transient(
        f"Connection to host failed (1017): {where} did not answer in time."
        if late
        else f"Connection to host failed (1003): {where} cannot be reached: {error.strerror or error}.",
        hint="Check db_host and db_port, that the server runs, and that no firewall swallows what is sent.",
    )
    passing.code = "mysql_1017" if late else "mysql_1003"
    return passing


def translated(error: BaseException, where: str, *, rows: bool = False, entering: bool = False) -> Exception:
    """Our error for one of the driver's. ``where`` names the server and database, without the password.

    ``rows``: the statement brought rows in, so that what it says of values is about them. ``entering``: the connection
    was being made.
    """
    number, said = _told(error)
    if isinstance(error, pymysql.InternalError) and not number:
        # A packet that is another one than the driver awaits.
        number = _MALFORMED
    cause = _cause(error)
    if isinstance(cause, _ENDED):
        return not_reached(cause, where) if entering else Transient(f"{where} could not go on: {said}.")
    if isinstance(cause, ssl.SSLError) or number == 2026:
        return ConfigError(
            f"Connection to host failed (1017): {where} and the settings of encryption do not go together: "
            f"{_reason(cause, said)}.",
            hint="Look at ssl_mode and ssl_ca here, and at the certificate of the server.",
            path="ssl_mode",
            code="mysql_1017",
        )
    if isinstance(cause, TimeoutError):
        return not_reached(cause, where)
    if entering and number == _MALFORMED:
        return not_reached(OSError(f"what answers there speaks no protocol of MySQL's ({said})"), where)
    if entering and number in _SAID:
        return _not_let_in(number, said, where)
    if rows and number in _ROWS and not (number == 1030 and "139" not in said):
        return RowsRefused(said, _ROWS[number])
    if number in _RIGHTS:
        return ConfigError(
            f"The user of {where} lacks a right: {said}.",
            hint="Grant the user SELECT on it."
            if said.startswith("SELECT command denied")
            else "Grant the user SELECT, INSERT, UPDATE, DELETE, CREATE, ALTER, DROP, INDEX and CREATE TEMPORARY "
            "TABLES on the database.",
            code="PERMISSION_DENIED",
        )
    if number in (1021, 1114, 1026) or (number in (1030, 3, 20) and re.search(r"\b28\b|No space", said)):
        return EnvironmentProblem(
            f"The server of {where} has no disk left: {said}; nothing of this load was kept.",
            hint="Make room on the database server and run again.",
            code="DISK_FULL",
        )
    if number in (1037, 1038, 1041, 5):
        return EnvironmentProblem(f"The server of {where} has no memory left: {said}.", code="server")
    if number in _PASSING or isinstance(error, pymysql.InterfaceError | OSError):
        return Transient(f"{where} could not go on: {said}.")
    if number in _READ_ONLY:
        # A transaction that only reads is what a source begins.
        hint = "Write a query that reads; or, to load, name the primary server." if number == 1792 else _PRIMARY
        return ConfigError(f"{where} only allows reading: {said}.", hint=hint, code="read_only")
    if number in _SCHEMA and not rows:
        return SchemaError(f"{where} refuses a change: {said}.", hint="Mend the table by hand.")
    return ConfigError(f"{where} refuses a statement: {said}", code="sql")


def no_table(error: MillraceError) -> bool:
    """Whether the server said that the table is not there."""
    cause = error.__cause__
    return isinstance(cause, pymysql.Error) and _told(cause)[0] == 1146


def _not_let_in(number: int, said: str, where: str) -> MillraceError:
    if number in (1044, 1049):
        return ConfigError(
            f"Failed to connect to database (1026): {where}: {said}.",
            hint="Check db_name, and that the user has a right on that database.",
            path="db_name",
            code="mysql_1026",
        )
    return AuthError(
        f"Access denied (1011): {where} refused the user: {said}.",
        hint="Check db_user and db_password, and that the account may come from this host.",
        path="db_password",
        code="mysql_1011",
    )


def _told(error: BaseException) -> tuple[int, str]:
    """The number and the server's own words."""
    args = error.args
    number = args[0] if args and isinstance(args[0], int) else 0
    said = str(args[1]) if len(args) > 1 else str(error)
    return number, _without_values(said).strip().rstrip(".") or "the connection was lost"


def _without_values(said: str) -> str:
    """Words of the server without the value of a row that some of them quote."""
    said = re.sub(r"^(Duplicate entry) '.*' (for key)", r"\1 \2", said, flags=re.DOTALL)
    said = re.sub(r"^((?:Incorrect|Truncated incorrect) \S+ value): '.*?'( for (?:column|function) |$)", r"\1\2", said,
                  flags=re.DOTALL)  # fmt: skip
    return re.sub(r"^(Invalid \S+ character string): '.*'$", r"\1", said, flags=re.DOTALL)


def _cause(error: BaseException) -> BaseException:
    """What the driver has wrapped in an error of its own."""
    wrapped = getattr(error, "original_exception", None)
    if isinstance(wrapped, BaseException):
        return wrapped
    below = error.__cause__ or error.__context__
    return below if isinstance(below, ssl.SSLError | TimeoutError) else error


def _reason(cause: BaseException, said: str) -> str:
    if isinstance(cause, ssl.SSLCertVerificationError):
        return cause.verify_message
    return (cause.reason or said) if isinstance(cause, ssl.SSLError) else said
