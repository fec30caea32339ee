"""What each kind of channel needs to be told: mail servers, webhooks, on-call services."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias, get_args

from pydantic import AfterValidator, Field, SecretStr, ValidationError, field_validator, model_validator

from millrace.connect.config import Secret, Settings
from millrace.connect.reach import web_url
from millrace.control.as_code.findings import findings, nearest
from millrace.control.secrecy import secrets
from millrace.errors import ConfigError

ChannelKind: TypeAlias = Literal["email", "slack", "pagerduty", "opsgenie", "teams", "webhook"]
KINDS: tuple[ChannelKind, ...] = get_args(ChannelKind)

_ADDRESS = re.compile(r"[^@\s,;<>\"]+@[^@\s,;<>\"]+")


def _address(text: str) -> str:
    if len(text) > 254 or not _ADDRESS.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is not an e-mail address")
    return text


def _url(text: str) -> str:
    parts = web_url(text)
    if parts is None or not text.isascii():
        raise ValueError("the URL is none of http or https")
    if parts.username is not None or parts.password is not None:
        raise ValueError("the URL must not hold a user name or a password")
    return text


def _secret_url(value: SecretStr) -> SecretStr:
    _url(value.get_secret_value())
    return value


Address = Annotated[str, AfterValidator(_address)]
Url = Annotated[str, AfterValidator(_url)]
SecretUrl = Annotated[Secret, AfterValidator(_secret_url)]


class EmailSettings(Settings):
    """A mail server, and who gets mail."""

    host: str = Field(description="Name of the mail server (SMTP).", min_length=1, max_length=255)
    port: int = Field(587, ge=1, le=65535, description="587 with STARTTLS, 465 with TLS from the start.")
    security: Literal["starttls", "tls", "none"] = Field("starttls", description="How the connection is encrypted.")
    username: str | None = Field(None, description="Who signs in at the server; left out: nobody does.")
    password: Secret | None = Field(None, description="Password of that user.")
    sender: Address = Field(description="Address that mail comes from.")
    to: tuple[Address, ...] = Field((), description="Addresses that get every alert of the channel.")
    members: bool = Field(True, description="Users of the team get mail too, each what they want.")

    @field_validator("to", mode="before")
    @classmethod
    def _several(cls, value: Any) -> Any:
        return tuple(one.strip() for one in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _goes_somewhere(self) -> EmailSettings:
        if not self.to and not self.members:
            raise ValueError("mail must go to somebody: name addresses in `to`, or let `members` be true")
        return self


class SlackSettings(Settings):
    """A channel of Slack, by an incoming webhook."""

    url: SecretUrl = Field(description="URL of the incoming webhook. It is a secret: whoever has it may post.")


class TeamsSettings(Settings):
    """A channel of Microsoft Teams, by a workflow that takes webhooks."""

    url: SecretUrl = Field(description="URL of the workflow. It is a secret: whoever has it may post.")


class PagerDutySettings(Settings):
    """A service of PagerDuty."""

    routing_key: Secret = Field(description="Integration key of the service (Events API v2).")
    url: Url = Field("https://events.pagerduty.com", description="Where PagerDuty is; the EU has another host.")


class OpsgenieSettings(Settings):
    """A team of Opsgenie."""

    api_key: Secret = Field(description="Key of an API integration.")
    url: Url = Field(
        "https://api.opsgenie.com", description="Where Opsgenie is; https://api.eu.opsgenie.com in the EU."
    )


class WebhookSettings(Settings):
    """Any HTTP server."""

    url: SecretUrl = Field(description="Where events are posted. It may hold a token, so it is a secret.")
    secret: Secret | None = Field(None, description="Key of the signature in the header hmac-signature.")


MODELS: Mapping[ChannelKind, type[Settings]] = {
    "email": EmailSettings,
    "slack": SlackSettings,
    "pagerduty": PagerDutySettings,
    "opsgenie": OpsgenieSettings,
    "teams": TeamsSettings,
    "webhook": WebhookSettings,
}


def known_kind(kind: str) -> ChannelKind:
    """Raises ConfigError for a kind that there is not."""
    for one in KINDS:
        if one == kind:
            return one
    raise ConfigError(
        f"there is no kind of channel {kind[:40]!r}", hint=nearest(kind, KINDS, what="There are"), path="kind"
    )


def validated(kind: ChannelKind, config: Mapping[str, Any]) -> Settings:
    """The settings of a channel. Raises ConfigError that names what is wrong, and no secret value (I7)."""
    model = MODELS[kind]
    try:
        return model.model_validate(dict(config))
    except ValidationError as error:
        found = list(findings(error, model))
    hidden = [text for key, value in config.items() if key in model.secret_keys() for text in secrets.texts(value)]
    raise ConfigError(
        "; ".join(secrets.redact(one.message, hidden) for one in found),
        hint=next((one.hint for one in found if one.hint), None),
        path=".".join(str(step) for step in found[0].path) or None,
        code=found[0].code,
    )


def split(kind: ChannelKind, config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The settings without the secrets, and the secrets."""
    names = MODELS[kind].secret_keys()
    open_ = {key: value for key, value in config.items() if key not in names}
    return open_, {key: value for key, value in config.items() if key in names and value is not None}
