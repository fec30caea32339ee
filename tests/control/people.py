"""A team with people in it, for the tests of users, keys, sessions and permissions."""

from __future__ import annotations

from millrace.control import settings
from millrace.control.home import Home
from millrace.control.people import users
from millrace.control.people.users import User

PASSWORD = "Correct-horse-7"


def cheap(home: Home) -> Home:
    """The home with hashes of passwords that cost as little as a setting allows."""
    settings.change(home, password_memory_mib=8, password_passes=1)
    return home


def joined(home: Home, email: str, *roles: str) -> User:
    """A user who may sign in with PASSWORD."""
    return users.create(home, email, roles or ("OBSERVER",), password=PASSWORD)


def acting(home: Home, email: str) -> Home:
    """The home, asked by that user."""
    return home.acting(users.actor_of(home, users.find(home, email).id))
