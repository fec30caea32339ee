"""A part of building the wheel: it says so when the screens are missing, which `make web` builds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

# Hatchling is there when a wheel is built, and at no other time.
from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # pyright: ignore[reportMissingImports, reportUnknownVariableType]

PAGE = Path("src/millrace/rest/web/index.html")


class Screens(BuildHookInterface[Any]):  # pyright: ignore[reportUntypedBaseClass]
    """Looks for the screens. A wheel without them works, and its server says that it has none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        del build_data
        if version != "editable" and not (Path(self.root) / PAGE).is_file():
            self.app.display_warning("This wheel has no screens: run `make web` first, and build it again.")
