"""A part of building the wheel: the native library goes in, and it says so when the screens are missing.

A wheel with the library is for one platform; with `MILLRACE_NATIVE=0` it is for all, and what it installs is slower.
An editable install builds the library where the loader looks for it.
"""

from __future__ import annotations

import os
import platform
import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

# Hatchling is there when a wheel is built, and for tests.
from hatchling.builders.hooks.plugin.interface import BuildHookInterface  # pyright: ignore[reportMissingImports, reportUnknownVariableType]  maybe not here
from packaging.tags import platform_tags  # pyright: ignore[reportMissingImports, reportUnknownVariableType]  as above

PAGE = Path("src/millrace/rest/web/index.html")


class Parts(BuildHookInterface[Any]):  # pyright: ignore[reportUntypedBaseClass]  as above
    """Builds the library; looks for the screens, without which a wheel works, and its server says that it has none."""

    def dependencies(self) -> list[str]:
        """A compiler, where the machine has none."""
        return ["ziglang>=0.13"] if self._wanted() and not self._native()["compiler"]() else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version != "editable" and not (Path(self.root) / PAGE).is_file():
            self.app.display_warning("This wheel has no screens: run `make web` first, and build it again.")
        if not self._wanted():
            return
        native = self._native()
        try:
            if version == "editable":
                native["build"](Path(self.root))
                return
            # Made anew for the wheel: what lies in the package may be of another compiler, for another C library.
            self._scratch = TemporaryDirectory()
            made = native["build"](Path(self.root), Path(self._scratch.name) / native["LIBRARY"].name)
        except native["NotBuilt"] as error:
            self.app.abort(f"The native library could not be built. {error}\n{native['WITHOUT']}")
            raise
        build_data["force_include"][str(made)] = str(native["LIBRARY"].relative_to("src"))
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{_platform(native)}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        del version, build_data, artifact_path
        if hasattr(self, "_scratch"):
            self._scratch.cleanup()

    def _native(self) -> dict[str, Any]:
        """`tools/native.py`, which is not on the path when a wheel is built."""
        return runpy.run_path(str(Path(self.root) / "tools" / "native.py"))

    def _wanted(self) -> bool:
        return os.environ.get("MILLRACE_NATIVE") != "0"


def _platform(native: dict[str, Any]) -> str:
    """Where the library loads. The compiler of the machine links against the C library of the machine."""
    if native["glibc_target"](native["compiler"]()):
        return f"manylinux_{'_'.join(map(str, native['GLIBC']))}_{platform.machine()}"
    return next(iter(platform_tags()))
