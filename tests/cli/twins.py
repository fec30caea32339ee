"""Two shops that are alike: commands on the home of one, and at a server over the home of the other."""

from __future__ import annotations

import getpass
import json
import re
import shutil
import sqlite3
from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cli.asking import Asked
from tests.cli.conftest import Shop, opened
from tests.cli.test_remote import Server, serving
from tests.control.people import cheap
from tests.rest.conftest import issued

from millrace.control import settings
from millrace.control.home import Home
from millrace.simulators.clevertap import Simulator

_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.\d]*(Z|\+00:00)?|\d+ (s|min) ago|just now|[\d.,]+ (rows/)?s\b|(?<=_ms.: )\d+"
    r"|next in \d+ (h|min)( \d+ (min|s))?"
)
_TOKEN = re.compile(r"(?<![\w-])(ms_)?[\w-]{43}(?![\w-])|mk_[0-9a-f]{24}")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class Twins:
    """What one says, the other says, too."""

    here: Shop
    there: Shop
    server: Server

    def ask(self, *words: str | Path, given: str = "") -> Asked:
        """A command, given both ways, with the same answer; what the server said. Each has files of its own."""
        local = self.here.ask(*words, given=given)
        remote = self.server.ask(self.there, *map(self._beside, words), given=given)
        here, there = self._told(local), self._told(remote)
        assert there == here, f"{' '.join(map(str, words))}:\n{here}\n{there}"
        return remote

    def done(self, *words: str | Path, given: str = "") -> Asked:
        """The same of a command that ends well."""
        asked = self.ask(*words, given=given)
        assert asked.code == 0, asked
        return asked

    def refused(self, code: str, *words: str | Path) -> None:
        """Both ways the command ends with an error of that code."""
        asked = self.ask(*words, "--json")
        assert (asked.code, asked.json["error"]["code"]) == (2, code), asked

    def _beside(self, word: str | Path) -> str | Path:
        if isinstance(word, Path) and word.is_relative_to(self.here.folder):
            return self.there.folder / word.relative_to(self.here.folder)
        return word

    def _told(self, asked: Asked) -> tuple[int, str, str]:
        """The answer without what must differ: who asked, when, and where."""
        return asked.code, self._plain(asked.out), self._plain(asked.err)

    def _plain(self, text: str) -> str:
        for shop in (self.here, self.there):
            text = text.replace(str(shop.folder), "FOLDER")
        for name in (json.dumps(getpass.getuser())[1:-1], "operator", "admin@example.com"):
            text = re.sub(rf"(?<![\w@]){re.escape(name)}(?![\w@])", "WHO", text)
        # Columns of a table are as wide as what is in them.
        return re.sub(r" +", " ", _TOKEN.sub("TOKEN", _ID.sub("ID", _MOMENT.sub("WHEN", text))))


@contextmanager
def twins(simulator: Simulator, folder: Path, *, run: bool = True) -> Generator[Twins]:
    """A shop whose pipeline has run once, and its copy."""
    (folder / "here").mkdir()
    here, there = opened(simulator, folder / "here"), Shop(simulator, folder / "there")
    asked = here.ask("run" if run else "apply", here.file)
    assert asked.code == 0, asked
    with Home.open(here.home, env={}) as home:
        keys = issued(cheap(home))
        settings.change(home, allow_private_addresses=True)  # as the server of the copy has it
    shutil.copytree(here.folder, there.folder)
    # Where a table was loaded stays, so the settings of the copy are moved underneath.
    with closing(sqlite3.connect(there.home / "millrace.db")) as database, database:
        database.execute("UPDATE connections SET config = replace(config, ?, ?)", (str(here.folder), str(there.folder)))
    with Home.open(there.home, env={}) as home, serving(home, keys) as server:
        yield Twins(here, there, server)
