"""What a file of pipelines may say, as pydantic classes, and the JSON Schema of it for editors."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from millrace.connect import registry
from millrace.connect.config import Settings
from millrace.control.alerting.alert_events import Category, Severity
from millrace.control.scheduling.priority import Priority
from millrace.data.batch import JSON, LoadMode
from millrace.engine.failures import FailurePolicy
from millrace.errors import ConfigError

SchemaPolicy = Literal["ALLOW_ALL", "ALLOW_COLUMN_LEVEL", "BLOCK_ALL"]
SchemaAction = Literal["evolve", "freeze", "discard_row", "discard_value"]
Nesting = Literal["SPLIT", "COLLAPSE", "NATIVE", "NATURAL", "COLLAPSE_EXCEPT_ARRAYS", "FLAT"]


def _level(value: object) -> object:
    """A level in small letters; the REST API's capitals mean the same."""
    return value.lower() if isinstance(value, str) else value


def _named(value: object) -> object:
    """A policy that is a word. Raises ValueError for one that is none."""
    _check_policy(value)
    return _level(value)


def _check_policy(value: object) -> None:
    try:
        FailurePolicy.from_json(value)
    except ConfigError as wrong:
        raise ValueError(wrong.message) from None


FailureLevel = Annotated[Literal["strict", "moderate", "threshold"], BeforeValidator(_level)]
NamedFailurePolicy = Annotated[Literal["strict", "moderate"], BeforeValidator(_named)]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

# Steps of pydantic's paths that only name a branch of a union.
TAGS = frozenset({"saved", "inline", "named", "own", "(listed)", "(by name)"})


class Part(BaseModel):
    """A part of the file: unknown keys are refused."""

    # The parts are checked within the whole, so that each needs no checks of its own.
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ConnectionPart(Part):
    """A source or a destination: its type and the settings of that type."""

    type: str = Field(description="Type of the connector, for example clevertap or duckdb.")
    config: dict[str, Any] = Field(default_factory=dict, description="Settings of this type.")


class SchedulePart(Part):
    """When the pipeline runs: an interval or a cron expression. Without either it runs on demand."""

    every: str | None = Field(None, description="Interval between two runs: 30m, 6h, 1d.", examples=["6h"])
    cron: str | None = Field(None, description="Cron expression of five fields.", examples=["0 */6 * * *"])
    timezone: str = Field("UTC", description="Time zone of the cron expression, as an IANA name.")
    at: str | None = Field(None, description="With every: 1d, the time of day in UTC.", examples=["03:30"])

    @model_validator(mode="after")
    def _one_of_two(self) -> SchedulePart:
        if self.every and self.cron:
            raise ValueError("a schedule has either 'every' or 'cron', not both")
        return self


class DestinationPart(ConnectionPart):
    """A destination: its type, the settings of that type, and when it is loaded."""

    load_schedule: SchedulePart | None = Field(
        None,
        description="When what is staged for it is loaded; left out: as it is. {}: with every run, as it is at first.",
    )


class LimitPart(Part):
    """How many rows may be moved in a period, and what happens beyond that."""

    rows: int = Field(ge=1, le=10**15, description="So many rows; in a month the billable ones.")
    beyond: Literal["tell", "pause", "sideline"] = Field(
        "tell",
        description="tell: people are told. pause: pipelines are paused, too. sideline: rows are read, and wait on the "
        "stage for the next period.",
    )
    grace_hours: int = Field(0, ge=0, le=31 * 24, description="Hours until then, after the one in which it was passed.")


class WindowPart(Part):
    """How many rows may be read in a window of time. Beyond that reading stalls until it ends."""

    rows: int = Field(ge=1, le=10**15, description="So many rows.")
    minutes: int = Field(30, ge=1, le=24 * 60, description="How long a window is.")


class UsagePart(Part):
    """Limits of the team. One that is not here is taken away."""

    month: LimitPart | None = Field(None, description="Billable rows that are loaded in a month.")
    window: WindowPart | None = Field(None, description="Rows that are read in a window of time.")


class PipelineLimitsPart(Part):
    """Limits of a pipeline. One that is not here is taken away."""

    day: LimitPart | None = Field(None, description="Rows that are staged or loaded in a day, UTC.")
    month: LimitPart | None = Field(None, description="Billable rows that are loaded in a month, UTC.")


class WatchPart(Part):
    """What people are told of a pipeline. What is not here they are not told of."""

    late_minutes: int | None = Field(None, ge=1, le=31 * 24 * 60, description="The last good run is longer ago.")
    unusual_times: float | None = Field(
        None, gt=1, le=1000, description="A day has so many times the rows that are usual for its weekday."
    )
    silent_intervals: int | None = Field(
        None, ge=1, le=100, description="Nothing was loaded for so many intervals of the schedule."
    )
    pause: bool = Field(False, description="An unusual day pauses the pipeline, too.")

    @model_validator(mode="after")
    def _a_day_pauses(self) -> WatchPart:
        if self.pause and self.unusual_times is None:
            raise ValueError("what pauses is an unusual day: 'pause' needs 'unusual_times'")
        return self


class QuietPart(Part):
    """Hours of every day in which only CRITICAL alerts are sent; others wait until they end."""

    start: str = Field(description="Time of the day: 22:00.", examples=["22:00"])
    end: str = Field(description="Time of the day; before the start, it is that of the next day.", examples=["07:00"])
    time_zone: str = Field("UTC", description="Whose clocks, as an IANA name.")


class WantedPart(Part):
    """Which alerts go to a channel, and when not."""

    categories: list[Category] | None = Field(
        None, description="Of what they are; left out: of everything but every load."
    )
    least: Severity = Field("INFO", description="How bad they are, at least.")
    quiet: QuietPart | None = Field(None, description="Hours in which nothing is sent but what is CRITICAL.")


class ChannelPart(Part):
    """A channel: where alerts of the team go, and which of them."""

    kind: str = Field(description="Kind of the channel, for example slack or webhook.")
    config: dict[str, Any] = Field(default_factory=dict, description="Settings of this kind.")
    enabled: bool | None = Field(None, description="Whether anything is sent; left out: stays, at first true.")
    wanted: WantedPart | None = Field(None, description="What is sent; left out: stays. {}: all but every load.")


class ObjectPart(Part):
    """Settings of one object that differ from the pipeline's. `"*"` as a name stands for all other objects."""

    load_mode: LoadMode | None = Field(None, description="How rows of this object reach their table.")
    query_mode: str | dict[str, Any] | None = Field(
        None,
        description="How this object of a database is queried: a mode, or `mode` and its columns; left out: stays.",
    )
    schedule: SchedulePart | None = Field(
        None, description="When it is read by itself; left out: stays. {}: with its pipeline, as at first."
    )
    state: Literal["ACTIVE", "PAUSED", "SKIPPED"] | None = Field(
        None, description="Whether it is read; left out: stays, at first ACTIVE."
    )


class TransformationPart(Part):
    """What happens to rows in flight: a Python script or a chain of blocks, as a file or written here."""

    python: str | None = Field(None, description="Path of a Python file with transform(event), or its text.")
    blocks: str | list[Any] | dict[str, Any] | None = Field(
        None, description="Path of a JSON file with a chain of blocks, its text, or the blocks themselves."
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> TransformationPart:
        if (self.python is None) == (self.blocks is None):
            raise ValueError("a transformation has either 'python' or 'blocks'")
        return self


class SchemaPolicyPart(Part):
    """What becomes of what is new, by tables, columns and types."""

    tables: SchemaAction = Field("evolve", description="Rows of an event type that has no table.")
    columns: SchemaAction = Field("evolve", description="Values of a field that has no column.")
    types: SchemaAction = Field("evolve", description="Values that their column cannot hold.")


class FailureThresholdPart(Part):
    """How many rows of one object may fail."""

    max_failed_events: int | None = Field(None, ge=0, description="So many of its rows may fail.")
    max_failed_percent: float | None = Field(
        None, ge=0, le=100, description="Such a share of its rows may fail. Rows that are read again do not count."
    )


class FailurePolicyPart(FailureThresholdPart):
    """How many rows may fail: in all of a run (strict, moderate), or of one object (threshold).

    A threshold stands in the policy itself or in `object_failure_threshold`. Beyond it the object is left for this run,
    and the run goes on.
    """

    object_failure_level: FailureLevel | None = Field(
        None, description="strict, moderate or threshold; left out: threshold."
    )
    object_failure_threshold: int | FailureThresholdPart | None = Field(
        None, description="The threshold; a number is max_failed_events."
    )

    @model_validator(mode="after")
    def _a_policy(self) -> FailurePolicyPart:
        _check_policy(self.model_dump(exclude_none=True))
        return self


class PipelinePart(Part):
    """A pipeline: from a source, by its objects, into a destination."""

    source: Annotated[
        Annotated[str, Tag("saved")] | Annotated[ConnectionPart, Tag("inline")],
        Discriminator(lambda value: "inline" if isinstance(value, dict) else "saved"),
    ] = Field(description="Name of a source, or a source written here: type and config.")
    destination: str = Field(description="Name of a destination.")
    load_mode: LoadMode = Field(
        "merge",
        description="merge: one row for each key, the newest. append: every row. history: every version of a key.",
    )
    table_prefix: str = Field("", description="Text in front of the names of this pipeline's tables.")
    schedule: SchedulePart | None = Field(None, description="When it runs; left out: on demand.")
    priority: Priority | None = Field(
        None,
        description="HIGH: it goes first, and runs as often as its source allows. Left out: as it is, at first NORMAL.",
    )
    defer_when_empty: bool | None = Field(
        None,
        description="Runs that find nothing come at growing intervals, 5 minutes to 6 hours; left out: as its source "
        "does.",
    )
    objects: (
        Annotated[
            Annotated[list[str], Tag("(listed)")] | Annotated[dict[str, ObjectPart], Tag("(by name)")],
            Discriminator(lambda value: "(by name)" if isinstance(value, dict) else "(listed)"),
        ]
        | None
    ) = Field(None, description="Objects to read, as a list or with settings of their own; left out: all.")
    naming: Literal["edge", "classic"] | None = Field(None, description="Rules by which names are brought into form.")
    auto_mapping: bool = Field(True, description="New columns, wider types and new objects appear by themselves.")
    transformation: TransformationPart | None = Field(
        None, description="What happens to rows between source and mapping; left out: what is deployed stays."
    )
    json_parsing_strategy: Nesting | None = Field(
        None, description="What becomes of nested values; left out: the destination's default. Fixed by the first load."
    )
    schema_evolution_policy: (
        Annotated[
            Annotated[SchemaPolicy, Tag("named")] | Annotated[SchemaPolicyPart, Tag("own")],
            Discriminator(lambda value: "own" if isinstance(value, dict) else "named"),
        ]
        | None
    ) = Field(
        None,
        description="What becomes of new event types, new fields and values that do not fit; left out: ALLOW_ALL, or "
        "BLOCK_ALL without auto_mapping.",
    )
    failure_handling_policy: (
        Annotated[
            Annotated[NamedFailurePolicy, Tag("named")] | Annotated[FailurePolicyPart, Tag("own")],
            Discriminator(lambda value: "own" if isinstance(value, dict) else "named"),
        ]
        | None
    ) = Field(
        None,
        description="How many rows may fail before an object, or the run, does: strict, moderate (10,000), or a "
        "threshold: {max_failed_events: 100, max_failed_percent: 1}. Left out: moderate.",
    )
    limits: PipelineLimitsPart | None = Field(
        None, description="How many rows it may move; left out: stays. {}: no limits."
    )
    watch: WatchPart | None = Field(
        None, description="What people are told of, beside failures; left out: stays. {}: of nothing."
    )
    state: Literal["ACTIVE", "PAUSED"] | None = Field(
        None, description="Whether it runs; left out: stays, at first ACTIVE."
    )
    keep_raw: str | None = Field(
        None,
        description="How long rows are kept as they were read, for replays: 30d. Left out: not at all.",
        examples=["30d"],
    )

    @field_validator("objects", mode="before")
    @classmethod
    def _no_blank(cls, value: object) -> object:
        if isinstance(value, dict):
            return {name: {} if part is None else part for name, part in value.items()}  # pyright: ignore[reportUnknownVariableType]  # YAML
        return value


class SettingsPart(Part):
    """Settings of the whole workspace."""

    metadata_prefix: str | None = Field(
        None,
        description="Start of the names of the columns that Millrace adds. Fixed by the first load.",
    )
    retention_days: int | None = Field(None, ge=0, le=30, description="Days that staged rows are kept after loading.")
    reject_retention_days: int | None = Field(None, ge=1, le=90, description="Days that rejected rows are kept.")
    job_retention_days: int | None = Field(None, ge=1, le=3650, description="Days that runs are on record.")
    high_priority_percent: int | None = Field(
        None, ge=0, le=100, description="Share of the accounts that pipelines read from that may be of priority HIGH."
    )
    naming: Literal["edge", "classic"] | None = Field(None, description="Naming rules of new pipelines.")
    legacy_frequency: bool | None = Field(None, description="Allow the shorter intervals of older workspaces.")
    allow_unsandboxed_python: bool | None = Field(
        None, description="Run users' Python even where this machine offers no sandbox. Only for scripts you trust."
    )
    allow_private_addresses: bool | None = Field(
        None,
        description="Let connections that others than the operator use reach private networks and the server's own "
        "machine: for simulators, and for systems of your own network.",
    )
    allow_server_credentials: bool | None = Field(
        None,
        description="Let connections without keys that others than the operator use open buckets with the server's own "
        "credentials: any bucket that these open, for whoever may save a connection.",
    )
    public_url: str | None = Field(None, description="Where people reach the server: links in mail begin so.")
    lineage_url: str | None = Field(
        None, description="Where runs are told of by OpenLineage: the URL that takes its events."
    )
    open_metrics: bool | None = Field(
        None,
        description="Let everybody who reaches the server read `/metrics`, with the numbers of all teams and the names "
        "of their pipelines: where a network keeps others out.",
    )
    password_memory_mib: int | None = Field(None, ge=8, le=1024, description="MiB that one hash of a password takes.")
    password_passes: int | None = Field(None, ge=1, le=20, description="Passes that one hash of a password takes.")
    script_seconds: float | None = Field(
        None, ge=0.1, le=600, description="Seconds that a script may take for one event: 5, where nothing is said."
    )
    script_memory_mib: int | None = Field(
        None, ge=64, le=16384, description="MiB of memory for each process of a script: 256, where nothing is said."
    )


class DocumentPart(Part):
    """Pipelines as code for Millrace."""

    settings: SettingsPart = Field(
        default_factory=lambda: SettingsPart.model_construct(), description="Settings of the whole workspace."
    )
    usage: UsagePart | None = Field(None, description="Limits of the team; left out: stay. {}: no limits.")
    sources: dict[str, ConnectionPart] = Field(
        default_factory=dict[str, ConnectionPart], description="Sources by name."
    )
    destinations: dict[str, DestinationPart] = Field(
        default_factory=dict[str, DestinationPart], description="Destinations by name."
    )
    alert_channels: dict[str, ChannelPart] = Field(
        default_factory=dict[str, ChannelPart], description="Channels of alerts by name."
    )
    pipelines: dict[str, PipelinePart] = Field(
        default_factory=dict[str, PipelinePart], description="Pipelines by name."
    )


def schema() -> dict[str, JSON]:
    """The JSON Schema (2020-12) of the file, with the settings of every connector chosen by its type."""
    whole = DocumentPart.model_json_schema(ref_template="#/$defs/{model}")
    parts: dict[str, JSON] = whole.setdefault("$defs", {})
    kinds = {
        "source": (registry.SOURCES, registry.source),
        "destination": (registry.DESTINATIONS, registry.destination),
    }
    for kind, (family, find) in kinds.items():
        names = registry.names(family)
        branches: list[JSON] = []
        for name in names:
            model = find(name).Config
            part = f"{kind}_{name}"
            parts[part] = _settings(model, find(name).title, parts)
            needed = ["config"] if parts[part].get("required") else []
            branches.append(
                {
                    "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                    "then": {"properties": {"config": {"$ref": f"#/$defs/{part}"}}, "required": needed},
                }
            )
        parts[kind] = {
            "type": "object",
            "description": f"A {kind}: its type and the settings of that type.",
            "properties": {
                "type": {"enum": names, "description": f"Type of the {kind}."},
                "config": {"type": "object", "description": "Settings of this type."},
            },
            "required": ["type"],
            "additionalProperties": False,
            "allOf": branches,
        }
        if kind == "destination":
            parts[kind]["properties"]["load_schedule"] = parts["DestinationPart"]["properties"]["load_schedule"]
        whole["properties"][f"{kind}s"]["additionalProperties"] = {"$ref": f"#/$defs/{kind}"}
    _channels(parts)
    inline = parts["PipelinePart"]["properties"]["source"]
    inline.pop("oneOf", None)
    inline["anyOf"] = [{"type": "string"}, {"$ref": "#/$defs/source"}]
    parts.pop("ConnectionPart", None)
    parts.pop("DestinationPart", None)
    return {"$schema": DIALECT, "title": "Millrace pipelines", **{k: v for k, v in whole.items() if k != "title"}}


def _channels(parts: dict[str, JSON]) -> None:
    """The settings of a channel are those of its kind."""
    from millrace.control.alerting.alert_kinds import KINDS, MODELS

    branches: list[JSON] = []
    for kind in KINDS:
        parts[f"channel_{kind}"] = _settings(MODELS[kind], kind, parts)
        branches.append(
            {
                "if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]},
                "then": {"properties": {"config": {"$ref": f"#/$defs/channel_{kind}"}}, "required": ["config"]},
            }
        )
    channel = parts["ChannelPart"]
    channel["properties"]["kind"] = {"enum": [*KINDS], "description": channel["properties"]["kind"]["description"]}
    channel["allOf"] = branches


def _settings(model: type[Settings], title: str, parts: dict[str, JSON]) -> dict[str, JSON]:
    """The schema of one connector's settings; whatever is not text may also be a `${VARIABLE}`."""
    own = model.model_json_schema(ref_template=f"#/$defs/{model.__module__}.{{model}}")
    for name, part in own.pop("$defs", {}).items():
        parts[f"{model.__module__}.{name}"] = part
    variable = {"type": "string", "pattern": "\\$\\{"}
    for key, value in own.get("properties", {}).items():
        value.pop("writeOnly", None)
        if value.get("type") != "string" or "enum" in value or "pattern" in value or "format" in value:
            about = {k: value.pop(k) for k in ("title", "description", "default") if k in value}
            own["properties"][key] = {**about, "anyOf": [value, variable]}
    return {**own, "title": title}
