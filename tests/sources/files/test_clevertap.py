"""CleverTap's exports become rows like those of its API."""

from __future__ import annotations

import gzip
import io
import json
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from pydantic import ValidationError
from tests.sources.files.conftest import World
from tests.sources.files.test_formats import read

from millrace.simulators.clevertap import Account, Settings, Simulator
from millrace.sources.files import clevertap
from millrace.sources.files.config import Config

PROJECT = "SIM-EU1-0001"
ZONE = "Europe/Berlin"
SIX = (
    "Notification Sent",
    "Notification Bounce",
    "Notification Viewed",
    "Notification Control Group",
    "Notification Rendered",
    "Notification System Control Group",
)


def line(**fields: object) -> bytes:
    whole = {"profile": {"objectId": "__a", "identity": "cust-1"}, "ts": 20260314091502, "eventName": "Sent", **fields}
    return json.dumps(whole).encode()


def test_an_export_of_a_project_is_read_whole_with_the_events_that_the_api_refuses(world: World) -> None:
    account = Account(id=PROJECT, passcode="demo", timezone=ZONE, users=80, days=8, events=SIX)
    with Simulator(Settings.plain(account, now=datetime(2026, 3, 14, 10, tzinfo=UTC))) as simulator:
        asked = {"account": PROJECT, "folder": str(world.folder), "from": "20260310", "to": "20260314"}
        request = Request(f"{simulator.base_url.split('/r/')[0]}/_sim/export", json.dumps(asked).encode())
        with urlopen(request) as answer:
            files = json.loads(answer.read())["files"]
        days = date(2026, 3, 10), date(2026, 3, 14)
        served = {row.event_name for row in simulator.ledger(PROJECT, *days)}
        refused = sum(row.copies for name in SIX for row in simulator.ledger(PROJECT, *days, event=name))
    truth: Counter[tuple[str, int, str]] = Counter()
    for name in files:
        for text in (world.folder / name).read_bytes().splitlines()[1:]:
            row = json.loads(text)
            truth[row["eventName"], row["ts"], row["profile"]["objectId"]] += 1
    assert refused and {name for name, _, _ in truth} > served
    world.create(format="clevertap", timezone=ZONE, objects="one", object_name="events")
    record = world.run()
    assert record.balance.even and not record.balance.rejected
    assert Counter(world.sql("SELECT event_name, ts_raw, object_id FROM events")) == truth
    wrong = f"strftime(ts AT TIME ZONE '{ZONE}', '%Y%m%d%H%M%S') <> CAST(ts_raw AS VARCHAR)"
    assert world.sql(f"SELECT count(*) FROM events WHERE {wrong}") == [(0,)]
    sources = {source for (source,) in world.sql("SELECT event_props->>'CT Source' FROM events")}
    assert sources & {"Mobile", "Web", "System"}
    assert world.sql("SELECT count(*) FROM events WHERE event_props->>'ct_source' IS NOT NULL") == [(0,)]
    assert world.run().balance.read == 0


def test_a_line_has_the_columns_of_the_api(tmp_path: Path) -> None:
    props = b'{ "ct_source" : "Mobile", "Amount":1.50 , "ct_other":1, "id":9007199254740993}'
    text = (
        b'{"profile":{"objectId":"__a","identity":17,"email":"a@example.org"},"ts":20260329023000,"eventName":"Sent",'
    )
    text += b'"eventProps":' + props + b',"sessionProps":{"session_source":"Direct"},"deviceInfo":{"make":"X"}}'
    content = gzip.compress(b"Sent\n" + text + b"\n" + line(eventName=None, sessionProps=None, eventProps=None))
    (first, second), bad = read(tmp_path, "a.json.gz", content, format="clevertap", timezone=ZONE)
    assert not bad and (first[0], second[0]) == (2, 3)
    row = first[1]
    # The clock skipped 02:30 that day: the offset before holds.
    assert (row["ts"], row["ts_raw"]) == ("2026-03-29T01:30:00.000000Z", 20260329023000)
    (part,) = clevertap.read(io.BytesIO(text), lambda: None, ZONE)
    (found,) = part.rows.column("event_props").storage.to_pylist()
    assert found == '{"CT Source":"Mobile","Amount":1.50,"ct_other":1,"id":9007199254740993}'
    assert (row["identity"], row["session_source"], row["profileData"]) == ("17", "Direct", {})
    assert row["deviceInfo"] == {"make": "X"} and "email" not in row
    # The name of the file's first line holds where a line has none.
    assert (second[1]["event_name"], second[1]["event_props"], second[1]["session_props"]) == ("Sent", {}, None)


def test_properties_of_both_spellings_keep_both(tmp_path: Path) -> None:
    content = b"Sent\n" + line(eventProps={"ct_source": "a", "CT Source": "b"})
    ((_, row),), _ = read(tmp_path, "a.json", content, format="clevertap")
    assert row["event_props"] == {"ct_source": "a", "CT Source": "b"}


@pytest.mark.parametrize(
    "spoiled",
    [b"no json", b"[1]", line(ts=20261301000000), line(ts="20260314091502"), line(ts=None), line(profile=[]),
     line(eventProps="text", sessionProps=3), b'{"ts":1'],
)  # fmt: skip
def test_a_line_that_is_no_event_is_refused_and_others_are_not(tmp_path: Path, spoiled: bytes) -> None:
    content = b"Sent\n" + line() + b"\n" + spoiled + b"\n" + line()
    rows, bad = read(tmp_path, "a.json", content, format="clevertap")
    assert [number for number, _ in rows] == [2, 4] and [one.number for one in bad] == [3]


def test_a_list_of_events_is_refused_and_not_taken_for_a_name(tmp_path: Path) -> None:
    rows, bad = read(tmp_path, "a.json", b"[" + line() + b"]", format="clevertap")
    assert (len(rows), [one.number for one in bad]) == (0, [1])


def test_rows_whose_event_nobody_can_name_are_refused(tmp_path: Path) -> None:
    content = b"\xff\xfeN\n" + line(eventName=None) + b"\n" + line(eventName="Sent")
    rows, bad = read(tmp_path, "a.json", content, format="clevertap")
    assert ([row["event_name"] for _, row in rows], [one.number for one in bad]) == (["Sent"], [1, 2])


def test_reading_goes_on_behind_the_rows_that_came(tmp_path: Path) -> None:
    content = b"Sent\n" + b"\n".join(line(eventName=None, n=number) for number in range(5))
    rows, _ = read(tmp_path, "a.json", content, begun=3, format="clevertap")
    assert [(number, row["event_name"]) for number, row in rows] == [(4, "Sent"), (5, "Sent"), (6, "Sent")]


def test_a_time_zone_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="no time zone"):
        Config(url="/data", format="clevertap", timezone="Berlin")
