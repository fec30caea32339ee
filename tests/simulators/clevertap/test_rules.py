"""The fourteen rules of faithfulness, each by its number (section 9.3 of the specification)."""

from __future__ import annotations

import gzip
import re
import threading
from datetime import timedelta
from urllib.parse import quote, unquote

import orjson
import pytest
from tests.simulators.clevertap.talk import DAY, ID, PASSCODE, Talk, empty, numbers, rows

from millrace.simulators.clevertap import Account, Settings, Simulator


@pytest.fixture(scope="module")
def peopled():
    """An account with generated users, read only."""
    settings = Settings.plain(
        Account(id=ID, passcode=PASSCODE, users=150, days=30, timezone="Europe/Berlin", sessions_per_day=0.8),
        drift={"enabled": True},
    )
    with Simulator(settings) as sim:
        yield sim, Talk(sim)


def test_rule_01_authentication_comes_in_its_order():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(1))
        for missing in (Talk(sim, account=None), Talk(sim, passcode=None), Talk(sim, passcode="wrong-passcode")):
            reply = missing.open("Order")
            assert (reply.status, reply.json) == (
                401,
                {"status": "fail", "error": "Invalid Credentials", "code": 401},
            )
        other_region = Talk(sim, region="us1").open("Order")
        assert (other_region.status, other_region.json["error"]) == (401, "Invalid Credentials")
        assert Talk(sim, region="eu1").open("Order").status == 200
        by_host = talk.ask("POST", "/1/events.json", {}, headers={"Host": "in1.api.clevertap.com"})
        assert by_host.status == 401
        stranger = Talk(sim, account="NOBODY-0001")
        opened = stranger.open("No Such Event At All")
        assert opened.json["status"] == "success"
        assert stranger.page(opened.json["cursor"]).body == b'{"status":"success"}'
        refused = stranger.ask("POST", "/1/upload", {"d": []})
        assert (refused.status, refused.json["error"]) == (401, "Account ID is not valid")
    with empty(wrong_project_id="reject_401") as (sim, _):
        reply = Talk(sim, account="NOBODY-0001").open("Order")
        assert (reply.status, reply.json["error"]) == (401, "Account ID is not valid")


def test_rule_02_names_are_exact():
    with empty(account={"events": ["Tutorial Complete"]}) as (_sim, talk):
        for name in ("App Lunched", "TUTORIAL COMPLETE", "tutorial complete", "Tutorial Complete "):
            reply = talk.open(name)
            assert reply.status == 400
            assert reply.json == {"status": "fail", "error": f'["Invalid event : {name}"]', "code": 400}
        cursor = talk.open("Tutorial Complete").json["cursor"]
        assert talk.page(cursor).body == b'{"status":"success"}'


def test_rule_03_notification_events_cannot_be_exported(peopled):
    _, talk = peopled
    for name in ("Notification Sent", "Notification System Control Group"):
        reply = talk.open(name)
        assert reply.status == 400
        assert reply.json == {"status": "fail", "error": "Export not allowed for this event", "code": 400}


def test_rule_04_dates_are_whole_local_days():
    # 10:00 UTC on the 14th is already the 15th in Kiritimati.
    with empty(account={"timezone": "Pacific/Kiritimati"}) as (sim, talk):
        sim.add_events(ID, rows(1, day=20260315) + rows(1, day=20260313))
        bad = ((20260231, DAY), (DAY, 20261301), (DAY, DAY - 1), (DAY, 20260316), ("soon", DAY), (None, DAY))
        for frm, to in bad:
            reply = talk.open("Order", frm, to)
            assert (reply.status, reply.json["code"]) == (400, 4002), (frm, to)
        assert len(talk.records("Order", "20260313", "20260315")) == 2
        assert len(talk.records("Order", 20260315, 20260315)) == 1
        assert len(talk.records("Order", 20260314, 20260315)) == 1
        assert len(talk.records("Order", 20260313, 20260314)) == 1
        assert talk.records("Order", 20260314, 20260314) == []


@pytest.mark.parametrize(
    ("zone", "epoch_s", "ts"),
    [
        ("America/Los_Angeles", 1773471599, 20260313235959),
        ("America/Los_Angeles", 1773471600, 20260314000000),
        ("UTC", 1773446399, 20260313235959),
        ("UTC", 1773446400, 20260314000000),
        ("Asia/Kolkata", 1773426599, 20260313235959),
        ("Asia/Kolkata", 1773426600, 20260314000000),
        ("Pacific/Kiritimati", 1773395999, 20260313235959),
        ("Pacific/Kiritimati", 1773396000, 20260314000000),
    ],
)
def test_rule_05_ts_is_local_time(zone: str, epoch_s: int, ts: int):
    with empty(account={"timezone": zone}) as (sim, talk):
        sim.clock.advance(days=2)
        record = {"identity": "cust-1", "type": "event", "evtName": "Order", "ts": epoch_s, "evtData": {"n": 1}}
        assert talk.ask("POST", "/1/upload", {"d": [record]}).json["status"] == "success"
        day = ts // 1_000_000
        assert [r["ts"] for r in talk.records("Order", day, day)] == [ts]
        assert [row.ts for row in sim.ledger(ID)] == [ts]


def test_rule_06_pages_take_an_equal_part_of_every_shard():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(3000))
        sizes = {query: [len(p.get("records", [])) for p in talk.pages("Order", query=query)] for query in SIZES}
        for query, most in SIZES.items():
            assert sizes[query][0] <= most
            assert max(sizes[query]) <= most
            assert sum(sizes[query]) == 3000
        # Every shard has well over two rows, so the first small pages are full.
        assert sizes["batch_size=25"][0] == 23
        assert sizes["batch_size=50"][0] == 46
        assert sizes["batch_size=5"][0] == 23 * 43
        assert sizes[""][0] == sizes["batch_size=50000"][0] == 3000
        got = numbers(talk.records("Order", query="batch_size=100"))
        assert sorted(got) == list(range(3000))
        assert got != sorted(got)
        for nonsense in ("0", "-5", "ten"):
            reply = talk.open("Order", query=f"batch_size={nonsense}")
            assert reply.status == 400
            assert "batch_size" in reply.json["error"]


SIZES = {"": 4991, "batch_size=25": 23, "batch_size=50": 46, "batch_size=5": 989, "batch_size=50000": 4991}


def test_rule_06_about_half_of_all_walks_end_with_a_bare_page():
    with empty() as (sim, talk):
        names = [f"Event {n}" for n in range(60)]
        sim.add_events(ID, [row for name in names for row in rows(1, event=name)])
        last = [list(talk.pages(name))[-1] for name in names]
        bare = [page for page in last if "records" not in page]
        assert all(page == {"status": "success"} for page in bare)
        assert 15 < len(bare) < 45


def test_rule_07_a_cursor_is_opaque_signed_and_encoded_once():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(500))
        cursors = [talk.open("Order", query="batch_size=23").json["cursor"] for _ in range(40)]
        lengths = [len(cursor) for cursor in cursors]
        assert min(lengths) >= 300
        assert max(lengths) <= 2400
        assert len(set(lengths)) > 20
        text = "".join(cursors)
        assert "%2F" in text and "%2B" in text and "%3D" in text
        assert all(re.fullmatch(r"[A-Za-z0-9%_\-.~+=/]+", cursor) for cursor in cursors)
        cursor = cursors[0]
        verbatim = talk.page(cursor)
        assert talk.page(quote(unquote(cursor), safe="")).body == verbatim.body
        assert talk.ask("POST", f"/1/events.json?cursor={cursor}", b"").body == verbatim.body
        twice = talk.page(quote(cursor, safe=""))
        assert (twice.status, twice.json) == (200, {"status": "fail", "error": "Incorrect Usage", "code": 3})
        changed = ("B" if cursor[40] != "B" else "C").join((cursor[:40], cursor[41:]))
        assert talk.page(changed).json["code"] == 3
        # A cursor that was used before still stands for the same page.
        second = talk.page(verbatim.json["next_cursor"])
        assert talk.page(cursor).body == verbatim.body
        assert talk.page(verbatim.json["next_cursor"]).body == second.body
        foreign = Talk(sim, account="NOBODY-0001").page(cursor)
        assert (foreign.status, foreign.json["code"]) == (400, "CURSOR_INVALIDATED")
        assert next(entry.query for entry in sim.journal() if entry.step == "page") == f"cursor={cursor}"


def test_rule_07_a_cursor_dies_after_an_hour_without_use_or_four_hours_in_all():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(10))
        idle = talk.open("Order").json["cursor"]
        sim.clock.advance(3601)
        reply = talk.page(idle)
        assert (reply.status, reply.json) == (
            400,
            {"status": "fail", "error": "Invalid cursor", "code": "CURSOR_INVALIDATED"},
        )
        used = talk.open("Order").json["cursor"]
        for _ in range(8):
            sim.clock.advance(1799)
            assert talk.page(used).status == 200
        sim.clock.advance(60)
        assert talk.page(used).json["code"] == "CURSOR_INVALIDATED"
        assert talk.page(talk.open("Order").json["cursor"]).status == 200


def test_rule_08_a_walk_sees_the_rows_of_its_beginning_and_the_profiles_of_now():
    with empty() as (sim, talk):
        before = rows(60, profile={"profileData": {"plan": "free"}})
        late = rows(1)
        late[0] |= {
            "objectId": "__late",
            "event_props": {"n": 999},
            "visible_at": sim.clock.now() + timedelta(minutes=5),
        }
        sim.add_events(ID, before + late)
        cursor = talk.open("Order", query="batch_size=23").json["cursor"]
        first = talk.page(cursor).json
        sim.add_events(
            ID, [{"event_name": "Order", "objectId": "__new", "ts_local": DAY * 1_000_000, "event_props": {"n": 500}}]
        )
        sim.clock.advance(600)
        for row in before:
            sim.set_profile(ID, row["objectId"], {"profileData": {"plan": "gold"}}, merge=True)
        records, plans = list(first["records"]), set[str]()
        while "next_cursor" in first:
            first = talk.page(first["next_cursor"]).json
            records += first.get("records", [])
            plans |= {r["profile"]["profileData"]["plan"] for r in first.get("records", [])}
        assert sorted(numbers(records)) == list(range(60))
        assert plans == {"gold"}
        assert records[0]["profile"]["profileData"]["plan"] == "free"
        assert sorted(numbers(talk.records("Order"))) == [*range(60), 500, 999]


def test_rule_09_flags_add_their_fields_and_are_on_when_left_out(peopled):
    _, talk = peopled

    def fields(query: str) -> set[str]:
        return set(talk.records("App Launched", query=query)[0]["profile"])

    everything = fields("")
    assert {"os_version", "make", "events", "profileData"} <= everything
    assert everything == fields("app=true&events=true&profile=true")
    assert everything - fields("app=false") == {"os_version", "app_version", "make", "model"}
    assert everything - fields("events=false") == {"events"}
    assert everything - fields("profile=false") == {"profileData"}


def test_rule_10_a_page_may_need_asking_again():
    waits = {"probability": 1.0, "times": (1, 3)}
    with empty(page_not_ready=waits) as (sim, talk):
        names = [f"Event {n}" for n in range(60)]
        sim.add_events(ID, [row for name in names for row in rows(1, event=name)])
        forms: list[tuple[int, bytes]] = []
        times: set[int] = set()
        for name in names:
            cursor, asked = talk.open(name).json["cursor"], 0
            while b'"records"' not in (reply := talk.page(cursor)).body:
                forms.append((reply.status, reply.body))
                asked += 1
            times.add(asked)
            assert b'"records"' in talk.page(cursor).body
        assert times == {1, 2, 3}
        code_2 = b'{"status":"fail","error":"Request still in progress, please retry later","code":2}'
        assert set(forms) == {(200, code_2), (202, b"")}
        assert 1 <= forms.count((202, b"")) < len(forms) / 3


def test_rule_11_the_fourth_request_at_once_is_refused():
    with empty(latency_ms={"open": (400, 400), "page": (0, 0)}) as (sim, talk):
        sim.add_events(ID, rows(1))
        replies: list[tuple[int, bool]] = []

        def ask() -> None:
            reply = talk.open("Order")
            limits = any("retry-after" in name or "ratelimit" in name for name in reply.headers)
            replies.append((reply.status, limits))

        threads = [threading.Thread(target=ask) for _ in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(replies) == [(200, False)] * 3 + [(429, False)] * 2
        assert sim.busiest(ID) == 3
        assert talk.open("Order").status == 200


def test_rule_12_records_are_as_mixed_as_real_ones(peopled):
    _, talk = peopled
    events = ("Charged", "App Launched", "Login", "Product Viewed", "Support Ticket Created", "Livraison Prévue")
    events += ("Rating Given", "Subscription Renewed", "Search", "Coupon Applied")
    found = {event: talk.records(event, 20260213, DAY) for event in events}
    assert all(found.values())
    profiles = [record["profile"] for records in found.values() for record in records]
    assert all(isinstance(profile["df"]["0"], int) for profile in profiles)
    assert any("badKs" in profile for profile in profiles)
    assert any("identity" not in profile for profile in profiles)
    assert all(isinstance(profile["phone"], int) for profile in profiles if "phone" in profile)
    assert any("phone" in profile for profile in profiles)
    assert any(record["event_props"] == {} for record in found["Login"])
    assert all("session_props" not in record for record in found["Subscription Renewed"])
    sessions = [record.get("session_props") for record in found["App Launched"]]
    assert {} in sessions and None in sessions and {"session_source": "Direct"} in sessions
    assert all(r["event_props"]["Date de livraison"].startswith("$D_") for r in found["Livraison Prévue"])
    assert all(r["event_props"]["Charged ID"] > 2**53 for r in found["Charged"])
    assert all(r["event_props"]["Items"][0]["Name"] for r in found["Charged"])
    assert {type(r["event_props"]["Amount"]) for r in found["Charged"]} == {int, float}
    assert any(len(r["event_props"]["Message"]) == 512 for r in found["Support Ticket Created"])
    assert any(isinstance(r["event_props"]["Filters"], list) for r in found["Search"])
    assert len({type(r["event_props"]["Discount"]) for r in found["Coupon Applied"]}) == 2
    assert any(not str(r["event_props"]).isascii() for r in found["Product Viewed"])
    versions = {
        type(r["event_props"]["CT App Version"]) for r in found["App Launched"] if "CT App Version" in r["event_props"]
    }
    assert versions == {int, str}


def test_rule_13_headers_and_previous_cursor():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(300))
        cursor = talk.open("Order", query="batch_size=23").json["cursor"]
        plain = talk.page(cursor)
        assert plain.headers["content-type"] == "application/json;charset=utf-8"
        assert plain.headers["connection"] == "keep-alive"
        assert "content-encoding" not in plain.headers
        assert "previous_cursor" not in talk.page(plain.json["next_cursor"]).json
        packed = talk.page(cursor, headers={"Accept-Encoding": "gzip"})
        assert packed.headers["content-encoding"] == "gzip"
        assert gzip.decompress(packed.body) == plain.body
    with empty(previous_cursor=True) as (sim, talk):
        sim.add_events(ID, rows(300))
        first = talk.page(talk.open("Order", query="batch_size=23").json["cursor"])
        second = talk.page(first.json["next_cursor"])
        assert talk.page(second.json["previous_cursor"]).json["records"] == first.json["records"]


def test_rule_14_filters_narrow_the_rows():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(10))
        gold = rows(20)[10:]
        sim.add_events(ID, [row | {"profile": {"profileData": {"plan": "gold"}, "name": "Rhea"}} for row in gold])
        sim.add_events(ID, rows(3, event="Refund"))
        sim.add_events(ID, [row | {"event_props": {"n": 100, "color": ["red", "blue"], "ok": True}} for row in rows(1)])

        def kept(**more: object) -> list[int]:
            return sorted(numbers(talk.records("Order", **more)))

        def by(name: str, operator: str | None, value: object = None) -> list[int]:
            condition = {"name": name, "value": value} | ({"operator": operator} if operator else {})
            return kept(event_properties=[condition])

        assert by("n", None, 7) == [7]
        assert by("n", "equals", [7, 8]) == [7, 8]
        assert by("n", "not_equals", 7) == [n for n in [*range(20), 100] if n != 7]
        assert by("n", "greater_than", 18) == [19, 100]
        assert by("n", "greater_than_equals", 18) == [18, 19, 100]
        assert by("n", "less_than", 2) == [0, 1]
        assert by("n", "less_than_equals", 2) == [0, 1, 2]
        assert by("color", "contains", "re") == [100]
        assert by("color", "exists") == [100]
        assert by("color", "does_not_exist") == list(range(20))
        assert by("color", "does_not_contain", "red") == list(range(20))
        assert by("ok", "equals", "True") == [100]
        late = {"session_properties": [{"name": "time_of_day", "value": ["00:01", "00:02"]}]}
        assert kept(**late) == []
        assert len(kept(session_properties=[{"name": "time_of_day", "value": ["00:00", "00:00"]}])) == 21
        assert kept(common_profile_properties={"profile_fields": [{"name": "plan", "value": "gold"}]}) == list(
            range(10, 20)
        )
        refund = {"event_name": "Refund", "from": DAY, "to": DAY}
        assert kept(advanced_query={"did_all": [refund]}) == [0, 1, 2, 100]
        assert kept(advanced_query={"did_none": [refund]}) == list(range(3, 20))
        assert len(kept(moon_phase="full", common_profile_properties={"geo_fields": []})) == 21
        opened = [entry for entry in sim.journal() if entry.step == "open"][-1]
        assert opened.notes == ("ignored: moon_phase", "ignored: common_profile_properties.geo_fields")
        bad = talk.open("Order", event_properties=[{"name": "n", "operator": "is_like", "value": 1}])
        assert (bad.status, bad.json["error"]) == (400, "event_properties: no operator is_like")


def test_step_one_by_get_is_the_same():
    with empty() as (sim, talk):
        sim.add_events(ID, rows(3))
        query = quote(orjson.dumps({"event_name": "Order", "from": DAY, "to": DAY}).decode(), safe="")
        opened = talk.ask("GET", f"/1/events.json?batch_size=50&query={query}")
        assert sorted(numbers(talk.page(opened.json["cursor"]).json["records"])) == [0, 1, 2]
