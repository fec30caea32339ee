"""The Schema Mapper: where event types and fields go, changed by hand, version by version."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.mapper import mapping_document, mapping_edits, mapping_versions, mapping_views, mappings
from millrace.control.mapper.mapping_plans import By, Edit, Plan
from millrace.control.mapper.mapping_versions import Difference
from millrace.control.mapper.mapping_views import Overview, Shown
from millrace.control.mapper.mappings import Bulk
from millrace.control.operations.names import Name
from millrace.control.operations.runs import Number
from millrace.control.operations.transformations import Reason
from millrace.data.dataclass import dataclass
from millrace.engine.policy import Policy
from millrace.errors import ConfigError

Auto: TypeAlias = Literal["on", "off", "pipeline"]
EventType = Annotated[str, Field(min_length=1, max_length=1000, description="Name of an event type.")]
EventTypes = Annotated[Sequence[EventType], Field(max_length=10_000, description="Names of event types.")]
FieldName = Annotated[str, Field(min_length=1, max_length=10_000)]
ByField = Annotated[Mapping[FieldName, str], Field(max_length=10_000)]
Fields = Annotated[Sequence[FieldName], Field(max_length=10_000)]
PolicySaid = Annotated[
    str | Mapping[str, str],
    Field(description="A preset; actions by tables, columns and types; or `pipeline`: as the pipeline has it."),
]
DryRun = Annotated[bool, Field(description="Only say what would change.")]

NONE: Mapping[str, str] = MappingProxyType({})
NOWHERE: Mapping[str, str | None] = MappingProxyType({})

_AUTO: Mapping[Auto, bool | None] = {"on": True, "off": False, "pipeline": None}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a mapping. ``author`` None: a run made it."""

    version: int
    at: datetime
    author: str | None
    reason: str | None
    table: str
    columns: int


@dataclass(frozen=True, slots=True)
class Written:
    """Mappings as a YAML file."""

    yaml: str


@operation("GET", "/pipelines/{pipeline}/mappings")
def list_(
    home: Home,
    pipeline: Name,
    status: Annotated[
        str, Field(max_length=100, description="Only those of this status; LOOK: those that need a look.")
    ]
    | None = None,
    search: Annotated[str, Field(max_length=1000, description="Only names with this text.")] | None = None,
    after: Annotated[str, Field(max_length=1000, description="Where the page before ended.")] | None = None,
    limit: Annotated[int, Field(ge=1, le=1000, description="So many at most.")] = 100,
) -> Page[Overview]:
    """List event types with their table, status and warnings, by name."""
    return mapping_views.page(home, pipeline, status=status, search=search, after=after, limit=limit)


@operation("GET", "/pipelines/{pipeline}/mappings/{event_type}")
def find(
    home: Home,
    pipeline: Name,
    event_type: EventType,
    version: Annotated[Number, Field(description="An earlier version.")] | None = None,
) -> Shown:
    """Show one mapping field by field, its warnings, and what the next load changes at the destination."""
    return mapping_views.shown(home, pipeline, event_type, version=version)


@operation("GET", "/pipelines/{pipeline}/mappings/{event_type}/versions")
def history(
    home: Home,
    pipeline: Name,
    event_type: EventType,
    limit: Annotated[int, Field(ge=1, le=1000, description="So many at most.")] = 100,
    before: Annotated[Number, Field(description="Only versions before this one.")] | None = None,
) -> list[Version]:
    """List the versions of a mapping, the latest first: when, by whom, and why."""
    found = mapping_versions.versions(home, pipeline, event_type, limit=limit, before=before)
    return [
        Version(
            one.mapping.version, one.created_at, one.author, one.reason, one.mapping.table, len(one.mapping.columns)
        )
        for one in found
    ]


@operation("GET", "/pipelines/{pipeline}/mappings/{event_type}/difference")
def difference(
    home: Home,
    pipeline: Name,
    event_type: EventType,
    a: Annotated[Number, Field(description="A version; left out: the one before `b`.")] | None = None,
    b: Annotated[Number, Field(description="A version; left out: the latest.")] | None = None,
) -> list[Difference]:
    """Compare two versions of a mapping."""
    return mapping_versions.diff(home, pipeline, event_type, a, b)


@operation("POST", "/pipelines/{pipeline}/mappings/{event_type}", "mappings.edit")
def change(
    home: Home,
    pipeline: Name,
    event_type: EventType,
    auto: Auto | None = None,
    policy: PolicySaid | None = None,
    table: Annotated[str, Field(min_length=1, max_length=1000)] | None = None,
    columns: Annotated[
        Mapping[FieldName, str | None], Field(description="With `table`: columns by field; null leaves a field out.")
    ] = NOWHERE,
    rename: Annotated[ByField, Field(description="Other names for columns, by field.")] = NONE,
    unignore: Annotated[Fields, Field(description="Fields that may have a column again.")] = (),
    types: Annotated[ByField, Field(description="Types that stay, by field.")] = NONE,
    free: Annotated[Fields, Field(description="Fields whose type follows their values again.")] = (),
    ignore: Annotated[Fields, Field(description="Fields that are left out.")] = (),
    key: Annotated[Fields, Field(description="Fields that tell rows apart.")] | None = None,
    unmap: Annotated[bool, Field(description="No table: rows wait as rejects.")] = False,
    reason: Reason | None = None,
    dry_run: DryRun = False,
) -> Plan:
    """Change a mapping. All that is said is one version, or nothing is changed.

    The answer tells what the next load does to the table.
    """
    asked: list[Edit] = []
    if auto is not None:
        asked.append(mapping_edits.automatic(_AUTO[auto]))
    if policy is not None:
        asked.append(mapping_edits.following(None if policy == "pipeline" else Policy.from_json(policy)))
    if table is not None:
        asked.append(mapping_edits.mapping_to(table, columns))
    elif columns:
        raise ConfigError("columns need a table", hint="To rename a column use rename.", code="usage", path="columns")
    asked += [mapping_edits.renaming(field, name) for field, name in rename.items()]
    asked += [mapping_edits.heeding(field) for field in unignore]
    asked += [mapping_edits.typing_as(field, name) for field, name in types.items()]
    asked += [mapping_edits.freeing(field) for field in free]
    asked += [mapping_edits.ignoring(field) for field in ignore]
    if key is not None:
        asked.append(mapping_edits.keying(key))
    if unmap:
        asked.append(mapping_edits.unmapping())
    if not asked:
        raise ConfigError("nothing is to be set", hint="See `millrace mapping set --help`.", code="usage")
    return mappings.change(home, pipeline, event_type, asked, By(reason=reason, dry_run=dry_run))


@operation("POST", "/pipelines/{pipeline}/mapping-edits", "mappings.edit")
def bulk(
    home: Home,
    pipeline: Name,
    what: Bulk,
    event_types: Annotated[EventTypes, Field(description="Null: every one whose status allows it.")] | None = None,
    reason: Reason | None = None,
    dry_run: DryRun = False,
) -> list[Plan]:
    """Skip, include, reset, unmap or map automatically several event types.

    Those whose status does not allow it stay as they are; where they are named, their plans say why.
    """
    return mappings.bulk(home, pipeline, what, event_types, By(reason=reason, dry_run=dry_run))


@operation("POST", "/pipelines/{pipeline}/mappings/{event_type}/restore", "mappings.edit")
def restore(
    home: Home,
    pipeline: Name,
    event_type: EventType,
    version: Number,
    reason: Reason | None = None,
    dry_run: DryRun = False,
) -> Plan:
    """Make an earlier version the present one. It becomes a version of its own."""
    why = reason or f"version {version} restored"
    return mappings.restore(home, pipeline, event_type, version, By(reason=why, dry_run=dry_run))


@operation("POST", "/pipelines/{pipeline}/mappings/{event_type}/delete-table", "mappings.edit")
def delete_table(
    home: Home,
    pipeline: Name,
    event_type: EventType,
    discard_waiting: Annotated[
        bool, Field(description="Rows on the stage that wait for the table go with it.")
    ] = False,
    reason: Reason | None = None,
    dry_run: DryRun = False,
) -> Plan:
    """Delete the table of an event type at the destination, with all that was loaded. The mapping stays."""
    by = By(reason=reason, dry_run=dry_run)
    return mappings.delete_table(home, pipeline, event_type, by, discard_waiting=discard_waiting)


@operation("POST", "/mappings/apply", "mappings.edit")
def apply(
    home: Home,
    text: Annotated[str, Field(max_length=4_000_000, description="The YAML.")],
    pipeline: Annotated[Name, Field(description="Left out: the file says it.")] | None = None,
    file: Annotated[str, Field(max_length=500, description="Name of the file, for messages.")] = "mappings.yaml",
    variables: Annotated[Mapping[str, str], Field(description="What `${NAME}` in the text stands for.")] = NONE,
    reason: Reason | None = None,
    dry_run: DryRun = False,
) -> list[Plan]:
    """Bring mappings to what a file says. What the file leaves out stays."""
    by = By(reason=reason or f"{file} applied", dry_run=dry_run)
    return mapping_document.apply_yaml(home, pipeline, text, file, by, env=variables)


@operation("GET", "/pipelines/{pipeline}/mapping-file")
def export(home: Home, pipeline: Name, event_type: EventTypes = ()) -> Written:
    """Write mappings as the YAML that `apply` reads; of the event types that are named, else of all."""
    return Written(mapping_document.export_yaml(home, pipeline, list(event_type) or None))


OPERATIONS = (list_, find, history, difference, change, bulk, restore, delete_table, apply, export)
