"""`millrace sso`: how a team signs on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import bold
from millrace.errors import ConfigError, in_words

if TYPE_CHECKING:
    from millrace.control.operations.sign_on import Held
    from millrace.control.people.single_sign_on import SignOn


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    sso = noun("sso", "Single sign-on: the identity provider of the team (OpenID Connect or SAML).", listing=False)
    provider = "--issuer https://id.example.com --client-id millrace"
    command(sso, "show", examples=["millrace sso show"])(show)
    command(
        sso,
        "set",
        examples=[
            f"millrace sso set {provider} --secret-stdin < secret.txt",
            f"millrace sso set {provider} --domain example.com --just-in-time --role OBSERVER",
            "millrace sso set --saml metadata.xml --domain example.com",
            "millrace sso set --saml https://id.example.com/metadata --email-attribute mail",
        ],
    )(set_)
    command(sso, "off", examples=["millrace sso off"])(off)
    app.add_typer(sso)


def show(face: Face) -> None:
    """Show the identity provider of the team, without its secret, and what a provider must be told for SAML."""
    from millrace.control.operations import sign_on

    with face.desk() as desk:
        held = desk.ask(sign_on.show)
    face.answer(held, _all_lines(held))


def set_(
    face: Face,
    issuer: Annotated[str | None, typer.Option(metavar="URL", help="Issuer, as the provider writes it.")] = None,
    client_id: Annotated[str | None, typer.Option(metavar="ID", help="What the provider knows Millrace as.")] = None,
    secret_stdin: Annotated[
        bool,
        typer.Option("--secret-stdin", help="Read the secret of the client from standard input; else the old stays."),
    ] = False,
    saml: Annotated[
        str | None,
        typer.Option(
            "--saml", metavar="FILE_OR_URL", help="Metadata of a provider that speaks SAML, in place of an issuer."
        ),
    ] = None,
    email_attribute: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Attribute of SAML with the e-mail address; else the usual ones."),
    ] = None,
    domain: Annotated[
        list[str] | None,
        typer.Option("--domain", metavar="DOMAIN", help="E-mail domain that is taken; may be given several times."),
    ] = None,
    role: Annotated[str, typer.Option(metavar="ROLE", help="Role of whoever becomes a user.")] = "OBSERVER",
    just_in_time: Annotated[
        bool, typer.Option("--just-in-time", help="Who is no user yet becomes one, with an address of the domains.")
    ] = False,
) -> None:
    """Let the team sign on at an identity provider: by OpenID Connect with an issuer, which is asked at once, or by
    SAML."""
    from millrace.control.operations import sign_on

    if saml is not None:
        if issuer or client_id or secret_stdin:
            raise _either()
        metadata = _metadata(saml)
        with face.desk() as desk:
            held = desk.ask(sign_on.put_saml, metadata, email_attribute, domain, role, just_in_time)
        face.answer(held, _all_lines(held))
        return
    if not issuer or not client_id or email_attribute:
        raise _either()
    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else None
    with face.desk() as desk:
        held = desk.ask(sign_on.put, issuer, client_id, secret, domain, role, just_in_time)
    face.answer(held, _lines(held.single_sign_on))


def off(face: Face) -> None:
    """Turn single sign-on of the team off."""
    from millrace.control.operations import sign_on

    with face.desk() as desk:
        held = desk.ask(sign_on.off)
    face.answer(held, _lines(held.single_sign_on))


def _metadata(given: str) -> str:
    """What is in the file; a URL is for the server to ask."""
    if given.startswith(("https://", "http://")):
        return given
    try:
        return Path(given).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as cause:
        raise ConfigError(
            f"the metadata in {given} cannot be read: {in_words(cause)}",
            hint="Give the file that the provider offers, or its URL.",
            code="no_file",
        ) from None


def _either() -> ConfigError:
    return ConfigError(
        "a provider is named by --issuer and --client-id (OpenID Connect), or by --saml",
        hint="See `millrace sso set --help`.",
        code="no_provider",
    )


def _all_lines(held: Held) -> Iterator[str]:
    yield from _lines(held.single_sign_on)
    if held.saml is None:
        yield "For SAML, set `public_url`: a provider must know where people reach this server."
        return
    yield "For SAML, tell the provider:"
    yield f"  entity id, which is where the metadata are  {held.saml.entity_id}"
    yield f"  address for answers (ACS, by HTTP-POST)     {held.saml.consumer}"


def _lines(held: SignOn | None) -> Iterator[str]:
    if held is None:
        yield "The team does not sign on: people come in by password."
        return
    protocol = "SAML" if held.protocol == "saml" else "OpenID Connect"
    yield f"The team signs on at {bold(held.issuer)} as {held.client_id}, by {protocol}."
    if held.sign_on_url:
        yield f"People are sent to {held.sign_on_url}."
    for one in held.certificates:
        yield f"It signs with the certificate of SHA-256 {one}."
    yield f"Addresses: {', '.join(held.domains) or 'of all domains'}."
    joining = f"becomes one, as {held.role}" if held.just_in_time else "is not let in"
    yield f"Who is no user yet {joining}."
