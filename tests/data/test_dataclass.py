"""Dataclasses that are made late are those of the standard library in all that is asked of them."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field
from threading import Barrier
from typing import Any, ClassVar, Generic, TypeVar

import pytest

from millrace.data.dataclass import OFTEN, dataclass, declared

T = TypeVar("T")
Declare = Callable[..., Any]


def _shapes(declare: Declare) -> dict[str, type[Any]]:
    """The same classes by each of both decorators."""

    @declare(frozen=True, slots=True)
    class Point:
        """A place."""

        kinds: ClassVar[tuple[str, ...]] = ("near", "far")
        x: int
        y: int = 0
        tags: list[str] = field(default_factory=list[str], compare=False)
        secret: str = field(default="hush", repr=False)

    @declare(frozen=True, slots=True)
    class Deep(Point):
        z: int = 3
        made: int = field(init=False, default=7)
        name: str = field(default="n", kw_only=True)

        def __post_init__(self) -> None:
            object.__setattr__(self, "made", self.x + self.z)

    @declare(slots=True)
    class Changing(Generic[T]):
        value: T
        seen: dict[str, int] = field(default_factory=dict[str, int])
        later: int = field(init=False, repr=False, compare=False)

    @declare(frozen=True, slots=True)
    class Own:
        value: int

        def __eq__(self, other: object) -> bool:
            return isinstance(other, type(self)) and self.value % 10 == other.value % 10

        def __hash__(self) -> int:
            return self.value % 10

        def __repr__(self) -> str:
            return "own"

    @declare(frozen=True, slots=True, order=True)
    class Sorted:
        major: int
        minor: int = 0

    @declare(slots=True)
    class Part(ABC):
        value: int

        @abstractmethod
        def whole(self) -> int: ...

    @declare(frozen=True, slots=True)
    class Empty: ...

    return {each.__name__: each for each in (Point, Deep, Changing, Own, Sorted, Part, Empty)}


OURS, THEIRS = _shapes(dataclass), _shapes(dataclasses.dataclass)

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("Point", (1,), {}),
    ("Point", (1, 2, ["a"], "s"), {}),
    ("Point", (), {"y": 5, "x": 4}),
    ("Deep", (1, 2), {"z": 5, "name": "m"}),
    ("Deep", (1,), {}),
    ("Changing", ("v",), {}),
    ("Changing", (), {"value": 1, "seen": {"a": 1}}),
    ("Own", (13,), {}),
    ("Sorted", (1,), {}),
    ("Empty", (), {}),
]


@dataclass(frozen=True, slots=True)
class Kept:
    """At the top of a module, where pickle finds it."""

    x: int
    names: tuple[str, ...] = ()


def _text(value: object) -> str:
    return repr(value)


@pytest.mark.parametrize(("name", "given", "named"), CALLS)
def test_an_instance_is_the_one_of_the_standard_library(
    name: str, given: tuple[Any, ...], named: dict[str, Any]
) -> None:
    ours, theirs = OURS[name](*given, **named), THEIRS[name](*given, **named)
    assert _text(ours) == _text(theirs)
    known = [each.name for each in dataclasses.fields(theirs) if hasattr(theirs, each.name)]
    assert [getattr(ours, each) for each in known] == [getattr(theirs, each) for each in known]
    assert (ours == OURS[name](*given, **named), ours == theirs) == (True, False)
    assert not hasattr(ours, "__dict__")
    if type(theirs).__hash__ is None:
        assert type(ours).__hash__ is None
    else:
        assert hash(ours) == hash(theirs)


@pytest.mark.parametrize("name", OURS)
def test_the_standard_library_tells_the_same_of_the_class(name: str) -> None:
    ours, theirs = _shapes(dataclass)[name], THEIRS[name]
    assert ours.__match_args__ == theirs.__match_args__
    told = [
        [(each.name, each.type, each.repr, each.init, each.compare, each.kw_only) for each in dataclasses.fields(cls)]
        for cls in (ours, theirs)
    ]
    assert told[0] == told[1]
    assert ours.__slots__ == theirs.__slots__
    assert ours.__dataclass_params__.frozen == theirs.__dataclass_params__.frozen
    assert (ours.__name__, ours.__module__, ours.__qualname__) == (
        theirs.__name__,
        theirs.__module__,
        theirs.__qualname__,
    )


@pytest.mark.parametrize(
    ("name", "given", "named"),
    [
        ("Point", (), {}),
        ("Point", (1, 2, [], "s", 5), {}),
        ("Point", (1,), {"w": 1}),
        ("Deep", (1,), {"made": 1}),
        ("Part", (1,), {}),
        ("Empty", (1,), {}),
    ],
)
def test_wrong_calls_are_refused_in_the_same_words(name: str, given: tuple[Any, ...], named: dict[str, Any]) -> None:
    told: list[str] = []
    for shapes in (_shapes(dataclass), _shapes(dataclasses.dataclass)):
        with pytest.raises(TypeError) as refused:
            shapes[name](*given, **named)
        told.append(str(refused.value))
    assert told[0] == told[1]


def test_a_frozen_instance_does_not_change() -> None:
    point = OURS["Point"](1)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'x'"):
        point.x = 2
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot delete field 'x'"):
        del point.x
    assert point.x == 1


def test_a_changed_copy_is_a_new_instance_with_the_rest_as_it_was() -> None:
    deep = dataclasses.replace(OURS["Deep"](1, 2, name="m"), z=9)
    assert (deep.x, deep.y, deep.z, deep.name, deep.made) == (1, 2, 9, "m", 10)
    assert dataclasses.asdict(OURS["Point"](1)) == {"x": 1, "y": 0, "tags": [], "secret": "hush"}


def test_an_instance_goes_through_pickle_and_copy() -> None:
    kept = Kept(1, ("a",))
    assert pickle.loads(pickle.dumps(kept)) == kept
    assert copy.deepcopy(kept) == kept == copy.copy(kept)


def test_values_are_matched_by_position() -> None:
    match Kept(4, ("b",)):
        case Kept(x, names):
            assert (x, names) == (4, ("b",))


def test_a_class_is_the_same_whichever_of_many_threads_asks_first() -> None:
    for _ in range(20):
        point = _shapes(declared)["Point"]
        together = Barrier(4)

        def ask(turn: int, point: Any = point, together: Barrier = together) -> str:
            together.wait()
            return _text(point(turn)) if turn % 2 else str([each.name for each in dataclasses.fields(point)])

        with ThreadPoolExecutor(4) as pool:
            told = list(pool.map(ask, range(4)))
        assert told[1].endswith("Point(x=1, y=0, tags=[])")
        assert told[0] == told[2] == "['x', 'y', 'tags', 'secret']"
        assert point(1).tags is not point(1).tags


def test_a_field_that_is_left_out_of_the_text_stays_out_of_it() -> None:
    assert "hush" not in _text(OURS["Deep"](1))


def test_pydantic_reads_such_a_class() -> None:
    from pydantic import TypeAdapter

    adapter = TypeAdapter(Kept)
    assert adapter.validate_python({"x": 1, "names": ["a"]}) == Kept(1, ("a",))
    assert adapter.dump_json(Kept(1, ("a",))) == b'{"x":1,"names":["a"]}'


@pytest.mark.parametrize("name", ["Point", "Deep", "Changing", "Own"])
def test_an_instance_that_is_made_often_is_the_same_as_the_first(name: str) -> None:
    ours, theirs = _shapes(declared)[name], _shapes(dataclasses.dataclass)[name]
    for _ in range(3 * OFTEN):
        assert repr(ours(2)) == repr(theirs(2))
    with pytest.raises(TypeError) as wrong:
        ours(2, nothing=3)
    with pytest.raises(TypeError) as known:
        theirs(2, nothing=3)
    assert str(wrong.value) == str(known.value)


def test_fields_in_an_impossible_order_are_refused_at_first_use() -> None:
    @declared(frozen=True, slots=True)
    class Wrong:
        first: int = 1
        second: int  # pyright: ignore[reportGeneralTypeIssues]

    with pytest.raises(SyntaxError):
        Wrong(1, 2)
