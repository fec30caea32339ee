"""`make check` finds what a connector's folder lacks, and nothing where nothing lacks."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tools.check import RULES, Connector, connectors, lacks, main
from tools.scaffold import scaffold

import millrace.sources


@pytest.fixture
def acme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connector]:
    """A source as `make new-source` leaves it, in a tree of its own."""
    scaffold("source", "acme", tmp_path)
    connector = Connector("source", "acme", tmp_path)
    monkeypatch.setattr(millrace.sources, "__path__", [*millrace.sources.__path__, str(connector.folder.parent)])
    importlib.invalidate_caches()
    yield connector
    for name in [name for name in sys.modules if name.startswith("millrace.sources.acme")]:
        del sys.modules[name]
    vars(millrace.sources).pop("acme", None)


@pytest.mark.parametrize("connector", connectors(), ids=lambda connector: connector.label)
def test_the_connectors_lack_nothing(connector: Connector) -> None:
    assert lacks(connector) == []


def test_a_new_source_lacks_only_the_link_to_its_real_documentation(acme: Connector) -> None:
    assert [word for word in lacks(acme) if "example.com" not in word] == []
    assert len(lacks(acme)) == 1


def edit(name: str, old: str, new: str) -> Callable[[Connector], None]:
    def edited(connector: Connector) -> None:
        path = connector.folder / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    return edited


def without(name: str) -> Callable[[Connector], None]:
    return lambda connector: (connector.root / name.format(folder=connector.folder)).unlink()


@pytest.mark.parametrize(
    ("harm", "word"),
    [
        (edit("source.py", "class Source(", "class Nothing("), "no class Source"),
        (edit("source.py", "class Source(source.Source[Config])", "class Source"), "not a subclass"),
        (edit("source.py", "def check(", "def checked("), "these methods are missing: check"),
        (edit("source.py", '    title = "Acme"\n', ""), "the class has no `title`"),
        (without("{folder}/README.md"), "README.md is missing"),
        (edit("README.md", "# Acme", "Acme"), "does not start with a heading"),
        (edit("README.md", "token", "key"), "does not say where one finds `token`"),
        (without("{folder}/icon.svg"), "icon.svg is missing"),
        (edit("icon.svg", "</svg>", ""), "icon.svg is not XML"),
        (edit("icon.svg", "svg", "html"), "icon.svg is not an SVG drawing"),
        (edit("icon.svg", " viewBox=", " data-box="), "icon.svg has no viewBox"),
        (edit("icon.svg", "</svg>", f"<!--{'x' * 20_000}--></svg>"), "keep it below"),
        (edit("icon.svg", "</svg>", "<script/></svg>"), "icon.svg has a script"),
        (edit("icon.svg", "</svg>", '<a href="https://a.example"/></svg>'), "takes something from elsewhere"),
        (edit("source.py", ', description="Orders in one page."', ""), "`page_size` has no description"),
        (edit("source.py", "Orders in one page.", "Orders"), "is not a sentence"),
        (edit("source.py", "token: Secret", "token: str"), "`token` looks like a secret"),
        (
            edit("source.py", "    token: Secret", '    model_config = {"extra": "ignore"}\n    token: Secret'),
            "takes unknown keys",
        ),
        (edit("source.py", "https://example.com/docs", "the docs"), "README.md links the system's documentation"),
        (without("tests/sources/acme/test_acme.py"), "tests/sources/acme/ has no tests"),
        (edit("source.py", "import pyarrow", "import httpx  # noqa: F401\nimport pyarrow"), "fixtures/ is missing"),
        (
            edit("source.py", "ORDERS: Rows", "from datetime import datetime\nAT = datetime.now()\nORDERS: Rows"),
            "clock",
        ),
        (edit("source.py", "ORDERS: Rows", "import time\ntime.sleep(0)\nORDERS: Rows"), "sleeps by itself"),
        (edit("source.py", "ORDERS: Rows", "print()\nORDERS: Rows"), "prints; use context.note"),
    ],
)
def test_what_is_taken_away_is_named(acme: Connector, harm: Callable[[Connector], None], word: str) -> None:
    harm(acme)
    assert any(word in said for said in lacks(acme))


def test_every_rule_says_what_it_is_for() -> None:
    assert all(rule.__doc__ for rule in RULES)


def test_the_exit_code_is_1_when_nothing_is_found_by_that_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["sources/nothing"]) == 1
    assert "no connector sources/nothing" in capsys.readouterr().err
