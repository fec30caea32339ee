"""The endpoints beside the events walk (section 9.2), and the simulator's own ones."""

from __future__ import annotations

import csv
import gzip
import http.server
import io
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from tests.simulators.clevertap.talk import DAY, ID, PASSCODE, Talk, empty, rows

from millrace.simulators.clevertap import Account, Settings, Simulator
from millrace.simulators.clevertap.catalog import CATALOG

EPOCH = 1773446400  # 2026-03-14T00:00:00Z


@pytest.fixture(scope="module")
def peopled() -> Iterator[tuple[Simulator, Talk]]:
    """An account with generated users, read only."""
    account = Account(id=ID, passcode=PASSCODE, users=80, days=45, sessions_per_day=1)
    with Simulator(Settings.plain(account, drift={"enabled": True}, duplicates={"probability": 0.01})) as sim:
        yield sim, Talk(sim)


def test_get_schema_lists_events_and_user_properties(peopled: tuple[Simulator, Talk]):
    sim, talk = peopled
    for method in ("GET", "POST"):
        events = talk.ask(method, "/getSchema?type=events").json["events"]
        assert {event["name"] for event in events} == {event.name for event in CATALOG}
    by_name = {event["name"]: event for event in events}
    assert by_name["Old Banner Shown"]["status"] == "Discarded"
    assert {"name": "Items", "dataType": "List"} in by_name["Charged"]["properties"]
    names = [p["name"] for p in talk.ask("GET", "/getSchema?type=userProperties").json["userProperties"]]
    assert "plan" in names
    assert talk.ask("GET", "/getSchema?type=planets").status == 400
    assert Talk(sim, account="NOBODY-0001").ask("GET", "/getSchema?type=events").json["events"] == []
    assert {p.type for event in CATALOG for p in event.properties} <= {
        "String",
        "Integer",
        "Float",
        "Boolean",
        "Mixed",
        "List",
    }


def test_the_events_file_is_byte_exact():
    with empty(account={"events": ["Charged", "Sign, Up", "Tutorial Complete"]}) as (sim, talk):
        sim.add_events(ID, rows(3, event="Charged") + rows(2, event="Charged", day=20260228))
        expected = "Event name,Type,Status,DRP,This month,Last month,Properties\n"
        expected += "Charged,Defined,Active,10 years,3,2,0\n"
        expected += '"Sign, Up",Defined,Active,10 years,0,0,0\n'
        expected += "Tutorial Complete,Defined,Active,10 years,0,0,0\n"
        assert sim.events_csv(ID) == expected
        assert talk.ask("GET", f"/_sim/events.csv?account={ID}").body.decode() == expected


def test_the_events_file_knows_system_custom_and_discarded_names(peopled: tuple[Simulator, Talk]):
    sim, _ = peopled
    found = list(csv.DictReader(io.StringIO(sim.events_csv(ID))))
    by_name = {row["Event name"]: row for row in found}
    assert list(by_name) == [event.name for event in CATALOG]
    assert by_name["Old Banner Shown"] == {
        "Event name": "Old Banner Shown",
        "Type": "Undefined",
        "Status": "Discarded",
        "DRP": "3 years",
        "This month": "0",
        "Last month": "0",
        "Properties": "2",
    }
    assert by_name["tutorial complete"]["Type"] == "Undefined"
    march = sum(n for (name, day), n in sim.counts(ID).items() if name == "Charged" and day.month == 3)
    assert by_name["Charged"]["This month"] == str(march)
    other = list(csv.DictReader(io.StringIO(sim.events_csv(ID, "events_with_properties"))))
    assert [row["Property name"] for row in other if row["Event name"] == "UTM Visited"][:2] == [
        "Install",
        "Campaign id",
    ]
    assert {row["Event name"] for row in other} == set(by_name)


def test_profiles_are_walked_like_events_and_live_four_days(peopled: tuple[Simulator, Talk]):
    sim, talk = peopled
    body = {"event_name": "Charged", "from": 20260213, "to": DAY}
    cursor = talk.ask("POST", "/1/profiles.json?batch_size=50", body).json["cursor"]
    records: list[Any] = []
    while cursor:
        page = talk.ask("GET", f"/1/profiles.json?cursor={cursor}").json
        records += page.get("records", [])
        cursor = page.get("next_cursor")
    assert len(records) == sum(
        row.copies for row in sim.ledger(ID, event="Charged") if row.day.isoformat() >= "2026-02-13"
    )
    assert all(record["platformInfo"][0]["objectId"] for record in records)
    assert any(len(record["platformInfo"]) == 2 for record in records)
    assert "profileData" in records[0] and "events" in records[0]


def test_a_profile_cursor_lives_four_days():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(1))
        body = {"event_name": "Order", "from": DAY, "to": DAY}
        cursor = talk.ask("POST", "/1/profiles.json", body).json["cursor"]
        sim.clock.advance(days=3.9)
        assert talk.ask("GET", f"/1/profiles.json?cursor={cursor}").json["status"] == "success"
        assert talk.page(cursor).json["code"] == "CURSOR_INVALIDATED"
        sim.clock.advance(days=0.2)
        assert talk.ask("GET", f"/1/profiles.json?cursor={cursor}").json["code"] == "CURSOR_INVALIDATED"


def test_one_profile_is_found_by_each_of_its_names(peopled: tuple[Simulator, Talk]):
    _, talk = peopled
    profile = next(r["profile"] for r in talk.records("App Launched", 20260213, DAY) if "email" in r["profile"])
    for name in ("identity", "email", "objectId"):
        record = talk.ask("GET", f"/1/profile.json?{name}={profile[name]}").json["record"]
        assert record["identity"] == profile["identity"]
        assert profile["objectId"] in [device["objectId"] for device in record["platformInfo"]]
    assert talk.ask("GET", "/1/profile.json?identity=nobody").status == 404
    assert talk.ask("GET", "/1/profile.json?email=user.9999@example.org").status == 404
    assert talk.ask("GET", "/1/profile.json").status == 400


def test_counts_leave_out_what_the_api_doubles_and_keep_twins(peopled: tuple[Simulator, Talk]):
    sim, talk = peopled
    body = {"event_name": "Product Viewed", "from": 20260213, "to": DAY}
    count = talk.ask("POST", "/1/counts/events.json", body).json["count"]
    truth = [row for row in sim.ledger(ID, event="Product Viewed") if row.day.isoformat() >= "2026-02-13"]
    assert count == sum(row.genuine for row in truth)
    assert len(truth) < count < sum(row.copies for row in truth)
    assert len(talk.records("Product Viewed", 20260213, DAY)) == sum(row.copies for row in truth)


def test_counts_may_be_partial_and_are_polled():
    with empty(partial={"probability": 1, "times": (2, 2)}) as (sim, talk):
        sim.add_events(ID, rows(5))
        body = {"event_name": "Order", "from": DAY, "to": DAY}
        for path, final in (("events", 5), ("profiles", 5)):
            first = talk.ask("POST", f"/1/counts/{path}.json", body).json
            assert first["status"] == "partial"
            again = talk.ask("GET", f"/1/counts/{path}.json?req_id={first['req_id']}").json
            assert again == {"status": "partial", "req_id": first["req_id"]}
            done = talk.ask("GET", f"/1/counts/{path}.json?req_id={first['req_id']}").json
            assert (done["status"], done["count"]) == ("success", final)
        wrong = talk.ask("GET", "/1/counts/events.json?req_id=1")
        assert (wrong.status, wrong.json["error"]) == (400, "Invalid request id")
        unknown = talk.ask("POST", "/1/counts/events.json", body | {"event_name": "Nope"})
        assert unknown.json["error"] == '["Invalid event : Nope"]'


def test_counts_take_filters():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(5) + rows(2))
        body = {"event_name": "Order", "from": DAY, "to": DAY}
        few = [{"name": "n", "operator": "less_than", "value": 2}]
        assert talk.ask("POST", "/1/counts/events.json", body | {"event_properties": few}).json["count"] == 4
        profiles = talk.ask("POST", "/1/counts/profiles.json", body).json
        assert (profiles["count"], profiles["tcount"]) == (5, 7)
        assert profiles["userDeviceCount"] == {"devices": 5, "users": 5}


def test_top_and_trends_group_the_rows():
    with empty() as (sim, talk):
        sim.add_events(
            ID, [row | {"event_props": {"Amount": n * 60, "Plan": "abc"[n % 3]}} for n, row in enumerate(rows(6))]
        )
        sim.add_events(ID, rows(1, day=20260228))
        body = {"event_name": "Order", "from": 20260201, "to": DAY}
        group = {"property_type": "event_properties", "name": "Amount"}
        plans = {"property_type": "event_properties", "name": "Plan", "top_n": 2}
        top = talk.ask("POST", "/1/counts/top.json", body | {"groups": {"g": group, "p": plans}}).json
        assert top["g"] == {"NUMBER": {"0-100": 2, "100-200": 2, "200-300": 1, "300-400": 1}}
        assert top["p"] == {"STR": {"a": 2, "b": 2}}
        bad = talk.ask("POST", "/1/counts/top.json", body | {"groups": {"g": {"property_type": "moon", "name": "x"}}})
        assert bad.json["error"] == "Invalid group"
        kinds = {kind: {"trend_type": kind} for kind in ("daily", "weekly", "monthly")}
        trends = talk.ask("POST", "/1/counts/trends.json", body | {"groups": kinds}).json
        assert trends["daily"] == {"20260228": 1, "20260314": 6}
        assert trends["weekly"] == {"202609": 1, "202611": 6}
        assert trends["monthly"] == {"202602": 1, "202603": 6}
        summed = talk.ask(
            "POST",
            "/1/counts/trends.json",
            body | {"groups": {"d": {"trend_type": "daily"}}, "sum_event_prop": "Amount"},
        )
        assert summed.json["d"]["20260314"] == 900
        unique = talk.ask(
            "POST", "/1/counts/trends.json", body | {"groups": {"m": {"trend_type": "monthly"}}, "unique": True}
        )
        assert unique.json["m"] == {"202602": 1, "202603": 6}


def test_now_counts_people_of_the_last_five_minutes():
    with empty() as (sim, talk):
        now = int(sim.clock.now().timestamp())
        sim.add_events(ID, [{"event_name": "Order", "objectId": f"__{n}", "epoch_s": now - 100 * n} for n in range(6)])
        found = talk.ask("POST", "/1/now.json", {"os": True}).json
        assert (found["count"], found["os"], found["last_processed_ts"]) == (4, {"Android": 4}, now)


def test_campaigns_have_three_ways_not_to_be_finished(peopled: tuple[Simulator, Talk]):
    _sim, talk = peopled
    listed = talk.ask("POST", "/1/targets/list.json", {"from": 20260301, "to": 20260320}).json["targets"]
    assert len(listed) == 20
    assert listed[0]["scheduled_on"] == 202603011000
    done = talk.ask("POST", "/1/targets/result.json", {"id": listed[0]["id"]}).json["result"]
    assert done["sent"] >= done["clicked"]
    forms = {talk.ask("POST", "/1/targets/result.json", {"id": t["id"]}).status for t in listed[-3:]}
    assert forms == {200, 409, 500}
    reports = talk.ask("POST", "/1/message/report.json", {"from": "20260301", "to": "20260314"}).json
    assert reports["total_results"] == len(reports["messages"]) == 2
    assert "message id" in reports["messages"][0]
    none = talk.ask(
        "POST", "/1/message/report.json", {"from": "20260301", "to": "20260314", "status": ["running"]}
    ).json
    assert none["messages"] == []
    assert talk.ask("GET", "/v1/connect?partner=Acme").json["status"] == "success"


def test_numbers_of_campaigns_grow_for_three_days_and_none_is_older_than_the_project():
    account = Account(id=ID, passcode=PASSCODE, users=80, days=20)
    with Simulator(Settings.plain(account)) as sim:
        talk = Talk(sim)
        whole = {"from": 20260101, "to": 20260314}
        assert len(talk.ask("POST", "/1/targets/list.json", whole).json["targets"]) == 21
        reports = talk.ask("POST", "/1/message/report.json", whole).json["messages"]
        assert reports and all(report["start_date"] >= "20260222" for report in reports)
        sim.clock.advance(days=7)
        later = talk.ask("POST", "/1/message/report.json", whole | {"to": 20260321}).json["messages"]
        newest = int(later[-1]["start_date"])
        day = {"from": newest, "to": newest}
        begun = datetime.strptime(str(newest), "%Y%m%d").replace(hour=12, tzinfo=UTC)
        viewed: list[int] = []
        for age in range(5):
            sim.clock.set(begun + timedelta(days=age))
            viewed.append(talk.ask("POST", "/1/message/report.json", day).json["messages"][0]["viewed"])
        assert 0 < viewed[0] < viewed[1] < viewed[2] == viewed[3] == viewed[4]
        made = talk.ask("POST", "/1/targets/list.json", day).json["targets"][0]["id"]
        clicked: list[int] = []
        for age in range(1, 5):
            sim.clock.set(begun + timedelta(days=age))
            clicked.append(talk.ask("POST", "/1/targets/result.json", {"id": made}).json["result"]["clicked"])
        assert clicked[0] < clicked[1] == clicked[2] == clicked[3]


def test_uploads_take_what_is_right_and_return_the_rest_with_its_code():
    with empty(account={"timezone": "Asia/Kolkata"}) as (_sim, talk):
        good = {"identity": "cust-1", "type": "event", "evtName": "Order", "ts": EPOCH, "evtData": {"n": 1}}
        wrong: list[tuple[int, Any]] = [
            (509, good | {"evtName": ""}),
            (512, good | {"evtData": []}),
            (513, good | {"evtName": "App Launched"}),
            (522, good | {"evtData": {f"p{n}": n for n in range(257)}}),
            (523, {"type": "event", "evtName": "Order"}),
            (524, good | {"type": "page"}),
            (525, good | {"ts": "yesterday"}),
            (525, good | {"ts": EPOCH * 1000}),
            (526, good | {"objectId": "x" * 65}),
            (515, {"identity": "cust-1", "type": "profile", "profileData": {"Email": "nowhere"}}),
            (516, {"identity": "cust-1", "type": "profile", "profileData": {"Phone": "call me"}}),
            (514, {"identity": "cust-1", "type": "profile", "profileData": {"Gender": "?"}}),
        ]
        answer = talk.ask("POST", "/1/upload", {"d": [good, *(record for _, record in wrong)]}).json
        assert (answer["status"], answer["processed"]) == ("partial", 1)
        assert [u["code"] for u in answer["unprocessed"]] == [code for code, _ in wrong]
        assert answer["unprocessed"][4]["record"] == {"type": "event", "evtName": "Order"}
        [record] = talk.records("Order")
        assert record["ts"] == 20260314053000
        assert record["profile"]["identity"] == "cust-1"
        assert "session_props" not in record
        profile = {
            "identity": "cust-1",
            "type": "profile",
            "profileData": {"Phone": "+447700900123", "plan": "gold", "big": 2**70},
        }
        body = orjson.dumps({"d": [profile | {"profileData": profile["profileData"] | {"big": 0}}]})
        body = body.replace(b'"big":0', b'"big":1180591620717411303424')
        assert talk.ask("POST", "/1/upload", body).json["status"] == "success"
        raw = talk.page(talk.open("Order").json["cursor"]).body
        assert b'"phone":447700900123' in raw
        assert b'"plan":"gold"' in raw and b'"big":1180591620717411303424' in raw
        dry = talk.ask("POST", "/1/upload?dryRun=1", {"d": [good]}).json
        assert (dry["processed"], len(talk.records("Order"))) == (1, 1)
        assert talk.ask("POST", "/1/upload", {"d": [good] * 1001}).status == 400
        assert talk.ask("POST", "/1/upload", b"{").status == 400


def test_unknown_paths_wrong_methods_and_cors():
    with empty() as (_, talk):
        for path in ("/1/nothing.json", "/2/events.json", "/r/xx9/1/events.json", "/r/eu1"):
            reply = talk.ask("GET", path)
            assert (reply.status, reply.body) == (200, b""), path
        wrong = talk.ask("GET", "/1/upload")
        assert (wrong.status, wrong.json) == (405, {"status": "fail", "error": "Method Not Allowed", "code": 405})
        cors = talk.ask("OPTIONS", "/1/events.json")
        assert cors.status == 204
        assert "X-CleverTap-Passcode" in cors.headers["access-control-allow-headers"]


def test_the_control_endpoints_do_what_the_object_does():
    with empty() as (sim, talk):
        added = talk.ask("POST", "/_sim/events", {"account": ID, "events": rows(3)})
        assert added.json == {"added": 3}
        put = talk.ask("PUT", "/_sim/faults", [{"effect": "too_many", "times": 1}]).json
        assert put["faults"] == [{"effect": "too_many", "times": 1, "fired": 0}]
        assert talk.open("Order").status == 429
        assert talk.ask("GET", "/_sim/faults").json["faults"][0]["fired"] == 1
        bad = talk.ask("PUT", "/_sim/faults", [{"effect": "too_mny"}])
        assert (bad.status, bad.json["hint"]) == (400, "Did you mean too_many?")
        assert len(talk.records("Order")) == 3
        assert talk.ask("GET", "/_sim/served").json == [
            {"account": ID, "event": "Order", "day": "2026-03-14", "count": 3}
        ]
        assert talk.ask("GET", "/_sim/ledger").json == [{"event": "Order", "day": "2026-03-14", "count": 3}]
        assert talk.ask("GET", "/_sim/ledger?from=2026-03-15").json == []
        lines = talk.ask("GET", f"/_sim/ledger?account={ID}&event=Order&rows=1").body.splitlines()
        assert {orjson.loads(line)["hevo_id"] for line in lines} == {row.hevo_id for row in sim.ledger(ID)}
        journal = talk.ask("GET", "/_sim/journal?last=1").json
        assert (journal[0]["event"], journal[0]["records"], journal[0]["verdict"]) == ("Order", 3, "ok")
        assert talk.ask("POST", "/_sim/clock", {"advance_s": 3600}).json["now"] == "2026-03-14T11:00:00+00:00"
        assert (
            talk.ask("POST", "/_sim/clock", {"now": "2026-04-01T00:00:00Z"}).json["now"] == "2026-04-01T00:00:00+00:00"
        )
        assert talk.ask("POST", "/_sim/clock", {"advance_s": -1}).status == 400
        assert talk.ask("GET", "/_sim/ledger?account=WHO").status == 400
        assert talk.ask("GET", "/_sim/nothing").status == 404
        assert talk.ask("POST", "/_sim/reset", {}).json["status"] == "reset"
        assert talk.ask("GET", "/_sim/journal").json == []
        assert talk.open("Order").json["error"] == '["Invalid event : Order"]'


def test_the_passcode_never_reaches_the_journal():
    with empty() as (_, talk):
        talk.ask("POST", f"/1/events.json?passcode={PASSCODE}", {"event_name": PASSCODE, "from": DAY, "to": DAY})
        journal = talk.ask("GET", "/_sim/journal").body
        assert b"***" in journal
        assert PASSCODE.encode() not in journal


def test_exports_are_written_in_the_legacy_layout(peopled: tuple[Simulator, Talk], tmp_path: Path):
    sim, talk = peopled
    body = {"account": ID, "folder": str(tmp_path / "e"), "from": "20260313", "to": "20260314"}
    files = talk.ask("POST", "/_sim/export", body).json["files"]
    assert files
    held = 0
    for name in files:
        first, *lines = (tmp_path / "e" / name).read_text().splitlines()
        assert name.split("-", 2)[2].startswith(first.replace(" ", "-"))
        held += len(lines)
        line = orjson.loads(lines[0])
        assert line["eventName"] == first
        assert not any(key.startswith("CT ") for key in line["eventProps"])
        assert ("sessionProps" in line) == (first == "UTM Visited")
    assert any("Notification-Sent" in name for name in files)
    days = {"2026-03-13", "2026-03-14"}
    served = sum(n for (_, day), n in sim.counts(ID).items() if day.isoformat() in days)
    assert held > served
    body = {"account": ID, "folder": str(tmp_path / "p"), "type": "profiles"}
    files = talk.ask("POST", "/_sim/export", body).json["files"]
    lines = [
        line for name in files for line in gzip.decompress((tmp_path / "p" / name).read_bytes()).splitlines() if line
    ]
    assert len(files) == 23
    assert all("platformInfo" in orjson.loads(line) for line in lines)
    assert 80 <= len(lines) <= 110


def test_a_webhook_is_fired_with_both_forms_of_profiles(peopled: tuple[Simulator, Talk]):
    _, talk = peopled
    received: list[Any] = []

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(orjson.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(500 if len(received) == 1 else 200)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/hook"
        fired = talk.ask(
            "POST", "/_sim/webhook", {"account": ID, "url": url, "count": 3, "key_values": {"a": "b"}}
        ).json
        single = talk.ask("POST", "/_sim/webhook", {"account": ID, "url": url, "form": "single"}).json
        server.shutdown()
        thread.join()
    assert fired == {"delivered": True, "tries": [500, 200]}
    assert single == {"delivered": True, "tries": [200]}
    assert len(received[0]["profiles"]) == 3
    assert received[0]["key_values"] == {"a": "b"}
    assert received[2]["profiles"]["objectId"]
    gone = talk.ask("POST", "/_sim/webhook", {"account": ID, "url": url}).json
    assert (gone["delivered"], len(gone["tries"])) == (False, 3)


def test_the_page_shows_accounts_counts_and_faults(peopled: tuple[Simulator, Talk]):
    sim, talk = peopled
    sim.faults.set([{"effect": "slow", "event": "<Order>"}])
    page = talk.ask("GET", "/").body.decode()
    sim.faults.clear()
    assert ID in page and "Product Viewed" in page and "14 Mar" in page
    assert "event=&lt;Order&gt;" in page
    assert PASSCODE not in page
