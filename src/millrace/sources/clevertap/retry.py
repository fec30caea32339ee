"""Records that were refused, tried once more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

import msgspec
import numpy as np
import pyarrow as pa

from millrace.connect.source import Memory
from millrace.data import columns
from millrace.data.batch import REPEATED, Checkpoint, Item, Passed, Refused
from millrace.sources.clevertap import wire
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.forgetting import known_days
from millrace.sources.clevertap.known import Known, Mode
from millrace.sources.clevertap.mapper import Mapper, Reject
from millrace.sources.clevertap.rows import Shaped, bound, refused, rows_of
from millrace.sources.clevertap.times import Moments

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])


def retried(rows: Sequence[str], config: Config, *, memory: Memory, mode: Mode, now: datetime) -> Iterator[Item]:
    """The rows as items, each in exactly one of them; what still cannot be a row is refused again.

    A row that passes leaves the marks that its page would have left, so that a later read of its day knows it.
    """
    moments = Moments(config.zone)
    for event, records in _by_event(rows).items():
        mapper = Mapper(event, moments, whole=config.include_profile_fields, by_record=config.row_identity == "record")
        body = b'{"status":"success","records":[' + b",".join(records) + b"]}"
        answer = wire.read(body, whole=config.include_profile_fields)
        shaped = rows_of(event, mapper(answer))
        if shaped.rejects:
            yield Refused(refused(event, shaped.rejects, now))
        if mode == "copies":
            shaped, doubtful = _without_forgotten(event, shaped, answer, memory)
            if doubtful:
                yield Refused(refused(event, doubtful, now))
        goes, _, marks = Known(event, memory, mode).judge(shaped)
        # A person ordered these rows: they go on even where an equal one did before, unless that would double it.
        chosen = shaped.rows.filter(pa.array(goes)) if mode == "copies" else shaped.rows
        if chosen.num_rows:
            yield bound(event, chosen, config)
        if passed := shaped.rows.num_rows - chosen.num_rows:
            yield Passed(passed, REPEATED)
        yield Checkpoint(None, tuple(marks))


def _without_forgotten(event: str, shaped: Shaped, answer: wire.Answer, memory: Memory) -> tuple[Shaped, list[Reject]]:
    """The rows of days whose rows are known, and rejects of the others: those rows may have been loaded meanwhile."""
    days = known_days(event, memory)
    sure = np.array([day in days for day in shaped.day.tolist()], bool)
    if sure.all():
        return shaped, []
    rejected = {reject.raw for reject in shaped.rejects}
    raws = [raw for raw in answer.raws() if raw not in rejected]
    ids = shaped.rows.column(shaped.rows.schema.get_field_index(columns.ID)).to_pylist()
    doubtful = [
        Reject(
            "FORGOTTEN_DAY",
            f"what was loaded of the day {shaped.day[row]} is no longer known, so the row may be in the table already; "
            f"if there is none with {columns.ID} {ids[row]}, put it in by hand, and discard this one",
            raws[row],
        )
        for row in np.flatnonzero(~sure).tolist()
    ]
    kept = replace(
        shaped,
        rows=shaped.rows.filter(pa.array(sure)),
        high=shaped.high[sure],
        low=shaped.low[sure],
        state=shaped.state[sure],
        day=shaped.day[sure],
        moment=shaped.moment[sure],
    )
    return kept, doubtful


def _by_event(rows: Sequence[str]) -> dict[str, list[bytes]]:
    """The records as CleverTap sent them, by the event name that was put in when they were refused."""
    found: dict[str, list[bytes]] = {}
    for row in rows:
        try:
            members = _members.decode(row)
            event = msgspec.json.decode(members.pop("event_name"), type=str)
        except (msgspec.MsgspecError, KeyError):
            # Not JSON by the letter: the whole text stands for the record, under no name that CleverTap has.
            found.setdefault("", []).append(msgspec.json.encode(row))
            continue
        record = members["record"] if members.keys() == {"record"} else msgspec.json.encode(members)
        found.setdefault(event, []).append(bytes(record))
    return found
