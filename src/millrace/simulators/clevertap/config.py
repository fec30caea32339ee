"""The settings of the CleverTap simulator, as its YAML file has them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from millrace.errors import ConfigError
from millrace.simulators.faults import Rule

REGIONS = ("eu1", "us1", "in1", "sg1", "aps3", "mec1")

NOT_EXPORTABLE = (
    "Notification Sent",
    "Notification Bounce",
    "Notification Viewed",
    "Notification Control Group",
    "Notification Rendered",
    "Notification System Control Group",
)

Share = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Account(Part):
    """One CleverTap project. With ``users: 0`` it holds only what is added to it."""

    id: str = Field(min_length=1)
    passcode: str = Field(min_length=1)
    region: Literal["eu1", "us1", "in1", "sg1", "aps3", "mec1"] = "eu1"
    timezone: str = "UTC"
    users: int = Field(default=0, ge=0)
    days: int = Field(default=30, ge=0, description="Days of history before the first day of the clock.")
    profile: Literal["ecommerce", "travel"] = "ecommerce"
    sessions_per_day: float = Field(default=0.45, ge=0, le=20, description="Mean over devices and days.")
    events: tuple[str, ...] = Field(default=(), description="Names in the catalogue even when no row has them.")

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError) as exc:
            raise ValueError(f"no time zone {name!r}; use an IANA name such as Europe/Berlin") from exc
        return name


class Concurrency(Part):
    read: int = Field(default=3, ge=1)
    upload: int = Field(default=15, ge=1)


class Waits(Part):
    """With this probability the first answers are "not yet", between ``times`` of them."""

    probability: Share = 0.0
    times: tuple[int, int] = (1, 3)


class CursorLife(Part):
    ttl_s: int = Field(default=14400, ge=1)
    idle_s: int = Field(default=3600, ge=1)
    profile_ttl_s: int = Field(default=345600, ge=1)


class Latency(Part):
    """Milliseconds, from and to, drawn evenly. They are really waited, whatever the clock."""

    open: tuple[float, float] = (80, 400)
    page: tuple[float, float] = (50, 900)
    report_ms_per_day: float = Field(default=20, ge=0, description="Message reports grow slower with their range.")


class Duplicates(Part):
    probability: Share = 0.004


class Late(Part):
    probability: Share = 0.02
    max_days: float = Field(default=5, ge=0)


class Drift(Part):
    enabled: bool = True


# CleverTap lets its clients wait for pages and counts; who tries things out for the first time need not.
AT_ONCE: Mapping[str, Any] = {
    "page_not_ready": {"probability": 0},
    "partial": {"probability": 0},
    "latency_ms": {"open": [1, 5], "page": [1, 10], "report_ms_per_day": 0},
}


class Settings(Part):
    """All that a simulator is made from. The same settings give the same data and the same answers."""

    seed: int = 42
    now: datetime | None = datetime(2026, 3, 14, 10, tzinfo=UTC)
    clock: Literal["frozen", "real"] = "frozen"
    accounts: tuple[Account, ...] = (
        Account(
            id="SIM-EU1-0001",
            passcode="demo-pass-eu",
            region="eu1",
            timezone="Europe/Berlin",
            users=400,
            days=45,
        ),
        Account(
            id="SIM-IN1-0001",
            passcode="demo-pass-in",
            region="in1",
            timezone="Asia/Kolkata",
            users=200,
            days=20,
            profile="travel",
        ),
    )
    wrong_project_id: Literal["accept_empty", "reject_401"] = "accept_empty"
    not_exportable: tuple[str, ...] = NOT_EXPORTABLE
    shards: int = Field(default=23, ge=1, le=64)
    concurrency: Concurrency = Concurrency()
    page_not_ready: Waits = Waits(probability=0.2, times=(1, 3))
    partial: Waits = Waits(probability=0.5, times=(1, 2))
    cursor: CursorLife = CursorLife()
    latency_ms: Latency = Latency()
    duplicates: Duplicates = Duplicates()
    late: Late = Late()
    drift: Drift = Drift()
    previous_cursor: bool = False
    faults: tuple[Rule, ...] = Field(default=(), description="Fault rules in force from the start.")
    control: bool = Field(
        default=True, description="Whether the endpoints under `/_sim/` answer, which write files and call URLs."
    )
    memory_mb: int = Field(
        default=256, ge=1, description="Generated rows kept in memory; the rest goes to a spool file."
    )

    @field_validator("now")
    @classmethod
    def _aware(cls, now: datetime | None) -> datetime | None:
        return now.replace(tzinfo=UTC) if now is not None and now.tzinfo is None else now

    @model_validator(mode="after")
    def _different_ids(self) -> Settings:
        ids = [account.id for account in self.accounts]
        if len(set(ids)) < len(ids):
            raise ValueError("two accounts have the same id")
        return self

    @classmethod
    def plain(cls, *accounts: Account, **changes: Any) -> Settings:
        """Settings for exact tests: no latency, no waiting, no late rows, no duplicates, no drift."""
        calm: dict[str, Any] = {
            "accounts": accounts,
            "page_not_ready": Waits(),
            "partial": Waits(),
            "latency_ms": Latency(open=(0, 0), page=(0, 0), report_ms_per_day=0),
            "duplicates": Duplicates(probability=0),
            "late": Late(probability=0),
            "drift": Drift(enabled=False),
        }
        return cls.model_validate(calm | changes)


def read(path: Path) -> Settings:
    """The settings of a YAML file. Raises ConfigError that names the file, the place and the nearest known key."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ConfigError(f"no simulator settings at {path}", hint="Give the path of a YAML file.") from exc
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as exc:
        raise ConfigError(f"{path} cannot be read as YAML: {exc}") from exc
    try:
        return Settings.model_validate(document or {})
    except ValidationError as exc:
        first = exc.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        hint = None
        if first["type"] == "extra_forbidden":
            known = [*Settings.model_fields, *Account.model_fields, *Rule.model_fields]
            near = difflib.get_close_matches(str(first["loc"][-1]), known, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Known keys: {', '.join(Settings.model_fields)}."
        raise ConfigError(f"{path}: {where}: {first['msg']}", hint=hint, path=where) from exc
