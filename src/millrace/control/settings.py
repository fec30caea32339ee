"""Settings of the workspace, which hold for all of its pipelines."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import sqlalchemy as sa

from millrace.connect.reach import web_url
from millrace.control.activity import Entity, wrote
from millrace.control.database.db import Database, upsert
from millrace.control.database.tables import reject_groups, segments, settings, tables
from millrace.control.people.actors import FIRST_TEAM
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, Forbidden

if TYPE_CHECKING:
    from millrace.control.home import Home

Naming = Literal["edge", "classic"]

# The least and the most of the limits of scripts. Python alone takes some 40 MiB.
_OF_SCRIPTS = {"script_seconds": (0.1, 600, "seconds"), "script_memory_mib": (64, 16384, "MiB")}

_SWITCHES = (
    "legacy_frequency",
    "allow_unsandboxed_python",
    "allow_private_addresses",
    "allow_server_credentials",
    "open_metrics",
)

_URL = re.compile(r"https?://[^/\s@]+(/\S*)?")
_PREFIX = re.compile(r"[a-z_][a-z0-9_]{0,19}")


@dataclass(frozen=True, slots=True)
class Workspace:
    """What holds for all pipelines of a home.

    ``metadata_prefix`` starts the names of metadata columns; ``naming`` is the default of new pipelines;
    ``retention_days``: loaded files stay on the stage that long, ``reject_retention_days``: rejected rows do;
    ``job_retention_days``: what runs did stays on record.
    """

    metadata_prefix: str = "__hevo_"
    stage_url: str | None = None
    retention_days: int = 7
    reject_retention_days: int = 30
    job_retention_days: int = 90
    high_priority_percent: int = 25
    """Of the accounts that pipelines read from, so many may have pipelines of priority HIGH."""
    naming: Naming = "edge"
    legacy_frequency: bool = False
    """Sources allow the shorter intervals of workspaces of old."""
    allow_unsandboxed_python: bool = False
    """Users' Python runs even where this machine offers no wall around it."""
    allow_private_addresses: bool = False
    """Connections that others than the operator use may reach this machine and its network."""
    allow_server_credentials: bool = False
    """Connections that others than the operator use may open any bucket that the server's own credentials open."""
    public_url: str | None = None
    """Where people reach the server: links in mail begin so."""
    lineage_url: str | None = None
    """Where the service tells of datasets and jobs by OpenLineage, beside where the environment says."""
    open_metrics: bool = False
    """`/metrics` answers everybody, with the numbers of all teams, and asks for no key."""
    password_memory_mib: int = 64
    password_passes: int = 3
    """What one hash of a password costs (Argon2id); the defaults are those of RFC 9106, 4, for little memory."""
    script_seconds: float = 5.0
    """What a script may take for one event."""
    script_memory_mib: int = 256
    """What each process of a script may have."""


def workspace(database: Database) -> Workspace:
    """The settings as they are."""
    known = {field.name for field in fields(Workspace)}
    with database.reading() as connection:
        rows = connection.execute(sa.select(settings.c.key, settings.c.value)).all()
    return Workspace(**{key: value for key, value in rows if key in known})


def change(home: Home, **changes: Any) -> Workspace:
    """The settings, with those that are named changed.

    Raises ConfigError for a name or a value that cannot be, and for a change that loaded or staged rows forbid.
    """
    home.actor.must("settings.edit")
    if home.actor.team_id != FIRST_TEAM and home.actor.kind in ("user", "key"):
        raise Forbidden(
            "settings of the workspace hold for all of its teams; only the first team changes them",
            hint="Ask an administrator of that team, or the operator of the server.",
        )
    old = workspace(home.database)
    for key, value in changes.items():
        _check(key, value)
    if isinstance(url := changes.get("stage_url"), str) and "://" not in url:
        changes["stage_url"] = str(Path(url).expanduser().absolute())
    changed = {key: value for key, value in changes.items() if getattr(old, key) != value}
    with home.database.transaction() as connection:
        if "metadata_prefix" in changed and _any_loaded(connection):
            raise ConfigError(
                "metadata_prefix cannot be changed: tables that were loaded have it in the names of their columns",
                hint="Use another home (--home) for tables with another prefix.",
                path="metadata_prefix",
                code="fixed_after_load",
            )
        if "stage_url" in changed and _any_staged(connection):
            raise ConfigError(
                "stage_url cannot be changed: rows that wait to be loaded or replayed lie on the stage as it is",
                hint="Run `millrace load`, and replay or discard the rejects; then change it.",
                path="stage_url",
                code="stage_in_use",
            )
        now = home.database.now()
        if "stage_url" in changed:
            # Files that were loaded stay behind, out of our reach.
            connection.execute(sa.update(segments).where(segments.c.state == "loaded").values(state="dropped"))
        rows = [{"key": key, "value": value, "changed_at": now} for key, value in changed.items()]
        upsert(connection, settings, rows, key=["key"])
        if changed:
            before = {key: getattr(old, key) for key in changed}
            wrote(
                home,
                "MEDIUM",
                Entity("settings", None, "workspace"),
                "change",
                "settings were changed",
                before,
                changed,
            )
    return workspace(home.database)


def _check(key: str, value: Any) -> None:
    if key not in {field.name for field in fields(Workspace)}:
        known = ", ".join(field.name for field in fields(Workspace))
        raise ConfigError(f"there is no setting {key!r}", hint=f"Settings: {known}.", path=key, code="unknown_key")
    if key == "metadata_prefix" and not (isinstance(value, str) and _PREFIX.fullmatch(value)):
        raise ConfigError(
            f"metadata_prefix {value!r} cannot start the name of a column",
            hint="Use at most 20 lower-case letters, digits and underscores, not a digit first.",
            path=key,
        )
    if key in ("retention_days", "reject_retention_days"):
        most = 90 if key == "reject_retention_days" else 30
        least = 1 if key == "reject_retention_days" else 0
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise ConfigError(f"{key} must be a whole number of days from {least} to {most}, not {value!r}", path=key)
    for name, least, most in (
        ("password_memory_mib", 8, 1024),
        ("password_passes", 1, 20),
        ("job_retention_days", 1, 3650),
        ("high_priority_percent", 0, 100),
    ):
        if key == name and (not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most):
            raise ConfigError(f"{key} must be a whole number from {least} to {most}, not {value!r}", path=key)
    if key == "naming" and value not in get_args(Naming):
        raise ConfigError(f"naming must be one of {', '.join(get_args(Naming))}, not {value!r}", path=key)
    if key in _SWITCHES and not isinstance(value, bool):
        raise ConfigError(f"{key} must be true or false, not {value!r}", path=key)
    if key in _OF_SCRIPTS:
        least, most, unit = _OF_SCRIPTS[key]
        number = isinstance(value, int) or (key == "script_seconds" and isinstance(value, float))
        if not number or isinstance(value, bool) or not least <= float(value) <= most:
            raise ConfigError(f"{key} must be {least:g} to {most:g} {unit}, not {value!r}", path=key)
    if key in ("lineage_url", "public_url") and not (
        value is None or (isinstance(value, str) and _URL.fullmatch(value) and web_url(value))
    ):
        raise ConfigError(f"{key} must be a URL of HTTP", hint="Write https://HOST/PATH.", path=key)
    if key == "stage_url" and not (value is None or (isinstance(value, str) and value)):
        raise ConfigError("stage_url must be a folder or the URL of a bucket", path=key)


def _any_loaded(connection: sa.Connection) -> bool:
    return connection.execute(sa.select(tables.c.name).where(tables.c.loaded > 0).limit(1)).first() is not None


def _any_staged(connection: sa.Connection) -> bool:
    waiting = sa.select(segments.c.number).where(segments.c.state == "staged").limit(1)
    rejected = sa.select(reject_groups.c.file_id).where(reject_groups.c.state == "open").limit(1)
    return connection.execute(waiting).first() is not None or connection.execute(rejected).first() is not None
