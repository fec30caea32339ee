"""API keys: pairs with which programs act for a user."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from millrace.control.database.pages import Page
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.activity import After, Limit
from millrace.control.operations.names import Moment
from millrace.control.operations.users import Email
from millrace.control.people import keys
from millrace.control.people.keys import Key, NewKey
from millrace.data.dataclass import dataclass

KeyName = Annotated[str, Field(min_length=1, max_length=100, description="The key; not its secret.")]


@dataclass(frozen=True, slots=True)
class Gone:
    """A key that opens nothing any more."""

    key: str


@operation("GET", "/keys", None)
def list_(
    home: Home,
    email: Annotated[Email, Field(description="Those of one user; left out: of the team.")] | None = None,
    after: After | None = None,
    limit: Limit = 100,
) -> Page[Key]:
    """List keys, without their secrets. Everybody may see their own; others' need `users.edit`."""
    return keys.listed(home, email, after=after, limit=limit)


@operation("POST", "/keys", None, status=201)
def create(
    home: Home,
    email: Email,
    name: Annotated[str, Field(max_length=255, description="What it is for.")] = "",
    scope: Annotated[Sequence[str], Field(max_length=100, description="Permissions that it is held to.")] | None = None,
    expires_at: Moment | None = None,
) -> NewKey:
    """Make a key with its secret, which is shown this once. Everybody makes their own."""
    return keys.create(home, email, name=name, scope=scope, expires_at=expires_at)


@operation("DELETE", "/keys/{key}", None)
def remove(home: Home, key: KeyName) -> Gone:
    """Delete a key: it opens nothing any more. Everybody may for their own; others' need `users.edit`."""
    keys.remove(home, key)
    return Gone(key)


OPERATIONS = (list_, create, remove)
