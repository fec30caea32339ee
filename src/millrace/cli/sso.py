"""`millrace sso`: how a team signs on."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import bold

if TYPE_CHECKING:
    from millrace.control.single_sign_on import SignOn


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    sso = noun("sso", "Single sign-on: the identity provider of the team (OpenID Connect).", listing=False)
    provider = "--issuer https://id.example.com --client-id millrace"
    command(sso, "show", examples=["millrace sso show"])(show)
    command(
        sso,
        "set",
        examples=[
            f"millrace sso set {provider} --secret-stdin < secret.txt",
            f"millrace sso set {provider} --domain example.com --just-in-time --role OBSERVER",
        ],
    )(set_)
    command(sso, "off", examples=["millrace sso off"])(off)
    app.add_typer(sso)


def show(face: Face) -> None:
    """Show the identity provider of the team, without its secret."""
    from millrace.control.operations import sign_on

    with face.desk() as desk:
        held = desk.ask(sign_on.show).single_sign_on
    face.answer(held, _lines(held))


def set_(
    face: Face,
    issuer: Annotated[str, typer.Option(metavar="URL", help="Issuer, as the provider writes it.")],
    client_id: Annotated[str, typer.Option(metavar="ID", help="What the provider knows Millrace as.")],
    secret_stdin: Annotated[
        bool,
        typer.Option("--secret-stdin", help="Read the secret of the client from standard input; else the old stays."),
    ] = False,
    domain: Annotated[
        list[str] | None,
        typer.Option("--domain", metavar="DOMAIN", help="E-mail domain that is taken; may be given several times."),
    ] = None,
    role: Annotated[str, typer.Option(metavar="ROLE", help="Role of whoever becomes a user.")] = "OBSERVER",
    just_in_time: Annotated[
        bool, typer.Option("--just-in-time", help="Who is no user yet becomes one, with an address of the domains.")
    ] = False,
) -> None:
    """Let the team sign on at an identity provider. The provider is asked at once."""
    from millrace.control.operations import sign_on

    secret = sys.stdin.readline().rstrip("\r\n") if secret_stdin else None
    with face.desk() as desk:
        held = desk.ask(sign_on.put, issuer, client_id, secret, domain, role, just_in_time).single_sign_on
    face.answer(held, _lines(held))


def off(face: Face) -> None:
    """Turn single sign-on of the team off."""
    from millrace.control.operations import sign_on

    with face.desk() as desk:
        held = desk.ask(sign_on.off).single_sign_on
    face.answer(held, _lines(held))


def _lines(held: SignOn | None) -> Iterator[str]:
    if held is None:
        yield "The team does not sign on: people come in by password."
        return
    yield f"The team signs on at {bold(held.issuer)} as {held.client_id}."
    yield f"Addresses: {', '.join(held.domains) or 'of all domains'}."
    joining = f"becomes one, as {held.role}" if held.just_in_time else "is not let in"
    yield f"Who is no user yet {joining}."
