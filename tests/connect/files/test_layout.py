"""Folders of files, by every parameter and over the ends of days and years."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from millrace.connect.files.layout import DEFAULT, Job, checked, folder, safe
from millrace.errors import ConfigError


def at(year: int, month: int, day: int, hour: int, minute: int = 0, second: int = 0) -> Job:
    moment = datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    return Job("crm", "users", "j0b", int(moment.timestamp() * 1000))


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (DEFAULT, "crm/users/2026/01/02/j0b"),
        ("${DATE}/${JOB_ID}", "crm/users/2026-01-02/j0b"),
        ("dt=${DATE}", "crm/users/dt=2026-01-02"),
        ("${YEAR}-${MONTH}-${DAY}-${HOUR}", "crm/users/2026-01-02-03"),
        ("${OBJECT_NAME}/${HOUR}", "users/03"),
        ("${PIPELINE_NAME}/${OBJECT_NAME}/${DATE}/${JOB_ID}", "crm/users/2026-01-02/j0b"),
        ("${PIPELINE_NAME}", "crm/users/crm"),
    ],
)
def test_each_parameter_has_its_value(template: str, expected: str) -> None:
    assert folder(checked(template), at(2026, 1, 2, 3)) == expected


def test_a_load_lies_in_the_utc_day_in_which_it_began() -> None:
    assert folder("${DATE}-${HOUR}", at(2025, 12, 31, 23, 59, 59)) == "crm/users/2025-12-31-23"
    assert folder("${DATE}-${HOUR}", at(2026, 1, 1, 0)) == "crm/users/2026-01-01-00"


@pytest.mark.parametrize("template", ["", "plain", "${NOPE}", "../${DATE}", "/${DATE}", "${DATE}/", "a b${DATE}"])
def test_a_template_that_cannot_be_is_refused(template: str) -> None:
    with pytest.raises(ConfigError) as error:
        checked(template)
    assert error.value.hint


def test_names_that_differ_stay_apart_and_stay_inside() -> None:
    names = ["a/b", "a_b", "a b", "..", ".", "", "Größe", "../../etc", "x" * 300, "x" * 301]
    made = [safe(name) for name in names]
    assert len(set(made)) == len(names)
    assert all("/" not in name and name not in ("", ".", "..") and len(name) < 120 for name in made)
