"""What nobody tells when it happens, looked at now and then: limits, late pipelines, failed events, daily usage.

Each look notes in one transaction what it saw and what it told, so several servers, or one that begins again, tell it
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from millrace.control.activity import Entity
from millrace.control.alerting import alert_events, lateness, unusual
from millrace.control.alerting.alert_events import Code, Event
from millrace.control.books.usage_counts import BILLABLE
from millrace.control.database.db import upsert
from millrace.control.database.people_tables import team_settings
from millrace.control.database.tables import pipelines, reject_files, reject_groups, runs, teams
from millrace.control.database.telling_tables import usage_hourly
from millrace.control.database.telling_tables import usage_limits as limits
from millrace.control.metering import budgets, ingestion_limit
from millrace.control.metering.usage import called, day_of, month_of
from millrace.control.people.actors import SYSTEM
from millrace.control.pipeline import lifecycle
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.alerting.unusual import Unusual
    from millrace.control.home import Home
    from millrace.control.metering.ingestion_limit import IngestionLimit

DIGEST_H = 3

# So much of the quota, so early in the month, is worth a word (pipelines.md 17.4).
EARLY_PERCENT, EARLY_DAYS = 70, 15

# The groups of failed events that a digest names; it counts all.
MOST_GROUPS = 50

_DIGEST, _DAILY = "alerts.digest_at", "alerts.daily_at"


def look(home: Home, now: datetime | None = None) -> None:
    """Everything is looked at once. To be asked about once a minute, by whoever schedules."""
    moment = now or home.database.now()
    check_limits(home, moment)
    check_windows(home, moment)
    check_latency(home, moment)
    check_unusual(home, moment)
    digest(home, moment)
    daily(home, moment)


def check_limits(home: Home, now: datetime) -> int:
    """Limits that were passed are told of, once in each period, and what they pause is paused; how many."""
    with home.database.reading() as connection:
        query = sa.select(limits, pipelines.c.name).outerjoin(pipelines, pipelines.c.id == limits.c.pipeline_id)
        rows = connection.execute(query).all()
        used = {row.id: budgets.spent(connection, row, now) for row in rows}
        acting = {row.id for row in rows if budgets.exceeded(row, used[row.id]) and budgets.acts(connection, row, now)}
    found = 0
    for row in rows:
        if row.sideline and row.id not in acting:
            with home.database.transaction() as connection:
                alert_events.over(connection, row.team_id, _limited(row), ["QUOTA_SIDELINED"], at=now)
        for code, stamp in _passed(row, used[row.id], now, acting=row.id in acting):
            if row.told == stamp:
                break
            if row.pause and row.id in acting:
                _pause(home, row)
            with home.database.transaction() as connection:
                mine = sa.update(limits).where(limits.c.id == row.id, limits.c.told.is_not_distinct_from(row.told))
                if connection.execute(mine.values(told=stamp)).rowcount:
                    alert_events.tell(
                        connection,
                        row.team_id,
                        _of_limit(row, code, used[row.id], now, acting=row.id in acting),
                        at=now,
                    )
                    found += 1
            break
    return found


def check_windows(home: Home, now: datetime) -> int:
    """Teams that have read all that they may in a window are told so; how many.

    Once, until half of a window went by with room left: a team that fills each window is not told in each.
    """
    with home.database.reading() as connection:
        found = ingestion_limit.standing(connection, now)
    told = 0
    for team, limit in found:
        entity = Entity("team", team, "usage")
        with home.database.transaction() as connection:
            if limit.full and not alert_events.is_open(connection, entity, ["INGESTION_STALLED"]):
                alert_events.tell(connection, team, _stalled(entity, limit), at=now)
                told += 1
            elif not limit.full and limit.half_over(now):
                alert_events.over(connection, team, entity, ["INGESTION_STALLED"], at=now)
    return told


def _stalled(entity: Entity, limit: IngestionLimit) -> Event:
    title = f"All {limit.rows:,} rows that may be read in {limit.minutes:,} minutes are read"
    body = f"Nothing more is read before {limit.until:%Y-%m-%d %H:%M} UTC, unless the limit is raised or lifted."
    facts: dict[str, Any] = {"limit": limit.rows, "counted": limit.counted, "minutes": limit.minutes}
    return Event("INGESTION_STALLED", entity, title, body, f"{limit.until:%Y-%m-%d %H:%M}", facts=facts)


def check_latency(home: Home, now: datetime) -> int:
    """Pipelines whose last good load is longer ago than they may be late are told of, and those that caught up."""
    with home.database.reading() as connection:
        rows: list[Any] = list(lateness.bound(connection))
    found = 0
    for row in rows:
        most = timedelta(minutes=lateness.minutes_of(row.options) or 0)
        entity = Entity("pipeline", row.id, row.name)
        with home.database.transaction() as connection:
            good = sa.select(sa.func.max(runs.c.ended_at)).where(
                runs.c.pipeline_id == row.id, runs.c.status.like("COMPLETED%")
            )
            since: datetime = connection.execute(good).scalar() or row.created_at
            if now - since <= most:
                alert_events.over(connection, row.team_id, entity, ["LATENCY_EXCEEDED"], at=now)
            elif not alert_events.is_open(connection, entity, ["LATENCY_EXCEEDED"]):
                minutes = int((now - since).total_seconds() // 60)
                title = f"Pipeline {row.name} is {minutes:,} minutes late"
                allowed = most // timedelta(minutes=1)
                body = f"Its last good run ended at {since:%Y-%m-%d %H:%M} UTC; {allowed:,} minutes are allowed."
                event = Event("LATENCY_EXCEEDED", entity, title, body, facts={"minutes": minutes})
                alert_events.tell(connection, row.team_id, event, at=now)
                found += 1
    return found


def check_unusual(home: Home, now: datetime) -> int:
    """Days with many more rows than usual are told of, once each, and pipelines that stopped loading; how many."""
    with home.database.reading() as connection:
        rows = unusual.watched(connection)
    found = 0
    for row in rows:
        wanted, entity = unusual.wanted_of(row.options), Entity("pipeline", row.id, row.name)
        spiked = False
        with home.database.transaction() as connection:
            events = [_spike(connection, wanted, entity, now), _silence(connection, wanted, entity, now)]
            for event in events:
                if event is not None:
                    alert_events.tell(connection, row.team_id, event, at=now)
                    found += 1
                    spiked = spiked or event.code == "SPIKE_UNUSUAL"
            if events[1] is None and _loads(connection, wanted, entity, now):
                alert_events.over(connection, row.team_id, entity, ["LOADS_STOPPED"], at=now)
        if spiked and wanted.pause:
            _stop(home, row.team_id, [row.name])
    return found


def _spike(connection: sa.Connection, wanted: Unusual, entity: Entity, now: datetime) -> Event | None:
    if wanted.times is None or entity.id is None:
        return None
    loaded, usual = unusual.today(connection, entity.id, now)
    if usual is None or loaded <= usual * wanted.times:
        return None
    if alert_events.told_since(connection, entity, "SPIKE_UNUSUAL", day_of(now)):
        return None
    title = f"Pipeline {entity.name} loaded {loaded:,} rows today; {usual:,.0f} are usual on a {now.astimezone(UTC):%A}"
    body = "It was paused." if wanted.pause else "It goes on."
    facts: dict[str, Any] = {"loaded": loaded, "usual": usual, "times": wanted.times, "paused": wanted.pause}
    return Event("SPIKE_UNUSUAL", entity, title, body, f"{day_of(now):%Y-%m-%d}", facts=facts)


def _silence(connection: sa.Connection, wanted: Unusual, entity: Entity, now: datetime) -> Event | None:
    if wanted.intervals is None or entity.id is None:
        return None
    since = unusual.silent_since(connection, entity.id, wanted.intervals, now)
    if since is None or alert_events.is_open(connection, entity, ["LOADS_STOPPED"]):
        return None
    title = f"Pipeline {entity.name} loads nothing any more"
    body = (
        f"Rows came last at {since:%Y-%m-%d %H:%M} UTC, more than {wanted.intervals:,} intervals of its schedule ago."
    )
    return Event("LOADS_STOPPED", entity, title, body, facts={"since": since.isoformat()})


def _loads(connection: sa.Connection, wanted: Unusual, entity: Entity, now: datetime) -> bool:
    """Nothing is to be said of loads that stopped, or nobody wants to hear it any more."""
    if wanted.intervals is None or entity.id is None:
        return True
    return unusual.silent_since(connection, entity.id, wanted.intervals, now) is None


def digest(home: Home, now: datetime) -> int:
    """What failed in the last three hours is told in one message for each team (pipelines.md 16.1); how many."""
    until = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    until -= timedelta(hours=until.hour % DIGEST_H)
    found = 0
    for team in _due(home, _DIGEST, until):
        with home.database.transaction() as connection:
            since = _step(connection, team, _DIGEST, until, most=timedelta(days=1))
            if since is None:
                continue
            if (event := _digest(connection, team, since, until)) is not None:
                alert_events.tell(connection, team, event, at=now)
                found += 1
    return found


def daily(home: Home, now: datetime) -> int:
    """What was loaded yesterday and in the week is told to each team that loaded something; how many."""
    today = day_of(now)
    found = 0
    for team in _due(home, _DAILY, today):
        with home.database.transaction() as connection:
            if _step(connection, team, _DAILY, today, most=timedelta(days=1)) is None:
                continue
            if (event := _daily(connection, team, today)) is not None:
                alert_events.tell(connection, team, event, at=now)
                found += 1
    return found


def _passed(row: Any, used: int, now: datetime, *, acting: bool) -> Iterator[tuple[Code, str]]:
    """What there is to say of a limit, the worst first, each with the mark by which it is said once. ``acting``: it is
    passed, and no grace is left."""
    month = month_of(now)
    code: Code = "SPIKE_LIMIT_EXCEEDED" if row.period == "day" else "QUOTA_CONSUMED"
    stamp = f"{day_of(now):%Y-%m-%d}" if row.period == "day" else f"{month:%Y-%m} all"
    if acting and row.sideline:
        yield "QUOTA_SIDELINED", f"{stamp} sidelined"
    elif acting and row.pause and row.grace_hours:
        yield code, f"{stamp} paused"
    elif budgets.exceeded(row, used):
        yield code, stamp
    elif row.period == "month" and used * 100 >= row.rows * EARLY_PERCENT and now - month < timedelta(days=EARLY_DAYS):
        yield "QUOTA_EARLY", f"{month:%Y-%m} early"


def _limited(row: Any) -> Entity:
    """Whose limit it is."""
    if row.pipeline_id is None:
        return Entity("team", row.team_id, "usage")
    return Entity("pipeline", row.pipeline_id, row.name)


def _of_limit(row: Any, code: Code, used: int, now: datetime, *, acting: bool) -> Event:
    paused, sidelined = row.pause and acting, bool(row.sideline) and acting
    facts: dict[str, Any] = {"limit": row.rows, "used": used, "period": row.period, "paused": paused}
    facts["sidelined"] = sidelined
    entity, whose = _limited(row), "It" if row.pipeline_id is not None else "All pipelines"
    if row.period == "day":
        title = f"Pipeline {row.name} moved {used:,} rows today, more than its limit of {row.rows:,}"
        body, cause = "", f"{day_of(now):%Y-%m-%d}"
    else:
        owner = "" if row.pipeline_id is None else f" of pipeline {row.name}"
        title = f"{used * 100 // row.rows} % of this month's quota{owner} of {row.rows:,} rows are used"
        body, cause = f"{used:,} billable rows were loaded since the month began. ", f"{month_of(now):%Y-%m}"
    if sidelined:
        later = budgets.next_period(row.period, now)
        body += f"What is read waits on the stage, and is loaded from {later:%Y-%m-%d} on, or once the limit is raised."
    elif paused:
        body += f"{whose} {'was' if row.pipeline_id is not None else 'were'} paused."
    elif code != "QUOTA_EARLY" and (row.pause or row.sideline):
        done = "pauses" if row.pause else "sidelines"
        body += f"The limit {done} {row.grace_hours} hours after the hour in which it was passed."
    elif row.period == "day":
        body += "It goes on."
    return Event(code, entity, title, body.strip(), cause, facts=facts)


def _pause(home: Home, row: Any) -> None:
    """The pipeline, or all of the team, are paused. Those that are so already stay it."""
    mine = [pipelines.c.team_id == row.team_id, pipelines.c.state == "ACTIVE"]
    mine += [pipelines.c.id == row.pipeline_id] if row.pipeline_id is not None else []
    with home.database.reading() as connection:
        names = list(connection.execute(sa.select(pipelines.c.name).where(*mine)).scalars())
    _stop(home, row.team_id, names)


def _stop(home: Home, team_id: str, names: Sequence[str]) -> None:
    there = home.acting(SYSTEM.of(team_id))
    for name in names:
        try:
            lifecycle.pause(there, name)
        except ConfigError:
            continue  # somebody else paused or deleted it meanwhile


def _due(home: Home, key: str, until: datetime) -> list[str]:
    """Teams for which this was not done up to that moment."""
    t = team_settings.c
    done = sa.select(t.team_id, t.value).where(t.key == key)
    with home.database.reading() as connection:
        known = {row.team_id: row.value for row in connection.execute(done)}
        every = connection.execute(sa.select(teams.c.id)).scalars()
        return [team for team in every if known.get(team) is None or known[team] < until.isoformat()]


def _step(connection: sa.Connection, team: str, key: str, until: datetime, *, most: timedelta) -> datetime | None:
    """It is noted as done up to that moment; since when it is not, ``most`` at most. None where another did it now."""
    t = team_settings.c
    mine = sa.select(t.value).where(t.team_id == team, t.key == key)
    if connection.dialect.name != "sqlite":
        mine = mine.with_for_update()
    before = connection.execute(mine).scalar()
    if before is not None and before >= until.isoformat():
        return None
    row: dict[str, Any] = {"team_id": team, "key": key, "value": until.isoformat(), "changed_at": until}
    upsert(connection, team_settings, [row], key=["team_id", "key"])
    # What was before anybody looked is no news.
    return until if before is None else max(datetime.fromisoformat(before), until - most)


def _digest(connection: sa.Connection, team: str, since: datetime, until: datetime) -> Event | None:
    g, f = reject_groups.c, reject_files.c
    query = (
        sa.select(pipelines.c.name, g.stream, g.stage, g.code, sa.func.sum(g.rows).label("rows"))
        .join(reject_files, f.id == g.file_id)
        .join(pipelines, pipelines.c.id == f.pipeline_id)
        .where(pipelines.c.team_id == team, f.created_at >= since, f.created_at < until, g.state == "open", f.counted)
        .group_by(pipelines.c.name, g.stream, g.stage, g.code)
        .order_by(sa.desc("rows"), pipelines.c.name, g.stream, g.code)
    )
    found = connection.execute(query).all()
    if not found:
        return None
    rows = sum(int(one.rows) for one in found)
    lines = [f"{one.name}, {one.stream}: {int(one.rows):,} rows, {one.stage}/{one.code}" for one in found[:MOST_GROUPS]]
    lines += [f"and {len(found) - MOST_GROUPS:,} other groups"] if len(found) > MOST_GROUPS else []
    lines.append("See: millrace rejects")
    facts: dict[str, Any] = {"rows": rows, "since": since.isoformat(), "until": until.isoformat()}
    facts["pipelines"] = sorted({one.name for one in found})
    title = f"{rows:,} events failed from {since:%H:%M} to {until:%H:%M} UTC"
    return Event("FAILED_EVENTS_DIGEST", Entity("team", team, "failed events"), title, "\n".join(lines), facts=facts)


def _daily(connection: sa.Connection, team: str, today: datetime) -> Event | None:
    t = usage_hourly.c
    counted = sa.func.sum(sa.case((t.kind.in_(sorted(BILLABLE)), t.loaded), else_=0)).label("billable")

    def sums(days: int) -> list[Any]:
        query = sa.select(called().label("name"), sa.func.sum(t.loaded).label("loaded"), counted)
        query = query.where(t.team_id == team, t.hour >= today - timedelta(days=days), t.hour < today)
        return list(connection.execute(query.group_by(t.pipeline_id).order_by(sa.desc("loaded"))))

    day, week = sums(1), sums(7)
    if not week:
        return None
    totals = {name: (sum(int(one.loaded) for one in part), sum(int(one.billable) for one in part))
              for name, part in (("yesterday", day), ("the last 7 days", week))}  # fmt: skip
    lines = [f"In {name}: {loaded:,} rows loaded, {billable:,} of them billable."
             for name, (loaded, billable) in totals.items()]  # fmt: skip
    lines += [f"{one.name}: {int(one.loaded):,} rows yesterday" for one in day[:MOST_GROUPS]]
    facts: dict[str, Any] = {"loaded": totals["yesterday"][0], "billable": totals["yesterday"][1]}
    facts["week_loaded"], facts["week_billable"] = totals["the last 7 days"]
    title = f"{totals['yesterday'][0]:,} rows were loaded on {today - timedelta(days=1):%Y-%m-%d}"
    return Event("USAGE_DAILY", Entity("team", team, "usage"), title, "\n".join(lines), facts=facts)
