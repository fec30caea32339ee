"""Names of files and folders in a bucket (destinations.md 15.3)."""

from __future__ import annotations

import hashlib
import re
from datetime import UTC, datetime

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

DEFAULT = "${YEAR}/${MONTH}/${DAY}/${JOB_ID}"
PARAMETERS = ("PIPELINE_NAME", "OBJECT_NAME", "YEAR", "MONTH", "DAY", "HOUR", "DATE", "JOB_ID")
_PARAMETER = re.compile(r"\$\{([^}]*)\}")


@dataclass(frozen=True, slots=True)
class Job:
    """What a load's files are named after; the time is when the load began."""

    pipeline: str
    table: str
    job: str
    at_ms: int


def folder(template: str, job: Job) -> str:
    """The folder of a load's files, without a slash at its end. All times are UTC."""
    at = datetime.fromtimestamp(job.at_ms / 1000, UTC)
    values = {
        "PIPELINE_NAME": job.pipeline,
        "OBJECT_NAME": job.table,
        "YEAR": f"{at.year:04}",
        "MONTH": f"{at.month:02}",
        "DAY": f"{at.day:02}",
        "HOUR": f"{at.hour:02}",
        "DATE": f"{at:%Y-%m-%d}",
        "JOB_ID": job.job,
    }
    whole = template if "${OBJECT_NAME}" in template else f"${{PIPELINE_NAME}}/${{OBJECT_NAME}}/{template}"
    return _PARAMETER.sub(lambda match: safe(values[match[1]]), whole).strip("/")


def checked(template: str) -> str:
    """The template, when every parameter in it is known and there is one at least. Raises ConfigError otherwise."""
    found = _PARAMETER.findall(template)
    known = ", ".join(f"${{{name}}}" for name in PARAMETERS)
    if not found:
        raise ConfigError("The partition template has no parameter.", hint=f"Use one of {known}.", path="partition")
    for name in found:
        if name not in PARAMETERS:
            raise ConfigError(f"${{{name}}} is no parameter of a partition.", hint=f"Use {known}.", path="partition")
    plain = _PARAMETER.sub("x", template)
    if not re.fullmatch(r"[A-Za-z0-9_.=/-]*", plain) or any(part in ("", ".", "..") for part in plain.split("/")):
        raise ConfigError(
            f"The partition template {template!r} is not a path of letters, digits and _ . = - parts.",
            hint=f"For example {DEFAULT} or dt=${{DATE}}/${{JOB_ID}}.",
            path="partition",
        )
    return template


def safe(value: str) -> str:
    """A value as part of a path; values that differ only in other characters stay apart by a short hash."""
    plain = re.sub(r"[^A-Za-z0-9_.=-]", "_", value)[:100]
    if plain == value and plain not in ("", ".", ".."):
        return plain
    return f"{plain.strip('.') or '_'}-{hashlib.sha256(value.encode()).hexdigest()[:8]}"
