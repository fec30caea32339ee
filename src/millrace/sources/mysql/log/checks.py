"""Whether a server can be followed: its log, what is written in it, the user's rights, and how long it is kept."""

from __future__ import annotations

from millrace.connect.mysql.session import Session
from millrace.connect.source import Verdict
from millrace.errors import MillraceError
from millrace.sources.mysql.log import server
from millrace.sources.mysql.log.errors import no_place, wrong_format
from millrace.sources.mysql.log.log import Log

_DAYS = 3


def verdict(log: Log, session: Session) -> Verdict:
    """The finding on the log."""
    try:
        return _found(log, session)
    except MillraceError as error:
        return Verdict("log", "fail", error.message, error.hint)


def _found(log: Log, session: Session) -> Verdict:
    about = server.variables(session, "log_bin", "binlog_format", "binlog_row_image", "binlog_row_value_options")
    if about.get("log_bin") != "ON":
        raise no_place(log.where, "has log_bin off")
    if (written := about.get("binlog_format", "ROW")) != "ROW":
        raise wrong_format(f"binlog_format is {written}")
    if about.get("binlog_row_value_options"):
        raise wrong_format("binlog_row_value_options is PARTIAL_JSON")
    # What only whoever may follow is told.
    at = server.end(session, log.where, log.config.db_name)
    log.made(at)
    if (image := about.get("binlog_row_image", "FULL")) != "FULL":
        text = f"it can be followed; binlog_row_image is {image}, so columns that did not change are looked up"
        return Verdict("log", "warn", text, "Set binlog_row_image = FULL on the server, if its disk allows it.")
    kept = server.kept_s(session)
    if kept is not None and kept < _DAYS * 86400:
        text = f"it can be followed, and is kept for {kept / 3600:.0f} hours alone"
        return Verdict("log", "warn", text, f"Let it be kept for {_DAYS} days: binlog_expire_logs_seconds = 259200.")
    return Verdict("log", "pass", "it can be followed; it is kept " + (f"for {kept / 86400:.0f} days" if kept else
                   "until somebody purges it"))  # fmt: skip
