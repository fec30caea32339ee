"""Campaigns and what became of them, asked for by days.

Numbers of a campaign grow for some time, and nothing says when they are final: the newest days are read in each run,
those of some weeks once a day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import field
from datetime import date, datetime, timedelta
from functools import partial

import msgspec
import pyarrow as pa
from msgspec import Raw

from millrace.connect.http.parallel import Got, interleaved
from millrace.connect.source import Reading, Stream
from millrace.data.batch import JSON, Checkpoint, Item, Mark
from millrace.data.dataclass import dataclass
from millrace.sources.clevertap import records
from millrace.sources.clevertap.client import CleverTap, Unanswered
from millrace.sources.clevertap.config import Config
from millrace.sources.clevertap.known import Mode
from millrace.sources.clevertap.listings import rows_of
from millrace.sources.clevertap.notes import some
from millrace.sources.clevertap.planner import Days, day_from, joined, local_day, number, windows
from millrace.sources.clevertap.state import VERSION, same_version, unreadable
from millrace.sources.clevertap.wire import NULL

_TEXT, _NUMBER = pa.string(), pa.int64()

MESSAGE_REPORTS = Stream(
    "message_reports",
    key=("message id",),
    schema=pa.schema(
        {"message id": _NUMBER}
        | dict.fromkeys(("message_name", "channel", "delivery", "status", "message_type", "start_date"), _TEXT)
    ),
)
CAMPAIGNS = Stream(
    "campaigns",
    key=("id",),
    schema=pa.schema({"id": _NUMBER} | dict.fromkeys(("name", "scheduled_on", "status"), _TEXT)),
)
CAMPAIGN_REPORTS = Stream("campaign_reports", key=("id",), schema=pa.schema({"id": _NUMBER}))
STREAMS = {one.name: one for one in (MESSAGE_REPORTS, CAMPAIGNS, CAMPAIGN_REPORTS)}

# A report of a month takes CleverTap half a minute, one of half a month a few seconds.
_REPORT_DAYS = 14
# Lists of more are not what the service is made for: https://developer.clevertap.com/docs/get-campaigns
_LIST_DAYS = 31
_AHEAD_DAYS = 31
_RECENT_DAYS = 14
_GROWING_DAYS = 60
# For how long a campaign without a result is asked for one.
_PENDING_DAYS = 90
TOGETHER = 100

_members = msgspec.json.Decoder(dict[str, Raw]).decode


@dataclass(slots=True)
class Position:
    """When all was read that was due, when last as far back as campaigns grow, and which campaigns had no result yet,
    by their ids as JSON, each with the day since when."""

    read_on: date | None = None
    far_on: date | None = None
    pending: dict[str, date] = field(default_factory=dict[str, date])

    def as_json(self) -> dict[str, JSON]:
        return {
            "v": VERSION,
            "read_on": self.read_on and number(self.read_on),
            "far_on": self.far_on and number(self.far_on),
            "pending": {campaign: number(since) for campaign, since in self.pending.items()},
        }


def position(cursor: JSON) -> Position:
    """The position that a cursor holds; one of nothing for None."""
    if cursor is None:
        return Position()
    try:
        same_version(cursor)
        return Position(
            cursor["read_on"] and day_from(cursor["read_on"]),
            cursor["far_on"] and day_from(cursor["far_on"]),
            {campaign: day_from(since) for campaign, since in cursor["pending"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise unreadable(error) from None


class Campaigns:
    """Reads one of `STREAMS`. ``cursor`` gives a position the form in which it is kept; ``say`` is told, by a code,
    what a person should know."""

    def __init__(
        self,
        client: CleverTap,
        config: Config,
        reading: Reading,
        now: datetime,
        begun: JSON,
        *,
        cursor: Callable[[Position], JSON],
        say: Callable[[str, str], None],
    ) -> None:
        self._client = client
        self._config = config
        self._reading = reading
        self._stream = STREAMS[reading.stream.name]
        self._now = now
        self._today = local_day(now, config.zone)
        self._at = position(begun)
        self._cursor = cursor
        self._say = say
        self._mode: Mode = records.mode(reading.lane, reading.load_mode)
        self._known = records.known_of(reading.memory, self._mode)

    def read(self) -> Iterator[Item]:
        """Rows and checkpoints. The days count as read at the end only; until then, what comes again is known."""
        far = self._at.far_on != self._today
        ids: dict[str, None] = {}
        for first, last in self._windows(far=far):
            by = f"{first} to {last}"
            if self._stream is MESSAGE_REPORTS:
                yield from self._page(self._client.reports(first, last), by)
                continue
            listed = self._client.campaigns(first, last)
            if self._stream is CAMPAIGNS:
                yield from self._page(listed, by)
            else:
                ids |= dict.fromkeys(_ids(listed))
        if self._stream is CAMPAIGN_REPORTS:
            yield from self._results([*ids, *(self._at.pending.keys() - ids.keys())])
        self._at.read_on = self._today
        if far:
            self._at.far_on = self._today
        yield self._checkpoint(records.compacted(self._known))

    def _windows(self, *, far: bool) -> list[Days]:
        """The days that are due, as those of one request each, newest first."""
        length = _REPORT_DAYS if self._stream is MESSAGE_REPORTS else _LIST_DAYS
        last = self._today + timedelta(days=_AHEAD_DAYS if self._stream is CAMPAIGNS else 0)
        if self._reading.lane == "again":
            stretches = joined(
                (each.first, min(each.last, last)) for each in self._reading.slices if each.first <= last
            )
        else:
            history = self._config.historical_days
            back = history if self._at.read_on is None else min(history, _GROWING_DAYS) if far else 0
            days = max(back, _RECENT_DAYS - 1)
            stretches = [(min(self._today - timedelta(days=days), self._at.read_on or self._today), last)]
        return [window for stretch in reversed(stretches) for window in windows(*stretch, length)]

    def _page(self, raws: Sequence[bytes], by: str = "") -> Iterator[Item]:
        found = rows_of(self._stream, raws)
        told = yield from records.judged(found, self._known, self._mode, self._stream.name, self._now, by=by)
        if told.marks or told.counts:
            yield self._checkpoint(told.marks, told.counts)

    def _results(self, ids: Sequence[str]) -> Iterator[Item]:
        """What became of these campaigns. Those without a result are asked for one again in later runs."""
        found: list[bytes] = []
        failed: dict[str, list[str]] = {}
        pending = self._at.pending
        jobs = [partial(self._result, campaign) for campaign in ids]
        reader = interleaved(jobs, self._config.max_concurrency, closed=self._client.closed, abort=self._client.abort)
        with closing(reader):
            for item in reader:
                campaign = ids[item.job]
                if isinstance(item, Got):
                    if item.item is None:
                        pending.setdefault(campaign, self._today)
                        continue
                    pending.pop(campaign, None)
                    found.append(item.item)
                    if len(found) == TOGETHER:
                        yield from self._page(found)
                        found = []
                elif isinstance(item.error, Unanswered) and item.error.meaning == "failed":  # it is of this one alone
                    pending.setdefault(campaign, self._today)
                    failed.setdefault(item.error.text, []).append(campaign)
                elif item.error is not None:
                    raise item.error
        yield from self._page(found)
        oldest = self._today - timedelta(days=_PENDING_DAYS)
        for campaign in [campaign for campaign, since in pending.items() if since < oldest]:
            del pending[campaign]
        for text, campaigns in failed.items():
            self._say(
                "no_result",
                f"CleverTap gave no result of the campaigns {some(campaigns)}: {text}. The next run asks again.",
            )

    def _result(self, campaign: str) -> Iterator[bytes | None]:
        """The result with the id of its campaign, as one record; None where there is none yet."""
        result = self._client.result(campaign)
        if result is None:
            yield None
            return
        members = _members(result) if result[:1] == b"{" else {"result": Raw(result)}
        yield msgspec.json.encode(members | {"id": Raw(campaign.encode())})

    def _checkpoint(self, marks: Sequence[Mark], counts: dict[str, int] | None = None) -> Checkpoint:
        return Checkpoint(self._cursor(self._at), tuple(marks), counts or {})


def _ids(listed: Sequence[bytes]) -> Iterator[str]:
    """The ids of campaigns, as JSON."""
    for raw in listed:
        with suppress(msgspec.MsgspecError):  # it is no campaign
            if (found := bytes(_members(raw).get("id", NULL))) != b"null":
                yield found.decode()
