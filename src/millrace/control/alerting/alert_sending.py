"""One message to one channel, over the network. Raises Undelivered where another try may help, else what a person must
mend. No secret is in an error (I7)."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import smtplib
import socket
import ssl
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from email.message import EmailMessage
from urllib.parse import quote, urlsplit

from millrace.connect.config import Settings
from millrace.connect.http.client import Client, Reply, is_loopback, may_be_plain
from millrace.connect.reach import Reach, check, check_url, resolved
from millrace.control.alerting import alert_messages
from millrace.control.alerting.alert_kinds import (
    EmailSettings,
    OpsgenieSettings,
    PagerDutySettings,
    SlackSettings,
    TeamsSettings,
    WebhookSettings,
)
from millrace.control.alerting.alert_messages import Message
from millrace.errors import AuthError, ConfigError, MillraceError, Transient

# A receiver may be silent for that long, and take so long for all that a message needs: one that lets its answer drip
# is never silent.
TIMEOUT_S = 30.0
WHOLE_S = 60.0

# Receivers that were written for the reference look for these (api.md D).
WEBHOOK_AGENT = "HevoWebhookEvent"
SIGNATURE = "hmac-signature"


class Undelivered(Transient):
    """The receiver could not be reached, or had no time."""

    code = "undelivered"


def send(settings: Settings, message: Message, recipient: str = "", *, reach: Reach) -> None:
    """The message is with the mail server, or was answered with 2xx. ``recipient``: an address, instead of those of the
    channel. Raises Walled, too, where the channel leads beyond the reach."""
    match settings:
        case EmailSettings():
            _mail(settings, message, [recipient] if recipient else list(settings.to), reach)
        case SlackSettings():
            _post(settings.url.get_secret_value(), alert_messages.slack(message), reach)
        case TeamsSettings():
            _post(settings.url.get_secret_value(), alert_messages.teams(message), reach)
        case PagerDutySettings():
            _encrypted(settings.url)
            body = alert_messages.pagerduty(message, settings.routing_key.get_secret_value())
            _post(f"{settings.url.rstrip('/')}/v2/enqueue", body, reach)
        case OpsgenieSettings():
            _opsgenie(settings, message, reach)
        case WebhookSettings():
            body = alert_messages.webhook(message)
            _post(settings.url.get_secret_value(), body, reach, headers=signed(settings, body))
        case _:
            raise TypeError(f"nothing can be sent by {type(settings).__name__}")


def check_reach(settings: Settings, reach: Reach) -> None:
    """Raises Walled where the channel leads beyond the reach, as far as its host has an address now."""
    match settings:
        case EmailSettings():
            check(settings.host, settings.port, reach.stores)
        case PagerDutySettings() | OpsgenieSettings():
            check_url(settings.url, reach.web)
        case SlackSettings() | TeamsSettings() | WebhookSettings():
            check_url(settings.url.get_secret_value(), reach.web)
        case _:
            raise TypeError(f"nothing can be sent by {type(settings).__name__}")


def secrets_of(settings: Settings) -> list[str]:
    """Texts that must not be in what is told of the channel."""
    found = (getattr(settings, key) for key in settings.secret_keys())
    return [one.get_secret_value() for one in found if one is not None]


def signed(settings: WebhookSettings, body: bytes) -> dict[str, str]:
    """Headers by which a receiver knows who sent the body: base64 of HMAC-SHA256 over its bytes."""
    headers = {"User-Agent": WEBHOOK_AGENT}
    if settings.secret is not None:
        digest = hmac.digest(settings.secret.get_secret_value().encode(), body, hashlib.sha256)
        headers[SIGNATURE] = base64.b64encode(digest).decode()
    return headers


def _opsgenie(settings: OpsgenieSettings, message: Message, reach: Reach) -> None:
    _encrypted(settings.url)
    headers = {"Authorization": f"GenieKey {settings.api_key.get_secret_value()}"}
    base = f"{settings.url.rstrip('/')}/v2/alerts"
    if message.occasion == "recovered":
        alias = quote(message.fingerprint, safe="")
        _post(f"{base}/{alias}/close?identifierType=alias", b'{"source":"Millrace"}', reach, headers=headers)
    else:
        _post(base, alert_messages.opsgenie(message), reach, headers=headers)


def _post(url: str, body: bytes, reach: Reach, *, headers: Mapping[str, str] | None = None) -> None:
    parts = urlsplit(url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    client = Client(f"{parts.scheme}://{parts.netloc}", headers, connections=1, reach=reach, proxied=True)
    with contextlib.closing(client), _in_time(client.host, client.abort):
        reply = client.send("POST", target, content=body)
    _judge(reply, client.host)


def _judge(reply: Reply, host: str) -> None:
    if 200 <= reply.status < 300:
        return
    if reply.status in (401, 403):
        raise AuthError(
            f"{host} answered {reply.status}: it does not know us",
            hint="Check the channel's key or URL.",
            code="channel_auth",
        )
    if reply.status in (408, 425, 429) or reply.status >= 500:
        raise Undelivered(f"{host} answered {reply.status}")
    raise ConfigError(
        f"{host} answered {reply.status}, so it cannot take this",
        hint="Check the channel's URL.",
        code="channel_refused",
    )


@contextmanager
def _in_time(where: str, end: Callable[[], None]) -> Generator[threading.Event]:
    """What is done within takes WHOLE_S: then the event is set, and ``end`` called from another thread, again and
    again, until it has failed by that. Raises Undelivered in place of its error."""
    done, late = threading.Event(), threading.Event()

    def watch() -> None:
        wait_s = WHOLE_S
        # What was just being connected is only there the next time.
        while not done.wait(wait_s):
            late.set()
            end()
            wait_s = 1.0

    threading.Thread(target=watch, name=f"in time {where}", daemon=True).start()
    try:
        yield late
    except MillraceError:
        if late.is_set():
            raise Undelivered(f"{where} did not take it within {WHOLE_S:.0f} s") from None
        raise
    finally:
        done.set()


def _encrypted(url: str) -> None:
    """Raises ConfigError where a key would travel in the clear."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not may_be_plain(parts.hostname or ""):
        raise ConfigError("a key must not travel without encryption", hint="Use https.", path="url", code="insecure")


def _mail(settings: EmailSettings, message: Message, to: list[str], reach: Reach) -> None:
    if to:
        deliver(settings, alert_messages.mail(message, settings.sender, to, datetime.now(UTC)), to, reach)


def deliver(settings: EmailSettings, written: EmailMessage, to: list[str], reach: Reach) -> None:
    """The mail is with the mail server, for each address. Raises as `send` does, also where it is only for some."""
    server = _server(settings)
    where = f"{settings.host}:{settings.port}"
    with (
        contextlib.closing(server),
        _in_time(f"the mail server {where}", lambda: _cut(server)) as late,
        _told(where, settings),
    ):
        _connect(server, settings, reach, late)
        if settings.username is not None and settings.password is not None:
            server.login(settings.username, settings.password.get_secret_value())
        # It raises only where all are refused.
        if refused := server.send_message(written, settings.sender, to):
            raise smtplib.SMTPRecipientsRefused(refused)
        # It has the mail, however it says goodbye.
        with contextlib.suppress(smtplib.SMTPException, OSError):
            server.quit()


@contextmanager
def _told(where: str, settings: EmailSettings) -> Generator[None]:
    """What a mail server says, and what becomes of the connection, in our errors."""
    try:
        yield
    except smtplib.SMTPAuthenticationError as error:
        raise AuthError(
            f"the mail server {where} does not let {settings.username} in ({error.smtp_code})",
            hint="Check the user name and the password of the channel.",
            code="channel_auth",
        ) from None
    except (smtplib.SMTPRecipientsRefused, smtplib.SMTPResponseException) as error:
        if isinstance(error, smtplib.SMTPRecipientsRefused):
            codes = [code for code, _ in error.recipients.values()]
            what = f"mail to {', '.join(error.recipients)}"
        else:
            codes, what = [error.smtp_code], "the mail"
        if all(code >= 500 for code in codes):
            raise ConfigError(
                f"the mail server {where} refuses {what} ({codes[0]})",
                hint="Check the sender and the recipients of the channel.",
                code="channel_refused",
            ) from None
        raise Undelivered(f"the mail server {where} does not take {what} now ({codes[0]})") from None
    except smtplib.SMTPNotSupportedError:
        raise ConfigError(
            f"the mail server {where} offers no {settings.security} or no way to sign in",
            hint="Check the port and `security` of the channel.",
            code="channel_refused",
        ) from None
    except UnicodeEncodeError:
        # Of the library: what it could not write may be the password (I7).
        raise ConfigError(
            f"the mail server {where} cannot be told this: a user name, password or address is not plain ASCII",
            hint="Give the channel another.",
            code="channel_refused",
        ) from None
    except ssl.SSLError as error:
        raise Undelivered(
            f"no trusted TLS connection to the mail server {where}: {error.reason or 'it failed'}",
            hint="Check `security`, the port, and the certificate of the server.",
        ) from None
    except (smtplib.SMTPException, OSError) as error:
        raise Undelivered(f"the mail server {where} cannot be reached: {type(error).__name__}") from None


def _server(settings: EmailSettings) -> smtplib.SMTP:
    """What will talk to the mail server. Raises ConfigError where a password would travel in the clear."""
    if settings.security == "none" and settings.password is not None and not is_loopback(settings.host):
        raise ConfigError(
            "a password must not travel without encryption",
            hint="Use starttls or tls.",
            path="security",
            code="insecure",
        )
    if settings.security == "tls":
        server = smtplib.SMTP_SSL(timeout=TIMEOUT_S, context=ssl.create_default_context())
    else:
        server = smtplib.SMTP(timeout=TIMEOUT_S)
    server._host = settings.host  # pyright: ignore  # whose certificate it must be, whatever address is connected to
    return server


def _connect(server: smtplib.SMTP, settings: EmailSettings, reach: Reach, late: threading.Event) -> None:
    """Raises what `smtplib` and `resolved` raise."""
    # A mail server is usually in the network of whoever runs this, like a database.
    places = [settings.host] if reach.everywhere else resolved(settings.host, settings.port, reach.stores)
    _greeted(server, places, settings.port, late)
    if settings.security == "starttls":
        server.starttls(context=ssl.create_default_context())


def _cut(server: smtplib.SMTP) -> None:
    """Whoever waits for an answer of the server gets none any more."""
    if (held := server.sock) is not None:
        with contextlib.suppress(OSError):
            # Not TLS's own, after which what is being said would go on in the clear (I7).
            socket.socket.shutdown(held, socket.SHUT_RDWR)


def _greeted(server: smtplib.SMTP, places: Sequence[str], port: int, late: threading.Event) -> None:
    """The server at the first of the addresses that answers has said that it is there."""
    for left, place in enumerate(places, 1 - len(places)):
        try:
            code, said = server.connect(place, port)
        except OSError:
            if left == 0 or late.is_set():
                raise
        else:
            if code != 220:
                raise smtplib.SMTPConnectError(code, said)
            return
