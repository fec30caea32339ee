"""Fixtures that tests of several folders share."""

from __future__ import annotations

from tests.postgres import database, postgres, pytest_report_header

__all__ = ["database", "postgres", "pytest_report_header"]
