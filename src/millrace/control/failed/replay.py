"""Replay of rejects: rows that could not pass go their way once more, when asked or by themselves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from millrace.connect.source import Clock, Note, Reading, Stream
from millrace.control.books import records, retention
from millrace.control.books.ledger import Group
from millrace.control.books.records import RunRecord
from millrace.control.failed import cures, rejects
from millrace.control.failed.failures import due
from millrace.control.failed.rejects import Choice, Replayable
from millrace.control.running import crews
from millrace.data.dataclass import dataclass
from millrace.engine.failures import FailurePolicy
from millrace.engine.ingest import ingest
from millrace.engine.meter import Meter
from millrace.engine.replay import NUMBER, Return, mended, replayed
from millrace.engine.stage import Draft, Stage
from millrace.errors import ConfigError, MillraceError, Stale, in_words

if TYPE_CHECKING:
    import pyarrow as pa

    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.control.running.crews import Crew
    from millrace.engine.sync import Sync


def replay(
    home: Home,
    choice: Choice,
    *,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
) -> RunRecord:
    """Open rejects of one pipeline have gone their way once more and are loaded, or are rejects again.

    A file of rejects is closed in the same transaction in which its rows are staged (I1), so no row is doubled or
    lost however often this is interrupted. Rows of a file that the choice leaves out stay rejects, as they were.
    """
    home.actor.must("pipelines.edit")
    if choice.pipeline is None:
        raise ConfigError("no pipeline is named", hint="Rejects are replayed for one pipeline: name it.", code="usage")
    with crews.crew(home, choice.pipeline, "REPLAY", clock=clock, meter=meter, stopping=stopping) as ours:
        sync = replace(ours.sync(), failing=FailurePolicy.none())
        sync.meter.stage = "replaying"
        with sync.loading() as loader:
            chosen = rejects.choosing(choice)
            # A pipeline may get another name meanwhile.
            mine = replace(choice, pipeline=None, pipeline_id=ours.pipeline.id)
            went = [
                _again(ours, sync, found, loader.wake, chosen=chosen)
                for found in rejects.replayable(home, sync.stage, mine)
            ]
        if not any(went) and not sync.stopping.is_set():
            ours.note(_none_meant(choice))
        retention.collect(home, sync.stage)
    return records.run_record(home, ours.run_id)


def mend(
    home: Home,
    pipeline: str,
    file: Path,
    content: bytes | None = None,
    *,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
) -> RunRecord:
    """Rejects of one pipeline have gone their way as ``file`` has them: lines of `millrace rejects export`, edited.

    With ``content`` the file is only a name for messages.

    Rows that the file does not name stay rejects, as they were. They may lie in another file of rejects then; lines
    of the export from before find them all the same. Raises ConfigError for a line that names none, or one that is no
    longer open.
    """
    home.actor.must("pipelines.edit")
    said = _lines(file, content)
    with crews.crew(home, pipeline, "REPLAY", clock=clock, meter=meter, stopping=stopping) as ours:
        sync = replace(ours.sync(), failing=FailurePolicy.none())
        found: dict[int, Replayable] = {}
        lines: dict[int, dict[int, str]] = {}
        moved: list[_Line] = []
        for number, of_file in said.items():
            for one in rejects.replayable(home, sync.stage, Choice(pipeline_id=ours.pipeline.id, file=number)):
                open_ = _touched(one, {which: line.id for which, line in of_file.items()})
                if open_.rows:
                    found[number] = open_.left
                    lines[number] = {which: of_file[which].text for which in sorted(open_.rows)}
            moved += [line for which, line in of_file.items() if which not in lines.get(number, {})]
        if moved:
            _find_moved(home, sync.stage, ours.pipeline, file, moved, found, lines)
        sync.meter.stage = "replaying"
        with sync.loading() as loader:
            for number, texts in lines.items():
                _again(ours, sync, found[number], loader.wake, texts=texts)
        retention.collect(home, sync.stage)
    return records.run_record(home, ours.run_id)


def automatic(ours: Crew, sync: Sync, *, now: datetime | None = None) -> int:
    """Rejects whose cause may be cured by now have gone their way once more; how many rows they were.

    Rejects of streams that are skipped are given up. What cannot be replayed (its file is gone, say) is told in a note
    and does not keep the run from what is new, nor does what fails again count against it.
    """
    home, pipeline = ours.home, ours.pipeline
    waiting = rejects.waiting(home, pipeline.id)
    if not waiting:
        return 0
    whole = replace(sync, streams=sync.source.streams(), failing=FailurePolicy.none())
    known = whole.mappings().by_stream
    if skipped := {row.stream for row in waiting if row.stream in known and known[row.stream].skipped}:
        rejects.dismiss(home, pipeline.id, sorted(skipped))
    with home.database.reading() as connection:
        standing = cures.standing(connection, pipeline.id, now or home.database.now())
    chosen = due((row for row in waiting if row.stream not in skipped), standing)
    if not chosen:
        return 0
    meter = ours.meter
    before = (meter.rejected, meter.stage, meter.new.copy(), meter.failed.copy())
    meter.stage = "replaying"
    try:
        with whole.loading() as loader:
            for found in rejects.files_of(sync.stage, chosen):
                if sync.stopping.is_set():
                    break
                try:
                    _again(ours, whole, found, loader.wake, asked=False)
                except Stale:
                    raise
                except MillraceError as problem:
                    ours.note(_left(found.groups, problem))
    except Stale:
        raise
    except MillraceError:
        # The run meets a destination that takes nothing again, after it has read; the rows are on the stage by then.
        ours.meter.awaiting = ""
    meter.rejected, meter.stage, meter.new, meter.failed = before
    return sum(row.rows for row in chosen)


def _again(
    ours: Crew,
    sync: Sync,
    found: Replayable,
    wake: Callable[[], None],
    *,
    asked: bool = True,
    chosen: Callable[[pa.RecordBatch], pa.Array] | None = None,
    texts: Mapping[int, str] | None = None,
) -> bool:
    """The open rows of one file have gone their way, each stream of it in one commit; False: none of them is meant.

    What somebody discarded or purged meanwhile stays so, with what shares a commit with it; a note says so.
    """
    went = False
    streams = {stream.name: stream for stream in sync.source.streams()}
    for name in found.streams:
        if sync.stopping.is_set():
            break
        groups = found.of(name) if texts is not None or chosen is None else _meant(found, name, chosen)
        if not groups:
            continue  # none of them is meant, so they stay where they are
        own = replace(found, groups=tuple(groups))
        mappings = sync.mappings()
        mapping = mappings.of(name)
        reading = Reading(
            streams.get(name, Stream(name)),
            "again",
            memory=ours.books.memory(name),
            load_mode=mapping.mode,
            followed=ours.books.cursor(name, "incremental"),
        )
        back = Return(
            sync.source,
            reading,
            mapping,
            ours.books.mapping(name, found.versions.get(name)) or mapping,
            sync.naming.prefix,
        )
        batches = own.batches(name)
        if texts is not None:
            batches, chosen = _as_mended(batches, texts), _numbered(texts)
        went = True
        try:
            ingest(
                replayed(batches, back, chosen=chosen),
                reading,
                mappings=mappings,
                ledger=ours.books.replaying(groups, asked=asked, mended=texts is not None),
                draft=Draft(sync.stage, ours.books.feed),
                whole=True,
                clock=sync.clock,
                meter=sync.meter,
                committed=wake,
                stopping=lambda: False,
                note=ours.note,
                flight=sync.flight,
            )
        except MillraceError as problem:
            if not _taken_meanwhile(ours, groups):
                raise
            ours.note(_left(groups, problem))
    return went


def _meant(found: Replayable, stream: str, chosen: Callable[[pa.RecordBatch], pa.Array]) -> list[Group]:
    """The stream's groups that have rows which are chosen."""
    some: set[tuple[str, str]] = set()
    for batch in found.batches(stream):
        rows = batch.filter(chosen(batch))
        some |= set(zip(rows["stage"].to_pylist(), rows["code"].to_pylist(), strict=True))
    return [one for one in found.of(stream) if (one.stage, one.code) in some]


def _as_mended(batches: Iterable[pa.RecordBatch], texts: Mapping[int, str]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        yield mended(batch, texts)


def _numbered(numbers: Container[int]) -> Callable[[pa.RecordBatch], pa.Array]:
    def chosen(batch: pa.RecordBatch) -> pa.Array:
        import pyarrow as pa

        return pa.array([number in numbers for number in batch[NUMBER].to_pylist()], pa.bool_())

    return chosen


_IN_AN_EXPORT = {"file", "number", "id", "stream", "stage", "code", "message", "rejected_at", "row"}


@dataclass(frozen=True, slots=True)
class _Line:
    """One row of an edited export: where it was, and what it shall be. ``id`` None: of an export that had none."""

    file: int
    number: int
    id: str | None
    text: str


def _lines(file: Path, content: bytes | None) -> dict[int, dict[int, _Line]]:
    """The rows of an edited export: by number of the file of rejects, then by number of the row."""
    from millrace.data import json_text

    found: dict[int, dict[int, _Line]] = {}
    try:
        text = (file.read_bytes() if content is None else content).decode()
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(f"{file} cannot be read: {in_words(cause)}", code="file_unreadable") from cause
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        at = f"{file}:{number}"
        try:
            said = json_text.loads(line)
        except ValueError as cause:
            raise ConfigError(f"the line is not JSON: {cause}", path=at, code="bad_line") from cause
        said = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
        row, of, which = said.get("row"), said.get("file"), said.get("number")
        if not (isinstance(row, dict) and isinstance(of, int) and isinstance(which, int)):
            raise ConfigError(
                "the line is not one of an export: it needs file, number and row",
                hint="Start from `millrace rejects export`, and change nothing but what is under row.",
                path=at,
                code="bad_line",
            )
        if odd := said.keys() - _IN_AN_EXPORT:
            raise ConfigError(
                f"the line has {min(odd)!r} beside the row, where nothing can be changed",
                hint="What belongs to the row stands under row.",
                path=at,
                code="bad_line",
            )
        if which in found.setdefault(of, {}):
            raise ConfigError(f"row {which} of file {of} comes twice", path=at, code="bad_line")
        id_ = said.get("id")
        found[of][which] = _Line(of, which, id_ if isinstance(id_, str) else None, json_text.dumps(row))
    if not found:
        raise ConfigError(f"{file} has no line", code="bad_line")
    return found


@dataclass(frozen=True, slots=True)
class _Touched:
    """Which of some rows of a file are open, and the file with the groups alone in which these are."""

    rows: frozenset[int]
    left: Replayable


def _touched(found: Replayable, wanted: Mapping[int, str | None]) -> _Touched:
    """The groups that have some of these rows, by number and id: the others stay as they are.

    A row of that number with another id is another row: the line is of a file elsewhere, or of another home's.
    """
    rows: set[int] = set()
    groups: set[tuple[str, str, str]] = set()
    for one in rejects.of_file(found, _numbered(wanted)):
        if wanted[one.number] in (None, one.id):
            rows.add(one.number)
            groups.add((one.stream, one.stage, one.code))
    mine = tuple(one for one in found.groups if (one.stream, one.stage, one.code) in groups)
    return _Touched(frozenset(rows), replace(found, groups=mine))


def _find_moved(
    home: Home,
    stage: Stage,
    pipeline: Pipeline,
    file: Path,
    moved: Sequence[_Line],
    found: dict[int, Replayable],
    lines: dict[int, dict[int, str]],
) -> None:
    """Lines whose rows lie in another file of rejects since are among the ``lines`` of that one.

    Each finds a row of its own. Raises ConfigError for one whose row is not open.
    """
    wanted: dict[str, list[_Line]] = {}
    for line in moved:
        if line.id is not None:
            wanted.setdefault(line.id, []).append(line)
    left = {(line.file, line.number) for line in moved}
    for row in rejects.rows(home, stage, Choice(pipeline_id=pipeline.id)) if wanted else ():
        if row.number in lines.get(row.file, {}) or not (same := wanted.get(row.id)):
            continue
        line = same.pop(0)
        left.remove((line.file, line.number))
        lines.setdefault(row.file, {})[row.number] = line.text
        if not left:
            break
    if left:
        of, number = min(left)
        raise ConfigError(
            f"{file}: row {number} of file {of} is not an open reject of pipeline {pipeline.name}",
            hint="It went on or was discarded meanwhile, or the file is of another pipeline. Export what is open.",
            code="not_open",
        )
    for number, texts in lines.items():
        for one in rejects.replayable(home, stage, Choice(pipeline_id=pipeline.id, file=number)):
            found[number] = _touched(one, dict.fromkeys(texts)).left


def _taken_meanwhile(ours: Crew, groups: Sequence[Group]) -> bool:
    """Somebody discarded or purged some of the groups while they were replayed; the pipeline is still ours.

    Raises Stale when it is not: whoever has it now may have replayed them.
    """
    waiting = rejects.waiting(ours.home, ours.pipeline.id)
    open_ = {Group(row.file_id, row.stream, row.stage, row.code) for row in waiting}
    if open_.issuperset(groups):
        return False
    ours.books.confirm()
    return True


def _none_meant(choice: Choice) -> Note:
    said = "nothing was replayed: this pipeline has no open reject"
    if any((choice.stream, choice.stage, choice.code, choice.run, choice.file, choice.where)):
        said += " of those that are meant"
    if choice.where is not None:
        said += " (fields are named as `millrace rejects show` shows them, those within others as address.city)"
    return Note("none_replayed", said)


def _left(groups: Sequence[Group], problem: MillraceError) -> Note:
    text = f"rejects of file {groups[0].file} ({len(groups)} groups) were not replayed: {problem.message}"
    return Note("replay_failed", text)
