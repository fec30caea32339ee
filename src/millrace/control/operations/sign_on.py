"""How a team signs on: the settings of its identity provider."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.people import single_sign_on
from millrace.control.people.single_sign_on import Service, SignOn
from millrace.data.dataclass import dataclass

PATH = "/team/single-sign-on"
Text = Annotated[str, Field(min_length=1, max_length=2048)]
Domains = Annotated[list[Text], Field(max_length=100, description="E-mail domains that are taken; none: all.")]
RoleOfNew = Annotated[str, Field(max_length=40, description="Role of whoever becomes a user.")]
JustInTime = Annotated[bool, Field(description="Who is no user yet becomes one.")]


@dataclass(frozen=True, slots=True)
class Held:
    """How the team signs on; None: by password alone. The secret of the client is never shown (I7).

    ``saml``: what a provider must be told to speak SAML with this server; None: `public_url` is not set.
    """

    single_sign_on: SignOn | None
    saml: Service | None


@operation("GET", PATH)
def show(home: Home) -> Held:
    """Show the identity provider of the team, without the secret."""
    return _held(home)


@operation("PUT", PATH, "settings.edit")
def put(
    home: Home,
    issuer: Annotated[Text, Field(description="Issuer of the provider, as its discovery document writes it.")],
    client_id: Annotated[Text, Field(description="What the provider knows Millrace as.")],
    client_secret: Annotated[Text | None, Field(description="Left out: the one that is kept.")] = None,
    domains: Domains | None = None,
    role: RoleOfNew = "OBSERVER",
    just_in_time: JustInTime = False,
) -> Held:
    """Let the team sign on at an identity provider by OpenID Connect. The provider is asked at once."""
    single_sign_on.change(
        home,
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        domains=domains or (),
        role=role,
        just_in_time=just_in_time,
    )
    return _held(home)


@operation("PUT", f"{PATH}/saml", "settings.edit")
def put_saml(
    home: Home,
    metadata: Annotated[
        str,
        Field(min_length=1, max_length=262_144, description="Metadata of the provider: XML, or the URL where it is."),
    ],
    email_attribute: Annotated[
        Text | None, Field(description="Attribute with the address; left out: the usual ones.")
    ] = None,
    domains: Domains | None = None,
    role: RoleOfNew = "OBSERVER",
    just_in_time: JustInTime = False,
) -> Held:
    """Let the team sign on at an identity provider by SAML 2.0. Its metadata are read at once."""
    single_sign_on.change_to_saml(
        home,
        metadata=metadata,
        email_attribute=email_attribute,
        domains=domains or (),
        role=role,
        just_in_time=just_in_time,
    )
    return _held(home)


@operation("DELETE", PATH, "settings.edit")
def off(home: Home) -> Held:
    """Turn single sign-on of the team off. People come in by password."""
    single_sign_on.remove(home)
    return _held(home)


def _held(home: Home) -> Held:
    return Held(single_sign_on.settings(home), single_sign_on.service(home))


OPERATIONS = (show, put, put_saml, off)
