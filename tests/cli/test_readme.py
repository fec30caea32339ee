"""What the README shows works as it stands there, on the home of its quick start."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from tests.cli.asking import ask
from tests.cli.conftest import ACCOUNT, Shop

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
CHAIN = """\
[{"id": "hide", "type": "HASH_FIELDS", "settings": {"algorithm": "SHA-256"},
  "field_filters": [{"on": "FIELD_NAME", "op": "EQUALS", "value": "identity"}]}]
"""


def shown(language: str, having: str = "") -> list[str]:
    """The blocks of that language which have these words."""
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    return [block for block in blocks if having in block]


def commands() -> list[list[str]]:
    """What the README types, in its order; a server and a simulator have tests of their own."""
    lines = [line for block in shown("sh") for line in block.splitlines() if line.startswith("millrace ")]
    typed = [shlex.split(line, comments=True)[1:] for line in lines]
    return [words for words in typed if words[0] not in ("serve", "simulate")]


def test_every_command_of_the_readme_works_in_its_order(fresh: Shop, monkeypatch: pytest.MonkeyPatch):
    there = f"base_url: {fresh.simulator.base_url}\n        timezone: {ACCOUNT.timezone}\n        window_days: 31"
    (pipelines,) = shown("yaml", "events_file")
    pipelines = pipelines.replace("region: EU", f"region: EU\n        {there}")
    fresh.file.write_text(pipelines.replace("    load_mode:", "    keep_raw: 30d\n    load_mode:"))
    (script,) = shown("python", "def transform")
    (fresh.folder / "shop.py").write_text(script)
    (fresh.folder / "chain.json").write_text(CHAIN)
    monkeypatch.chdir(fresh.folder)
    env = {**fresh.env, "CLEVERTAP_PROJECT_ID": ACCOUNT.id}
    done: list[str] = []
    for words in commands():
        if words[0] == "trace":
            known = fresh.ask("query", "SELECT identity FROM events WHERE identity IS NOT NULL LIMIT 1", "--json").json
            words[-1] = f"identity={known['rows'][0][0]}"
        asked = ask(*words, *(["--yes"] if "set" in words else []), home=fresh.home, env=env)
        assert asked.code == 0, (words, asked)
        assert "failed" not in asked.out or " 0 failed" in asked.out, (words, asked)
        done.append(words[0])
    assert {"run", "status", "query", "reconcile", "transform", "mapping", "rejects", "trace", "replay"} == {*done}
