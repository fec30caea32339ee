"""CleverTap events on disk, rendered once for each size, so that serving them costs next to nothing.

Records have the shape of the Get Events API with `events=false&profile=true&app=false`: about ten properties an event,
some nested, some not set, in the order of either of two apps; some 570 bytes a record, twenty event names over the 31
local dates of a historical load, users in no order. Four in a thousand are exact copies, as the real API has them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import tempfile
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np

DAYS = 31
USERS = 20_000
COPIES = 0.004
VARIANTS = 4096
_FORMAT = 6

# Share of each event in all rows. Names as a shop's app would send them, CleverTap's own among them.
EVENTS = {
    "App Launched": 180, "Session Concluded": 120, "Product Viewed": 160, "Category Viewed": 90, "Searched": 70,
    "Added To Cart": 60, "Removed From Cart": 20, "Checkout Started": 30, "Charged": 18, "Push Impressions": 60,
    "Notification Clicked": 12, "UTM Visited": 20, "App Version Changed": 8, "Wishlist Added": 22,
    "Coupon Applied": 15, "Review Written": 5, "Payment Failed": 4, "Support Chat Opened": 6, "Video Watched": 40,
    "Refund Requested": 2,
}  # fmt: skip

# A project with so few events has fewer names too.
FEW = 10_000
FEW_NAMES = ("App Launched", "Product Viewed", "Added To Cart", "Charged", "UTM Visited")

_KINDS: dict[str, list[object]] = {
    "Product": ["Kettle", 'Teapot "Oma"', "Grünkohl 500 g", "Lampe 2,5 W", "Wollsocken", "日本茶", "Notebook A5"],
    "Category": ["Kitchen", "Food", "Light", "Clothes", "Office"],
    "Currency": ["EUR", "USD", "INR"],
    "CT Source": ["Mobile", "Web"],
    "CT App Version": ["6.2.0", "6.2.1", "6.3.0", 1957],
    "Carrier": ["Example Mobile", "Other Net", "Third Fon"],
    "Network": ["wifi", "4g", "5g"],
    "In Stock": [True, False],
    "Delivery On": ["$D_1774137600", "$D_1774224000", "$D_1774310400"],
    "Colours": [["red"], ["red", "blue"], ["green", "black", "white"]],
    "Address": [{"City": "Köln", "Zip": "50667"}, {"City": "Bengaluru", "Zip": "560001"}],
    "Discount": [0, 5, 7.5, 12.25, 20],
    "Rank": [1, 2, 3, 4, 5, 8, 13, 21],
}


@dataclass(frozen=True, slots=True)
class Pages:
    """A rendered data set: where it is and what it holds. ``distinct``: rows without the exact copies."""

    folder: Path
    events: int
    distinct: int
    first: date
    last: date
    names: tuple[str, ...]
    size_bytes: int

    @property
    def events_file(self) -> Path:
        """The file with the names, as a user would hand it in."""
        return self.folder / "events.csv"

    def windows(self, days: int = 5) -> list[tuple[date, date]]:
        """Spans of ``days`` dates, newest first, as a historical load cuts them."""
        spans: list[tuple[date, date]] = []
        last = self.last
        while last >= self.first:
            first = max(self.first, last - timedelta(days=days - 1))
            spans.append((first, last))
            last = first - timedelta(days=1)
        return spans


def load(folder: Path) -> Pages:
    """The data set of a folder that `main` wrote."""
    found = json.loads((folder / "about.json").read_text())
    return Pages(
        folder=folder,
        events=found["events"],
        distinct=found["distinct"],
        first=date.fromisoformat(found["first"]),
        last=date.fromisoformat(found["last"]),
        names=tuple(found["names"]),
        size_bytes=found["size_bytes"],
    )


def cache(events: int) -> Path:
    """The folder for so many events. Dates end today, because a historical load does."""
    root = Path(tempfile.gettempdir()) / f"millrace-bench-{os.getuid()}"
    return root / f"{datetime.now(UTC):%Y%m%d}-v{_FORMAT}-{events}"


def render(events: int) -> Pages:
    """The data set with so many events, from the cache or written now. Folders of earlier days are removed."""
    folder = cache(events)
    if (folder / "about.json").exists():
        return load(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    for old in folder.parent.iterdir():
        if not old.name.startswith(folder.name.split("-")[0] + f"-v{_FORMAT}-"):
            shutil.rmtree(old, ignore_errors=True)
    draft = folder.with_suffix(".open")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir()
    _write(draft, events, datetime.now(UTC).date())
    draft.rename(folder)
    return load(folder)


def _write(folder: Path, events: int, last: date) -> None:
    chance = random.Random(20260314)
    numbers = np.random.default_rng(20260314)
    dates = [last - timedelta(days=DAYS - 1 - day) for day in range(DAYS)]
    people = [_profile(chance, number) for number in range(USERS)]
    sessions = [b"{}", *(b'{"session_source":"%b"}' % s for s in (b"Direct", b"Others", b"Search", b"Social"))]
    sessions.append(b'{"session_source":"Search","utm_source":"newsletter","utm_campaign":"spring"}')
    distinct = size = 0
    shares = _shares(events)
    for index, (name, counts) in enumerate(shares.items()):
        orders = _orders(chance, name)
        variants = [_properties(chance, name, chance.choice(orders)) for _ in range(VARIANTS)]
        offsets = [np.zeros(1, np.int64)]
        at = 0
        with (folder / f"{index:02}.json").open("wb") as file:
            for day, count in zip(dates, counts, strict=True):
                rows = _rows(numbers, count)
                distinct += len(np.unique(rows))
                records = [
                    b'{"profile":%b,"ts":%d,"event_props":%b,"session_props":%b},'
                    % (
                        people[code // 86_400],
                        day.year * 10_000_000_000 + day.month * 100_000_000 + day.day * 1_000_000 + _clock(code),
                        variants[code * 2654435761 % VARIANTS] % (code, code % 9973),
                        sessions[code % len(sessions)],
                    )
                    for code in rows.tolist()
                ]
                file.writelines(records)
                ends = at + np.cumsum(np.fromiter(map(len, records), np.int64, len(records)))
                at = int(ends[-1]) if len(ends) else at
                offsets.append(ends)
        np.save(folder / f"{index:02}.npy", np.concatenate(offsets))
        size += at
    (folder / "events.csv").write_text("Event name\n" + "".join(f"{name}\n" for name in shares))
    about = {
        "events": events,
        "distinct": distinct,
        "first": dates[0].isoformat(),
        "last": dates[-1].isoformat(),
        "names": list(shares),
        "size_bytes": size,
        "counts": shares,
    }
    (folder / "about.json").write_text(json.dumps(about))


def _shares(events: int) -> dict[str, list[int]]:
    """Rows for each name and day; together exactly ``events``."""
    names = EVENTS if events > FEW else FEW_NAMES
    weights = np.outer([EVENTS[name] for name in names], [1.0 + 0.3 * (day % 7 in (5, 6)) for day in range(DAYS)])
    ends = np.rint(np.cumsum(weights) / weights.sum() * events).astype(int)
    counts = np.diff(ends, prepend=0).reshape(weights.shape)
    return {name: [int(count) for count in row] for name, row in zip(names, counts, strict=True)}


def _rows(numbers: np.random.Generator, count: int) -> np.ndarray:
    """One code for each record of a day: user * 86,400 + second. Codes differ but for the copies."""
    copies = int(numbers.binomial(count, COPIES)) if count > 1 else 0
    codes = np.empty(0, np.int64)
    while len(codes) < count - copies:
        codes = np.unique(np.concatenate([codes, numbers.integers(0, USERS * 86_400, count)]))
        numbers.shuffle(codes)
        codes = codes[: count - copies]
    codes = np.concatenate([codes, codes[:copies]])
    numbers.shuffle(codes)
    return codes


def _clock(code: int) -> int:
    second = code % 86_400
    return second // 3600 * 10_000 + second // 60 % 60 * 100 + second % 60


def _profile(chance: random.Random, number: int) -> bytes:
    """A user as the API shows one. A quarter are anonymous."""
    platform = chance.choices(("Android", "iOS", "Web"), (60, 25, 15))[0]
    mark = {"Android": "__", "iOS": "-", "Web": ""}[platform]
    profile: dict[str, object] = {"objectId": mark + f"{chance.getrandbits(128):032x}", "platform": platform}
    if chance.random() < 0.75:
        profile["identity"] = f"cust-{100_000 + number}"
        profile["email"] = f"user{number}@example.org"
        profile["phone"] = 4_915_550_000_000 + number
    profile["df"] = {"0": 65, "1": 130, "2": 420}
    profile["profileData"] = {
        "plan": chance.choice(("gold", "silver", "free")),
        "loyalty_points": chance.randrange(5000),
        "renews_on": f"$D_{1_774_137_600 + 86_400 * chance.randrange(300)}",
        "tags": chance.sample(["news", "größe-42", "beta", "vip"], 2),
    }
    return json.dumps(profile, ensure_ascii=False, separators=(",", ":")).encode()


def _orders(chance: random.Random, name: str) -> list[list[str]]:
    """The properties of an event in the order in which two apps of a project send them."""
    kinds = chance.sample(sorted(_KINDS), 6 if name == "Charged" else 8)
    return [kinds, chance.sample(kinds, len(kinds))]


def _properties(chance: random.Random, name: str, kinds: list[str]) -> bytes:
    """Properties of one event as a template for an id and an amount. One in eight is not set."""
    properties = {kind: chance.choice(_KINDS[kind]) for kind in kinds if chance.random() < 0.875}
    text = json.dumps(properties, ensure_ascii=False, separators=(",", ":")).replace("%", "%%")
    text = '{"Order ID":%d,"Amount":%d.5,"Score":0.' + str(chance.randrange(100, 999)) + "," + text[1:]
    if name == "Charged":
        items = [
            {"Name": chance.choice(_KINDS["Product"]), "Quantity": chance.randrange(1, 5), "Price": 12.5 * step}
            for step in range(1, chance.randrange(2, 5))
        ]
        text = text[:-1] + ',"Items":' + json.dumps(items, ensure_ascii=False, separators=(",", ":")) + "}"
    return text.replace(",}", "}").encode()


class Shelf:
    """The rendered records of one data set, as slices of mapped files."""

    def __init__(self, pages: Pages) -> None:
        import mmap

        self.pages = pages
        self.numbers = {name: index for index, name in enumerate(pages.names)}
        counts = json.loads((pages.folder / "about.json").read_text())["counts"]
        self._days = [pages.first + timedelta(days=day) for day in range(DAYS)]
        self._starts = [np.concatenate([[0], np.cumsum(counts[name])]).tolist() for name in pages.names]
        self._offsets = [np.load(pages.folder / f"{index:02}.npy") for index in range(len(pages.names))]
        self._bytes: list[memoryview] = []
        for index in range(len(pages.names)):
            with (pages.folder / f"{index:02}.json").open("rb") as file:
                empty = os.fstat(file.fileno()).st_size == 0
                self._bytes.append(memoryview(b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)))

    def span(self, number: int, first: date, last: date) -> tuple[int, int]:
        """Records of an event from ``first`` to ``last``, both included: begin and end."""
        starts = self._starts[number]
        return starts[bisect_left(self._days, first)], starts[bisect_right(self._days, last)]

    def slice(self, number: int, begin: int, end: int) -> memoryview:
        """Records begin … end-1 of an event, with commas between them."""
        offsets = self._offsets[number]
        return self._bytes[number][int(offsets[begin]) : max(int(offsets[begin]), int(offsets[end]) - 1)]


if __name__ == "__main__":
    made = render(int(sys.argv[1]))
    print(json.dumps({"folder": str(made.folder)}))
