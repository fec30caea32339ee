"""A pipeline that follows a real MariaDB's binary log."""

from __future__ import annotations

import secrets
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.mariadb import Database
from tests.sources.site import Followed


@dataclass
class Site(Followed):
    """One home with one pipeline from ``server``."""

    type_ = "mysql"


@contextmanager
def database_of(server: Database) -> Generator[Database]:
    """A fresh one, as long as the block runs."""
    fresh = replace(server, name=f"shop_{secrets.token_hex(6)}")
    server.run(f'CREATE DATABASE "{fresh.name}"')
    yield fresh
    server.run(f'DROP DATABASE IF EXISTS "{fresh.name}"')


@pytest.fixture
def shop(mariadb: Database) -> Iterator[Database]:
    """A database of its own."""
    with database_of(mariadb) as fresh:
        yield fresh


@pytest.fixture
def site(tmp_path: Path, shop: Database) -> Iterator[Site]:
    made = Site(tmp_path, shop)
    yield made
    made.close()
