"""What libraries do when they are imported, and nobody has use for: left out, or done when somebody asks for it.

What a library, or Python, has no more by the name that it has here is done as ever: nothing is gained or lost.
"""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
import threading
import typing
from collections.abc import Callable
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

Method = Callable[..., Any]

# Libraries read these when they are imported. Arrow's own code takes its memory from the C library; pydantic does not
# look through all installed packages for plugins; the linear algebra of numpy, which we have no use for, starts no
# threads, which spin for a tenth of a second.
_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
_SETTINGS = {"ARROW_DEFAULT_MEMORY_POOL": "system", "OPENBLAS_NUM_THREADS": "1", _PLUGINS: "__all__"}
# What libraries write into their documentation when they are imported, which takes longer than the rest of
# `pyarrow.compute`; nobody reads it here.
_UNREAD = ("pyarrow.vendored.docscrape", "numpy._core._add_newdocs")
# Libraries whose dataclasses nobody makes settings, forms or documents of.
_UNLOOKED = ("annotated_types", "duckdb")


def spare() -> None:
    """Libraries that are imported from now on do less. For a process of ours alone."""
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    for name in _UNREAD:
        _instead(name, NumpyDocString=lambda _text: {"Parameters": ()})  # what `pyarrow.compute` asks for
    if os.environ[_PLUGINS] == _SETTINGS[_PLUGINS]:
        # Who looks for no plugins does not need the reader of installed packages, and what that brings along.
        _instead("pydantic.plugin._loader", get_plugins=lambda: ())
    # SQLAlchemy imports both, for what we do not ask of it.
    if "asyncio" not in sys.modules:
        _when_asked("asyncio").iscoroutine = lambda it: importlib.import_module("asyncio.coroutines").iscoroutine(it)
    if "importlib.metadata" not in sys.modules:
        _replace(importlib, "metadata", _when_asked("importlib.metadata"))
    if create := getattr(dataclasses, "_create_fn", None):
        _replace(dataclasses, "_create_fn", _later(create))
    # Python compiles each type that is named by text to see whether it can be: a thousand of SQLAlchemy's, of which
    # hardly any is looked up. Looked up, the text does as well.
    _replace(typing, "compile", _as_it_is)


def _instead(name: str, **content: Any) -> None:
    if name not in sys.modules:
        module = sys.modules[name] = ModuleType(name)
        vars(module).update(content)


def _replace(module: ModuleType, name: str, value: object) -> None:
    setattr(module, name, value)


class _Unmade(ModuleType):
    """A module that is made when somebody asks for what is in it; it is the same one then."""

    def __getattr__(self, name: str) -> Any:
        with _making:
            if self.__name__ in _unmade:
                _unmade.remove(self.__name__)
                assert self.__spec__ and self.__spec__.loader
                self.__spec__.loader.exec_module(self)
                _replace(self, "__class__", ModuleType)
        return ModuleType.__getattribute__(self, name)


_unmade: set[str] = set()
_making = threading.RLock()


def _when_asked(name: str) -> Any:
    spec = find_spec(name)
    assert spec
    module = sys.modules[name] = module_from_spec(spec)
    _unmade.add(name)
    _replace(module, "__class__", _Unmade)
    return module


def _as_it_is(text: str, *_how: Any) -> str:
    return text


def _later(create: Callable[..., Method]) -> Callable[..., Method]:
    """How the standard library makes a method of a dataclass, but when it is first called: of libraries most never are.
    Whoever looks at `__init__` sees its parameters, so that one is made at once, but where nobody looks."""

    def created(name: str, *how: Any, **beside: Any) -> Method:
        if name == "__init__" and beside["globals"]["__name__"].partition(".")[0] not in _UNLOOKED:
            return create(name, *how, **beside)
        method: Method | None = None

        def first(*given: Any, **named: Any) -> Any:
            nonlocal method
            method = method or create(name, *how, **beside)
            return method(*given, **named)

        first.__name__ = name
        return first

    return created
