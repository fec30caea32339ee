"""What users' code may import and call. A convenience that gives clear errors early; the wall is the process.

Source: transformations.md 2.6.
"""

from __future__ import annotations

import ast
import builtins
import functools
import importlib
import io
import sys
import types
from collections.abc import Mapping, Sequence
from typing import Any

from .event import Event
from .times import TimeUtils
from .utils import Utils
from .values import sayable

_ALLOWED = """
__future__ base64 binascii bisect calendar collections copy csv dataclasses datetime dateutil decimal difflib enum
fractions functools hashlib heapq hmac html io itertools json math numbers operator pytz random re statistics string
struct textwrap time types typing ua_parser unicodedata urllib.parse uuid xml.etree.ElementTree zlib zoneinfo
"""
ALLOWED = frozenset(_ALLOWED.split())

API = ("millrace.api", "millrace", "io.hevo.api")

# What functions in C import in the name of the script that calls them: `datetime.strptime` its other half.
_BEHIND = frozenset({"_strptime", "copyreg", "unicodedata", "warnings"})

# Names of the builtins that scripts have. What is missing reaches files, other code or the process.
BUILTINS = tuple(
    name
    for name in dir(builtins)
    if name
    not in ("open", "exec", "eval", "compile", "input", "breakpoint", "__import__", "exit", "quit", "help", "copyright",
            "credits", "license", "__loader__", "__spec__", "memoryview", "vars", "globals", "locals")
)  # fmt: skip

# Names of Python 2, under which Python 3 has the same.
OLD_NAMES: dict[str, Any] = {
    "unicode": str, "long": int, "basestring": str, "xrange": range, "unichr": chr, "reduce": functools.reduce,
}  # fmt: skip

_PLAIN_DUNDERS = """
__name__ __doc__ __init__ __str__ __repr__ __len__ __eq__ __ne__ __lt__ __le__ __gt__ __ge__ __hash__ __call__ __iter__
__next__ __contains__ __getitem__ __setitem__ __delitem__ __enter__ __exit__ __add__ __sub__ __mul__ __truediv__
__floordiv__ __mod__ __bool__ __int__ __float__ __post_init__ __slots__ __all__ __future__
"""
_DUNDERS = frozenset(_PLAIN_DUNDERS.split())

_BY_NAME = ("getattr", "hasattr", "setattr", "delattr")


class NotAllowed(Exception):
    """Code asks for what scripts do not have. ``line`` is where, if it is known."""

    def __init__(self, message: str, line: int | None = None) -> None:
        super().__init__(message)
        self.line = line


def checked(tree: ast.Module) -> None:
    """Raises NotAllowed for imports and attributes that no script may use, with their line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                _check_module(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise NotAllowed("a script has no modules beside it to import from", node.lineno)
            _check_module(node.module or "", node.lineno)
        elif isinstance(node, ast.Attribute):
            _check_name(node.attr, node.lineno)
        elif isinstance(node, ast.Name):
            _check_name(node.id, node.lineno)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
            # `getattr(x, "__dict__")` is the same as `x.__dict__`.
            for argument in node.args:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    _check_name(argument.value, node.lineno)


def looks_into_dicts(tree: ast.Module) -> bool:
    """It may ask for what a dict keeps past the dict's own methods: `dict.get(p, "a")`, or an element of XML's.

    Nothing of safety rests on it. It is too careful rather than not careful enough: such a script is only slower.
    """
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(value=ast.Name(id="dict"), attr=name) if name != "fromkeys":
                return True
            case ast.Attribute(attr="attrib", ctx=ast.Store()):
                return True
            case ast.Call(func=ast.Name(id=called), args=[ast.Name(id="dict"), *_]) if called in _BY_NAME:
                return True
            # Under another name it may be anything.
            case ast.Assign(value=value) | ast.AnnAssign(value=value) | ast.NamedExpr(value=value) if (
                value is not None and _names_dict(value)
            ):
                return True
            case ast.alias(name="builtins") | ast.Call(func=ast.Name(id="super"), args=[_, *_]):
                return True
            case _:
                pass
    return False


def _names_dict(value: ast.expr) -> bool:
    """`dict` itself is the value, or in it, and not called."""
    match value:
        case ast.Name(id=name):
            return name == "dict"
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts) | ast.Dict(values=parts):
            return any(map(_names_dict, parts))
        case _:
            return False


def _check_name(name: str, line: int) -> None:
    if name.startswith("__") and name.endswith("__") and len(name) > 4 and name not in _DUNDERS:
        hint = "; use type(x)" if name == "__class__" else ""
        raise NotAllowed(f"{name} cannot be used in a script{hint}", line)


def _check_module(name: str, line: int | None = None) -> None:
    if name in API or _allowed(name):
        return
    from difflib import get_close_matches

    near = get_close_matches(name, sorted(ALLOWED), n=1)
    hint = f"; did you mean {near[0]}?" if near else f"; there are: {', '.join(sorted(ALLOWED - {'__future__'}))}"
    raise NotAllowed(f"the module {name!r} cannot be imported in a script{hint}", line)


def _allowed(name: str) -> bool:
    parts = name.split(".")
    if any(part.startswith("_") for part in parts) and name != "__future__":
        return False
    return any(".".join(parts[:end]) in ALLOWED for end in range(1, len(parts) + 1)) or _leads_to(name)


def _leads_to(name: str) -> bool:
    """A package on the way to an allowed module: `urllib` of `urllib.parse`."""
    return any(one.startswith(name + ".") for one in ALLOWED)


def api_module() -> types.ModuleType:
    """The module that scripts import `Event`, `Utils` and `TimeUtils` from."""
    module = types.ModuleType("millrace.api", "What transformations are written with.")
    module.__dict__.update(Event=Event, Utils=Utils, TimeUtils=TimeUtils)
    return module


def environment(name: str, printed: list[str], *, most_lines: int = 100) -> dict[str, Any]:
    """Globals for a script of that name: its builtins, and a `print` that writes into ``printed``."""
    api = api_module()
    package = types.ModuleType("millrace")
    package.__dict__["api"] = api
    hevo = types.ModuleType("io.hevo")
    hevo.__dict__["api"] = api
    streams = types.ModuleType("io", "Text and bytes in memory.")
    streams.__dict__.update(StringIO=io.StringIO, BytesIO=io.BytesIO, hevo=hevo)
    own = {"io": streams, "io.hevo": hevo, "io.hevo.api": api, "millrace": package, "millrace.api": api}

    def imported(
        name: str,
        globals: Mapping[str, Any] | None = None,
        locals: Mapping[str, Any] | None = None,
        fromlist: Sequence[str] | None = (),
        level: int = 0,
    ) -> types.ModuleType:
        del globals, locals
        if level:
            raise ImportError("a script has no modules beside it to import from")
        if name in own:
            return own[name] if fromlist else own[name.partition(".")[0]]
        if name not in _BEHIND:
            try:
                _check_module(name)
            except NotAllowed as wrong:
                raise ImportError(str(wrong)) from None
        found = importlib.import_module(name)
        for part in fromlist or ():
            if _allowed(f"{name}.{part}") and part != "*" and not hasattr(found, part):
                importlib.import_module(f"{name}.{part}")
        return found if fromlist else sys.modules[name.partition(".")[0]]

    def written(
        *values: object, sep: str | None = " ", end: str | None = "\n", file: Any = None, flush: bool = False
    ) -> None:
        del flush
        text = (" " if sep is None else sep).join(map(str, values))
        if file is not None:
            file.write(text + ("\n" if end is None else end))
        elif len(printed) < most_lines:
            printed.append(sayable(text[:1000]))

    known = {one: getattr(builtins, one) for one in BUILTINS}
    known |= OLD_NAMES | {"__import__": imported, "print": written}
    return {"__builtins__": known, "__name__": name}
