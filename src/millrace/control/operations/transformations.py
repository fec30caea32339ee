"""What happens to rows in flight: drafts, trials and versions of transformations."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field

from millrace.control.desk import Watch, errand, operation
from millrace.control.home import Home
from millrace.control.operations.names import Name
from millrace.control.operations.runs import Number
from millrace.control.transforming import transformations, trial_events, trials
from millrace.control.transforming.transformations import Standing, Transformation
from millrace.control.transforming.trial_events import Event
from millrace.control.transforming.trials import DryRun, Effect, Outcome, Personal
from millrace.data.dataclass import dataclass
from millrace.engine.python.jail import Sandbox, probe
from millrace.engine.stage import Stage
from millrace.errors import ConfigError

Kind: TypeAlias = Literal["python", "blocks"]
Text = Annotated[str, Field(max_length=1_000_000, description="Python with transform(event), or JSON of blocks.")]
Reason = Annotated[str, Field(max_length=10_000, description="Why; kept with the version.")]
Lines = Annotated[str, Field(max_length=10_000_000, description="Events, one JSON object a line.")]
Called = Annotated[str, Field(max_length=500, description="What messages call those lines.")]
Version = Annotated[Number, Field(description="A version; 0 is the draft.")]
Some = Annotated[int, Field(ge=1, le=1000, description="So many at most.")]


@dataclass(frozen=True, slots=True)
class Tried:
    """The events that were tried, and the outcome of each, in order; what would change at the destination; what the
    script printed."""

    events: tuple[Event, ...]
    outcomes: tuple[Outcome, ...]
    effects: tuple[Effect, ...]
    printed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Explained:
    """A chain of blocks as Python."""

    python: str


@dataclass(frozen=True, slots=True)
class Detected:
    """Fields that seem to hold personal data, of so many events."""

    fields: tuple[Personal, ...]
    events: int


@operation("GET", "/pipelines/{pipeline}/transformation")
def standing(home: Home, pipeline: Name) -> Standing:
    """Show what is drafted and what is deployed."""
    return transformations.standing(home, pipeline)


@operation("GET", "/pipelines/{pipeline}/transformation/versions")
def history(
    home: Home,
    pipeline: Name,
    limit: Some = 100,
    before: Annotated[Number, Field(description="Only versions before this one.")] | None = None,
) -> list[Transformation]:
    """List the versions that were deployed, the latest first."""
    return transformations.history(home, pipeline, limit=limit, before=before)


@operation("GET", "/pipelines/{pipeline}/transformation/versions/{version}")
def find(home: Home, pipeline: Name, version: Version) -> Transformation:
    """Show one version; 0 is the draft."""
    return transformations.version(home, pipeline, version)


@operation("GET", "/pipelines/{pipeline}/transformation/difference")
def difference(home: Home, pipeline: Name, old: Version | None = None, new: Version | None = None) -> list[str]:
    """Compare two versions: the lines of a unified diff, none where they are the same.

    Without `new`, it is the one deployed; without `old`, the one before `new`.
    """
    return transformations.difference(home, pipeline, old, new)


@operation("PUT", "/pipelines/{pipeline}/transformation/draft", "transformations.edit")
def draft(home: Home, pipeline: Name, kind: Kind, text: Text) -> Transformation:
    """Keep a text as the draft, whatever it is worth. Running data is not touched."""
    return transformations.save_draft(home, pipeline, kind, text)


@operation("POST", "/pipelines/{pipeline}/transformation", "transformations.edit")
def deploy(home: Home, pipeline: Name, kind: Kind, text: Text, reason: Reason | None = None) -> Transformation:
    """Let rows that are read from now on go through a transformation. Loaded rows stay as they are."""
    return transformations.deploy(home, pipeline, kind, text, reason=reason)


@operation("POST", "/pipelines/{pipeline}/transformation/remove", "transformations.edit")
def remove(home: Home, pipeline: Name, reason: Reason | None = None) -> Transformation:
    """Let rows pass as they are again. Earlier versions are kept."""
    return transformations.deploy(home, pipeline, "none", "", reason=reason)


@operation("POST", "/pipelines/{pipeline}/transformation/roll-back", "transformations.edit")
def roll_back(home: Home, pipeline: Name, to: Version, reason: Reason | None = None) -> Transformation:
    """Deploy an earlier version again, as a new version."""
    return transformations.roll_back(home, pipeline, to, reason=reason)


@operation("GET", "/pipelines/{pipeline}/samples")
def samples(
    home: Home, pipeline: Name, object: Name | None = None, failed: bool = False, limit: Some = 10
) -> list[Event]:
    """Show events to try a transformation on: those that the pipeline keeps, or with `failed` those that could not
    pass, as they went in."""
    return _samples(home, pipeline, object, failed=failed, limit=limit)


@operation("POST", "/pipelines/{pipeline}/transformation/test", "transformations.edit")
def test(
    home: Home,
    pipeline: Name,
    kind: Kind,
    text: Text,
    events: Lines | None = None,
    file: Called = "events.jsonl",
    object: Name | None = None,
    failed: bool = False,
) -> Tried:
    """Try a transformation on events, one by one: on those that are sent, else on samples of the pipeline. Nothing is
    stored."""
    if events is None:
        return _tried(home, kind, text, _samples(home, pipeline, object, failed=failed, limit=None), pipeline)
    return _tried(home, kind, text, trial_events.read_lines(events, file), pipeline)


@operation("POST", "/transformations/test", "transformations.edit")
def try_(home: Home, kind: Kind, text: Text, events: Lines, file: Called = "events.jsonl") -> Tried:
    """Try a transformation on events, without any pipeline."""
    return _tried(home, kind, text, trial_events.read_lines(events, file), None)


@errand("/pipelines/{pipeline}/transformation/dry-run", "transformations.edit")
def dry_run(
    home: Home,
    watch: Watch,
    pipeline: Name,
    kind: Kind,
    text: Text,
    last: Annotated[int, Field(ge=1, le=10_000_000, description="How many of the latest rows.")] = 1000,
) -> DryRun:
    """Run a transformation over the latest rows and show what would become of them. Nothing is written."""
    with closing(transformations.step(home, kind, text, traced=True)) as step:
        return trials.dry_run(home, pipeline, step, last=last, stopping=watch.stopping)


@operation("POST", "/transformations/explain")
def explain(home: Home, blocks: Text) -> Explained:
    """Write a chain of blocks as a Python script that does the same."""
    from millrace.engine.blocks.explain import explain as explained
    from millrace.engine.blocks.model import parse

    del home
    return Explained(explained(parse(blocks)))


@operation("GET", "/transformations/block-schema")
def block_schema(home: Home) -> Mapping[str, Any]:
    """The JSON Schema of a chain of blocks: which blocks there are, and the settings and filters of each."""
    from millrace.engine.blocks.model import schema

    del home
    return schema()


@operation("GET", "/pipelines/{pipeline}/personal-data")
def detect(home: Home, pipeline: Name, object: Name | None = None) -> Detected:
    """Say which fields seem to hold personal data: by their values or by their names."""
    return _detected(trials.sampled(home, pipeline, object))


@operation("POST", "/transformations/detect")
def detect_in(home: Home, events: Lines, file: Called = "events.jsonl") -> Detected:
    """Say which fields of events that are sent seem to hold personal data."""
    del home
    return _detected(trial_events.read_lines(events, file))


@operation("GET", "/sandbox")
def sandbox(home: Home) -> Sandbox:
    """Tell which wall is around users' Python."""
    del home
    return probe()


OPERATIONS = (
    standing, history, find, difference, draft, deploy, remove, roll_back, samples, test, try_, dry_run, explain,
    block_schema, detect, detect_in, sandbox,
)  # fmt: skip


def _samples(home: Home, pipeline: str, object: str | None, *, failed: bool, limit: int | None) -> list[Event]:
    if not failed:
        return trials.sampled(home, pipeline, object, limit=limit)
    with closing(Stage(home.stage_url)) as stage:
        return trials.failed(home, stage, pipeline, object, limit=limit or 10)


def _tried(home: Home, kind: Kind, text: str, events: list[Event], pipeline: str | None) -> Tried:
    if not events:
        raise ConfigError("there are no events to try it on", hint="Give some with --events.", code="no_events")
    with closing(transformations.step(home, kind, text, traced=True)) as step:
        trial = trials.test(home, step, events, pipeline=pipeline)
    return Tried(tuple(events), trial.outcomes, trial.effects, trial.printed)


def _detected(events: list[Event]) -> Detected:
    return Detected(tuple(trials.personal(events)), len(events))
