"""Replay of rejects: rows that could not pass go their way once more."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from millrace.connect.source import Clock, Reading, Stream
from millrace.control import records, rejects, retention, runs
from millrace.control.records import RunRecord
from millrace.control.rejects import Choice
from millrace.data.compute import pc
from millrace.engine.ingest import ingest
from millrace.engine.meter import Meter
from millrace.engine.replay import replayed
from millrace.engine.stage import Draft
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home


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
    lost however often this is interrupted.
    """
    if choice.pipeline is None:
        raise ConfigError("no pipeline is named", hint="Rejects are replayed for one pipeline: name it.", code="usage")
    with runs.crew(home, choice.pipeline, "REPLAY", clock=clock, meter=meter, stopping=stopping) as ours:
        sync = ours.sync()
        streams = {stream.name: stream for stream in sync.source.streams()}
        sync.meter.stage = "replaying"
        with sync.loading() as wake:
            for found in rejects.replayable(home, sync.stage, choice):
                for name in sorted({group.stream for group in found.groups}):
                    if sync.stopping.is_set():
                        break
                    mappings = sync.mappings()
                    reading = Reading(
                        streams.get(name, Stream(name)),
                        "again",
                        memory=ours.books.memory(name),
                        load_mode=mappings.of(name).mode,
                    )
                    ingest(
                        replayed(
                            found.rows.filter(pc.equal(found.rows["stream"], name)),
                            source=sync.source,
                            reading=reading,
                            mapping=mappings.of(name),
                            prefix=sync.naming.prefix,
                            now=sync.clock.now(),
                        ),
                        reading,
                        mappings=mappings,
                        ledger=ours.books.replaying([group for group in found.groups if group.stream == name]),
                        draft=Draft(sync.stage, ours.books.feed),
                        whole=True,
                        clock=sync.clock,
                        meter=sync.meter,
                        committed=wake,
                        stopping=lambda: False,
                        note=ours.note,
                    )
        retention.collect(home, sync.stage)
    return records.run_record(home, ours.run_id)
