"""The direction of imports, proven by import-linter, and the linter itself proven by imports that must not be."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LINT_IMPORTS = Path(sys.executable).with_name("lint-imports")


def lint(root: Path) -> tuple[int, str]:
    """Exit code and words of import-linter over the tree at ``root``."""
    done = subprocess.run(
        [LINT_IMPORTS, "--no-cache", "--no-logo"],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root / "src"), "NO_COLOR": "1", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tree of sources and its contracts, with two small connectors in it that nothing is wrong with."""
    ignored = shutil.ignore_patterns("__pycache__", "*.pyc")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for folder in ("sources/one", "sources/two", "destinations/one"):
        package = tmp_path / "src/millrace" / folder
        package.mkdir()
        (package / "__init__.py").write_text("")
        (package / "part.py").write_text("from millrace.connect import config\n")
    return tmp_path


def test_imports_point_down_only() -> None:
    code, said = lint(ROOT)
    assert code == 0, said


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("data/planted.py", "from millrace.connect import config", "Arrows point down only"),
        ("errors.py", "from millrace.data import batch", "Arrows point down only"),
        ("engine/planted.py", "from millrace.control.database import db", "Arrows point down only"),
        ("engine/planted.py", "import millrace.cli.main", "Arrows point down only"),
        ("control/planted.py", "import millrace.library", "Arrows point down only"),
        ("sources/one/part.py", "from millrace.sources.two import part", "Connectors are independent of each other"),
        ("sources/one/part.py", "import millrace.destinations.one.part", "Connectors are independent of each other"),
        ("sources/one/part.py", "import millrace.engine.stage", "Connectors import only connect, data and errors"),
        ("destinations/one/part.py", "import millrace.control.home", "Connectors import only connect, data and errors"),
        ("sources/one/part.py", "import millrace.simulators.server", "Connectors import only connect, data and errors"),
        ("control/planted.py", "import millrace.sources.one.part", "Nobody imports a connector by name"),
        ("connect/planted.py", "import millrace.destinations.one.part", "Nobody imports a connector by name"),
        ("simulators/planted.py", "import millrace.connect.config", "Simulators stand alone"),
    ],
)
def test_a_planted_import_breaks_its_contract(copy: Path, module: str, line: str, contract: str) -> None:
    planted = copy / "src/millrace" / module
    planted.write_text((planted.read_text() if planted.exists() else "") + f"\n\ndef planted():\n    {line}\n")
    code, said = lint(copy)
    assert code == 1, said
    assert f"{contract} BROKEN" in said


def test_the_copy_without_a_planted_import_holds(copy: Path) -> None:
    code, said = lint(copy)
    assert code == 0, said
