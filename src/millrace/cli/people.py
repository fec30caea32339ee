"""`millrace user | key | team | activity`: who may do what here, and who did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.text import bold, dim, say, table
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.activity import Entry, Severity
    from millrace.control.users import User

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
AFTER = Annotated[str | None, typer.Option("--after", metavar="CURSOR", help="Go on where a page ended.")]
LIMIT = Annotated[int, typer.Option("--limit", metavar="N", help="How many at most.")]


@dataclass(frozen=True, slots=True)
class Gone:
    """What is gone."""

    kind: Literal["user", "key"]
    name: str


@dataclass(frozen=True, slots=True)
class Offered:
    """A role, and what it allows."""

    role: str
    permissions: tuple[str, ...]


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
    app.add_typer(teams)
    command(
        app,
        "activity",
        examples=[
            "millrace activity",
            "millrace activity --severity LOW --author ada@example.com",
            "millrace activity --export csv > activity.csv",
        ],
    )(activity)


def list_users(
    face: Face,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="A part of a name or an address.")] = None,
    after: AFTER = None,
    limit: LIMIT = 100,
) -> None:
    """List the users."""
    from millrace.control import users

    with face.open() as home:
        page = users.listed(home, search=search, after=after, limit=limit)
    face.answer(page, _listed(list(page.items), page.next))


def show_user(face: Face, email: EMAIL) -> None:
    """Show one user."""
    from millrace.control import users

    with face.open() as home:
        user = users.find(home, email)
    face.answer(user, _listed([user], None))


def create_user(face: Face, email: OF, role: ROLE = None, password_stdin: PASSWORD = False) -> None:
    """Add a user.

    With a password they may sign in at once; without one they are invited.
    """
    from millrace.control import roles, users

    with face.open(create=True) as home:
        user = users.create(home, email, role or [roles.DEFAULT], password=_password() if password_stdin else None)
    face.answer(user, [f"Added the user {bold(user.email)}: {', '.join(user.roles)}."])


def set_roles(face: Face, email: EMAIL, role: ROLE = None) -> None:
    """Give a user other roles, in place of those they have."""
    from millrace.control import users

    with face.open() as home:
        user = users.set_roles(home, email, role or [])
    face.answer(user, [f"{bold(user.email)} is now {', '.join(user.roles)}."])


def set_password(face: Face, email: EMAIL) -> None:
    """Give a user another password, read from standard input. Their sessions end."""
    from millrace.control import users

    with face.open() as home:
        users.set_password(home, email, _password())
        user = users.find(home, email)
    face.answer(user, [f"{bold(user.email)} has a new password."])


def unlock(face: Face, email: EMAIL) -> None:
    """Let a user sign in again who failed too often."""
    from millrace.control import users

    with face.open() as home:
        user = users.unlock(home, email)
    face.answer(user, [f"{bold(user.email)} may sign in again."])


def remove_user(face: Face, email: EMAIL) -> None:
    """Remove a user, with their keys and sessions."""
    from millrace.control import users

    with face.open() as home:
        users.remove(home, email)
    face.answer(Gone("user", email), [f"Removed the user {bold(email)}."])


def list_roles(face: Face) -> None:
    """List the roles and what each allows."""
    from millrace.control import roles

    found = [Offered(role, tuple(sorted(roles.PERMISSIONS[role]))) for role in roles.ROLES]
    face.answer(found, table(("role", "allows"), [(one.role, ", ".join(one.permissions)) for one in found]))


def show_team(face: Face) -> None:
    """Show the team that commands on this machine work in."""
    from millrace.control import teams

    with face.open() as home:
        team = teams.own(home)
    face.answer(team, table(("team", "members", "since"), [(team.name, team.members, team.created_at)]))


def create_team(
    face: Face,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the team.")],
    email: OF,
) -> None:
    """Make another team, with its first administrator. Their password is read from standard input."""
    from millrace.control import teams

    with face.open() as home:
        team = teams.create(home, name, email, _password())
    face.answer(team, [f"Made the team {bold(team.name)}. {email} administers it."])


def rename_team(face: Face, name: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")]) -> None:
    """Give the team another name."""
    from millrace.control import teams

    with face.open() as home:
        team = teams.rename(home, name)
    face.answer(team, [f"The team is now called {bold(team.name)}."])


def list_keys(
    face: Face,
    email: Annotated[str | None, typer.Option(metavar="EMAIL", help="Those of one user.")] = None,
    after: AFTER = None,
    limit: LIMIT = 100,
) -> None:
    """List the keys. Secrets are not kept, so they cannot be shown."""
    from millrace.control import keys

    with face.open() as home:
        page = keys.listed(home, email, after=after, limit=limit)
    rows = [(one.key, one.email, one.name or None, one.expires_at, one.used_at) for one in page.items]
    face.answer(page, [*table(("key", "user", "name", "expires", "last used"), rows), *_more(page.next)])


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

    from millrace.control import keys

    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with face.open() as home:
        pair = keys.create(home, email, name=name, scope=scope, expires_at=expires_at)
    face.answer(pair, [f"key     {pair.key}", f"secret  {pair.secret}", dim("The secret is not shown again.")])


def delete_key(face: Face, key: Annotated[str, typer.Argument(metavar="KEY", help="The key; not its secret.")]) -> None:
    """Delete a key: it opens nothing any more."""
    from millrace.control import keys

    with face.open() as home:
        keys.remove(home, key)
    face.answer(Gone("key", key), [f"Deleted the key {bold(key)}."])


def activity(
    face: Face,
    severity: Annotated[
        str, typer.Option(metavar="LEVEL", help="LOW, MEDIUM, HIGH or CRITICAL, and above.")
    ] = "MEDIUM",
    author: Annotated[str | None, typer.Option(metavar="NAME", help="Only what this one did.")] = None,
    entity: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Only what was done to a pipeline, user, key ...")
    ] = None,
    after: AFTER = None,
    limit: LIMIT = 50,
    export: Annotated[
        str | None, typer.Option(metavar="FORMAT", help="Write the whole log instead: csv or jsonl.")
    ] = None,
) -> None:
    """Show who did what, newest first."""
    from millrace.control import activity as log

    level: Severity = severity.upper()  # pyright: ignore[reportAssignmentType]  checked by `log`
    if export is not None:
        if export not in ("csv", "jsonl"):
            raise ConfigError(f"the log cannot be written as {export!r}", hint="Use csv or jsonl.", path="--export")
        with face.open() as home:
            for line in log.exported(home, export):
                say(line.rstrip("\r\n"))
        return
    with face.open() as home:
        page = log.listed(home, severity=level, author=author, entity=entity, after=after, limit=limit)
    face.answer(page, [*table(("when", "severity", "who", "what"), map(_told, page.items)), *_more(page.next)])


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
    yield from _more(following)


def _more(following: str | None) -> Iterator[str]:
    if following is not None:
        yield dim(f"There are more: --after {following}")


def _told(entry: Entry) -> tuple[object, ...]:
    return (entry.at, entry.severity, entry.author, entry.message)
