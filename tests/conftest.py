"""Fixtures that tests of several folders share."""

from __future__ import annotations

import pytest
from tests.postgres import database, postgres, pytest_report_header

pytest.register_assert_rewrite("millrace.connect.testing")

__all__ = ["database", "postgres", "pytest_report_header"]
