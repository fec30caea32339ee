"""Millrace: pipelines from SaaS tools, databases and files into your warehouse, exactly once.

import millrace

millrace.run("pipelines.yaml")
millrace.read("clevertap", {...}).arrow()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from millrace.library import read, run

    __version__: str

__all__ = ["__version__", "read", "run"]


def __getattr__(name: str) -> Any:
    """Everything is imported at its first use, so that `import millrace` costs nothing."""
    if name in ("read", "run"):
        from millrace import library

        return getattr(library, name)
    if name == "__version__":
        from millrace.version import VERSION

        return VERSION
    raise AttributeError(f"module 'millrace' has no attribute {name!r}")


def __dir__() -> list[str]:
    """What a notebook offers while one types is there before its first use."""
    return sorted({*globals(), *__all__})
