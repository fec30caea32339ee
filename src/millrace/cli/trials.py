"""How trials and dry runs of a transformation are told: what each event becomes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from millrace.cli.text import bold, count, dim, mark

if TYPE_CHECKING:
    from millrace.control.operations.transformations import Tried
    from millrace.control.transforming.trial_events import Event
    from millrace.control.transforming.trials import DryRun, Effect, Outcome


def written(value: object) -> str:
    """Compact JSON, numbers with all their digits."""
    from millrace.data import json_text

    return json_text.dumps(value)


def plain(event: Event) -> dict[str, Any]:
    """An event in JSON's kinds, as `test --events` reads it."""
    return {"event_name": event.event_name, "properties": event.properties}


def outcome_of(outcome: Outcome) -> dict[str, Any]:
    """What an event became, in JSON's kinds."""
    error = outcome.error and asdict(outcome.error)
    return {"output": [plain(one) for one in outcome.output], "error": error}


def told(trial: Tried) -> Iterator[str]:
    """What became of each event of a trial, and how many there were."""
    for event, outcome in zip(trial.events, trial.outcomes, strict=True):
        yield f"{bold(event.event_name)} {written(event.properties)}"
        yield from _became(outcome)
    for line in trial.printed:
        yield dim(f"printed: {line}")
    yield from _effects(trial.effects)
    bad = sum(outcome.error is not None for outcome in trial.outcomes)
    dropped = sum(outcome.error is None and not outcome.output for outcome in trial.outcomes)
    made = sum(len(outcome.output) for outcome in trial.outcomes)
    state = mark("bad" if bad else "good")
    yield f"{state} {count(len(trial.events), 'event')} in, {made:,} out, {dropped:,} dropped, {bad:,} failed"


def _became(outcome: Outcome) -> Iterator[str]:
    if outcome.error is not None:
        head, *more = outcome.error.message.splitlines() or [""]
        yield f"  {mark('bad')} {outcome.error.code}: {head}"
        yield from (f"    {line}" for line in more)
        yield from (dim(f"    {frame}") for frame in outcome.error.frames)
    elif not outcome.output:
        yield f"  {mark('idle')} dropped"
    for after in outcome.output:
        yield f"  → {after.event_name} {written(after.properties)}"


def _effects(effects: Sequence[Effect]) -> Iterator[str]:
    for effect in effects:
        yield f"  {mark('look')} table {effect.table}: {effect.change}"


def compared(done: DryRun) -> Iterator[str]:
    """What would become of the latest rows that is not what became of them."""
    if done.through:
        yield dim(f"These rows went through version {done.through} when they were read.")
    for difference in done.differences:
        before = difference.before
        yield f"{bold(before.event_name)} {written(before.properties)}"
        if len(difference.after) > 1:
            yield from _split(before, difference.after)
        else:
            for after in difference.after:
                yield from _changes(before, after)
        if difference.error is not None:
            yield f"  {mark('bad')} {difference.error.message.splitlines()[0]}"
        elif not difference.after:
            yield f"  {mark('idle')} dropped"
    yield from _effects(done.effects)
    for reason, rows in sorted(done.failures.items(), key=lambda pair: -pair[1]):
        yield f"  {mark('bad')} {count(rows, 'row')}: {reason.splitlines()[0]}"
    parts = ", ".join(f"{rows:,} {word}" for word, rows in done.counts.items() if rows)
    yield f"{mark('bad' if done.failures else 'good')} {count(done.rows, 'row')}: {parts}. Nothing was written."


def _split(before: Event, outputs: Sequence[Event]) -> Iterator[str]:
    """What one event became, each by its own name: told as changes of the first, a new one would seem to replace it."""
    for after in outputs:
        if after.event_name != before.event_name:
            yield f"  → {after.event_name} {written(after.properties)}"
            continue
        changes = list(_changes(before, after))
        yield f"  → {after.event_name}" + ("" if changes else ", unchanged")
        yield from (f"  {change}" for change in changes)


def _changes(before: Event, after: Event) -> Iterator[str]:
    if before.event_name != after.event_name:
        yield f"  ~ event type {before.event_name} → {after.event_name}"
    for name in dict.fromkeys([*before.properties, *after.properties]):
        was, is_ = before.properties.get(name), after.properties.get(name)
        if name not in after.properties:
            yield f"  - {name}: {written(was)}"
        elif name not in before.properties:
            yield f"  + {name}: {written(is_)}"
        elif was != is_:
            yield f"  ~ {name}: {written(was)} → {written(is_)}"
