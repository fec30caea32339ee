"""One database for all tests of a module."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from tests.postgres import Database
from tests.sources.postgres.following import Follow, Follower

from millrace.data.batch import JSON


@pytest.fixture(scope="module")
def shop(postgres: Database) -> Iterator[Database]:
    """A database of its own, on which the tests of a module work one after the other."""
    fresh = replace(postgres, name=f"shop_{secrets.token_hex(6)}")
    postgres.run(f'CREATE DATABASE "{fresh.name}"')
    yield fresh
    postgres.run(f'DROP DATABASE IF EXISTS "{fresh.name}" WITH (FORCE)')


@pytest.fixture
def follow(shop: Database) -> Iterator[Follow]:
    """Makes readers of one object, whose connections end with the test."""
    made: list[Follower] = []

    def follow(name: str, mode: JSON = None, **more: Any) -> Follower:
        made.append(Follower(shop, name, mode, **more))
        return made[-1]

    yield follow
    for one in made:
        one.close()
