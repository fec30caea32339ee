"""The addresses of the screens, as `web/src/app/routes.tsx` has them."""

from __future__ import annotations

import re
from pathlib import Path

FILE = Path(__file__).parents[2] / "web" / "src" / "app" / "routes.tsx"
TOKEN = re.compile(r"path: '(?P<path>[^']*)'|(?P<index>index: true)|children: (?P<named>\w+)|(?P<mark>[{}\[\]])")
NAMED = re.compile(r"^const (\w+): RouteObject\[\] = (\[.*?\]);$", re.DOTALL | re.MULTILINE)


def routes() -> list[str]:
    """Each pattern of an address, like `/pipelines/:pipeline/jobs`; those that only surround others are there too."""
    text = FILE.read_text()
    named = {name: list(_within(body)) for name, body in NAMED.findall(text)}
    found: list[str] = []
    for path in _within(text[text.index("createBrowserRouter([") :], named):
        if path not in found:
            found.append(path)
    return found


def _within(text: str, named: dict[str, list[str]] | None = None) -> list[str]:
    found: list[str] = []
    # The address above each object that is open: objects of other kinds than routes add nothing to it.
    above: list[str] = [""]
    for token in TOKEN.finditer(re.sub(r"import\('[^']*'\)|\{ wide: true \}|<[^>]*>", "", text)):
        if token["mark"] == "{":
            above.append(above[-1])
        elif token["mark"] == "}":
            above.pop()
        elif token["path"] is not None:
            above[-1] = f"{above[-2].rstrip('/')}/{token['path'].lstrip('/')}"
            found.append(above[-1])
        elif token["index"]:
            found.append(above[-2] or "/")
        elif token["named"]:
            found += [f"{above[-1]}{below}" for below in (named or {})[token["named"]]]
    return found


def reached(address: str, known: list[str]) -> str:
    """The pattern by which an address is shown: of those that fit, the one with the most words of its own."""
    fitting = [one for one in known if re.fullmatch(_expression(one), address.partition("?")[0])]
    return max(fitting, key=lambda one: (one != "/*", -one.count(":"), one.count("/")))


def _expression(pattern: str) -> str:
    if pattern == "/*":
        return "/.*"
    # re.escape leaves `:` and `/` as they are.
    return re.sub(r"/:\w+\\\?", "(?:/[^/]+)?", re.sub(r"/:\w+(?!\w|\\)", "/[^/]+", re.escape(pattern)))
