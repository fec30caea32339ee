"""Positions: how far each lane of each stream was read, seen and set by hand, with their history (pipelines.md 9.3)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from millrace.connect.log import LOG
from millrace.connect.source import Stream
from millrace.control.activity import Entity, wrote
from millrace.control.books import file_notes, leases
from millrace.control.database.tables import cursor_history, cursors
from millrace.control.pipeline.pipelines import Pipeline, find, lease_name
from millrace.data.batch import JSON, Lane
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.books.ledger import Books
    from millrace.control.home import Home


# So many earlier places of a log are known to whoever looks for another one.
_KNOWN = 1000
_AGAIN = (
    "Use `millrace resync --mode drop-and-load`, which fills a new table. Where nothing comes again from there on, or "
    "may stand there twice, say so with `--append-again` (in the API `append_again`)."
)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a lane of a stream is, or was. ``run`` None: set by hand. ``cursor`` None: nothing was read."""

    stream: str
    lane: Lane
    cursor: JSON
    progress: float | None
    committed_at: datetime
    run: int | None


def listed(home: Home, pipeline: str) -> list[Position]:
    """The position of every lane that was read, by stream and lane."""
    home.actor.must("view")
    id_ = find(home, pipeline).id
    with home.database.reading() as connection:
        return of(connection, id_)


def of(connection: sa.Connection, pipeline_id: str) -> list[Position]:
    """The positions of a pipeline by its id."""
    query = sa.select(cursors).where(cursors.c.pipeline_id == pipeline_id).order_by(cursors.c.stream, cursors.c.lane)
    found = connection.execute(query).all()
    return [Position(r.stream, r.lane, r.cursor, r.progress, r.committed_at, r.run_id) for r in found]


def of_log(home: Home, pipeline: str) -> JSON:
    """How far the log of the source was read, as the source has it; None for a pipeline that follows none, or has not
    begun to."""
    found = in_log(home, pipeline)
    return None if found is None else found.cursor["position"]


def in_log(home: Home, pipeline: str) -> Position | None:
    """The position of the log that the pipeline follows; None where it follows none, or has not begun to."""
    return next((one for one in listed(home, pipeline) if one.stream == LOG), None)


def history(home: Home, pipeline: str, stream: str, lane: Lane, *, limit: int = 50) -> list[Position]:
    """Earlier positions of a lane, the latest first: the last one of every run, and each that was set by hand."""
    home.actor.must("view")
    id_ = find(home, pipeline).id
    query = sa.select(cursor_history).where(
        cursor_history.c.pipeline_id == id_, cursor_history.c.stream == stream, cursor_history.c.lane == lane
    )
    with home.database.reading() as connection:
        found = connection.execute(query.order_by(cursor_history.c.id.desc()).limit(limit)).all()
    return [Position(r.stream, r.lane, r.cursor, r.progress, r.committed_at, r.run_id) for r in found]


def put(
    home: Home,
    pipeline: str,
    stream: str,
    lane: Lane,
    cursor: JSON,
    *,
    progress: float | None = None,
    memory: bool = False,
    append_again: bool = False,
) -> Position:
    """The lane is at ``cursor`` (None: at its beginning), and the next run reads from there. At its beginning the
    incremental lane only takes the position from which it will follow, so the historical lane, where there is one,
    begins anew with it: else what came since it was read last would be read by neither.

    With ``memory`` False the source forgets what it marked as read, so that rows read again count as new; a table
    with a key takes them without doubling, and one that is appended to keeps the marks. Raises ConfigError where rows
    that are there could be doubled, unless these may be (``append_again``), and AlreadyRunning while the pipeline runs.
    """
    home.actor.must("pipelines.edit")
    position = Position(stream, lane, cursor, progress, datetime.now(UTC), None)

    def made() -> list[Position]:
        known = {one.lane for one in listed(home, pipeline) if one.stream == stream}
        anew = cursor is None and lane == "incremental" and "historical" in known
        history = replace(position, lane="historical", progress=None)
        return [position, history] if anew else [position]

    _put(home, pipeline, made, memory=memory, append_again=append_again)
    return position


def set_back(
    home: Home, pipeline: Pipeline, streams: Sequence[str], moment: datetime, *, append_again: bool = False
) -> dict[str, MillraceError]:
    """The incremental lanes of the streams are where they were at that moment, as `put` has it; why those are not that
    cannot be. Raises AlreadyRunning while the pipeline runs."""
    home.actor.must("pipelines.edit")
    refused: dict[str, MillraceError] = {}

    def made() -> list[Position]:
        now = datetime.now(UTC)
        with_history = {one.stream for one in listed(home, pipeline.name) if one.lane == "historical"}
        found: list[Position] = []
        for stream in streams:
            cursor = _as_of(home, pipeline.id, stream, "incremental", moment)
            found.append(Position(stream, "incremental", cursor, None, now, None))
            if cursor is None and stream in with_history:
                found.append(replace(found[-1], lane="historical"))
        return found

    if streams:
        _put(home, pipeline.name, made, memory=False, append_again=append_again, refused=refused)
    return refused


def as_of(home: Home, pipeline: str, stream: str, lane: Lane, moment: datetime) -> JSON:
    """The position at that moment: whoever reads from there gets all that was read since, and all that is new.

    None, the beginning, where nothing had been read by then, or it is no longer on record.
    """
    home.actor.must("view")
    return _as_of(home, find(home, pipeline).id, stream, lane, moment)


def _as_of(home: Home, pipeline_id: str, stream: str, lane: Lane, moment: datetime) -> JSON:
    h = cursor_history.c
    mine = (h.pipeline_id == pipeline_id, h.stream == stream, h.lane == lane, h.committed_at <= moment)
    with home.database.reading() as connection:
        return connection.execute(sa.select(h.cursor).where(*mine).order_by(h.id.desc()).limit(1)).scalar()


def move_log(home: Home, pipeline: str, wanted: str, *, append_again: bool = False) -> Position:
    """The log that the pipeline follows is read from another place on, which its system has, and the next run begins
    there. ``wanted`` is in the words of that system: an LSN, a file with a position, a GTID, a resume token, a time.

    Objects keep their histories. Raises ConfigError "not_log_based" and "log_position", and "would_double" where
    changes could be appended a second time, unless they may be (``append_again``); AlreadyRunning while the pipeline
    runs, and what the source raises.
    """
    home.actor.must("pipelines.edit")
    if of_log(home, pipeline) is None:
        raise no_log(pipeline)

    def made() -> list[Position]:
        # Within the lease: nobody reads on meanwhile.
        cursor = _in_log(home, pipeline, wanted, append_again=append_again)
        return [Position(LOG, "incremental", cursor, None, datetime.now(UTC), None)]

    return _put(home, pipeline, made, memory=True, append_again=append_again)[0]


def _in_log(home: Home, pipeline: str, wanted: str, *, append_again: bool, kept: JSON = None) -> JSON:
    """The cursor at that place of the log, which its system still has; ``kept``: the one that a run left there.

    Raises ConfigError where changes of before would be appended a second time, and may not be.
    """
    from millrace.control.running import crews

    known = [one for one in history(home, pipeline, LOG, "incremental", limit=_KNOWN) if one.cursor is not None]
    with crews.visit(home, pipeline) as ours:
        log = ours.source().log()
        if log is None:
            raise no_log(pipeline)
        moved = {**known[0].cursor, "position": log.moved(wanted, [one.cursor["position"] for one in known])}
        found = kept or moved
        # Where the last run left it, it may be put again, whoever put it elsewhere since.
        read = next((one for one in known if one.run is not None), known[0]).cursor["position"]
        doubled = ours.books.appended().intersection(found["streams"])
        if doubled and not append_again and found["position"] != read and not log.reaches(found["position"], read):
            raise ConfigError(
                f"{', '.join(sorted(doubled))} is appended: changes that are read again from there on would stand in "
                "its table twice",
                hint=_AGAIN,
                path="position",
                code="would_double",
            )
    return found


def no_log(pipeline: str) -> ConfigError:
    """There is no position of the pipeline as a whole."""
    return ConfigError(
        f"pipeline {pipeline} has no position as a whole: it follows no log of a database, or has not begun to",
        hint="Ask for the position of an object.",
        code="not_log_based",
    )


def log_text(place: JSON) -> str:
    """A place in a log as `move_log` takes it."""
    if not isinstance(place, dict):
        return json.dumps(place)
    if "lsn" in place:
        return place["lsn"]
    if "file" in place:
        return f"{place['file']}:{place['position']}"
    tokens = [*place.get("tokens", {}).values()]
    if len(tokens) == 1:
        return json.dumps(tokens[0], sort_keys=True)
    if place.get("time"):
        return datetime.fromtimestamp(place["time"][0], UTC).isoformat()
    return json.dumps(place, sort_keys=True)


def back_to(
    home: Home,
    pipeline: str,
    run: int,
    *,
    stream: str | None = None,
    memory: bool = False,
    append_again: bool = False,
) -> list[Position]:
    """Every lane that the run committed, of one stream or of all, is where that run left it.

    Raises ConfigError when the run committed nothing, or its history is no longer kept; where a log does not reach
    back to it; and where rows that are there could be doubled, unless these may be (``append_again``).
    """
    home.actor.must("pipelines.edit")
    id_ = find(home, pipeline).id
    query = sa.select(cursor_history).where(cursor_history.c.pipeline_id == id_, cursor_history.c.run_id == run)
    if stream is not None:
        query = query.where(cursor_history.c.stream == stream)
    with home.database.reading() as connection:
        found = connection.execute(query.order_by(cursor_history.c.stream, cursor_history.c.lane)).all()
    if not found:
        raise ConfigError(
            f"run {run} of pipeline {pipeline!r} committed no position" + (f" of {stream!r}" if stream else ""),
            hint="See `millrace runs` for its runs.",
            code="unknown_position",
        )
    now = datetime.now(UTC)
    positions = [Position(r.stream, r.lane, r.cursor, r.progress, now, None) for r in found]

    def made() -> list[Position]:
        for one in positions:
            if one.stream == LOG and one.cursor is not None:
                place = log_text(one.cursor["position"])
                _in_log(home, pipeline, place, append_again=append_again, kept=one.cursor)
        return positions

    return [*_put(home, pipeline, made, memory=memory, append_again=append_again)]


def _put(
    home: Home,
    pipeline: str,
    made: Callable[[], Sequence[Position]],
    *,
    memory: bool,
    append_again: bool,
    refused: dict[str, MillraceError] | None = None,
) -> Sequence[Position]:
    """All of the positions hold, or none; with ``refused`` all but those of streams that come to stand there, with the
    reason. They are made while nobody else has the pipeline."""
    id_ = find(home, pipeline).id
    with leases.held(home.database, lease_name(id_), what=f"pipeline {pipeline}") as lease:
        positions = made()
        appended, wrong = _appended(home, pipeline, positions, append_again=append_again)
        if refused is None:
            for error in wrong.values():
                raise error
        else:
            refused |= wrong
            positions = [one for one in positions if one.stream not in wrong]
        expires_at = home.database.now() + timedelta(seconds=leases.LEASE_S)
        with home.database.transaction() as connection:
            leases.confirm(connection, lease, expires_at)  # I4
            for one in positions:
                entity = Entity("position", id_, f"{pipeline}/{one.stream}/{one.lane}")
                wrote(home, "MEDIUM", entity, "change", f"{entity.name} was set by hand", after={"cursor": one.cursor})
                mine = (cursors.c.pipeline_id == id_, cursors.c.stream == one.stream, cursors.c.lane == one.lane)
                row = {
                    "pipeline_id": id_,
                    "stream": one.stream,
                    "lane": one.lane,
                    "cursor": one.cursor,
                    "progress": one.progress,
                    "committed_at": one.committed_at,
                    "run_id": None,
                }
                connection.execute(sa.delete(cursors).where(*mine))
                if one.cursor is not None:
                    connection.execute(sa.insert(cursors).values(row))
                connection.execute(sa.insert(cursor_history).values(row))
                if not memory and one.stream not in appended:
                    file_notes.forget(connection, id_, one.stream)
    return positions


def _appended(
    home: Home, pipeline: str, positions: Sequence[Position], *, append_again: bool
) -> tuple[set[str], dict[str, MillraceError]]:
    """The streams whose rows are in tables that are appended to; and those whose rows that come again could stand
    beside those that are in the tables, and may not, with the reason."""
    from millrace.control.running import crews

    with crews.visit(home, pipeline) as ours:
        known = {name for one in ours.books.tables() if one.last for name in one.mapping.sources}
        appended = ours.books.appended()
        filled = [one for one in positions if one.stream in known]
        source = ours.source() if filled else None
        wrong: dict[str, MillraceError] = {}
        for one in filled:
            assert source is not None
            try:
                for cursor in (ours.books.cursor(one.stream, "incremental"), one.cursor):
                    source.must_match(Stream(one.stream), cursor)
                if one.stream in appended and not append_again and _may_come_again(home, pipeline, ours.books, one):
                    raise _doubled(one)
            except MillraceError as error:
                wrong.setdefault(one.stream, error)
    return appended, wrong


def _doubled(one: Position) -> ConfigError:
    rows = "its rows would be doubled" if one.cursor is None else "rows that come again would be doubled"
    since = "its beginning" if one.cursor is None else "there on"
    return ConfigError(
        f"{one.stream} is appended: read from {since} into the same table, {rows}",
        hint=_AGAIN,
        path="position",
        code="would_double",
    )


def _may_come_again(home: Home, pipeline: str, books: Books, one: Position) -> bool:
    """From that position on, rows may be read that were read before, and no mark tells which ones they are: nobody but
    the source can say whether a place is a later one."""
    if one.cursor is None:
        return True
    if one.cursor == books.cursor(one.stream, one.lane) or books.memory(one.stream).parts():
        return False
    ended = [each for each in history(home, pipeline, one.stream, one.lane, limit=_KNOWN) if each.run is not None]
    # Where the last run left it, it may be put again, whoever put it elsewhere since.
    return not ended or one.cursor != ended[0].cursor
