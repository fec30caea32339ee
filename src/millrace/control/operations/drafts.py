"""Drafts: pipelines that somebody began to make and left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from pydantic import Field

from millrace.control.as_code.document_schema import Nesting
from millrace.control.connecting import files
from millrace.control.connecting.checks import Checked
from millrace.control.connecting.connections import Offer, config_class
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.connections import Config, Type
from millrace.control.operations.names import Name
from millrace.control.operations.pipelines import At, Cron, Every, Stands, TimeZone, planned, stands
from millrace.control.operations.runs import Number
from millrace.control.pipeline import drafts
from millrace.control.pipeline.drafts import Draft
from millrace.control.pipeline.pipelines import Mode, Wish
from millrace.control.scheduling import schedule
from millrace.data.dataclass import dataclass

Chosen = Annotated[Mapping[str, Any], Field(max_length=100, description="What was chosen beside, as a face keeps it.")]


@dataclass(frozen=True, slots=True)
class Gone:
    """A draft that was given up."""

    number: int


@operation("GET", "/drafts")
def list_(home: Home, after: After | None = None, limit: Limit = 100) -> Page[Draft]:
    """List drafts by their numbers."""
    return drafts.page(home, after=after, limit=limit)


@operation("GET", "/drafts/{draft}")
def find(home: Home, draft: Number) -> Draft:
    """Show one draft. Of its secrets only the names are told."""
    return drafts.find(home, draft)


@operation("POST", "/drafts", "pipelines.create", status=201)
def add(home: Home, name: Name, type: Type, config: Config, chosen: Chosen | None = None) -> Draft:
    """Keep a pipeline that is not made yet. At least one setting of its source must be there."""
    config = files.placed(home, config_class("source", type), config)
    return drafts.save(home, name=name, source_type=type, config=config, chosen=chosen)


@operation("PUT", "/drafts/{draft}", "pipelines.create")
def put(home: Home, draft: Number, name: Name, type: Type, config: Config, chosen: Chosen | None = None) -> Draft:
    """Change a draft. Secrets that are not named stay."""
    config = files.placed(home, config_class("source", type), config)
    return drafts.save(home, name=name, source_type=type, config=config, chosen=chosen, number=draft)


@operation("POST", "/drafts/{draft}/check", "pipelines.create")
def check(home: Home, draft: Number) -> Checked:
    """Test the source of a draft with the settings that are kept so far."""
    return drafts.check(home, draft)


@operation("POST", "/drafts/{draft}/objects", "pipelines.create")
def discover(home: Home, draft: Number) -> list[Offer]:
    """List the objects that the source of a draft offers, as it says now."""
    return drafts.discover(home, draft)


@operation("POST", "/drafts/{draft}/finish", "pipelines.create")
def finish(
    home: Home,
    draft: Number,
    destination: Name,
    name: Annotated[Name, Field(description="Of pipeline and source; left out: the draft's.")] | None = None,
    table_prefix: Annotated[str, Field(max_length=255)] = "",
    config: Annotated[Config, Field(description="Settings of the source that were missing, or are others now.")]
    | None = None,
    objects: Annotated[Sequence[Name], Field(max_length=10_000, description="Only these; left out: all, and new ones.")]
    | None = None,
    query_modes: Annotated[
        Mapping[str, Mapping[str, Any]],
        Field(max_length=10_000, description="How objects are queried: `mode` and its keys."),
    ]
    | None = None,
    load_mode: Mode = "merge",
    auto_mapping: bool = True,
    json_parsing_strategy: Annotated[
        Nesting, Field(description="Of nested values; left out: as the destination likes.")
    ]
    | None = None,
    every: Every | None = None,
    cron: Cron | None = None,
    timezone: TimeZone = "UTC",
    at: At | None = None,
) -> Stands:
    """Make the pipeline of a draft, with its number. Its source is saved under the same name."""
    found = drafts.find(home, draft)
    called = name or found.name
    more = None if config is None else files.placed(home, config_class("source", found.source_type), config)
    wish = Wish(
        called,
        called,
        destination,
        load_mode=load_mode,
        table_prefix=table_prefix,
        auto_mapping=auto_mapping,
        schedule=schedule.to_json(planned(every, cron, timezone, at) or schedule.Schedule()),
        options={} if json_parsing_strategy is None else {"json_parsing_strategy": json_parsing_strategy},
        objects=None if objects is None else dict.fromkeys(objects),
    )
    return stands(drafts.finish(home, draft, wish, config=more, modes=query_modes))


@operation("DELETE", "/drafts/{draft}", "pipelines.create")
def remove(home: Home, draft: Number) -> Gone:
    """Give a draft up."""
    drafts.remove(home, draft)
    return Gone(draft)


OPERATIONS = (list_, find, add, put, check, discover, finish, remove)
