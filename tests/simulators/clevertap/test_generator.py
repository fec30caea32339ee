"""The invented data: the same for the same seed, shaped as section 9.4 asks, and never held as a whole."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import orjson
import pytest
from tests.simulators.clevertap.talk import DAY, ID, PASSCODE, Talk

from millrace.simulators.clevertap import Account, LedgerRow, Settings, Simulator
from millrace.simulators.clevertap.catalog import CATALOG
from millrace.simulators.clevertap.generator import Generator
from millrace.simulators.clevertap.people import People
from millrace.simulators.clevertap.rows import Shelf, Unit

NOW = date(2026, 3, 14)


def people(users: int, *, seed: int = 1, days: int = 45) -> People:
    first = NOW.toordinal() - days
    return People(seed=seed, account=ID, users=users, days=days, first_day=first, shards=23)


@pytest.fixture(scope="module")
def full() -> Iterator[Simulator]:
    """All defaults that shape the data, on one mid-sized account."""
    account = Account(id=ID, passcode=PASSCODE, users=300, days=45, timezone="Europe/Berlin", sessions_per_day=0.8)
    calm = {"latency_ms": {"open": (0, 0), "page": (0, 0)}, "page_not_ready": {}, "partial": {}}
    with Simulator(Settings.model_validate({"accounts": [account], **calm})) as sim:
        yield sim


@pytest.fixture(scope="module")
def truth(full: Simulator) -> list[LedgerRow]:
    return list(full.ledger(ID))


def props(row: LedgerRow) -> dict[str, Any]:
    return orjson.loads(row.event_props)


def test_a_walk_serves_exactly_the_ledger(full: Simulator, truth: list[LedgerRow]):
    talk = Talk(full)
    served: Counter[tuple[str, str, int, str]] = Counter()
    frm, to = 20260201, DAY
    for event in {row.event_name for row in truth}:
        for r in talk.records(event, frm, to, query="events=false&app=false"):
            served[event, r["profile"]["objectId"], r["ts"], orjson.dumps(r["event_props"]).decode()] += 1
    expected: Counter[tuple[str, str, int, str]] = Counter()
    for row in truth:
        if row.day >= date(2026, 2, 1):
            # Parsed and written again on both sides, so that only values count.
            expected[row.event_name, row.objectId, row.ts, orjson.dumps(props(row)).decode()] += row.copies
    assert served == expected
    assert served.total() > 10_000


def test_the_same_seed_gives_the_same_data_and_another_seed_other_data():
    account = Account(id=ID, passcode=PASSCODE, users=60, days=10)

    def ids(seed: int) -> list[str]:
        sim = Simulator(Settings.plain(account, seed=seed))
        found = [row.hevo_id for row in sim.ledger(ID)]
        sim.stop()
        return found

    assert ids(1) == ids(1)
    assert ids(1) != ids(2)


def test_a_unit_does_not_depend_on_what_was_made_before():
    settings = Settings()
    account = settings.accounts[0]
    who = people(60)
    one = Generator(settings, account, who, first_day=NOW.toordinal() - 45)
    other = Generator(settings, account, who, first_day=NOW.toordinal() - 45)
    days = range(NOW.toordinal() - 5, NOW.toordinal())
    forth = {(s, d): one.unit(s, d) for d in days for s in range(23)}
    back = {(s, d): other.unit(s, d) for d in reversed(days) for s in reversed(range(23))}
    assert forth == back


def test_users_are_mixed_as_specified():
    who = people(8000)
    devices = [who.device(n) for n in range(len(who))]
    platforms = Counter(device.platform for device in devices)
    assert platforms["Android"] / len(devices) == pytest.approx(0.60, abs=0.02)
    assert platforms["iOS"] / len(devices) == pytest.approx(0.25, abs=0.02)
    assert platforms["Web"] / len(devices) == pytest.approx(0.15, abs=0.02)
    assert sum(who.is_anonymous(u) for u in range(8000)) / 8000 == pytest.approx(0.25, abs=0.02)
    assert (len(who) - 8000) / 8000 == pytest.approx(0.20, abs=0.02)
    assert sum(who.login_day(u) is not None for u in range(8000)) / 8000 == pytest.approx(0.03, abs=0.01)
    assert sum(who.demerge_day(u) is not None for u in range(8000)) / 8000 == pytest.approx(0.01, abs=0.005)
    assert len({device.object_id for device in devices}) == len(devices)
    prefixes = {"Android": "__", "iOS": "-"}
    assert all(device.object_id.startswith(prefixes.get(device.platform, "")) for device in devices)
    assert [len(shard) > 250 for shard in who.by_shard] == [True] * 23


def test_two_devices_of_a_person_share_the_identity():
    who = people(500)
    pairs = [who.devices_of(user) for user in range(500)]
    assert Counter(map(len, pairs)).keys() == {1, 2}
    for pair in pairs:
        assert len({who.fields(device, NOW.toordinal()).get("identity") for device in pair}) == 1


def test_contacts_are_invented():
    who = people(500)
    fields = [who.fields(device, NOW.toordinal()) for device in range(len(who))]
    assert all(f["email"].endswith("@example.org") for f in fields if "email" in f)
    phones = [str(f["phone"]) for f in fields if "phone" in f]
    assert phones
    assert all(p.startswith("447700900") or (p[0] == "1" and p[4:9] == "55501" and len(p) == 11) for p in phones)


def test_late_logins_show_their_identity_only_afterwards():
    who = people(2000)
    late = next(user for user in range(2000) if who.login_day(user) is not None)
    day = who.login_day(late)
    assert day is not None
    assert who.identity(late, day - 1) is None
    assert who.identity(late, day) == f"cust-{80000 + late}"


def test_every_name_of_the_catalogue_has_rows_or_a_reason(full: Simulator, truth: list[LedgerRow]):
    seen = {row.event_name for row in truth}
    missing = {event.name for event in CATALOG} - seen - set(full.settings.not_exportable)
    assert missing == {"Old Banner Shown"}
    banner = Talk(full).open("Old Banner Shown")
    assert banner.json["error"] == '["Invalid event : Old Banner Shown"]'


def test_the_funnel_narrows(truth: list[LedgerRow]):
    n = Counter(row.event_name for row in truth)
    assert n["Added To Cart"] / n["Product Viewed"] == pytest.approx(0.30, abs=0.02)
    assert n["Charged"] / n["Checkout Started"] == pytest.approx(0.60, abs=0.04)
    assert n["Session Concluded"] == pytest.approx(n["App Launched"] + n["Web Session Started"], rel=0.02)
    assert {props(row)["Currency"] for row in truth if row.event_name == "Charged"} == {"EUR", "USD", "INR"}
    assert all(1 <= len(props(row)["Items"]) <= 5 for row in truth if row.event_name == "Charged")


def test_about_two_in_a_hundred_rows_are_late_by_up_to_five_days(full: Simulator):
    delays: list[float] = []
    full.clock.advance(days=6)
    zone = timedelta(hours=1)
    for row in full.ledger(ID, date(2026, 2, 1), date(2026, 3, 10), event="Product Viewed"):
        happened = datetime.strptime(str(row.ts), "%Y%m%d%H%M%S").replace(tzinfo=UTC) - zone
        delays.append((row.visible_at - happened).total_seconds() / 86400)
    full.clock.set(datetime(2026, 3, 14, 10, tzinfo=UTC))
    late = [delay for delay in delays if delay > 0]
    assert len(late) / len(delays) == pytest.approx(0.02, abs=0.006)
    assert 3 < max(late) <= 5
    assert min(delays) == 0


def test_a_late_row_appears_once_its_time_has_come(full: Simulator, truth: list[LedgerRow]):
    before = {row.hevo_id for row in truth if row.day == date(2026, 3, 12)}
    full.clock.advance(days=5)
    after = list(full.ledger(ID, date(2026, 3, 12), date(2026, 3, 12)))
    full.clock.set(datetime(2026, 3, 14, 10, tzinfo=UTC))
    new = [row for row in after if row.hevo_id not in before]
    assert new
    assert all(row.visible_at > datetime(2026, 3, 14, 10, tzinfo=UTC) for row in new)
    assert before <= {row.hevo_id for row in after}


def test_a_session_ends_at_its_last_activity_and_shows_twenty_minutes_later(truth: list[LedgerRow]):
    ends = [row for row in truth if row.event_name == "Session Concluded"]
    delays = Counter(
        row.visible_at - datetime.strptime(str(row.ts), "%Y%m%d%H%M%S").replace(tzinfo=UTC) + timedelta(hours=1)
        for row in ends
    )
    assert delays.most_common(1)[0][0] == timedelta(minutes=20)


def test_duplicates_and_twins_are_both_there_and_told_apart(truth: list[LedgerRow]):
    doubled = sum(row.copies - row.genuine for row in truth)
    assert doubled / len(truth) == pytest.approx(0.004, abs=0.0015)
    assert any(row.genuine == 2 for row in truth if row.event_name == "Product Viewed")


def test_properties_drift_with_the_days(truth: list[LedgerRow]):
    def kinds(event: str, name: str) -> dict[type | None, set[int]]:
        first = NOW - timedelta(days=45)
        found: dict[type | None, set[int]] = {}
        for row in truth:
            if row.event_name == event:
                value = props(row).get(name)
                found.setdefault(None if value is None else type(value), set()).add((row.day - first).days)
        return found

    badge = kinds("Product Viewed", "Badge")
    assert max(badge[None]) < 10 <= min(badge[str])
    rank = kinds("Product Viewed", "Legacy Rank")
    assert max(rank[int]) < 18 <= min(rank[None])
    tags = kinds("Product Viewed", "Tags")
    assert max(tags[str]) < 17 <= min(tags[list])
    quantity = kinds("Added To Cart", "Quantity")
    assert max(quantity[int]) < 15 <= min(quantity[str])
    versions = kinds("App Launched", "CT App Version")
    assert versions[int] == {4, 13, 22, 31, 40}
    assert min(kinds("Wishlist Shared", "Channel")[str]) >= 20


def test_an_event_is_new_on_day_20_and_one_is_discarded_on_day_25():
    account = Account(id=ID, passcode=PASSCODE, users=100, days=19, sessions_per_day=1)
    with Simulator(Settings.plain(account, drift={"enabled": True})) as sim:
        talk = Talk(sim)
        assert talk.open("Wishlist Shared").status == 400
        assert "Wishlist Shared" not in sim.events_csv(ID)
        assert len(talk.records("Old Banner Shown", 20260224, DAY)) > 0
        sim.clock.advance(days=2)
        assert talk.open("Wishlist Shared").status == 200
        sim.clock.advance(days=4)
        assert talk.open("Old Banner Shown").json["error"] == '["Invalid event : Old Banner Shown"]'
        assert "Old Banner Shown,Undefined,Discarded,3 years,0,0,2" in sim.events_csv(ID)


def test_rows_sit_on_both_edges_of_the_day(truth: list[LedgerRow]):
    times = {row.ts % 1_000_000 for row in truth}
    assert 0 in times
    assert 235959 in times


def test_a_clock_a_year_ahead_is_filed_under_the_day_of_its_coming():
    account = Account(id=ID, passcode=PASSCODE, users=600, days=20, sessions_per_day=1)
    sim = Simulator(Settings.plain(account))
    ahead = [row for row in sim.ledger(ID, event="App Launched") if row.ts // 10**10 == 2027]
    sim.stop()
    assert ahead
    assert all(row.day <= NOW and row.visible_at.year == 2026 for row in ahead)


@pytest.mark.parametrize(("day", "hours"), [("2026-03-29", 23), ("2026-10-25", 25)])
def test_days_of_a_time_change_have_no_impossible_and_no_lost_times(day: str, hours: int):
    account = Account(id=ID, passcode=PASSCODE, users=400, days=3, timezone="Europe/Berlin", sessions_per_day=3)
    moment = datetime.fromisoformat(day + "T23:30:00+00:00")
    sim = Simulator(Settings.plain(account, now=moment))
    # Without the few whose clock is a year ahead.
    rows = [row for row in sim.ledger(ID, moment.date(), moment.date()) if row.ts // 10**10 == 2026]
    sim.stop()
    seen = Counter(row.ts // 10000 % 100 for row in rows)
    assert {row.ts // 1_000_000 for row in rows} == {int(day.replace("-", ""))}
    assert len(seen) == (23 if hours == 23 else 24)
    assert (2 in seen) == (hours == 25)


def test_leap_days_are_days():
    account = Account(id=ID, passcode=PASSCODE, users=50, days=3)
    sim = Simulator(Settings.plain(account, now=datetime(2028, 3, 1, 12, tzinfo=UTC)))
    assert any(row.ts // 1_000_000 == 20280229 for row in sim.ledger(ID, date(2028, 2, 29), date(2028, 2, 29)))
    sim.stop()


def test_what_does_not_fit_in_memory_is_spooled_and_comes_back_the_same():
    settings = Settings.plain(Account(id=ID, passcode=PASSCODE, users=300, days=10))
    generator = Generator(settings, settings.accounts[0], people(300, days=10), first_day=NOW.toordinal() - 10)
    made: list[tuple[int, int]] = []

    def make(shard: int, day: int) -> Unit:
        made.append((shard, day))
        return generator.unit(shard, day)

    small, large = Shelf(make, memory_bytes=20_000), Shelf(generator.unit, memory_bytes=10**9)
    days = range(NOW.toordinal() - 10, NOW.toordinal())
    for _ in range(2):
        for event in ("Product Viewed", "Charged", "No Such Event"):
            for day in days:
                for shard in range(23):
                    assert small.rows(shard, day, event) == large.rows(shard, day, event)
    assert len(made) == len(set(made)) == 230
    small.close()
    large.close()


MEASURE = """
import resource, sys
from millrace.simulators.clevertap import Account, Settings, Simulator
account = Account(id="A", passcode="secret", users=2500, days=int(sys.argv[1]), sessions_per_day=1)
sim = Simulator(Settings.plain(account, memory_mb=16))
rows = sum(sim.counts("A").values())
print(rows, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
sim.stop()
"""


def test_memory_does_not_grow_with_the_days():
    def measured(days: int) -> tuple[int, int]:
        out = subprocess.run(
            [sys.executable, "-c", MEASURE, str(days)], capture_output=True, text=True, check=True
        ).stdout
        rows, peak_mb = map(int, out.split())
        return rows, peak_mb

    few, few_mb = measured(3)
    many, many_mb = measured(12)
    assert many > 3 * few > 100_000
    # The rows of the second run take some 80 MB more than those of the first.
    assert many_mb - few_mb < 25
