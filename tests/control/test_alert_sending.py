"""Messages over the wire: to a real mail server and a real HTTP server, as each kind of channel wants them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.control.receivers import Receiver, certificate, dripping, http_server, mail_server

from millrace.connect.reach import ANYWHERE, NETWORK, WORLD, Reach, Walled
from millrace.control.alerting import alert_kinds, alert_sending
from millrace.control.alerting.alert_kinds import ChannelKind
from millrace.control.alerting.alert_messages import Message, from_json
from millrace.control.alerting.alert_sending import Undelivered, send
from millrace.errors import AuthError, ConfigError, Transient

MESSAGE = Message(
    key="0b5b6f1e-51c1-4a8e-9d3f-0f2f1f1d2c3b",
    fingerprint="f" * 64,
    alert=7,
    occasion="raised",
    code="SOURCE_FAILED",
    category="pipeline",
    severity="CRITICAL",
    team="Analytics",
    entity="pipeline",
    name="clever<tap>",
    title="The source of pipeline clever<tap> failed",
    body="Run 4: the passcode is wrong & old.\nGive another one.",
    at="2026-05-01T10:00:00+00:00",
    count=3,
    run=4,
    facts={"pipeline": "clever<tap>", "run": 4, "error": "auth"},
)
OVER = replace(MESSAGE, occasion="recovered")


def post(kind: ChannelKind, message: Message = MESSAGE, reach: Reach = ANYWHERE, **config: Any) -> None:
    send(alert_kinds.validated(kind, config), message, reach=reach)


def mail(port: int, recipient: str = "", reach: Reach = ANYWHERE, **config: Any) -> None:
    whole = {"host": "127.0.0.1", "port": port, "sender": "millrace@example.com", "to": ["ada@example.com"]} | config
    send(alert_kinds.validated("email", whole), MESSAGE, recipient, reach=reach)


@pytest.fixture(scope="module")
def server() -> Iterator[Receiver]:
    with http_server() as receiver:
        yield receiver


@pytest.fixture
def receiver(server: Receiver) -> Receiver:
    server.received.clear()
    server.answers.clear()
    return server


@pytest.fixture
def trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate that this process trusts."""
    file = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(file))
    return file


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("reach", [ANYWHERE, NETWORK], ids=["anywhere", "looked at"])
def test_mail_goes_by_starttls_to_whoever_signs_in(trusted: Path, reach: Reach, host: str) -> None:
    with mail_server(login=("millrace", "s3cret"), certificate=trusted) as box:
        mail(box.port, reach=reach, host=host, username="millrace", password="s3cret")
    (found,) = box.mails
    assert box.encrypted == [True]
    assert box.recipients == [["ada@example.com"]]
    assert found["Subject"] == "[Analytics] CRITICAL: The source of pipeline clever<tap> failed (3 times)"
    assert found["From"] == "Millrace <millrace@example.com>"
    assert found["Message-ID"] == "<0b5b6f1e-51c1-4a8e-9d3f-0f2f1f1d2c3b@example.com>"
    assert found["Auto-Submitted"] == "auto-generated"
    text = found.get_content()
    assert "the passcode is wrong & old" in text and "millrace runs 4" in text


@pytest.mark.parametrize("reach", [ANYWHERE, NETWORK], ids=["anywhere", "looked at"])
def test_mail_goes_by_tls_from_the_start(trusted: Path, reach: Reach) -> None:
    with mail_server(certificate=trusted, tls=True) as box:
        mail(box.port, "grace@example.com", reach, security="tls")
    assert box.recipients == [["grace@example.com"]]


def test_a_mail_server_that_nobody_vouches_for_gets_no_password(tmp_path: Path) -> None:
    server = mail_server(login=("millrace", "s3cret"), certificate=certificate(tmp_path))
    with server as box, pytest.raises(Transient) as caught:
        mail(box.port, username="millrace", password="s3cret")
    assert "no trusted TLS connection" in caught.value.message
    assert not box.mails


def test_a_wrong_password_is_for_a_person_to_mend_and_not_told(trusted: Path) -> None:
    with mail_server(login=("millrace", "right"), certificate=trusted) as box, pytest.raises(AuthError) as caught:
        mail(box.port, username="millrace", password="wr0ng-one")
    assert "wr0ng-one" not in caught.value.message


def test_a_password_that_the_protocol_cannot_carry_is_for_a_person_to_mend_and_not_told(trusted: Path) -> None:
    with mail_server(login=("millrace", "pässwörd"), certificate=trusted) as box, pytest.raises(ConfigError) as caught:
        mail(box.port, username="millrace", password="pässwörd")
    assert caught.value.code == "channel_refused" and "plain ASCII" in caught.value.message
    assert "pässwörd" not in str(caught.value)


def test_a_mail_server_that_is_busy_is_asked_again_and_one_that_refuses_is_not() -> None:
    with mail_server() as box:
        box.answers += ["451 later", "554 no"]
        with pytest.raises(Transient):
            mail(box.port, security="none")
        with pytest.raises(ConfigError) as refused:
            mail(box.port, security="none")
        assert refused.value.code == "channel_refused"
        mail(box.port, security="none")
    assert len(box.mails) == 1
    with pytest.raises(Transient):
        mail(box.port, security="none")


def test_a_server_without_starttls_is_no_server_for_starttls() -> None:
    with mail_server() as box, pytest.raises(ConfigError):
        mail(box.port)


def test_a_password_never_travels_in_the_clear() -> None:
    with pytest.raises(ConfigError) as caught:
        mail(25, host="mail.example.com", security="none", username="u", password="p")
    assert caught.value.code == "insecure"
    with pytest.raises(ConfigError) as caught:
        post("pagerduty", routing_key="k", url="http://events.example.com")
    assert caught.value.code == "insecure"


def test_slack_gets_text_that_it_does_not_take_for_markup(receiver: Receiver) -> None:
    post("slack", url=f"{receiver.url}/services/T0/B0/token")
    (found,) = receiver.received
    assert found.path == "/services/T0/B0/token"
    assert found.json["text"].endswith("The source of pipeline clever&lt;tap&gt; failed (3 times)")
    (attachment,) = found.json["attachments"]
    assert "wrong &amp; old" in attachment["text"]


def test_teams_gets_a_card_whose_texts_are_no_markup(receiver: Receiver) -> None:
    for message in (MESSAGE, OVER):
        post("teams", message, url=f"{receiver.url}/workflows/1/triggers/manual?sig=token")
    raised, over = receiver.bodies()
    (attachment,) = raised["attachments"]
    card = attachment["content"]
    assert (raised["type"], card["type"]) == ("message", "AdaptiveCard")
    title, body, facts = card["body"]
    assert title["text"].endswith(r"The source of pipeline clever\<tap\> failed \(3 times\)")
    assert (title["color"], over["attachments"][0]["content"]["body"][0]["color"]) == ("attention", "good")
    assert "wrong & old" in body["text"]
    assert {"title": "Code", "value": r"SOURCE\_FAILED"} in facts["facts"]


def test_nothing_is_sent_to_an_address_that_channels_may_not_reach(receiver: Receiver) -> None:
    port = int(receiver.url.rpartition(":")[2])
    places = (f"http://127.0.0.1:{port}", f"http://localhost:{port}", f"http://[::ffff:127.0.0.1]:{port}")
    for url in (*places, "http://169.254.169.254/latest", "http://10.0.0.1:9"):
        for kind in ("slack", "teams", "webhook"):
            with pytest.raises(Walled):
                post(kind, reach=WORLD, url=url)
    with pytest.raises(Walled):
        post("pagerduty", routing_key="R0UTING", url=receiver.url, reach=WORLD)
    with pytest.raises(Walled):
        post("opsgenie", api_key="G3NIE", url=receiver.url, reach=WORLD)
    with pytest.raises(Walled):
        post("slack", url="http://169.254.169.254/latest", reach=NETWORK)
    with mail_server() as box, pytest.raises(Walled):
        mail(box.port, security="none", reach=WORLD)
    assert not receiver.received and not box.mails


def test_the_proxy_of_the_server_carries_alerts_to_what_may_be_reached(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    # It speaks like any server, and knows names that this machine does not.
    monkeypatch.setenv("http_proxy", receiver.url)
    for reach in (WORLD, NETWORK):
        post("slack", url="http://hooks.invalid/services/T0", reach=reach)
        post("webhook", url="http://198.51.200.1/hook", reach=reach)
        with pytest.raises(Walled):
            post("slack", url="http://169.254.169.254/latest", reach=reach)
    with pytest.raises(Walled):
        post("slack", url="http://10.0.0.1:9/inside", reach=WORLD)
    paths = ["http://hooks.invalid:80/services/T0", "http://198.51.200.1:80/hook"]
    assert [one.path for one in receiver.received] == paths * 2


def test_the_url_of_a_webhook_is_in_no_log(receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        post("slack", url=f"{receiver.url}/services/T0/B0/s3ntinel")
    assert receiver.received and "s3ntinel" not in caplog.text


def test_pagerduty_gets_one_incident_that_begins_and_ends(receiver: Receiver) -> None:
    for message in (MESSAGE, OVER):
        post("pagerduty", message, routing_key="R0UTING", url=receiver.url)
    assert [one.path for one in receiver.received] == ["/v2/enqueue"] * 2
    begun, ended = receiver.bodies()
    assert (begun["routing_key"], begun["event_action"], ended["event_action"]) == ("R0UTING", "trigger", "resolve")
    assert begun["dedup_key"] == ended["dedup_key"] == "f" * 64
    assert begun["payload"]["severity"] == "critical" and begun["payload"]["class"] == "SOURCE_FAILED"


def test_opsgenie_gets_one_alert_that_is_opened_and_closed(receiver: Receiver) -> None:
    for message in (MESSAGE, OVER):
        post("opsgenie", message, api_key="G3NIE", url=receiver.url)
    begun, ended = receiver.received
    assert begun.headers["authorization"] == ended.headers["authorization"] == "GenieKey G3NIE"
    assert (begun.path, begun.json["priority"], begun.json["alias"]) == ("/v2/alerts", "P1", "f" * 64)
    assert ended.path == f"/v2/alerts/{'f' * 64}/close?identifierType=alias"


def test_a_webhook_is_signed_so_that_its_receiver_knows_who_sent_it(receiver: Receiver) -> None:
    post("webhook", url=f"{receiver.url}/hook?token=t", secret="shared")
    post("webhook", OVER, url=f"{receiver.url}/hook?token=t")
    signed, plain = receiver.received
    assert signed.path == "/hook?token=t"
    assert signed.headers["user-agent"] == plain.headers["user-agent"] == "HevoWebhookEvent"
    expected = base64.b64encode(hmac.new(b"shared", signed.body, hashlib.sha256).digest()).decode()
    assert signed.headers["hmac-signature"] == expected
    assert "hmac-signature" not in plain.headers
    assert (signed.json["event"], plain.json["event"]) == ("SOURCE_FAILED", "RECOVERED")
    assert signed.json["id"] == MESSAGE.key


def test_a_load_is_told_in_the_words_of_the_reference(receiver: Receiver) -> None:
    facts = {"destination_id": 3, "tables": ["events"], "rows": 5}
    post("webhook", replace(MESSAGE, code="LOAD_COMPLETED", facts=facts), url=receiver.url)
    (told,) = receiver.bodies()
    assert {"event": "LOAD_COMPLETED", "destination_id": 3, "tables": ["events"]}.items() <= told.items()
    assert told["timestamp"] == MESSAGE.at


@pytest.mark.parametrize(
    ("status", "expected"),
    [(401, AuthError), (403, AuthError), (404, ConfigError), (410, ConfigError), (429, Transient), (503, Transient)],
)
def test_what_a_receiver_answers_says_whether_to_try_again(
    receiver: Receiver, status: int, expected: type[Exception]
) -> None:
    receiver.answers.append(status)
    with pytest.raises(expected) as caught:
        post("slack", url=f"{receiver.url}/services/s3cret-token")
    assert "s3cret-token" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "config", "key"),
    [
        ("slack", {"url": "ftp://example.com"}, "url"),
        ("slack", {}, "url"),
        ("webhook", {"url": "https://u:p@example.com"}, "url"),
        ("webhook", {"url": "https://example.com:99999/x"}, "url"),
        ("slack", {"url": "https://example.com:s3cret"}, "url"),
        ("teams", {"url": "https://[::1"}, "url"),
        ("opsgenie", {"api_key": "k", "url": "https://example.com:0"}, "url"),
        ("pagerduty", {"routing_key": "k", "url": "https://exam ple.com"}, "url"),
        ("email", {"host": "h", "sender": "nobody"}, "sender"),
        ("email", {"host": "h", "sender": "a@b", "to": ["x\r\nBcc: y@z"]}, "to"),
        ("email", {"host": "h", "sender": "a@b", "members": False}, ""),
        ("pagerduty", {"routing_key": "k", "more": 1}, "more"),
    ],
)
def test_settings_that_cannot_be_are_refused_with_their_key(kind: ChannelKind, config: Any, key: str) -> None:
    with pytest.raises(ConfigError) as caught:
        alert_kinds.validated(kind, config)
    assert (caught.value.path or "").startswith(key) and "s3cret" not in str(caught.value)


@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"])
def test_a_receiver_that_lets_its_answer_drip_is_given_up(first: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_sending, "WHOLE_S", 0.5)
    began = time.monotonic()
    with dripping(first, b"x") as port, pytest.raises(Undelivered) as caught:
        post("slack", url=f"http://127.0.0.1:{port}/services/s3cret")
    assert 0.5 <= time.monotonic() - began < 5.0
    assert "did not take it within" in caught.value.message and "s3cret" not in str(caught.value)


def test_a_receiver_that_has_said_that_it_took_it_may_let_the_rest_of_its_answer_drip(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(alert_sending, "WHOLE_S", 0.5)
    began = time.monotonic()
    with dripping(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x") as port:
        post("slack", url=f"http://127.0.0.1:{port}/services/s3cret")
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize("reach", [ANYWHERE, NETWORK], ids=["anywhere", "looked at"])
@pytest.mark.parametrize("security", ["none", "tls"])
@pytest.mark.parametrize("first", [b"", b"220 here\r\n", b"220 here\r\n250-a\r\n"])
def test_a_mail_server_that_lets_its_answer_drip_is_given_up(
    first: bytes, security: str, reach: Reach, trusted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_sending, "WHOLE_S", 0.5)
    began = time.monotonic()
    there = dripping(first, b"2", certificate=trusted if security == "tls" else None)
    with there as port, pytest.raises(Undelivered) as caught:
        mail(port, security=security, reach=reach)
    assert 0.5 <= time.monotonic() - began < 5.0
    assert "did not take it within" in caught.value.message
    assert not [one for one in threading.enumerate() if one.name.startswith("in time ") and lives(one)]


def lives(thread: threading.Thread) -> bool:
    thread.join(5.0)
    return thread.is_alive()


def test_a_mail_that_was_taken_is_sent_however_slowly_its_server_says_goodbye(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alert_sending, "WHOLE_S", 0.5)
    answers = b"220 here\r\n" + b"250 well\r\n" * 3 + b"354 go on\r\n250 taken\r\n"
    with dripping(answers, b"2") as port:
        mail(port, security="none")


def test_a_refused_secret_is_not_repeated() -> None:
    with pytest.raises(ConfigError) as caught:
        alert_kinds.validated("slack", {"url": "hooks.slack.com/s3cret"})
    assert "s3cret" not in caught.value.message


def test_a_message_is_the_same_after_it_was_kept() -> None:
    assert from_json(json.loads(json.dumps(MESSAGE.to_json()))) == MESSAGE
