"""`millrace user | key | team | activity`: who may do what here, and who did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command, spoken
from millrace.cli.nouns import noun
from millrace.cli.paging import AFTER, AT_MOST, more
from millrace.cli.text import bold, dim, say, table, warn
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.activity import Entry, Severity
    from millrace.control.people.invitations import Link
    from millrace.control.people.users import User

EMAIL = Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the user.")]
OF = Annotated[str, typer.Option("--email", metavar="EMAIL", help="Address of the user.")]
ROLE = Annotated[
    list[str] | None,
    typer.Option(
        "--role", metavar="ROLE", help="A role; may be given several times. `millrace user roles` lists them."
    ),
]
PASSWORD = Annotated[
    bool, typer.Option("--password-stdin", help="Read the password from standard input, so that nobody sees it.")
]


Switch = Literal["on", "off"]
LEVELS: tuple[Severity, ...] = ("LOW", "MEDIUM", "HIGH", "CRITICAL")


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    users = noun("user", "Users: who may use this Millrace, with which roles.")
    create = "millrace user create --email ada@example.com --role TEAM_ADMIN --password-stdin < password.txt"
    command(users, "list", examples=["millrace user list", "millrace user list --search ada --json"])(list_users)
    command(users, "show", examples=["millrace user show ada@example.com"])(show_user)
    command(users, "create", examples=[create])(create_user)
    command(users, "set-roles", examples=["millrace user set-roles ada@example.com --role OBSERVER"])(set_roles)
    command(users, "set-password", examples=["millrace user set-password ada@example.com < password.txt"])(set_password)
    command(users, "unlock", examples=["millrace user unlock ada@example.com"])(unlock)
    command(users, "remove", examples=["millrace user remove ada@example.com"])(remove_user)
    several = "millrace user invite --email ada@example.com --email bob@example.com"
    command(users, "invite", examples=["millrace user invite --email ada@example.com --role OBSERVER", several])(invite)
    command(users, "link", examples=["millrace user link ada@example.com"])(renew_link)
    lost = ["millrace user reset-second-factor ada@example.com"]
    command(users, "reset-second-factor", examples=lost)(reset_second_factor)
    command(users, "roles", examples=["millrace user roles"])(list_roles)
    app.add_typer(users)
    keys = noun("key", "API keys: pairs with which programs act for a user.")
    command(keys, "list", examples=["millrace key list", "millrace key list --email ada@example.com"])(list_keys)
    command(
        keys,
        "create",
        examples=[
            "millrace key create --email ada@example.com --json",
            "millrace key create --email ada@example.com --name airflow --scope view --scope pipelines.edit --days 90",
        ],
    )(create_key)
    command(keys, "delete", examples=["millrace key delete mk_0123456789abcdef01234567"])(delete_key)
    app.add_typer(keys)
    teams = noun("team", "Teams: what belongs to one is not there for the others.", listing=False)
    made = "millrace team create Marketing --email ada@example.com < password.txt"
    command(teams, "show", examples=["millrace team show"])(show_team)
    command(teams, "create", examples=[made])(create_team)
    command(teams, "rename", examples=["millrace team rename Analytics"])(rename_team)
    closed = "millrace team security --second-factor on --allow 192.0.2.0/24"
    command(teams, "security", examples=["millrace team security", closed])(team_security)
    app.add_typer(teams)
    command(
        app,
        "activity",
        examples=[
            "millrace activity",
            "millrace activity --severity LOW --author ada@example.com",
            "millrace activity --pipeline shop --event-type orders",
            "millrace activity --export csv > activity.csv",
        ],
    )(activity)


def list_users(
    face: Face,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="A part of a name or an address.")] = None,
    after: AFTER = None,
    limit: AT_MOST = 100,
) -> None:
    """List the users."""
    from millrace.control.operations import users

    with face.desk() as desk:
        page = desk.ask(users.list_, search, after, limit)
    face.answer(page, _listed(list(page.items), page.next))


def show_user(face: Face, email: EMAIL) -> None:
    """Show one user."""
    from millrace.control.operations import users

    with face.desk() as desk:
        user = desk.ask(users.find, email)
    face.answer(user, _listed([user], None))


def create_user(face: Face, email: OF, role: ROLE = None, password_stdin: PASSWORD = False) -> None:
    """Add a user.

    With a password they may sign in at once; without one they are invited.
    """
    from millrace.control.operations import users
    from millrace.control.people import roles

    password = _password() if password_stdin else None
    with face.desk(create=True) as desk:
        user = desk.ask(users.create, email, role or [roles.DEFAULT], password)
    face.answer(user, [f"Added the user {bold(user.email)}: {', '.join(user.roles)}."])


def set_roles(face: Face, email: EMAIL, role: ROLE = None) -> None:
    """Give a user other roles, in place of those they have."""
    from millrace.control.operations import users

    with face.desk() as desk:
        user = desk.ask(users.set_roles, email, role or [])
    face.answer(user, [f"{bold(user.email)} is now {', '.join(user.roles)}."])


def set_password(face: Face, email: EMAIL) -> None:
    """Give a user another password, read from standard input. Their sessions end."""
    from millrace.control.people import users

    with face.open() as home:
        users.set_password(home, email, _password())
        user = users.find(home, email)
    face.answer(user, [f"{bold(user.email)} has a new password."])


def unlock(face: Face, email: EMAIL) -> None:
    """Let a user sign in again who failed too often."""
    from millrace.control.operations import users

    with face.desk() as desk:
        user = desk.ask(users.unlock, email)
    face.answer(user, [f"{bold(user.email)} may sign in again."])


def invite(
    face: Face,
    email: Annotated[
        list[str], typer.Option("--email", metavar="EMAIL", help="Address of the user; may be given several times.")
    ],
    role: ROLE = None,
) -> None:
    """Invite people, each by a link whose token is shown this once. One who cannot be keeps no other from it."""
    from millrace.control.operations import users
    from millrace.control.people import roles

    wanted = role or [roles.DEFAULT]
    with face.desk() as desk:
        if len(email) == 1:
            link = desk.ask(users.invite, email[0], wanted)
            face.answer(link, _link(link))
            return
        found = desk.ask(users.invite_all, email, wanted)
    face.answer(found, [line for one in found if one.link is not None for line in _link(one.link)])
    problems = [one.problem for one in found if one.problem is not None]
    if not face.json:
        for line in spoken(problems):
            warn(line)
    if problems:
        raise typer.Exit(1)


def renew_link(face: Face, email: EMAIL) -> None:
    """Make another link for a user: to join, or else to reset their password. Its token is shown this once."""
    from millrace.control.operations import users

    with face.desk() as desk:
        link = desk.ask(users.link, email)
    face.answer(link, _link(link))


def reset_second_factor(face: Face, email: EMAIL) -> None:
    """Let a user who lost their second factor sign in by the password alone."""
    from millrace.control.operations import users

    with face.desk() as desk:
        user = desk.ask(users.reset_second_factor, email)
    face.answer(user, [f"{bold(user.email)} signs in by the password alone."])


def remove_user(face: Face, email: EMAIL) -> None:
    """Remove a user, with their keys and sessions."""
    from millrace.control.operations import users

    with face.desk() as desk:
        gone = desk.ask(users.remove, email)
    face.answer(gone, [f"Removed the user {bold(email)}."])


def list_roles(face: Face) -> None:
    """List the roles and what each allows."""
    from millrace.control.operations.users import Offered
    from millrace.control.people import roles

    found = [Offered(role, tuple(sorted(roles.PERMISSIONS[role]))) for role in roles.ROLES]
    face.answer(found, table(("role", "allows"), [(one.role, ", ".join(one.permissions)) for one in found]))


def show_team(face: Face) -> None:
    """Show the team that commands work in."""
    from millrace.control.operations import teams

    with face.desk() as desk:
        team = desk.ask(teams.show)
    face.answer(team, table(("team", "members", "since"), [(team.name, team.members, team.created_at)]))


def create_team(
    face: Face,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the team.")],
    email: OF,
) -> None:
    """Make another team, with its first administrator. Their password is read from standard input."""
    from millrace.control.people import teams

    with face.open() as home:
        team = teams.create(home, name, email, _password())
    face.answer(team, [f"Made the team {bold(team.name)}. {email} administers it."])


def rename_team(face: Face, name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")]) -> None:
    """Give the team another name."""
    from millrace.control.operations import teams

    with face.desk() as desk:
        team = desk.ask(teams.rename, name)
    face.answer(team, [f"The team is now called {bold(team.name)}."])


def team_security(
    face: Face,
    second_factor: Annotated[
        Switch | None, typer.Option(metavar="on|off", help="Everybody needs a second factor, or nobody does.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="NETWORK", help="Take requests from there alone; may be given several times."),
    ] = None,
    allow_all: Annotated[bool, typer.Option("--allow-all", help="Take requests from everywhere.")] = False,
) -> None:
    """Show how people may come in, or change it."""
    from millrace.control.operations import teams

    if allow and allow_all:
        raise ConfigError("--allow and --allow-all exclude each other", hint="Give one of them.", code="usage")
    addresses = () if allow_all else allow or None
    with face.desk() as desk:
        if second_factor is None and addresses is None:
            found = desk.ask(teams.show_security)
        else:
            wanted = None if second_factor is None else second_factor == "on"
            found = desk.ask(teams.set_security, wanted, addresses)
    rows = [("on" if found.two_factor_required else "off", ", ".join(found.allowed_addresses) or "everywhere")]
    face.answer(found, table(("second factor required", "requests from"), rows))


def list_keys(
    face: Face,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="Those of one user.")] = None,
    after: AFTER = None,
    limit: AT_MOST = 100,
) -> None:
    """List the keys. Secrets are not kept, so they cannot be shown."""
    from millrace.control.operations import keys

    with face.desk() as desk:
        page = desk.ask(keys.list_, email, after, limit)
    rows = [(one.key, one.email, one.name or None, one.expires_at, one.used_at) for one in page.items]
    face.answer(page, [*table(("key", "user", "name", "expires", "last used"), rows), *more(page.next)])


def create_key(
    face: Face,
    email: OF,
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is for.")] = "",
    scope: Annotated[
        list[str] | None,
        typer.Option("--scope", metavar="PERMISSION", help="Hold the key to this; may be given several times."),
    ] = None,
    days: Annotated[int | None, typer.Option(metavar="N", min=1, max=3650, help="It expires after N days.")] = None,
) -> None:
    """Make a key with its secret, which is shown this once."""
    from datetime import UTC, datetime

    from millrace.control.operations import keys

    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with face.desk() as desk:
        pair = desk.ask(keys.create, email, name, scope, expires_at)
    face.answer(pair, [f"key     {pair.key}", f"secret  {pair.secret}", dim("The secret is not shown again.")])


def delete_key(face: Face, key: Annotated[str, typer.Argument(metavar="KEY", help="The key; not its secret.")]) -> None:
    """Delete a key: it opens nothing any more."""
    from millrace.control.operations import keys

    with face.desk() as desk:
        gone = desk.ask(keys.remove, key)
    face.answer(gone, [f"Deleted the key {bold(key)}."])


def activity(
    face: Face,
    severity: Annotated[
        str, typer.Option(metavar="LEVEL", help="LOW, MEDIUM, HIGH or CRITICAL, and above.")
    ] = "MEDIUM",
    author: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this one did.")] = None,
    entity: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only what was done to a pipeline, user, key ...")
    ] = None,
    pipeline: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only what was done to this pipeline and what is of it.")
    ] = None,
    event_type: Annotated[
        str | None, typer.Option(metavar="NAME", help="With --pipeline: only what was done to the mapping of this one.")
    ] = None,
    after: AFTER = None,
    limit: AT_MOST = 50,
    export: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Write the whole log instead: csv or jsonl.")
    ] = None,
) -> None:
    """Show who did what, newest first."""
    from millrace.control.operations import activity as log

    level: Severity = severity.upper()  # pyright: ignore[reportAssignmentType]  # looked at in the next line
    if level not in LEVELS:
        raise ConfigError(
            f"there is no severity {severity[:40]!r}", hint=f"There are {', '.join(LEVELS)}.", path="severity"
        )
    if export is not None:
        if export not in ("csv", "jsonl"):
            raise ConfigError(f"the log cannot be written as {export!r}", hint="Use csv or jsonl.", path="--export")
        with face.desk() as desk:
            for line in desk.ask(log.export, export):
                say(line.decode().rstrip("\r\n"))
        return
    with face.desk() as desk:
        page = desk.ask(log.list_, level, author, entity, pipeline, after=after, limit=limit, event_type=event_type)
    face.answer(page, [*table(("when", "severity", "who", "what"), map(_told, page.items)), *more(page.next)])


def _password() -> str:
    """The first line of standard input."""
    if sys.stdin.isatty():
        raise ConfigError("the password comes from standard input", hint="For example: millrace ... < password.txt")
    return sys.stdin.readline().rstrip("\r\n")


def _listed(users: list[User], following: str | None) -> Iterator[str]:
    if not users:
        yield "No users yet. Add one: millrace user create --email ada@example.com --role TEAM_ADMIN --password-stdin"
        return
    rows = [(one.email, ", ".join(one.roles), one.status, one.two_factor, one.signed_in_at) for one in users]
    yield from table(("user", "roles", "status", "two-factor", "last signed in"), rows)
    yield from more(following)


def _link(link: Link) -> Iterator[str]:
    what = "join the team" if link.purpose == "invite" else "choose another password"
    yield f"With this token {bold(link.email)} may {what}. It is not shown again."
    yield link.token


def _told(entry: Entry) -> tuple[object, ...]:
    return (entry.at, entry.severity, entry.author, entry.message)
