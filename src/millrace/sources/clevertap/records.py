"""Records that have a key of their own: each goes on when it is new or has changed, whatever was asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Generic, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.connect.source import Memory
from millrace.data import columns
from millrace.data.batch import REPEATED, Checkpoint, Item, Lane, LoadMode, Mark, Passed, Refused
from millrace.data.dataclass import dataclass
from millrace.data.numbers import flags
from millrace.sources.clevertap.canonical import canonical
from millrace.sources.clevertap.known import Known, Mode, went_again
from millrace.sources.clevertap.mapper import LARGEST_RECORD, Reject
from millrace.sources.clevertap.rows import Shaped, without_tokens

# What is known of such records is of no event; it is kept in as many parts.
_NO_EVENT = ""
PARTS = 256

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of the records of one answer: the marks that say so, and counts for the run's notes."""

    marks: tuple[Mark, ...]
    counts: dict[str, int]


def mode(lane: Lane, load_mode: LoadMode) -> Mode:
    """Which records go on: who is new or has changed. Ordered again, all of them, where that doubles none."""
    return "all" if lane == "again" and load_mode != "append" else "changed"


def known_of(memory: Memory, which: Mode) -> Known:
    """What is known of a stream's records."""
    return Known(_NO_EVENT, memory, which)


def state_of(raw: bytes) -> bytes:
    """8 bytes that are the same for the same record, in whatever order its members stand. Raises RecursionError."""
    return hashlib.blake2b(canonical(raw), digest_size=8).digest()


@dataclass(frozen=True, slots=True)
class Read(Generic[R]):
    """Records as rows, with 32 bytes each that say which it is and 8 that say how it is; and what cannot be a row."""

    rows: list[R]
    keys: Sequence[bytes]
    states: Sequence[bytes]
    rejects: list[Reject]


def read(
    raws: Sequence[bytes],
    row_of: Callable[[bytes], R],
    key_of: Callable[[R], bytes | None],
    *,
    what: str,
    keyless: tuple[str, str],
) -> Read[R]:
    """The records, each in one place or the other. ``row_of`` raises RecursionError and ValueError for what is none.

    ``what``: a word for one; ``keyless``: code and text for one without a key.
    """
    rows: list[R] = []
    keys: list[bytes] = []
    states: list[bytes] = []
    rejects: list[Reject] = []
    for raw in raws:
        if len(raw) > LARGEST_RECORD:
            why = f"the record has {len(raw):,} bytes, more than {LARGEST_RECORD:,}"
            rejects.append(Reject("ROW_TOO_LARGE", why, raw))
            continue
        try:
            raw.decode()
            row = row_of(raw)
            state = state_of(raw)
        except RecursionError:
            rejects.append(Reject("TOO_DEEP", "the record's values are nested too deeply", raw))
            continue
        except (ValueError, msgspec.MsgspecError) as error:
            rejects.append(Reject("UNREADABLE_RECORD", f"not readable as a {what}: {str(error)[:200]}", raw))
            continue
        if (key := key_of(row)) is None:
            rejects.append(Reject(*keyless, raw))
            continue
        rows.append(row)
        keys.append(key)
        states.append(state)
    return Read(rows, keys, states, rejects)


def shaped(rows: pa.RecordBatch, keys: Sequence[bytes], states: Sequence[bytes], rejects: list[Reject]) -> Shaped:
    """The rows with 32 bytes each that say which record it is, and 8 that say how it is."""
    numbers = np.frombuffer(b"".join(keys), ">u8").reshape(-1, 4)
    high = numbers[:, 0].astype(np.uint64)
    return Shaped(
        rows=rows,
        high=high,
        low=numbers[:, 1].astype(np.uint64),
        state=np.frombuffer(b"".join(states), np.uint64),
        day=(high % PARTS).astype(np.int64),
        moment=np.zeros(len(keys), np.int64),
        rejects=rejects,
    )


def judged(
    found: Shaped,
    known: Known,
    which: Mode,
    stream: str,
    now: datetime,
    *,
    by: str = "",
    current: npt.NDArray[np.bool_] | None = None,
) -> Generator[Item, None, Judged]:
    """The rows that go on, and what was refused for the first time; all else is counted as repeated.

    ``current``: which rows are not as they were before others that came already.
    """
    marks: list[Mark] = []
    repeated = 0
    if found.rejects:
        first, marks = known.rejected([hashlib.sha256(reject.raw).digest()[:16] for reject in found.rejects])
        rejects = [reject for reject, unmet in zip(found.rejects, first, strict=True) if unmet]
        repeated += len(found.rejects) - len(rejects)
        if rejects:
            yield Refused(refused(stream, rejects, now, by=by))
    if current is not None and not current.all():
        repeated += int(np.count_nonzero(~current))
        found = _those(found, current)
    if which == "changed":
        known.restart()  # how often a record came is no matter
    goes, new, row_marks = known.judge(found)
    going, fresh = int(np.count_nonzero(goes)), int(np.count_nonzero(new))
    repeated += len(goes) - going
    if repeated:
        yield Passed(repeated, REPEATED)
    if going:
        yield found.rows.filter(flags(goes))
    counts = {"new": fresh, went_again(which): going - fresh, "repeated": repeated}
    return Judged((*marks, *row_marks), {name: count for name, count in counts.items() if count})


def _those(found: Shaped, which: npt.NDArray[np.bool_]) -> Shaped:
    arrays = {name: getattr(found, name)[which] for name in ("high", "low", "state", "day", "moment")}
    return replace(found, rows=found.rows.filter(flags(which)), **arrays)


def compacted(known: Known) -> list[Mark]:
    """Marks that put one in the place of the many of each part."""
    return known.compacted(0, PARTS - 1)


def refused(stream: str, rejects: Sequence[Reject], now: datetime, *, by: str = "") -> pa.RecordBatch:
    """The rejects as rows of `columns.REJECTS`, without push tokens. ``by``: what was asked for when they came."""
    return pa.RecordBatch.from_pylist(
        [
            {
                "stream": stream,
                "stage": "source",
                "code": reject.code,
                "message": f"{by}: {reject.message}" if by else reject.message,
                "row": without_tokens(reject.raw),
                "rejected_at": now,
            }
            for reject in rejects
        ],
        schema=columns.REJECTS,
    )


def retried(found: Shaped, memory: Memory, which: Mode, stream: str, now: datetime) -> Iterator[Item]:
    """Records that were refused, tried once more; each in exactly one item."""
    if found.rejects:
        yield Refused(refused(stream, found.rejects, now))
    goes, _, marks = known_of(memory, which).judge(found)
    going = int(np.count_nonzero(goes))
    if going:
        yield found.rows.filter(flags(goes))
    if going < len(goes):
        yield Passed(len(goes) - going, REPEATED)
    yield Checkpoint(None, tuple(marks))
