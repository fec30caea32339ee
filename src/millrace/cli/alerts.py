"""`millrace alert`: what is wrong, where that is told, and who wants to hear of it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.paging import AFTER, AT_MOST, more
from millrace.cli.text import State, bold, cell, count, dim, mark, table
from millrace.errors import as_typed

if TYPE_CHECKING:
    from millrace.control.alerting.alert_channels import Channel
    from millrace.control.alerting.alert_wanted import Wanted
    from millrace.control.alerting.alerts import Alert, Delivery

Kind = Literal["email", "slack", "pagerduty", "opsgenie", "teams", "webhook"]
AlertState = Literal["OPEN", "ACKNOWLEDGED", "RESOLVED", "NOTED"]
DeliveryState = Literal["waiting", "sending", "sent", "failed", "dropped"]
Category = Literal["pipeline", "destination", "failed_events", "schema", "usage", "load"]
Severity = Literal["INFO", "WARNING", "ERROR", "CRITICAL"]

MARKS: dict[str, State] = {"INFO": "idle", "WARNING": "look", "ERROR": "bad", "CRITICAL": "bad"}
SENT: dict[str, State] = {"sent": "good", "failed": "bad", "waiting": "busy", "sending": "busy"}

HEADS = ("alert", "what", "to", "state", "tries", "at")

NUMBER = Annotated[int, typer.Argument(min=0, metavar="ALERT", help="Number of the alert.")]
NAME = Annotated[str, typer.Argument(metavar="NAME", help="Name of the channel.")]
SETTINGS = typer.Argument(
    metavar="KEY=VALUE",
    help="Settings of the kind. '${NAME}' in single quotes takes a value from the environment, so that it is not seen.",
)
ONLY = Annotated[
    list[str] | None,
    typer.Option(
        "--only",
        metavar="CATEGORY",
        help="Only alerts about pipeline, destination, failed_events, schema, usage or load; may be given several "
        "times. Each load is told only to whoever names `load`.",
    ),
]
LEAST = Annotated[Severity | None, typer.Option("--least", help="Only alerts as severe as that, and above.")]
QUIET = Annotated[
    str | None,
    typer.Option(
        "--quiet-hours", metavar="HH:MM-HH:MM", help="When only CRITICAL alerts are told; others wait. `off`: never."
    ),
]
ZONE = Annotated[str, typer.Option("--time-zone", metavar="ZONE", help="Zone of the quiet hours.")]
EMAIL = Annotated[str | None, typer.Option("--email", metavar="EMAIL", help="Of this user; left out: yours.")]


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    alerts = noun("alert", "Alerts: what is wrong, where that is told, and who wants to hear of it.")
    opened = ["millrace alert", "millrace alert list --state OPEN", "millrace alert list --category schema --json"]
    mail = "host=smtp.example.com sender=millrace@example.com username=me 'password=${PASSWORD}'"
    added = [
        "millrace alert add ops slack 'url=${SLACK_URL}' --least ERROR",
        f"millrace alert add mail email {mail}",
        "millrace alert add pager pagerduty 'routing_key=${PAGERDUTY_KEY}' --only pipeline --only destination",
        "millrace alert add hook webhook 'url=${HOOK_URL}' 'secret=${HOOK_SECRET}' --only load",
    ]
    changed = [
        "millrace alert change ops --quiet-hours 22:00-07:00 --time-zone Europe/Berlin",
        "millrace alert change ops --off",
    ]
    tested = ["millrace alert test ops", "millrace alert test mail --to ada@example.com"]
    preferred = ["millrace alert prefs --email ada@example.com --only pipeline --least ERROR"]
    late = ["millrace alert lateness clevertap 90", "millrace alert lateness clevertap"]
    command(alerts, "list", examples=opened)(list_alerts)
    command(alerts, "show", examples=["millrace alert show 17"])(show)
    command(alerts, "acknowledge", examples=["millrace alert acknowledge 17"])(acknowledge)
    command(alerts, "reopen", examples=["millrace alert reopen 17"])(reopen)
    command(alerts, "resolve", examples=["millrace alert resolve 17"])(resolve)
    command(alerts, "resend", examples=["millrace alert resend 17"])(resend)
    command(alerts, "channels", examples=["millrace alert channels"])(channels)
    command(alerts, "add", examples=added)(add)
    command(alerts, "change", examples=changed)(change)
    command(alerts, "remove", examples=["millrace alert remove ops"])(remove)
    command(alerts, "test", examples=tested)(test)
    command(alerts, "prefs", examples=preferred)(prefs)
    command(alerts, "history", examples=["millrace alert history", "millrace alert history --alert 17 --state failed"])(
        history
    )
    command(alerts, "deliver", examples=["millrace alert deliver"])(deliver)
    command(alerts, "lateness", examples=late)(lateness)
    app.add_typer(alerts)


def list_alerts(
    face: Face,
    state: Annotated[AlertState | None, typer.Option(help="Only alerts in this state.")] = None,
    category: Annotated[Category | None, typer.Option(help="Only alerts about this.")] = None,
    after: AFTER = None,
    limit: AT_MOST = 50,
) -> None:
    """List alerts, the newest first."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        page = desk.ask(operations.list_, state, category, after, limit)
    rows = [
        (one.id, f"{mark(MARKS[one.severity])} {one.severity}", one.state.lower(), one.title, one.count, one.last_at)
        for one in page.items
    ]
    shown = [*table(("alert", "severity", "state", "what", "times", "last"), rows), *more(page.next)]
    face.answer(page, shown if page.items else ["Nothing was wrong so far."])


def show(face: Face, alert: NUMBER) -> None:
    """Show one alert."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.find, alert)
    face.answer(found, _shown(found))


def acknowledge(face: Face, alert: NUMBER) -> None:
    """Say that you look after it: it is not told again unless it gets worse."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.acknowledge, alert)
    face.answer(found, _shown(found))


def reopen(face: Face, alert: NUMBER) -> None:
    """Take back that somebody looks after it: it is told again while it goes on."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.reopen, alert)
    face.answer(found, _shown(found))


def resolve(face: Face, alert: NUMBER) -> None:
    """Say that it is over. When it happens again, that is another alert."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.resolve, alert)
    face.answer(found, _shown(found))


def resend(face: Face, alert: NUMBER) -> None:
    """Send again what failed for good: to each hearer the latest message, if the channel is on.

    That an alert began is not sent once it is over. A server sends within a second.
    """
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.resend, alert)
    face.answer(found, table(HEADS, [_sent(one) for one in found]))


def channels(face: Face) -> None:
    """List channels: where alerts go."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.channels)
    rows = [(one.name, one.kind, one.enabled, _wanted(one.wanted)) for one in found]
    none = "No channel yet: nobody is told. Add one: millrace alert add ops slack 'url=${SLACK_URL}'"
    face.answer(found, table(("name", "kind", "on", "gets"), rows) if found else [none])


def add(
    face: Face,
    name: NAME,
    kind: Annotated[Kind, typer.Argument(metavar="KIND", help="email, slack, pagerduty, opsgenie, teams or webhook.")],
    settings: Annotated[list[str] | None, SETTINGS] = None,
    only: ONLY = None,
    least: LEAST = None,
    quiet_hours: QUIET = None,
    time_zone: ZONE = "UTC",
) -> None:
    """Let alerts go somewhere."""
    from millrace.control.alerting.alert_wanted import Wanted
    from millrace.control.as_code import apply
    from millrace.control.operations import alerts as operations

    given = apply.typed(apply.pairs(settings or []), os.environ)
    with face.desk(create=True) as desk:
        made = desk.ask(operations.add, name, kind, given, _wish(Wanted(), only, least, quiet_hours, time_zone))
    test_it = dim(as_typed("alert", "test", name))
    face.answer(made, [f"Added the channel {bold(name)}. Test it: {test_it}"])


def change(
    face: Face,
    name: NAME,
    settings: Annotated[list[str] | None, SETTINGS] = None,
    only: ONLY = None,
    least: LEAST = None,
    quiet_hours: QUIET = None,
    time_zone: ZONE = "UTC",
    on: Annotated[bool | None, typer.Option("--on/--off", help="Whether alerts go there at all.")] = None,
) -> None:
    """Change a channel; what is not named stays."""
    from millrace.control.as_code import apply
    from millrace.control.operations import alerts as operations

    given = apply.typed(apply.pairs(settings or []), os.environ)
    with face.desk() as desk:
        old = next((one for one in desk.ask(operations.channels) if one.name == name), None)
        if old is not None:
            given |= dict.fromkeys(key for key in old.secrets if given.get(key) == "")
        whole = {**old.config, **given} if old is not None and given else given or None
        wished = any(value is not None for value in (only or None, least, quiet_hours))
        wanted = _wish(old.wanted, only, least, quiet_hours, time_zone) if old is not None and wished else None
        new = desk.ask(operations.put, name, whole, wanted, on)
    face.answer(new, _channel(new))


def remove(face: Face, name: NAME) -> None:
    """Remove a channel, and what was on its way there."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        gone = desk.ask(operations.remove, name)
    face.answer(gone, [f"Removed the channel {bold(name)}."])


def test(
    face: Face,
    name: NAME,
    to: Annotated[str | None, typer.Option(metavar="EMAIL", help="Address, for a channel that sends mail.")] = None,
) -> None:
    """Send a message there now. Exit code 1 when it was not taken."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.test, name, to)
    if found.problem is None:
        face.answer(found, [f"{mark('good')} {bold(name)} took it."])
        return
    face.answer(found, [f"{mark('bad')} {found.problem}", *([f"  → {found.hint}"] if found.hint else [])])
    raise typer.Exit(1)


def prefs(
    face: Face,
    email: EMAIL = None,
    only: ONLY = None,
    least: LEAST = None,
    quiet_hours: QUIET = None,
    time_zone: ZONE = "UTC",
    everything: Annotated[bool, typer.Option("--everything", help="Mail about everything again.")] = False,
) -> None:
    """Show what a user gets mail about, or change that.

    Mail goes to users by a channel of the kind email whose setting `members` is true, as it is at first.
    """
    from millrace.control.alerting.alert_wanted import Wanted
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.preferences, email)
        if everything or only or least is not None or quiet_hours is not None:
            new = _wish(Wanted() if everything else found, only, least, quiet_hours, time_zone)
            found = desk.ask(operations.prefer, new, email)
    face.answer(found, [f"Mail about {_wanted(found)}."])


def history(
    face: Face,
    alert: Annotated[int | None, typer.Option(min=0, metavar="ALERT", help="Only messages about this alert.")] = None,
    state: Annotated[DeliveryState | None, typer.Option(help="Only messages in this state.")] = None,
    after: AFTER = None,
    limit: AT_MOST = 50,
) -> None:
    """List messages about alerts, the newest first, and whether they got there."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        page = desk.ask(operations.history, alert, state, after, limit)
    shown = [*table(HEADS, [_sent(one) for one in page.items]), *more(page.next)]
    face.answer(page, shown if page.items else ["Nothing was sent so far."])


def deliver(face: Face) -> None:
    """Send what waits, now, for a home that no server looks after."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        done = desk.ask(operations.deliver)
    face.answer(done, [f"{count(done.events, 'event')}, {count(done.messages, 'message')} sent."])


def lateness(
    face: Face,
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name of a pipeline.")],
    minutes: Annotated[
        int | None, typer.Argument(min=1, metavar="MINUTES", help="Left out: as late as it likes.")
    ] = None,
) -> None:
    """Tell people when the last good run of a pipeline is longer ago than so many minutes."""
    from millrace.control.operations import alerts as operations

    with face.desk() as desk:
        found = desk.ask(operations.lateness_of, pipeline, minutes)
    allowed = "as late as it likes" if found.minutes is None else f"{count(found.minutes, 'minute')} late"
    face.answer(found, [f"{bold(pipeline)} may be {allowed}."])


def _wish(old: Wanted, only: list[str] | None, least: Severity | None, quiet: str | None, time_zone: str) -> Wanted:
    """The wish with what was typed. Raises typer.BadParameter for a category and for hours that are none."""
    from dataclasses import replace

    from millrace.control.alerting.alert_events import CATEGORIES
    from millrace.control.alerting.alert_wanted import Quiet

    new = old
    if only:
        if wrong := [one for one in only if one not in CATEGORIES]:
            raise typer.BadParameter(f"{wrong[0]!r} is no category; there are {', '.join(CATEGORIES)}.")
        new = replace(new, categories=tuple(one for one in CATEGORIES if one in only))
    if least is not None:
        new = replace(new, least=least)
    if quiet == "off":
        return replace(new, quiet=None)
    if quiet is not None:
        start, dash, end = quiet.partition("-")
        if not dash:
            raise typer.BadParameter(f"{quiet!r} are no hours; write them like 22:00-07:00, or off.")
        new = replace(new, quiet=Quiet(start.strip(), end.strip(), time_zone))
    return new


def _wanted(wanted: Wanted) -> str:
    words = "everything" if wanted.categories is None else ", ".join(wanted.categories) or "nothing"
    if wanted.least != "INFO":
        words += f", {wanted.least} and above"
    if wanted.quiet is not None:
        words += f", quiet {wanted.quiet.start}-{wanted.quiet.end} {wanted.quiet.time_zone}"
    return words


def _channel(one: Channel) -> Iterator[str]:
    yield f"{bold(one.name)} {dim(one.kind)}" + ("" if one.enabled else dim(", off"))
    for key, value in one.config.items():
        yield f"  {key}: {value}"
    for key in one.secrets:
        yield f"  {key}: {dim('(secret, set)')}"
    yield f"  gets {_wanted(one.wanted)}"


def _shown(one: Alert) -> Iterator[str]:
    yield f"{mark(MARKS[one.severity])} {bold(one.title)}"
    yield f"  {one.code}, {one.severity}, {one.state.lower()}" + (f" by {one.author}" if one.author else "")
    yield from (f"  {line}" for line in one.body.splitlines())
    times = f", {one.count} times, last {cell(one.last_at)}" if one.count > 1 else ""
    yield dim(f"  since {cell(one.first_at)}{times}")
    if one.ended_at is not None:
        yield dim(f"  over since {cell(one.ended_at)}")


def _sent(one: Delivery) -> tuple[object, ...]:
    what = one.title if one.occasion == "raised" else f"over: {one.title}"
    to = f"{one.channel} ({one.recipient})" if one.recipient else one.channel
    state = f"{mark(SENT.get(one.state, 'idle'))} {one.state}" + (f": {one.error}" if one.error else "")
    return one.alert, what, to, state, one.attempts, one.ended_at or one.due_at
