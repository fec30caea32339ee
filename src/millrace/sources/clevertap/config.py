"""Settings of the CleverTap source and the regions they name."""

from __future__ import annotations

import difflib
import re
from typing import Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import Field, SecretStr, field_validator, model_validator

from millrace.connect.config import Secret, SourceConfig
from millrace.connect.http.client import may_be_plain
from millrace.connect.listed_names import ListedNames
from millrace.connect.reach import web_url
from millrace.data.dataclass import dataclass
from millrace.sources.clevertap import events_file


@dataclass(frozen=True, slots=True)
class Region:
    """A CleverTap data centre. ``hosts`` are tried in order until one can be connected."""

    code: str
    label: str
    hosts: tuple[str, ...]


# https://developer.clevertap.com/docs/authentication (region table). The EU host has two names; see `client`.
REGIONS = (
    Region("eu1", "EU", ("api.clevertap.com", "eu1.api.clevertap.com")),
    Region("us1", "US", ("us1.api.clevertap.com",)),
    Region("in1", "India", ("in1.api.clevertap.com",)),
    Region("sg1", "Singapore", ("sg1.api.clevertap.com",)),
    Region("aps3", "Indonesia", ("aps3.api.clevertap.com",)),
    Region("mec1", "UAE", ("mec1.api.clevertap.com",)),
)
_ALIASES = {"global": "eu1", "in": "in1", "sg": "sg1", "id": "aps3", "middle east": "mec1", "ae": "mec1"}
_BY_NAME = {
    name.lower(): region
    for region in REGIONS
    for name in (region.code, region.label, *(alias for alias, code in _ALIASES.items() if code == region.code))
}

MOST_AT_ONCE = 3
LONGEST_WINDOW_DAYS = 31

_PROJECT_ID = re.compile(r"(TEST-)?[A-Z0-9]{3}-[A-Z0-9]{3}-[A-Z0-9]{3,4}")
_PASSCODE = re.compile(r"[A-Za-z0-9]{3}-[A-Za-z0-9]{3}-[A-Za-z0-9]{3,4}|[0-9a-fA-F]{32}")


class Config(SourceConfig):
    """Which CleverTap project to read, which of its events, and how far back."""

    project_id: str = Field(
        description="Project ID, from Settings > Project in the CleverTap dashboard.", examples=["AAA-BBB-CCCC"]
    )
    passcode: Secret = Field(description="Account passcode of the project (not the token of the mobile SDKs).")
    region: str = Field(
        "EU",
        description="Region of the project: EU, US, India, Singapore, Indonesia or UAE; the codes eu1, us1, in1, sg1, "
        "aps3, mec1 and `global` are understood too.",
        json_schema_extra={"examples": [region.label for region in REGIONS], "x-first": True},
    )
    events_file: str | None = Field(
        None,
        description="CSV with the event names (Settings > Schema > Events > Download as CSV).",
        json_schema_extra={
            "format": "path",
            "x-names": {"event_source": "^(schema|both)$"},
            "x-when": {"event_source": "^(file|both)?$"},
        },
    )
    event_source: Literal["file", "schema", "both"] = Field(
        "file", description="Where event names come from: the file, the project's schema (read at each run), or both."
    )
    timezone: str = Field(
        "UTC",
        description="Time zone of the project (IANA name). Event times are local to it.",
        json_schema_extra={"x-first": True},
    )
    historical_days: int = Field(30, ge=1, le=3650, description="Days of history to load at first.")
    lookback_days: int = Field(2, ge=0, le=30, description="Days that are read again for late events, now and then.")
    lookback_every_hours: int = Field(6, ge=1, le=24, description="How often `lookback_days` applies, in hours.")
    deep_lookback_days: int = Field(
        6, ge=0, le=30, description="Days that are read again once a day, after midnight of the project; 0 is off."
    )
    window_days: int = Field(5, ge=1, le=LONGEST_WINDOW_DAYS, description="Days that are read with one cursor.")
    batch_size: int = Field(5000, ge=23, le=5000, description="Events in a page, at most.")
    include_profile_fields: bool = Field(
        False, description="Add e-mail, phone, name, device and other profile fields as columns (personal data)."
    )
    row_identity: Literal["event", "record"] = Field(
        "event",
        description="What makes a row one row: the event (name, device, time, properties), or the whole record, so "
        "that each change of the profile becomes a row of its own.",
    )
    tables: Literal["one", "each"] = Field(
        "one", description="Whether all events go to one table, or each event name has a table of its own."
    )
    on_invalid_event: Literal["skip", "fail"] = Field(
        "skip", description="What to do when CleverTap does not know an event name."
    )
    max_concurrency: int = Field(
        MOST_AT_ONCE, ge=1, le=MOST_AT_ONCE, description="Requests in flight at a time. CleverTap allows 3."
    )
    base_url: str | None = Field(
        None, description="Address of the API instead of the region's: a simulator on this machine, or a proxy."
    )

    @property
    def place(self) -> Region:
        return _BY_NAME[self.region.lower()]

    def account(self) -> str:
        return self.project_id

    @property
    def zone(self) -> ZoneInfo:
        return ZoneInfo(self.timezone)

    @property
    def base_urls(self) -> tuple[str, ...]:
        """Addresses of the API, in the order in which they are tried."""
        return (self.base_url,) if self.base_url else tuple(f"https://{host}" for host in self.place.hosts)

    def inspect(self) -> None:
        if self.event_source != "schema" and self.events_file:
            events_file.load(self.events_file)

    @classmethod
    def names_in(cls, path: str) -> ListedNames:
        return events_file.load(path).preview()

    def oddities(self) -> list[str]:
        """What looks unlike a real project ID or passcode. Values of the passcode are not in it."""
        odd: list[str] = []
        if not _PROJECT_ID.fullmatch(self.project_id):
            odd.append(f"project ID {self.project_id!r} does not look like AAA-BBB-CCCC")
        if not _PASSCODE.fullmatch(self.passcode.get_secret_value()):
            odd.append("the passcode does not look like AAA-BBB-CCCC or 32 hexadecimal digits")
        return odd

    @field_validator("project_id", mode="after")
    @classmethod
    def _whole_id(cls, value: str) -> str:
        value = value.strip()
        if not value:
            raise ValueError("the project ID is empty; copy it from Settings > Project in CleverTap")
        if re.search(r"\s", value) or not value.isprintable() or not value.isascii():
            raise ValueError("the project ID has white space or odd characters inside; copy it again")
        return value

    @field_validator("passcode", mode="after")
    @classmethod
    def _sendable(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value().strip()
        if not text:
            raise ValueError("the passcode is empty; copy it from Settings > Passcode in CleverTap")
        if not text.isascii() or not text.isprintable() or " " in text:
            raise ValueError("the passcode has characters that cannot be sent in a header; copy it again")
        return SecretStr(text)

    @field_validator("region", mode="after")
    @classmethod
    def _known_region(cls, value: str) -> str:
        region = _BY_NAME.get(value.strip().lower())
        if region is None:
            labels = [region.label for region in REGIONS]
            near = difflib.get_close_matches(value.strip().lower(), _BY_NAME, n=1)
            meant = f" Did you mean {_BY_NAME[near[0]].label}?" if near else ""
            raise ValueError(f"there is no region {value!r}.{meant} Known: {', '.join(labels)}")
        return region.label

    @field_validator("timezone", mode="after")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            # Only now: the list of all zones takes a tenth of a second to read.
            near = difflib.get_close_matches(value, available_timezones(), n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ValueError(
                f"there is no time zone {value!r}.{meant} Use an IANA name such as Europe/Berlin"
            ) from None
        return value

    @field_validator("base_url", mode="after")
    @classmethod
    def _safe_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = web_url(value)
        if parts is None:
            raise ValueError("base_url must be like https://host or http://127.0.0.1:8090")
        if parts.scheme == "http" and not may_be_plain(parts.hostname or ""):
            raise ValueError(
                "base_url with http:// is for this machine and for hosts in MILLRACE_HTTP_HOSTS only, the passcode "
                "would be readable; use https"
            )
        if parts.username or parts.query or parts.fragment:
            raise ValueError("base_url takes scheme, host, port and path alone")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _together(self) -> Self:
        if self.event_source != "schema" and not self.events_file:
            raise ValueError(
                "events_file is missing: name the CSV of event names, or set event_source: schema to do without"
            )
        if self.deep_lookback_days and self.deep_lookback_days < self.lookback_days:
            raise ValueError("deep_lookback_days must not be shorter than lookback_days (or 0, to turn it off)")
        return self
