"""Alerts, the channels that they go to, and what users want to hear of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field

from millrace.control.alerting import (
    alert_channels,
    alert_kinds,
    alert_outbox,
    alert_preferences,
    alert_routing,
    alerts,
    lateness,
)
from millrace.control.alerting.alert_channels import Channel
from millrace.control.alerting.alert_events import Category
from millrace.control.alerting.alert_kinds import ChannelKind
from millrace.control.alerting.alert_wanted import Wanted
from millrace.control.alerting.alerts import Alert, AlertState, Delivery, DeliveryState, Tested
from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.connections import Name
from millrace.control.operations.runs import Number
from millrace.control.operations.usage import Cursor, Most
from millrace.data.dataclass import dataclass

Email = Annotated[str, Field(max_length=254, description="Address of a user; left out: whoever asks.")]
Config = Annotated[Mapping[str, Any], Field(description="Settings of the kind; `kinds` tells which.")]


@dataclass(frozen=True, slots=True)
class ChannelForm:
    """What a form for a kind of channel is drawn from."""

    kind: ChannelKind
    title: str
    secrets: tuple[str, ...]
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Gone:
    """A channel that is gone."""

    channel: str


@dataclass(frozen=True, slots=True)
class Lateness:
    """How late a pipeline may be before people are told; None: nobody is."""

    pipeline: str
    minutes: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """What was done now: events that became alerts, and messages that were sent."""

    events: int
    messages: int


@operation("GET", "/alerts")
def list_(
    home: Home,
    state: AlertState | None = None,
    category: Category | None = None,
    after: Cursor | None = None,
    limit: Most = 50,
) -> Page[Alert]:
    """List alerts, the newest first."""
    return alerts.page(home, state=state, category=category, after=after, limit=limit)


@operation("GET", "/alerts/{alert}")
def find(home: Home, alert: Number) -> Alert:
    """Show one alert."""
    return alerts.find(home, alert)


@operation("POST", "/alerts/{alert}/acknowledge", "pipelines.edit")
def acknowledge(home: Home, alert: Number) -> Alert:
    """Say that somebody looks after an alert. It is not told again unless it gets worse."""
    return alerts.acknowledge(home, alert)


@operation("POST", "/alerts/{alert}/reopen", "pipelines.edit")
def reopen(home: Home, alert: Number) -> Alert:
    """Say that nobody looks after an alert any more. It is told again while it goes on."""
    return alerts.reopen(home, alert)


@operation("POST", "/alerts/{alert}/resolve", "pipelines.edit")
def resolve(home: Home, alert: Number) -> Alert:
    """Say that an alert is over."""
    return alerts.resolve(home, alert)


@operation("POST", "/alerts/{alert}/resend", "settings.edit")
def resend(home: Home, alert: Number) -> list[Delivery]:
    """Send again what failed for good of an alert. The messages wait as if they were new."""
    return list(alerts.resend(home, alert))


@operation("GET", "/alert-deliveries")
def history(
    home: Home,
    alert: Number | None = None,
    state: DeliveryState | None = None,
    after: Cursor | None = None,
    limit: Most = 50,
) -> Page[Delivery]:
    """List messages about alerts, the newest first, and whether they got there."""
    return alerts.deliveries(home, alert=alert, state=state, after=after, limit=limit)


@operation("POST", "/alert-deliveries", "settings.edit")
def deliver(home: Home) -> Sent:
    """Send what waits, now. A server does that by itself."""
    return Sent(alert_routing.route(home), alert_outbox.deliver(home))


@operation("GET", "/alert-channels")
def channels(home: Home) -> list[Channel]:
    """List channels. Of their secrets only the names are told."""
    return alert_channels.listed(home)


@operation("GET", "/alert-channel-kinds")
def kinds(home: Home) -> list[ChannelForm]:
    """List kinds of channels, each with the JSON Schema of its settings."""
    del home
    return [
        ChannelForm(kind, (model.__doc__ or "").strip(), tuple(sorted(model.secret_keys())), model.model_json_schema())
        for kind, model in alert_kinds.MODELS.items()
    ]


@operation("POST", "/alert-channels", "settings.edit", status=201)
def add(
    home: Home,
    name: Name,
    kind: Literal["email", "slack", "pagerduty", "opsgenie", "teams", "webhook"],
    config: Config,
    wanted: Wanted | None = None,
) -> Channel:
    """Let alerts go somewhere."""
    return alert_channels.add(home, name, kind, config, wanted)


@operation("PUT", "/alert-channels/{name}", "settings.edit")
def put(
    home: Home, name: Name, config: Config | None = None, wanted: Wanted | None = None, enabled: bool | None = None
) -> Channel:
    """Give a channel other settings, other wishes, or switch it off or on. Secrets that are not named stay."""
    return alert_channels.change(home, name, config=config, wanted=wanted, enabled=enabled)


@operation("DELETE", "/alert-channels/{name}", "settings.edit")
def remove(home: Home, name: Name) -> Gone:
    """Remove a channel, and what was on its way there."""
    alert_channels.remove(home, name)
    return Gone(name)


@operation("POST", "/alert-channels/{name}/test", "settings.edit")
def test(home: Home, name: Name, recipient: Email | None = None) -> Tested:
    """Send a message there, and tell whether it was taken."""
    return alerts.test(home, name, recipient)


@operation("GET", "/alert-preferences")
def preferences(home: Home, email: Email | None = None) -> Wanted:
    """Show what a user gets mail about."""
    return alert_preferences.shown(home, email)


@operation("PUT", "/alert-preferences")
def prefer(home: Home, wanted: Wanted, email: Email | None = None) -> Wanted:
    """Choose what a user gets mail about, and when not. For others it needs `users.edit`."""
    return alert_preferences.change(home, wanted, email)


@operation("GET", "/pipelines/{pipeline}/lateness")
def late(home: Home, pipeline: Name) -> Lateness:
    """Show after how many minutes without a good run people are told of a pipeline."""
    return Lateness(pipeline, lateness.of(home, pipeline))


@operation("PUT", "/pipelines/{pipeline}/lateness", "pipelines.edit")
def lateness_of(
    home: Home,
    pipeline: Name,
    minutes: Annotated[
        int, Field(ge=1, le=lateness.MOST_MINUTES, description="Left out: it may be as late as it likes.")
    ]
    | None = None,
) -> Lateness:
    """Tell people when the last good run of a pipeline is longer ago than so many minutes."""
    return Lateness(pipeline, lateness.allow(home, pipeline, minutes))


OPERATIONS = (
    list_,
    find,
    acknowledge,
    reopen,
    resolve,
    resend,
    history,
    deliver,
    channels,
    kinds,
    add,
    put,
    remove,
    test,
    preferences,
    prefer,
    late,
    lateness_of,
)
