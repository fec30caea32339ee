"""What one run of a pipeline works with: a lease, a record, connectors that are built and closed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any

from millrace.connect.destination import Destination
from millrace.connect.source import Clock, Context, Note, Source, Stream
from millrace.control.activity import Severity, wrote
from millrace.control.alerting import alert_runs
from millrace.control.alerting.alert_runs import Ended
from millrace.control.books import leases, records
from millrace.control.books.ledger import Books
from millrace.control.books.records import RunKind, RunStatus
from millrace.control.books.run_objects import Watching
from millrace.control.connecting import connections, reach
from millrace.control.database.db import Outdated
from millrace.control.mapper.fittings import Place, naming_of, strategy_of
from millrace.control.metering import budgets, ingestion_limit
from millrace.control.observing import logs, onlookers
from millrace.control.pipeline import object_queries, objects, pipelines
from millrace.control.running import process
from millrace.control.running.clock import clock as machine_clock
from millrace.control.scheduling import slots
from millrace.control.secrecy.secrets import redact
from millrace.control.transforming import transformations
from millrace.data.dataclass import dataclass
from millrace.engine.entering import Flight
from millrace.engine.failures import FailurePolicy
from millrace.engine.mapping import Naming
from millrace.engine.meter import Meter
from millrace.engine.stage import Stage
from millrace.engine.sync import Sync
from millrace.errors import ConfigError, DataError, EnvironmentProblem, MillraceError, Problem, Stale, Transient

if TYPE_CHECKING:
    from millrace.control.home import Home
    from millrace.control.pipeline.pipelines import Pipeline
    from millrace.control.running.tasks import Trigger
    from millrace.control.scheduling.due import Outcome
    from millrace.control.scheduling.slots import Part

# What a worker does.
_log = logging.getLogger("millrace.worker")


@dataclass(frozen=True, slots=True)
class Order:
    """Why a run is made. ``job``: its number, where it was queued. ``part`` and ``stream``: the schedule it is of.

    ``begun``: an earlier attempt has forgotten what the run shall forget before it reads.
    """

    job: int | None = None
    trigger: Trigger = "MANUAL"
    part: Part = "run"
    stream: str = ""
    begun: bool = False

    @property
    def by_hand(self) -> bool:
        return self.trigger not in ("SCHEDULE", "RETRY")


BY_HAND = Order()


@dataclass(slots=True)
class Crew:
    """What one run of a pipeline works with. Connectors are built at first use and closed with the crew."""

    home: Home
    pipeline: Pipeline
    clock: Clock
    meter: Meter
    stopping: threading.Event
    books: Books
    run_id: int
    order: Order = BY_HAND
    hidden: Sequence[str] = ()
    """Secrets of its connections."""
    reads: bool = False
    """The run asks the source for rows; others only go on with rows that were read."""
    notes: dict[tuple[str, str], Note] = field(default_factory=dict[tuple[str, str], Note])
    active: Sync | None = None
    _stack: ExitStack = field(default_factory=ExitStack)
    _place: Place | None = None
    _naming: Naming | None = None

    def note(self, note: Note) -> None:
        """The run says so, once."""
        self.notes[note.code, note.message] = note

    @property
    def context(self) -> Context:
        def awaiting(text: str) -> None:
            self.meter.awaiting = text

        context = Context(
            clock=self.clock,
            awaiting=awaiting,
            note=self.note,
            stopping=self.stopping,
            pipeline=self.pipeline.id,
        )
        # Imported here: runs of other sources do without.
        family = connections.registry.source(self.pipeline.source_type)
        if family.pushed:
            from millrace.control.pipeline import intakes

            return replace(context, intake=intakes.of(self.home, self.pipeline))
        if family.inspects:
            from millrace.control.observing.audits import Recorded

            return replace(context, audit=Recorded(self.home.database, self.pipeline.team_id))
        return context

    @property
    def pushed(self) -> bool:
        """Rows of the pipeline come by themselves, once."""
        return connections.registry.source(self.pipeline.source_type).pushed

    def must_ask(self) -> None:
        """Raises ConfigError where what was read cannot be asked for again."""
        if self.pushed:
            raise ConfigError(
                f"what was sent to pipeline {self.pipeline.name} cannot be read again: nothing can be asked for it",
                hint="Keep rows as they come (`keep_raw`), and use `millrace replay`.",
                code="pushed",
            )

    def source(self) -> Source[Any]:
        context = replace(self.context, queries=object_queries.wished(self.home.database, self.pipeline.id))
        source = connections.build_source(self.home, self.pipeline.source_id, context)
        self._stack.callback(source.close)
        return source

    def destination(self) -> Destination[Any]:
        family, config = self.place
        destination = family(config, replace(self.context, reach=reach.of(self.home)))
        # Its notes of what it holds have the workspace's prefix in their name, like every column of ours.
        destination.loads = self.naming.prefix.outside(destination.loads)
        return destination

    @property
    def place(self) -> Place:
        """The class of the destination and its settings, as they were when they were asked for first."""
        if self._place is None:
            self._place = connections.destination_of(self.home, self.pipeline.destination_id)
        return self._place

    @property
    def naming(self) -> Naming:
        """How names are made, as it was said when it was asked for first."""
        if self._naming is None:
            self._naming = naming_of(self.home, self.pipeline, self.place)
        return self._naming

    def ready(self) -> None:
        """Nothing is read for a destination that cannot be written. One that does not answer now is waited for."""
        with closing(self.destination()) as destination, suppress(Transient):
            destination.ready()

    def stage(self) -> Stage:
        return self._stack.enter_context(closing(Stage(self.home.stage_url)))

    def sync(self, only: Sequence[str] = ()) -> Sync:
        """The sync of the pipeline's selected streams, or of those named. Raises ConfigError for an unknown name."""
        source = self.source()
        offered = source.streams()
        streams = self.chosen(offered, only)
        if self.reads and not only:
            self._tell_missing(offered)
        watch = Watching(self.home.database, self.pipeline.id, self.run_id, lambda error: told(error, self.hidden))
        if self.run_id:
            with self.home.database.transaction():
                objects.seen(self.home.database, self.pipeline.id, offered)
                watch.begin(stream.name for stream in streams)
        self.active = Sync(
            streams=streams,
            source=source,
            open_destination=self.destination,
            ledger=self.books,
            shelf=self.books,
            stage=self.stage(),
            naming=self.naming,
            clock=self.clock,
            meter=self.meter,
            note=self.note,
            stopping=self.stopping,
            mode=self.pipeline.load_mode,
            modes=dict(self.pipeline.modes),
            auto=self.pipeline.auto_mapping,
            pipeline=self.pipeline.name,
            flight=self.flight(),
            failing=FailurePolicy.from_json(self.pipeline.options.get("failure_policy")),
            policy=self.pipeline.schema_policy,
            selected=self.pipeline.selected or frozenset(),
            grown=records.has_ended(self.home.database, self.pipeline.id),
            following=self.chosen(offered, ()) if source.log() is not None else (),
            keeps_unchanged=connections.destination_of(self.home, self.pipeline.destination_id)[0].keeps_unchanged,
            watch=watch,
            paced=self.paced,
            held=self.held,
        )
        return self.active

    def paced(self) -> None:
        """Where the team has read what it may in this window, a run by hand waits, and a worker's ends for now."""
        database, team = self.home.database, self.pipeline.team_id
        if self.order.job is None:
            ingestion_limit.wait(database, team, self.stopping, self.meter)
        elif ingestion_limit.until(database, team) is not None:
            self.stopping.set()

    def held(self) -> bool:
        """A budget that is used up holds back what waits on the stage; the run says so."""
        why = budgets.holding(self.home.database, self.pipeline)
        if why is not None:
            self.note(Note("budget_used_up", why))
        return why is not None

    def flight(self) -> Flight:
        """What happens to rows of the pipeline before the mapping."""
        deployed = transformations.standing_of(self.home, self.pipeline).deployed
        raw = bool(self.pipeline.options.get("keep_raw_s"))
        strategy = strategy_of(self.home, self.pipeline, self.place)
        if deployed is None or deployed.kind == "none":
            return Flight(version=deployed and deployed.version, raw=raw, strategy=strategy)
        # An event type that code made in an earlier run is told apart as its table was made for.
        keys = {one.stream: one.key for one in self.books.mappings() if one.source is not None and one.parent is None}
        step = transformations.step(self.home, deployed.kind, deployed.text, keys=keys)
        self._stack.callback(step.close)
        return Flight(step, deployed.version, raw, strategy)

    def chosen(self, streams: list[Stream], only: Sequence[str]) -> list[Stream]:
        """The streams that are selected, or those of these names. Raises ConfigError for an unknown name."""
        by_name = {stream.name.lower(): stream for stream in streams}
        for name in only:
            if name.lower() not in by_name:
                raise ConfigError(
                    f"pipeline {self.pipeline.name} has no object {name!r}",
                    hint=f"Objects: {', '.join(stream.name for stream in streams)}.",
                    code="unknown_object",
                )
        wanted = {name.lower() for name in only}
        resting = frozenset[str]() if only else objects.resting(self.home.database, self.pipeline.id)
        return [
            stream
            for stream in streams
            if (
                stream.name.lower() in wanted
                if only
                else self.pipeline.selects(stream.name) and stream.name not in resting
            )
        ]

    def _tell_missing(self, offered: Sequence[Stream]) -> None:
        """The run says which selected objects the source does not offer. Event types that rows become are made; of
        those that come by themselves nobody knows which will."""
        made = {one.stream for one in self.books.mappings() if one.source is not None}
        missing = sorted((self.pipeline.selected or set()) - {stream.name for stream in offered} - made)
        if missing and not self.pushed:
            names, others = _some(missing), _some(sorted(stream.name for stream in offered)) or "nothing"
            why = "each is gone, cannot be read, or is not in the log"
            text = f"the source does not offer {names}, of which nothing is read: {why}; the source offers {others}"
            self.note(Note("object_missing", text))

    def close(self) -> None:
        self._stack.close()


def _some(names: Sequence[str], most: int = 20) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} others" if len(names) > most else "")


@contextmanager
def crew(
    home: Home,
    name: str,
    kind: RunKind,
    *,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
    order: Order = BY_HAND,
) -> Generator[Crew]:
    """The pipeline is ours while the block runs, and the run is on record however it ends.

    Raises AlreadyRunning when another process has it. A run that another worker overtook ends as cancelled (I4).
    """
    process.settle()
    clock = clock or machine_clock()
    pipeline = pipelines.find(home, name)
    hidden = connections.secrets_of(home, pipeline)
    lease_name = pipelines.lease_name(pipeline.id)
    with logs.hiding(hidden), leases.held(home.database, lease_name, what=f"pipeline {name}") as lease:
        with home.database.transaction():
            records.end_interrupted(home.database, pipeline.id, but=order.job)
            run_id = records.begin_run(home.database, pipeline.id, kind, job=order.job, trigger=order.trigger)
        if order.job is not None:
            _log.info("run %s of %s begins: %s", run_id, name, order.trigger.lower())
        ours = Crew(
            home=home,
            pipeline=pipeline,
            clock=clock,
            meter=meter or Meter(),
            stopping=stopping or threading.Event(),
            books=Books(home.database, pipeline.id, run_id, lease),
            run_id=run_id,
            order=order,
            hidden=hidden,
            reads=kind not in ("LOAD", "REPLAY", "RAW_REPLAY"),
        )
        onlookers.began(home, pipeline, run_id)
        try:
            yield ours
        except BaseException as error:
            # Whoever ends a run does not see it fail of what time, or this machine, may mend.
            passing = isinstance(error, (Transient, EnvironmentProblem)) and not isinstance(error, Outdated)
            stopped = passing and ours.stopping.is_set()
            gone = stopped or isinstance(error, (KeyboardInterrupt, Stale))
            status: RunStatus = "CANCELLED" if gone else "FAILED"
            problem = told(error, hidden)
            if isinstance(error, MillraceError):
                # Whoever shows it further up does not know what to take out (I7).
                error.message, error.hint, error.args = problem.message, problem.hint, (problem.message,)
            if not stopped or _over(ours):
                _ended(ours, kind, status, error, problem)
            if isinstance(error, Exception):
                _reckon(ours, order, "cancelled" if gone else _cause(error), None if stopped else error)
            raise
        else:
            status, outcome = _result(ours)
            if status != "CANCELLED" or _over(ours):
                _ended(ours, kind, status)
            _reckon(ours, order, outcome)
        finally:
            ours.close()


def _over(ours: Crew) -> bool:
    """A run that was asked to end is over. Else only the worker stops: its task goes back, and another goes on."""
    return ours.order.job is None or records.cancel_wished(ours.home.database, ours.run_id)


def _ended(
    ours: Crew, kind: RunKind, status: RunStatus, error: BaseException | None = None, problem: Problem | None = None
) -> None:
    """The run is on record as ended, the activity log tells how, and so do alerts, all or nothing.

    Trouble that time mends is HIGH in the log, another failure CRITICAL.
    """
    severity: Severity = "LOW"
    if status == "FAILED":
        severity = "HIGH" if isinstance(error, Transient) else "CRITICAL"
    message = f"job {ours.run_id} of {ours.pipeline.name} ({records.DOES[kind]}) {records.ENDED.get(status, 'ended')}"
    message += f": {problem.message}" if problem else ""
    end = Ended(ours.run_id, status, _said(ours), problem)
    if error is not None:
        end = replace(end, side=alert_runs.side_of(error), severity=alert_runs.severity_of(error))
    with ours.home.database.transaction() as connection:
        records.end_run(ours.home.database, ours.run_id, status, notes=end.notes, error=problem)
        wrote(ours.home, severity, ours.pipeline.entity, "run", message, run_id=ours.run_id)
        alert_runs.ended(connection, end)
    onlookers.ended(ours.home, ours.pipeline, ours.run_id)


@contextmanager
def visit(
    home: Home,
    name: str,
    *,
    clock: Clock | None = None,
    meter: Meter | None = None,
    stopping: threading.Event | None = None,
) -> Generator[Crew]:
    """The pipeline to look at, beside whoever runs it: nothing is put on record and nothing can be written."""
    pipeline = pipelines.find(home, name)
    nobody = leases.Lease(home.database, pipelines.lease_name(pipeline.id), token="")
    ours = Crew(
        home=home,
        pipeline=pipeline,
        clock=clock or machine_clock(),
        meter=meter or Meter(),
        stopping=stopping or threading.Event(),
        books=Books(home.database, pipeline.id, 0, nobody),
        run_id=0,
    )
    try:
        yield ours
    finally:
        ours.close()


def _result(ours: Crew) -> tuple[RunStatus, Outcome]:
    """How a run that raised nothing has ended."""
    balance = records.run_record(ours.home, ours.run_id).balance
    failures = bool(balance.rejected) or any(note.level == "error" for note in ours.notes.values())
    if ours.stopping.is_set():
        return "CANCELLED", "cancelled"
    if ours.active is not None and ours.active.deferred:
        return "DEFERRED_WITH_FAILURES" if failures else "DEFERRED", "deferred"
    outcome: Outcome = "read" if balance.read else "empty"
    return "COMPLETED_WITH_FAILURES" if failures else "COMPLETED", outcome


def _cause(error: BaseException) -> Outcome:
    """Whether time may mend it. Nobody knows of what was not foreseen; it is tried again."""
    return "broken" if isinstance(error, (ConfigError, DataError)) else "failed"


def _reckon(ours: Crew, order: Order, outcome: Outcome, error: BaseException | None = None) -> None:
    """The schedule knows how the run ended."""
    waits = [limit.retry_after_s for limit in (ours.active.deferred.values() if ours.active else ())]
    waits += [error.retry_after_s] if isinstance(error, Transient) else []
    slots.after_run(
        ours.home.database,
        ours.pipeline.id,
        order.part,
        outcome,
        ours.home.database.now(),
        stream=order.stream,
        deferring=_deferring(ours),
        by_hand=order.by_hand,
        retry_after_s=max((wait for wait in waits if wait is not None), default=None),
    )


def _deferring(ours: Crew) -> bool:
    """Whether runs that find nothing come at growing intervals. A log is read in time, lest it be cut."""
    said = ours.pipeline.options.get("defer_when_empty")
    followed = ours.active is not None and bool(ours.active.following)
    return pipelines.deferring(ours.pipeline) and not (followed and said is None)


def _said(ours: Crew) -> list[Note]:
    """The notes of the run, without secrets (I7)."""
    return [replace(note, message=redact(note.message, ours.hidden)) for note in ours.notes.values()]


def told(error: BaseException, hidden: Sequence[str]) -> Problem:
    """The error as it is kept and shown: no secret is in it (I7)."""
    if isinstance(error, MillraceError):
        known = error.problem
        return Problem(
            known.code, redact(known.message, hidden), known.hint and redact(known.hint, hidden), known.path, known.docs
        )
    if isinstance(error, KeyboardInterrupt):
        return Problem("cancelled", "the run was ended by hand", "Run it again; it goes on from the last commit.")
    return Problem("internal", redact(f"{type(error).__name__}: {error}", hidden))
