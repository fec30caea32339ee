"""Commands in hints go into a shell as they are shown."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import millrace
from millrace.errors import as_typed

SOURCES = Path(millrace.__file__).parent
# A command with something in it that is put there when it is shown.
PUT_TOGETHER = re.compile(r"""millrace(?: [a-z-]+)+ [^`'"]*\{""")
# What is put there is a number, or words of ours.
HARMLESS = {"cli/sso.py", "cli/objects.py", "cli/file_log.py", "cli/alerts.py", "control/alerting/alert_messages.py"}


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))))
def test_a_command_is_read_by_a_shell_as_it_was_meant(words: list[str]) -> None:
    assert shlex.split(as_typed(*words)) == ["millrace", *words]


def test_no_command_with_a_name_in_it_is_put_together_by_hand() -> None:
    files = [path for path in SOURCES.rglob("*.py") if str(path.relative_to(SOURCES)) not in HARMLESS]
    found = {str(path): PUT_TOGETHER.findall(path.read_text(encoding="utf-8")) for path in files}
    assert {path: some for path, some in found.items() if some} == {}
    assert PUT_TOGETHER.search('f"Run `millrace rejects list --pipeline {name}`."')
