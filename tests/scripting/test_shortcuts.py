"""A script whose fields take the short way does what the same script does without."""

from __future__ import annotations

import ast
import textwrap
import traceback
from collections.abc import Callable
from typing import Any

import pytest

from millrace.scripting import rows
from millrace.scripting.properties import Properties
from millrace.scripting.rows import ABSENT, NO_ROW, Columns, RowProperties, Way, filled, row
from millrace.scripting.script import compiled
from millrace.scripting.shortcuts import prepared, shortened

VALUES: dict[str, list[Any]] = {
    "a": [1, 2, 3],
    "b": [1.5, "", None],
    "s": [ABSENT, "x", ABSENT],
    "d": ['{"k": [1]}', "null", "[1]"],
}


class Given(Columns):
    def load(self, name: str) -> list[Any]:
        return list(VALUES[name])


def made(source: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The globals of the script, and its shortcuts."""
    tree = ast.parse(textwrap.dedent(source), "script.py")
    fields = shortened(tree)
    scope: dict[str, Any] = {"__name__": "script"}
    prepared(scope, fields)
    exec(compile(tree, "script.py", "exec", dont_inherit=True), scope)
    return scope, fields


def as_written(source: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "script"}
    exec(compile(textwrap.dedent(source), "script.py", "exec", dont_inherit=True), scope)
    return scope


def outcome(do: Callable[..., Any], *given: Any) -> Any:
    try:
        return repr(do(*given))
    except Exception as error:
        lines = [one.lineno for one in traceback.extract_tb(error.__traceback__) if one.filename == "script.py"]
        return type(error), str(error), lines


def properties(at: int, scope: dict[str, Any], fields: dict[str, str]) -> tuple[RowProperties, Properties]:
    """The row in columns, and the same as a dict."""
    columns = Given(3, ["a", "b", "d"], ["s"], frozenset({"d"}), frozenset({"__hidden"}), fields, scope)
    lazy = row(columns, Way())
    lazy.at = at
    plain = Properties({name: VALUES[name][at] for name in "abds" if VALUES[name][at] is not ABSENT})
    plain.lazy = frozenset({"d"})
    return lazy, plain


BODIES = {
    "reads": "return p['a'], p['b'], p.get('a'), p.get('b', 7), p['a']",
    "reads what is not there": "x = p['a']\n\n    return x + p['s']",
    "gets what is not there": "return p.get('s'), p.get('s', 'no'), p.get('nope'), p.get('nope', -1)",
    "reads what is nested": "p['d']; return p['d'], p.get('d')",
    "changes what is nested": "x = p['d']\n    if x: x[next(iter(x))] = 5\n    return p['d']",
    "sets": "p['a'] = 5; p['n'] = 'x'; p['n'] = 1.5; return p['a'], p['n'], p.get('n'), p",
    "sets what is ours": "p['__hidden'] = 1; return p['__hidden'], p",
    "sets what nobody may set": "p['a'] = 1 / 0",
    "sets in the order of Python": "p['a'] = q['b']",
    "sets a field by itself": "p['a'] = p['a'] * 2; p['a'] += 1; p['b'] = p['a']; return p",
    "sets two at once": "p['a'] = p['m'] = 5; p['x'], p['y'] = 1, 2; return p",
    "deletes": "del p['a']; x = p.get('a', 'gone'); p['a'] = 1; return x, p['a'], p",
    "becomes a dict": "p['a'] = 7; len(p); p['a'] = 8; p['n'] = p['a']; return p['a'], p.get('b'), p",
    "becomes a dict in between": "return [p['a'], len(p), p['a'], p.pop('a'), p.get('a')]",
    "has it under another name": "q = p; q['a'] = 4; return p['a'], (lambda: q['a'])(), [q['a'] for _ in '12']",
    "has other dicts": "q = {'a': 1}; q['b'] = p['a']; return q['a'], q['b'], q.get('a'), q.get('z', 1)",
    "has lists": "q = [1]; return q['a']",
    "sets in lists": "q = [1]\n    q['a'] = 2",
    "sets in text": "q = 'abc'\n    q['a'] = 2",
    "has nothing": "q = None; return q['a']",
    "calls with names": "return p.get('a', default=1)",
    "has a name that is not bound": "if p['a'] > 99: q = p\n    return q['a']",
    "sets where nothing is bound": "if p['a'] > 99: q = p\n    q['a'] = 1",
    "has a class": "class C(dict):\n        def __getitem__(self, key): return key * 2\n    return C()['a'], p['a']",
    "annotates": "def f(x: p['nope'] = p['a'], *y: p['nope']) -> p['nope']: return x\n    return 1",
    "annotates names": "x: p['nope'] = p['a']\n    return x",
    "matches": "match p['a']:\n        case 1: return 'one'\n        case x if p['a'] > 2: return x",
    "nests": "q = {'a': {'b': 2}}; q['a']['b'] = q['a']['b'] + p['a']; return q",
    "walks": "q = {'b': 0}; return [q['b'] for q in [{'b': p['a']}]], q['b']",
    "text": "return f\"{p['a']} {p['b']=} {p.get('a')!r:>5}\"",
    "yields": "return list(p['a'] for _ in range(2))",
}


@pytest.mark.parametrize("at", [0, 1, 2])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_the_short_way_is_told_by_nothing_but_time(body: str, at: int) -> None:
    source = f"def f(p):\n    {body}\n"
    scope, fields = made(source)
    lazy, plain = properties(at, scope, fields)
    wanted = outcome(as_written(source)["f"], plain)
    assert outcome(scope["f"], lazy) == wanted
    assert list(filled(lazy).touched or ()) == list(plain.touched or ())
    assert list(dict.items(lazy)) == list(dict.items(plain))


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_what_is_not_the_given_event_is_what_it_is(body: str) -> None:
    source = f"def f(p):\n    {body}\n"
    given: tuple[Any, ...] = ({"a": 1, "b": 2, "d": [1]}, Properties({"a": 1, "b": 2, "d": {"k": 1}}), {}, [], None)
    for one, other in zip(given, [dict(given[0]), Properties(given[1]), {}, [], None], strict=True):
        assert outcome(made(source)[0]["f"], one) == outcome(as_written(source)["f"], other)


def test_the_short_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    scope, fields = made("def f(p):\n    p['n'] = p['a'] + p.get('a', 1)\n    return p['n'], p.get('n')\n")
    lazy, _ = properties(1, scope, fields)
    assert scope["f"](lazy) == (4, 4)
    # From the second time on nobody asks the dict.
    for name in ("__getitem__", "get", "__setitem__"):
        monkeypatch.setattr(RowProperties, name, None)
    assert scope["f"](lazy) == (4, 4)
    lazy.at = 2
    assert scope["f"](lazy) == (6, 6)
    lazy.columns.end()
    assert {name: value for name, value in scope.items() if name[0] == "@"} == {
        "@row": NO_ROW, "@absent": ABSENT, "@put": rows.put, "@0": (), "@1": (),
    }  # fmt: skip


def test_only_one_row_is_the_scripts_and_none_when_it_is_kept() -> None:
    scope, fields = made("def f(p):\n    return p['a']\n")
    first, _ = properties(0, scope, fields)
    assert scope["f"](first) == 1
    filled(first)["a"] = 9
    assert scope["f"](first) == 9
    second = row(
        first.columns if type(first) is RowProperties else Given(3, ["a"], [], frozenset(), frozenset()), Way()
    )
    second.at = 2
    assert (scope["f"](second), scope["f"](first)) == (3, 9)


def test_annotations_are_the_text_that_the_author_wrote() -> None:
    source = """
    from __future__ import annotations
    def f(x: d['k'], /, *y: d['k'], z: d.get('k') = 1, **q: d['k']) -> d['k']:
        y: d['k'] = 1
    class C:
        x: d['k'] = 1
    """
    scope, wanted = made(source)[0], as_written(source)
    assert scope["f"].__annotations__ == wanted["f"].__annotations__
    assert scope["C"].__annotations__ == wanted["C"].__annotations__


@pytest.mark.parametrize("depth", [50, 400, 900])
def test_a_script_that_nests_deep_is_compiled_as_before(depth: int) -> None:
    source = "def transform(event):\n    p = event.getProperties()\n    p['n'] = " + "+".join(["p['a']"] * depth)
    try:
        compile(source, "script.py", "exec")
    except RecursionError:
        pytest.fail("Python itself cannot compile it")
    assert compiled(source + "\n    return event\n").transform
