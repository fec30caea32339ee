"""`make new-source` and `make new-destination` leave folders that work, with tests that pass."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tools.scaffold import Unusable, scaffold

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the tree that a new connector stands among, with what Python has compiled of them."""
    being_written = shutil.ignore_patterns("*.pyc.*")
    for folder in ("src", "tools"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=being_written)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests").mkdir()
    for file in (ROOT / "tests").glob("*.py"):
        shutil.copy(file, tmp_path / "tests")
    return tmp_path


def run(copy: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """A Python module or file, run in the copy with the copy's sources."""
    return subprocess.run(
        [sys.executable, *words],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


# Each test of the contract opens the scaffold's file some ten times, which takes longer than all that it does there.
HELD_OPEN = """
from contextlib import nullcontext

import pytest
from tests.duckdb_files import staying_open


@pytest.fixture(autouse=True)
def held_open(request):
    with nullcontext() if "killed" in request.node.name else staying_open():
        yield
"""

FILES = {
    "source": ["README.md", "__init__.py", "icon.svg", "source.py"],
    "destination": ["README.md", "__init__.py", "destination.py", "icon.svg"],
}


def test_a_new_connector_works_and_its_test_passes(copy: Path) -> None:
    folders: list[Path] = []
    tests: list[str] = []
    for kind, files in FILES.items():
        made = run(copy, "tools/scaffold.py", kind, "shop_ware")
        assert made.returncode == 0, made.stderr
        folders.append(copy / f"src/millrace/{kind}s/shop_ware")
        assert sorted(path.name for path in folders[-1].iterdir()) == files
        tests.append(next(line.split()[-1] for line in made.stdout.splitlines() if "pytest" in line))
        for path in (*folders[-1].iterdir(), copy / tests[-1]):
            assert "acme" not in path.read_text("utf-8").lower(), path

    checked = run(copy, "tools/check.py", *(f"{kind}s/shop_ware" for kind in FILES))
    lacking = [line for line in checked.stdout.splitlines() if line.startswith("  - ")]
    assert len(lacking) == len(FILES), checked.stdout
    assert all("example.com" in line for line in lacking)

    (copy / "tests/contract/conftest.py").write_text(HELD_OPEN)
    # All of the contract is kept by DuckDB's own tests, and the scaffold is that: a part says that its test runs.
    light = "not TestContract or (append or merge or killed or hostile) and not 100000 and not elsewhere"
    passed = run(copy, "-m", "pytest", "--no-header", "-p", "no:xdist", "-k", light, *tests)
    assert passed.returncode == 0, passed.stdout + passed.stderr

    for words in (["ruff", "check"], ["ruff", "format", "--check"], ["pyright", "--pythonpath", sys.executable]):
        clean = run(copy, "-m", *words, *(folder.relative_to(copy) for folder in folders))
        assert clean.returncode == 0, clean.stdout + clean.stderr


@pytest.mark.parametrize("name", ["", "Acme", "2nd", "with space", "../escape", "class", "a__b", "a_"])
def test_a_name_that_cannot_be_one_is_refused_and_nothing_is_made(tmp_path: Path, name: str) -> None:
    with pytest.raises(Unusable, match="cannot be the name of a source"):
        scaffold("source", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_connector_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    first = scaffold("source", "acme", tmp_path)
    first[0].write_text("mine", "utf-8")
    with pytest.raises(Unusable, match="exists already"):
        scaffold("source", "acme", tmp_path)
    assert first[0].read_text("utf-8") == "mine"
