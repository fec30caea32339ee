"""Logs that are about to be cut before they are read, or that fill the disk of their system (pipelines.md 7). Pure."""

from __future__ import annotations

from millrace.connect.source import Note, Retention

CODE = "log_retention_risk"

# Shares of the time that a log is kept for; less than that is left where reading is.
SOON, NOW = 0.5, 0.2

# What a system keeps for one reader alone.
MOST_BYTES = 10 << 30


def risk(found: Retention | None) -> Note | None:
    """What people are told of it; None where all is well."""
    if found is None:
        return None
    if found.kept_s and found.behind_s is not None:
        left = (found.kept_s - found.behind_s) / found.kept_s
        if left < SOON:
            said = f"the source keeps its log for {_span(found.kept_s)}, and reading is {_span(found.behind_s)} behind"
            return Note(CODE, f"{said}: what is not read in time is lost", level="error" if left < NOW else "warning")
    if found.most_bytes and found.held_bytes is not None:
        left = (found.most_bytes - found.held_bytes) / found.most_bytes
        if left < SOON:
            said = f"the source keeps {found.most_bytes >> 20:,} MiB of its log for this pipeline at most"
            said += f", and {found.held_bytes >> 20:,} MiB were to be read: what is not read in time is lost"
            return Note(CODE, said, level="error" if left < NOW else "warning")
    if found.held_bytes is not None and found.held_bytes > MOST_BYTES:
        said = f"the source keeps {found.held_bytes / (1 << 30):.0f} GiB of its log for this pipeline"
        return Note(CODE, f"{said}, which fills its disk until they are read")
    return None


def _span(seconds: float) -> str:
    if seconds >= 2 * 86400:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 3600:.0f} hours" if seconds >= 2 * 3600 else f"{max(0.0, seconds) / 60:.0f} minutes"
