"""Properties that lie in columns are those of a dict, whichever way a script looks at them or changes them."""

from __future__ import annotations

import copy
import json
import pickle
import string
import xml.etree.ElementTree as ET
from collections import ChainMap, Counter, OrderedDict, UserDict, defaultdict
from collections.abc import Callable
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millrace.scripting import rows
from millrace.scripting.properties import Nested, Properties
from millrace.scripting.rows import ABSENT, Columns, RowProperties, Way, filled, row
from millrace.scripting.script import compiled

# Three rows of five columns: two that are whole, one of them JSON; and three that some rows have.
VALUES: dict[str, list[Any]] = {
    "a": [1, 2, 3],
    "d": ['{"k": [1]}', "null", "[1, {}]"],
    "s": [ABSENT, "x", "y"],
    "t": ['{"z": 0.12345678901234567890}', ABSENT, "7"],
    "b": [1.5, "", False],
    "u": [ABSENT, ABSENT, 9],
}
WHOLE, SPARSE, JSON = ["a", "d", "b"], ["s", "t", "u"], frozenset({"d", "t"})


class Given(Columns):
    def load(self, name: str) -> list[Any]:
        return list(VALUES[name])


def in_columns(at: int) -> RowProperties:
    found = row(Given(3, WHOLE, SPARSE, JSON, frozenset({"__hidden"})), Way())
    found.at = at
    return found


def in_a_dict(at: int) -> Properties:
    found = Properties({name: VALUES[name][at] for name in [*WHOLE, *SPARSE] if VALUES[name][at] is not ABSENT})
    found.lazy = JSON
    return found


def matched(p: Any) -> Any:
    match p:
        case {"a": found, "d": other, **rest}:
            return found, other, rest
        case _:
            return None


def nested_changed(p: Any, key: Any) -> None:
    if isinstance(p.get(key), dict):
        p[key]["new"] = 1
    elif isinstance(p.get(key), list):
        p[key].append(1)


def in_place_or(p: Any, key: Any) -> Any:
    before = p
    p |= {key: "or"}
    return p is before


# Whatever a script may do with one field, and with all of them.
WITH_ONE: dict[str, Callable[[Any, Any], Any]] = {
    "read": lambda p, key: p[key],
    "get": lambda p, key: p.get(key),
    "get or": lambda p, key: p.get(key, "or"),
    "in": lambda p, key: (key in p, key not in p),
    "has_key": lambda p, key: p.has_key(key),
    "set": lambda p, key: p.__setitem__(key, "set"),
    "set a number": lambda p, key: p.__setitem__(key, 7.5),
    "set a large number": lambda p, key: p.__setitem__(key, 1 << 80),
    "set nothing": lambda p, key: p.__setitem__(key, None),
    "set letters": lambda p, key: p.__setitem__(key, "é"),
    "set a list": lambda p, key: p.__setitem__(key, [1]),
    "delete": lambda p, key: p.__delitem__(key),
    "pop": lambda p, key: p.pop(key),
    "pop or": lambda p, key: p.pop(key, "or"),
    "setdefault": lambda p, key: p.setdefault(key, "default"),
    "update": lambda p, key: p.update({key: "updated", "n": 1}),
    "update by pairs": lambda p, key: p.update([(key, 3)], m=4),
    "or in place": in_place_or,
    "change what is nested": nested_changed,
    "format": lambda p, key: f"%({key})s" % p,
    "dict's own": lambda p, key: dict.__getitem__(p, key),
    "fromkeys": lambda p, key: type(p).fromkeys([key]),
}
WITH_ALL: dict[str, Callable[[Any], Any]] = {
    "len": len,
    "bool": bool,
    "not": lambda p: not p,
    "list": list,
    "tuple": tuple,
    "set": lambda p: sorted(set(p)),
    "sorted": sorted,
    "reversed": lambda p: list(reversed(p)),
    "loop": lambda p: [(key, p[key]) for key in p],
    "keys": lambda p: p.keys(),
    "values": lambda p: p.values(),
    "items": lambda p: p.items(),
    "iterkeys": lambda p: list(p.iterkeys()),
    "itervalues": lambda p: list(p.itervalues()),
    "iteritems": lambda p: list(p.iteritems()),
    "delete in a loop": lambda p: [p.pop(key) for key in p.keys() if key < "c"],  # noqa: SIM118  the list is the point
    "popitem": lambda p: p.popitem(),
    "clear": lambda p: p.clear(),
    "copy": lambda p: p.copy(),
    "copy.copy": copy.copy,
    "copy.deepcopy": copy.deepcopy,
    "pickle": lambda p: pickle.loads(pickle.dumps(p)),
    "dict": dict,
    "spread": lambda p: {"x": 1, **p},
    "keywords": lambda p: (lambda **found: found)(**p),
    "or": lambda p: p | {"a": "or"},
    "or of a dict": lambda p: {"a": "or"} | p,
    "update of a dict": lambda p: {}.update(p),
    "equal": lambda p: (p == {}, dict(p) == p, p != {}, [p] == [{}], p == Nested(p)),
    "repr": lambda p: (repr(p), str(p), f"{p}"),
    "json": json.dumps,
    "json in a list": lambda p: json.dumps([p, {"p": p}]),
    "json with spaces": lambda p: json.dumps(p, indent=1, sort_keys=True),
    "format": lambda p: "{a}{d}".format(**p),
    "format_map": lambda p: "{a}".format_map(p),
    "template": lambda p: string.Template("$a $d").substitute(p),
    "match": matched,
    "Counter": lambda p: list(Counter(p)),
    "OrderedDict": lambda p: dict(OrderedDict(p)),
    "defaultdict": lambda p: dict(defaultdict(int, p)),
    "UserDict": lambda p: dict(UserDict(p)),
    "ChainMap": lambda p: dict(ChainMap({}, p)),
    "proxy": lambda p: (dict(MappingProxyType(p)), MappingProxyType(p).get("a")),
    "namespace": lambda p: vars(SimpleNamespace(**p)),
    "element": lambda p: ET.Element("x", p).attrib,
    "class": lambda p: sorted(key for key in vars(type("X", (), p)) if len(key) == 1),
    "type": lambda p: type(p).__name__,
    "made by its type": lambda p: (type(p)(x=1), type(p)({"y": 2}), type(p)()),
    "set attribute": lambda p: setattr(p, "mark", 1),
    "hash": hash,
}
KEYS: list[Any] = ["a", "b", "d", "s", "t", "u", "n", "m", "", "__hidden", "\ud800", 1, None, ()]
DEEDS = st.one_of(
    st.tuples(st.sampled_from(sorted(WITH_ONE)), st.sampled_from(KEYS)),
    st.tuples(st.sampled_from(sorted(WITH_ALL))),
)


def done(p: Any, deed: tuple[Any, ...]) -> tuple[Any, ...]:
    """What came of it, as text: values, or the error and its words. What it gave may be the row itself."""
    try:
        answer = WITH_ONE[deed[0]](p, deed[1]) if len(deed) == 2 else WITH_ALL[deed[0]](p)
    except Exception as error:
        return type(error), str(error)
    return type(answer), repr(answer)


@given(st.integers(0, 2), st.lists(DEEDS, max_size=6))
@example(0, [("delete", "a"), ("set", "a"), ("items",)])
@example(1, [("set", "s"), ("set", "u"), ("delete", "s"), ("set", "s"), ("json",)])
@example(0, [("set", "n"), ("set", "m"), ("delete", "n"), ("set", "n"), ("keys",)])
@example(0, [("json",)])
def test_columns_and_a_dict_are_told_apart_by_nothing_but_time(at: int, deeds: list[tuple[Any, ...]]) -> None:
    lazy, plain = in_columns(at), in_a_dict(at)
    for deed in deeds:
        assert done(lazy, deed) == done(plain, deed), deed
    touched = lazy.done.touched() if type(lazy) is RowProperties else list(lazy.touched or ())
    assert touched == list(plain.touched or ())
    end = filled(lazy)
    assert type(end) is Properties
    assert list(dict.items(end)) == list(dict.items(plain))
    assert list(end.touched or ()) == list(plain.touched or ())
    assert end.items() == plain.items()


@pytest.mark.parametrize(
    "name", ["__getitem__", "get", "__contains__", "__setitem__", "__delitem__", "pop", "__iter__", "__len__", "items"]
)
def test_a_method_that_is_held_while_the_row_becomes_a_dict_works_on(name: str) -> None:
    given_ = {"__setitem__": ("b", 2), "__iter__": (), "__len__": (), "items": ()}.get(name, ("a",))
    lazy, plain = in_columns(0), in_a_dict(0)
    held, wanted = getattr(lazy, name), getattr(plain, name)
    filled(lazy)
    answers = [list(one) if name == "__iter__" else one for one in (held(*given_), wanted(*given_))]
    assert answers[0] == answers[1]
    assert list(dict.items(lazy)) == list(dict.items(plain))
    assert list(lazy.touched or ()) == list(plain.touched or ())
    held_bool = in_columns(0).__bool__
    filled(held_bool.__self__)
    assert held_bool()


@pytest.mark.parametrize("key", [[], {}])
@pytest.mark.parametrize("name", WITH_ONE)
def test_what_cannot_be_the_name_of_a_field_is_told_alike(name: str, key: Any) -> None:
    assert done(in_columns(0), (name, key)) == done(in_a_dict(0), (name, key))


def test_what_is_read_and_set_by_name_stays_in_columns() -> None:
    found = in_columns(2)
    assert (found["a"], found.get("s"), "u" in found, found.get("nope", 5)) == (3, "y", True, 5)
    found["a"] = found["b"] = "set"
    found["new"] = found.setdefault("other", 1)
    found.update({"a": 4}, b=5)
    del found["u"]
    assert found.pop("s") == "y"
    assert found["d"] == [1, {}]
    assert found
    assert type(found) is RowProperties
    assert found.done.touched() == ["a", "b", "other", "new", "u", "s", "d"]
    assert not found.settled


def test_rows_that_are_treated_alike_share_a_way_and_others_do_not() -> None:
    columns, first = Given(3, WHOLE, SPARSE, JSON, frozenset()), Way()
    ends: list[Way] = []
    for at, names in enumerate((["a", "n"], ["a", "n", "a", "n"], ["n", "a"])):
        found = row(columns, first)
        found.at = at
        for name in names:
            found[name] = at
        ends.append(found.done)
        # A column that is new is looked at once.
        assert found.settled == (at > 0)
    assert ends[0] is ends[1]
    assert ends[2].touched() == ["n", "a"]
    assert (columns["a"], columns["n"]) == ([0, 1, 2], [0, 1, 2])


@pytest.mark.parametrize("value", [[], {}, "é", 1 << 63, -(1 << 63) - 1, b"", type("S", (str,), {})("x"), object()])
def test_values_that_must_be_looked_at_are_known(value: Any) -> None:
    found = in_columns(0)
    found["a"] = value
    assert not found.settled


@pytest.mark.parametrize(("limit", "name"), [("MOST_NEW", "n1"), ("MOST_WAYS", "n1")])
def test_a_row_with_more_than_columns_take_becomes_a_dict(
    monkeypatch: pytest.MonkeyPatch, limit: str, name: str
) -> None:
    monkeypatch.setattr(rows, limit, 1)
    found = in_columns(0)
    found["n0"] = 0
    assert type(found) is RowProperties
    found[name] = 1
    assert type(found) is Properties
    assert list(found.touched or ()) == ["n0", "n1"]
    assert dict(found) == dict(in_a_dict(0)) | {"n0": 0, "n1": 1}


@pytest.mark.parametrize("do", [lambda p: p["d"], lambda p: p.pop("a"), lambda p: p.setdefault("n", 1)])
def test_ways_that_are_too_many_change_nothing_else(monkeypatch: pytest.MonkeyPatch, do: Callable[[Any], Any]) -> None:
    monkeypatch.setattr(rows, "MOST_WAYS", 0)
    found, plain = in_columns(0), in_a_dict(0)
    assert do(found) == do(plain)
    assert found == plain
    assert list(found.touched or ()) == list(plain.touched or ())


@pytest.mark.parametrize(
    ("line", "by_hand"),
    [
        ("dict.get(p, 'a')", True),
        ("list(map(dict.keys, [p]))", True),
        ("d = dict", True),
        ("f = (1, [dict])", True),
        ("getattr(dict, 'get')(p)", True),
        ("super(type(p), p).get('a')", True),
        ("p.attrib = p", True),
        ("dict(p)", False),
        ("isinstance(p, dict)", False),
        ("type(p) in (dict, list)", False),
        ("dict.fromkeys(p)", False),
        ("p.get('a')", False),
    ],
)
def test_scripts_that_look_past_the_methods_of_a_dict_are_known(line: str, by_hand: bool) -> None:
    source = f"def transform(event):\n    p = event.getProperties()\n    {line}\n    return event\n"
    assert compiled(source).by_hand is by_hand
