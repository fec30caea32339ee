"""Alerts as each kind of channel writes them. Pure: no clock, no network, no secret."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any, Literal, TypeAlias

from millrace.control.alerting.alert_events import Category, Code, Severity
from millrace.data.batch import JSON
from millrace.data.dataclass import dataclass

Occasion: TypeAlias = Literal["raised", "recovered"]

_COLOURS: Mapping[Severity, str] = {
    "INFO": "#4a7fb5",
    "WARNING": "#d9a21b",
    "ERROR": "#c0392b",
    "CRITICAL": "#7b1fa2",
}
_WELL = "#2e8b57"
# https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
_PAGERDUTY: Mapping[Severity, str] = {
    "INFO": "info",
    "WARNING": "warning",
    "ERROR": "error",
    "CRITICAL": "critical",
}
# https://docs.opsgenie.com/docs/alert-api
_OPSGENIE: Mapping[Severity, str] = {"INFO": "P5", "WARNING": "P3", "ERROR": "P2", "CRITICAL": "P1"}


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent about an alert, the same wherever it goes.

    ``key`` names this message, however often it is sent; ``fingerprint`` its alert, raised or over. ``at`` is ISO 8601.
    """

    key: str
    fingerprint: str
    alert: int
    occasion: Occasion
    code: Code
    category: Category
    severity: Severity
    team: str
    entity: str
    name: str
    title: str
    body: str
    at: str
    count: int
    run: int | None
    facts: Mapping[str, JSON]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def subject(self) -> str:
        """One line that says it all."""
        if self.occasion == "recovered":
            return f"[{self.team}] Over: {self.title}"
        again = f" ({self.count} times)" if self.count > 1 else ""
        return f"[{self.team}] {self.severity}: {self.title}{again}"


def from_json(value: Mapping[str, Any]) -> Message:
    """What `Message.to_json` wrote."""
    return Message(**value)


def text(message: Message) -> str:
    """The message for a person who reads plain text."""
    lines = [message.title if message.occasion == "raised" else f"This is over: {message.title}", ""]
    if message.body:
        lines += [message.body, ""]
    lines.append(f"{message.entity.capitalize()}: {message.name}")
    if message.run is not None:
        lines.append(f"See: millrace runs {message.run}")
    lines += [f"Code: {message.code}, {message.severity}", f"At: {message.at}"]
    if message.count > 1:
        lines.append(f"So far {message.count} times")
    return "\n".join(lines) + "\n"


def mail(message: Message, sender: str, to: Sequence[str], sent_at: datetime) -> EmailMessage:
    """The message as mail. What is said later of the same alert belongs to the same thread."""
    domain = sender.rpartition("@")[2]
    # The usual 78 characters would fold a subject in its first word, and readers show the blank.
    found = EmailMessage(policy=policy.default.clone(max_line_length=900))
    found["Subject"] = " ".join(message.subject.split())[:300]
    found["From"] = f"Millrace <{sender}>"
    found["To"] = ", ".join(to)
    found["Date"] = format_datetime(sent_at)
    found["Message-ID"] = f"<{message.key}@{domain}>"
    found["References"] = f"<alert-{message.fingerprint[:32]}-{message.alert}@{domain}>"
    # Nobody's holiday notice answers it (RFC 3834).
    found["Auto-Submitted"] = "auto-generated"
    found["X-Millrace-Code"] = message.code
    found.set_content(text(message))
    return found


def slack(message: Message) -> bytes:
    """https://api.slack.com/messaging/webhooks; signs that Slack would read as markup are taken out of texts."""

    def plain(words: str) -> str:
        return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    colour = _WELL if message.occasion == "recovered" else _COLOURS[message.severity]
    fields = [{"title": message.entity.capitalize(), "value": plain(message.name), "short": True}]
    fields += [] if message.run is None else [{"title": "Run", "value": str(message.run), "short": True}]
    attachment = {"color": colour, "text": plain(message.body), "fields": fields, "footer": message.code}
    return _bytes({"text": plain(message.subject), "attachments": [attachment]})


def teams(message: Message) -> bytes:
    """An adaptive card, as workflows of Teams take it, in the 28 KB that they allow
    (https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using); signs
    that cards would read as markup are escaped."""

    def plain(words: str) -> str:
        return "".join(f"\\{sign}" if sign in "\\`*_[]()#<>~|" else sign for sign in words[:3000])

    def block(words: str, **more: Any) -> dict[str, Any]:
        return {"type": "TextBlock", "text": plain(words), "wrap": True} | more

    over = message.occasion == "recovered"
    colour = "good" if over else {"INFO": "accent", "WARNING": "warning"}.get(message.severity, "attention")
    facts = [{"title": message.entity.capitalize(), "value": plain(message.name)}]
    facts += [] if message.run is None else [{"title": "Run", "value": str(message.run)}]
    facts += [{"title": "Code", "value": plain(message.code)}, {"title": "At", "value": message.at}]
    body = [block(message.subject, weight="bolder", color=colour)]
    body += [block(message.body)] if message.body else []
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [*body, {"type": "FactSet", "facts": facts}],
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return _bytes({"type": "message", "attachments": [attachment]})


def pagerduty(message: Message, routing_key: str) -> bytes:
    """An event of Events API v2. All events of one alert share their key, so that one incident comes of them."""
    over = message.occasion == "recovered"
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if over else "trigger",
        "dedup_key": message.fingerprint,
    }
    if not over:
        event["payload"] = {
            "summary": message.subject[:1024],
            "source": message.name[:255] or "Millrace",
            "severity": _PAGERDUTY[message.severity],
            "timestamp": message.at,
            "component": message.entity,
            "group": message.team,
            "class": message.code,
            "custom_details": {"text": message.body, **message.facts},
        }
    return _bytes(event)


def opsgenie(message: Message) -> bytes:
    """The body of a new alert. Its alias is that of all messages of the same alert."""
    return _bytes(
        {
            "message": message.subject[:130],
            "alias": message.fingerprint,
            "description": text(message)[:15000],
            "entity": message.name[:512],
            "source": "Millrace",
            "priority": _OPSGENIE[message.severity],
            "tags": [message.code, message.category],
            "details": {name: str(value) for name, value in message.facts.items()},
        }
    )


def webhook(message: Message) -> bytes:
    """The event as JSON: its code, what it is of, and the facts, among them those of loads (api.md D)."""
    return _bytes(
        {
            "event": message.code if message.occasion == "raised" else "RECOVERED",
            "id": message.key,
            "alert": message.alert,
            "fingerprint": message.fingerprint,
            "code": message.code,
            "state": message.occasion,
            "category": message.category,
            "severity": message.severity,
            "team": message.team,
            "entity": {"type": message.entity, "name": message.name},
            "title": message.title,
            "body": message.body,
            "timestamp": message.at,
            "count": message.count,
            "run": message.run,
            **{name: value for name, value in message.facts.items() if name in ("destination_id", "tables")},
            "facts": message.facts,
        }
    )


def _bytes(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
