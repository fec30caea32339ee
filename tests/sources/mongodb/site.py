"""A pipeline from a real server that speaks MongoDB's protocol."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.mongodb import Deployment
from tests.sources.site import Followed


@dataclass
class Site(Followed):
    """One home with one pipeline from ``server``, a deployment."""

    type_ = "mongodb"


@pytest.fixture
def site(tmp_path: Path, mongo: Deployment) -> Iterator[Site]:
    made = Site(tmp_path, mongo)
    yield made
    made.close()
