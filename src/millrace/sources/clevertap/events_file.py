"""The CSV of event names that users download from CleverTap: what it says, and what is odd about it."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Literal

from millrace.connect.listed_names import Fate, ListedName, ListedNames
from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError

LARGEST_BYTES = 5 * 2**20
MOST_NAMES = 2_000
# Rows that name one again, of which no more than these are kept.
MOST_REPEATED = 1_000
PATH = "events_file"
_DELIMITERS = ",;\t"
HEADERS = ("event_name", "eventname", "event", "name")

# https://docs.hevodata.com/sources/marketing-analytics/clevertap/ lists these six.
NOT_EXPORTABLE = frozenset(
    {
        "Notification Sent",
        "Notification Bounce",
        "Notification Viewed",
        "Notification Control Group",
        "Notification Rendered",
        "Notification System Control Group",
    }
)

# https://docs.clevertap.com/docs/events: events that CleverTap raises by itself.
SYSTEM = NOT_EXPORTABLE | {
    "App Installed", "App Launched", "App Uninstalled", "App Version Changed", "App Upgraded", "Web Session Started",
    "Session Concluded", "UTM Visited", "Charged", "Identity Set", "Identity Reset", "Identity Error", "Reachable By",
    "Push Unregistered", "Channel Subscribed", "Channel Unsubscribed", "Notification Clicked", "Push Impressions",
    "Notification Delivered", "Notification Failed", "Notification Replied", "Reply Sent", "Webhook Delivered",
    "Geocluster Entered", "Geocluster Exited", "State Transitioned", "Partner Sync",
}  # fmt: skip

# Of what has one of these statuses in CleverTap, nothing new comes.
_GONE = ("Discarded", "Inactive")


@dataclass(frozen=True, slots=True)
class EventsFile:
    """What a file says: its rows in order, how many name one again, and what a person should look at."""

    rows: tuple[ListedName, ...]
    twice: int
    warnings: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Each name once, as spelled, in the order of the file; those that cannot be exported too."""
        return tuple(row.name for row in self.rows if row.fate != "twice")

    @property
    def discarded(self) -> tuple[str, ...]:
        return tuple(row.name for row in self.rows if row.fate != "twice" and row.status == "Discarded")

    def count(self, fate: Literal["read", "not_exportable"]) -> int:
        """How many names have that fate."""
        return sum(row.fate == fate for row in self.rows)

    def preview(self) -> ListedNames:
        """What a person is shown: each name, and the first of those that are listed again."""
        return ListedNames(
            rows=self.rows,
            read=self.count("read"),
            not_exportable=self.count("not_exportable"),
            twice=self.twice,
            warnings=self.warnings,
        )


def load(path: str) -> EventsFile:
    """What the file at ``path`` says. Raises ConfigError when it cannot be read or is not such a file."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"the events file {path} cannot be read: {error.strerror}",
            hint="Download it in CleverTap (Settings > Schema > Events > Download as CSV) and give its path.",
            path=PATH,
        ) from None
    return parse(content)


def parse(content: bytes) -> EventsFile:
    """What the bytes of a file say: UTF-8 with or without BOM; comma, semicolon or tab; CRLF or LF; quotes.

    The name column is found by its header; a file of one column may come without header. Names keep their case; only
    white space around them goes. Raises ConfigError that says what is wrong, and on which line.
    """
    if len(content) > LARGEST_BYTES:
        raise _refused(f"it is larger than {LARGEST_BYTES >> 20} MB", "Give the file that CleverTap calls Events.")
    rows, column, header = _table(_text(content))
    if header is None:
        kinds: dict[str, int] = {}
        body = rows
    else:
        kinds = {name: place for place, name in enumerate(header)}
        body = rows[1:]
    # In "Events with properties" an event has a row for each property, whose status is not that of the event.
    by_property = "property_name" in kinds
    status_at = None if by_property else kinds.get("status")
    listed: list[ListedName] = []
    met: dict[str, int] = {}
    twice = 0
    for line, cells in body:
        name = cells[column].strip() if column < len(cells) else ""
        if not name:
            continue
        status = cells[status_at].strip() or None if status_at is not None and status_at < len(cells) else None
        status = status.capitalize() if status else None
        if name not in met:
            met[name] = line
            fate: Fate = "not_exportable" if name in NOT_EXPORTABLE else "read"
            listed.append(ListedName(name, line, fate, status))
        elif not by_property and (twice := twice + 1) <= MOST_REPEATED:
            note = "listed in line {} already" if name in NOT_EXPORTABLE else "read once, as in line {}"
            listed.append(ListedName(name, line, "twice", status, note.format(met[name])))
    if not met:
        raise _refused("it has no event names", "Download it again; the project needs at least one event.")
    if len(met) > MOST_NAMES:
        raise _refused(f"it has {len(met):,} names; {MOST_NAMES:,} are the most", "Remove names that you do not need.")
    found = told(listed, twice)
    if all(name in SYSTEM for name in met):
        odd = "the file has system events only; custom events are on the other tab of the same page"
        found = replace(found, warnings=(*found.warnings, odd))
    return found


def told(listed: Sequence[ListedName], twice: int) -> EventsFile:
    """These names, ``twice`` of which are listed again, with what a person should know of each and of all."""
    alike = _alike(row.name for row in listed if row.fate != "twice")
    return EventsFile(tuple(_noted(row, alike) for row in listed), twice, tuple(_warnings(listed, alike)))


def _text(content: bytes) -> str:
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise _refused("it is an Excel workbook", "Save it as CSV (UTF-8).")
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise _refused("it is in UTF-16", "Save it as CSV (UTF-8).")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise _refused(f"line {line} is not UTF-8", "Save it as CSV (UTF-8).") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise _refused(f"line {line} has binary data; this is not a CSV", "Give the CSV that CleverTap offers.")
    # A sign-in page that was saved under the name of the file, and the answer of an API.
    begins = {"<": "a web page", "{": "JSON", "[": "JSON"}.get(text.lstrip()[:1])
    if begins:
        raise _refused(f"line 1 begins like {begins}; this is not a CSV", "Download it again, signed in to CleverTap.")
    return text


def _table(text: str) -> tuple[list[tuple[int, list[str]]], int, list[str] | None]:
    """Rows with their line numbers, the place of the name column, and the header's names (None without header)."""
    for delimiter in _DELIMITERS:
        header = _header(text, delimiter)
        for wanted in HEADERS:
            if wanted in header:
                return list(_rows(text, delimiter)), header.index(wanted), header
    tables: list[list[tuple[int, list[str]]]] = []
    spoiled: list[ConfigError] = []
    for delimiter in _DELIMITERS:
        try:
            tables.append(list(_rows(text, delimiter)))
        except ConfigError as error:
            spoiled.append(error)
    if not spoiled and not any(tables):
        raise _refused("it is empty", "Download it again in CleverTap.")
    if all(len(cells) == 1 for rows in tables for _, cells in rows):
        if spoiled:
            raise spoiled[0]
        return tables[0], 0, None
    raise _refused(
        "none of its columns is called 'Event name'",
        "Give the CSV that CleverTap offers, or a file with one name per line.",
    )


def _header(text: str, delimiter: str) -> list[str]:
    """The names in the first row; none where it is no CSV with this delimiter: `"a, b";c` is none with commas."""
    try:
        return [_normal(cell) for _, cells in islice(_rows(text, delimiter), 1) for cell in cells]
    except ConfigError:
        return []


def _rows(text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begins = 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise _refused(f"line {begins} is not CSV: {error}", "Look for a quote that is not closed.") from None
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield begins, cells
        begins = reader.line_num + 1


def _normal(cell: str) -> str:
    return re.sub(r"\W+", "_", cell.strip().lower()).strip("_")


def _alike(names: Iterable[str]) -> dict[str, list[str]]:
    """Those that differ only in case or spaces from others, by name, in order."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(re.sub(r"\s+", "", name).casefold(), []).append(name)
    return {name: group for group in groups.values() if len(group) > 1 for name in group}


def _noted(row: ListedName, alike: Mapping[str, Sequence[str]]) -> ListedName:
    """The row with what a person should know of the name."""
    if row.fate == "twice":
        return row
    notes: list[str] = []
    if row.fate == "not_exportable":
        notes.append("CleverTap has it in its S3 export alone")
    if others := [name for name in alike.get(row.name, ()) if name != row.name]:
        notes.append(f"not the same event as {_quoted(others)}")
    if row.status and row.status in _GONE:
        notes.append(f"{row.status.lower()} in CleverTap")
    return replace(row, note="; ".join(notes) or None)


def _warnings(listed: Iterable[ListedName], alike: Mapping[str, list[str]]) -> Iterator[str]:
    rows = [row for row in listed if row.fate != "twice"]
    for name, names in alike.items():
        if name == names[0]:
            yield f"names that differ only in case or spaces are different events: {_quoted(names)}"
    if refused := [row.name for row in rows if row.fate == "not_exportable"]:
        yield f"CleverTap does not export these by its API; use its S3 export and an S3 source: {_quoted(refused)}"
    for status in _GONE:
        if marked := [row.name for row in rows if row.status == status]:
            yield f"{status.lower()} in CleverTap, so new events may never come: {_quoted(marked)}"


def _quoted(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:10])
    return shown + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def _refused(what: str, hint: str) -> ConfigError:
    return ConfigError(f"the events file cannot be used: {what}", hint=hint, path=PATH, code="events_file")
