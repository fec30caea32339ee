"""The test of a connection: what it tries, and what its findings are called."""

from __future__ import annotations

from datetime import date

from millrace.connect.http.waits import Stopped
from millrace.connect.source import Verdict
from millrace.errors import MillraceError
from millrace.sources.clevertap import events_file
from millrace.sources.clevertap.answers import Reading
from millrace.sources.clevertap.client import CleverTap, Unanswered, denied_hint
from millrace.sources.clevertap.config import Config

_FALLBACK = "App Launched"
WRONG_ID = (
    "CleverTap does not report a wrong project ID: it answers as if the project had no events. "
    "So a pass does not prove the ID."
)


def verdicts(config: Config, client: CleverTap, today: date) -> list[Verdict]:
    """Findings in order: settings, events file, credentials, catalogue. A "fail" is the last."""
    found = [Verdict("settings", "warn", text, "Copy it again if it is wrong.") for text in config.oddities()]
    found = found or [Verdict("settings", "pass", f"project {config.project_id}, region {config.place.label}")]
    listed: events_file.EventsFile | None = None
    if config.event_source != "schema" and config.events_file:
        try:
            listed = events_file.load(config.events_file)
        except MillraceError as error:
            return [*found, Verdict("events file", "fail", error.message, error.hint)]
        text = f"{listed.count('read')} event names to ingest"
        if listed.twice:
            text += f"; {listed.twice} rows name one that is in the file before"
        found.append(Verdict("events file", "pass", text))
        found += [Verdict("events file", "warn", text) for text in listed.warnings]
    names = [name for name in listed.names if name not in events_file.NOT_EXPORTABLE] if listed else []
    tried = names[0] if names else _FALLBACK
    try:
        answered = client.probe(tried, today)
    except MillraceError as error:
        return [*found, Verdict("credentials", "fail", error.message, error.hint)]
    except Stopped:
        return [*found, Verdict("credentials", "fail", "the test was stopped")]
    found += _judged(config, client.host, tried, answered)
    if found[-1].state == "fail":
        return found
    return [*found, *_catalogue(client, listed)]


def _judged(config: Config, host: str, name: str, answered: Reading) -> list[Verdict]:
    step = "credentials"
    met = answered.meaning
    if met == "denied":
        text = f"Project passcode rejected, or the project is in another region than {config.place.label}"
        return [Verdict(step, "fail", f"{text} ({answered.text})", denied_hint(config))]
    if met == "not_clevertap":
        return [Verdict(step, "fail", f"{host} is not a CleverTap endpoint: {answered.text}", "Check base_url.")]
    if met in ("busy", "again"):
        return [Verdict(step, "fail", f"{host} is busy ({answered.text}); try again", "Try again in some minutes.")]
    if met == "bad_dates":
        hint = "Check the clock of this machine, and set `timezone` to the time zone of the project."
        return [Verdict(step, "warn", f"CleverTap takes today for another day ({answered.text})", hint)]
    if met == "invalid_event":
        hint = "Spelling and case must be exact."
        passed = Verdict(step, "pass", f"{host} accepted the passcode. {WRONG_ID}")
        return [passed, Verdict("event names", "warn", f"CleverTap does not know the event {name!r}", hint)]
    if met in ("success", "not_ready", "not_exportable"):
        return [Verdict(step, "pass", f"{host} accepted the passcode. {WRONG_ID}")]
    return [Verdict(step, "fail", f"{host} answered in an unexpected way: {answered.text}", "Check base_url.")]


def _catalogue(client: CleverTap, listed: events_file.EventsFile | None) -> list[Verdict]:
    """What the project's own list of events says about the file. Only information: it never fails the test."""
    step = "catalogue"
    try:
        known = {entry["name"] for entry in client.schema()}
    except (MillraceError, Unanswered, Stopped) as error:
        return [Verdict(step, "warn", f"the list of events could not be read: {error}")]
    odd = "project ID or file may belong to another project"
    if not known:
        return [Verdict(step, "warn", f"CleverTap lists no events: {odd}")]
    if listed is None:
        return [Verdict(step, "pass", f"CleverTap lists {len(known)} events")]
    missing = [name for name in listed.names if name not in known]
    if len(missing) * 2 > len(listed.names):
        return [Verdict(step, "warn", f"CleverTap does not list {len(missing)} of {len(listed.names)} names: {odd}")]
    if missing:
        shown = ", ".join(repr(name) for name in missing[:10])
        return [Verdict(step, "warn", f"CleverTap does not list these names of the file: {shown}")]
    return [Verdict(step, "pass", f"CleverTap lists all {len(listed.names)} names of the file")]
