"""What the server says is shown with what is to be typed set apart: no backtick stands raw on a screen."""

from __future__ import annotations

import re
from pathlib import Path

SCREENS = Path(__file__).parents[2] / "web" / "src"
# Texts of the API as children of an element. Names, titles and what people wrote are no such texts.
RAW = re.compile(
    r"(?<![=$])\{\s*(?:capital\()?[\w.?\[\]]+\??\.(?:hint|message|error|unasked|verdict)\)?(?: \?\? [^{}]+)?\s*\}"
)
# A line of the log of activity and the words of a foreign error have no such signs.
PLAIN = {"capital(row.message)"}


def test_words_of_the_server_are_shown_by_the_one_part_that_reads_them() -> None:
    found = [
        f"{file.relative_to(SCREENS)}: {text}"
        for file in sorted(SCREENS.rglob("*.tsx"))
        for text in RAW.findall(file.read_text(encoding="utf-8"))
        if text.strip("{} \n") not in PLAIN
    ]
    assert found == []
