"""Dataclasses that are cheap to declare: the standard library's, whose methods are made when they are first called.

`dataclasses` compiles six methods of every frozen class when it is declared, which takes half a millisecond. A small
sync declares 150 of ours and makes instances of half of them, mostly a few: `__init__` is compiled when it is called
often. What the standard library tells of a class (`fields`, `replace`, `asdict`, `is_dataclass`, what `match` takes by
position) comes from itself, when somebody asks.
"""

from __future__ import annotations

import dataclasses
import inspect
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, Field, FrozenInstanceError
from functools import lru_cache
from reprlib import recursive_repr
from types import MemberDescriptorType
from typing import TYPE_CHECKING, Any

Method = Callable[..., Any]

# To compile `__init__` takes as long as so many calls without take longer.
OFTEN = 100

_asking = threading.RLock()
# The classes that were written, by those that were made of them.
_written: dict[type, type] = {}


def declared(cls: type | None = None, /, *, frozen: bool = False, slots: bool = False, **rest: bool) -> Any:
    """As `dataclasses.dataclass`. Without slots, or with further settings, it is the standard library's own.

    Errors in the order of fields, or in their defaults, are told at first use, not at the declaration.
    """
    if cls is None:
        return lambda written: declared(written, frozen=frozen, slots=slots, **rest)
    written = cls
    if not slots or rest or any("InitVar" in str(hint) for hint in _hints(written).values()):
        return dataclasses.dataclass(frozen=frozen, slots=slots, **rest)(written)
    made = _slotted(written)
    _written[made] = written
    own = written.__dict__
    # A hash of the class's own stays. The one that Python sets where a class has `__eq__` is None.
    hashed = "__hash__" in own and not (own["__hash__"] is None and "__eq__" in own)
    if not hashed:
        _set(made, "__hash__", _later(made, "__hash__", _hash) if frozen else None)
    for name, make in (("__init__", _first_init), ("__repr__", _repr), ("__eq__", _eq)):
        if name not in own:
            _set(made, name, _later(made, name, make))
    if frozen:
        _set(made, "__setattr__", _refused_set)
        _set(made, "__delattr__", _refused_delete)
        for name, function in (("__getstate__", _state), ("__setstate__", _restore)):
            if name not in own:
                _set(made, name, function)
    _set(made, "__dataclass_fields__", _Told(made, "__dataclass_fields__", lambda: _fields(written, frozen)))
    _set(made, "__dataclass_params__", _Told(made, "__dataclass_params__", lambda: _params(frozen)))
    if "__match_args__" not in own:
        _set(made, "__match_args__", _Told(made, "__match_args__", lambda: _by_position(made)))
    return made


# A type checker sees the standard library's.
if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:
    dataclass = declared


def _hints(cls: type) -> dict[str, Any]:
    return inspect.get_annotations(cls)


def _set(cls: type, name: str, value: Any) -> None:
    type.__setattr__(cls, name, value)


def _slotted(written: type) -> type:
    """The same class, with a slot in place of each field of its own."""
    body = dict(written.__dict__)
    names = [name for name, hint in _hints(written).items() if "ClassVar" not in str(hint)]
    for name in (*names, "__dict__", "__weakref__"):
        body.pop(name, None)
    held = {slot for base in written.__mro__[1:-1] for slot in _slots(base)}
    body["__slots__"] = tuple(name for name in names if name not in held)
    made = type(written)(written.__name__, written.__bases__, body)
    made.__qualname__ = written.__qualname__
    return made


def _slots(base: type) -> tuple[str, ...]:
    found = base.__dict__.get("__slots__", ())
    return (found,) if isinstance(found, str) else tuple(found)


class _Told:
    """What is told of a class when somebody asks for it; from then on it stays."""

    __slots__ = ("_cls", "_name", "_tell")

    def __init__(self, cls: type, name: str, tell: Callable[[], Any]) -> None:
        self._cls, self._name, self._tell = cls, name, tell

    def __get__(self, instance: object, owner: type | None = None) -> Any:
        told = self._tell()
        _set(self._cls, self._name, told)
        return told


def _later(cls: type, name: str, make: Callable[[type], Method]) -> Method:
    """A method that gives its place to the real one when it is first called. If two threads make it, either will do."""

    def first(self: object, /, *args: Any, **named: Any) -> Any:
        method = _named(cls, name, make(cls))
        _set(cls, name, method)
        return method(self, *args, **named)

    first.__name__ = name
    return first


def _named(cls: type, name: str, method: Method) -> Method:
    method.__name__, method.__qualname__, method.__module__ = name, f"{cls.__qualname__}.{name}", cls.__module__
    return method


# What the standard library tells.


def _fields(written: type, frozen: bool) -> dict[str, Field[Any]]:
    """The fields, by name, those of bases first. ``written`` is the class before it had slots."""
    # Once only: the standard library takes what `field` said away from the class that it has looked at.
    with _asking:
        if "__dataclass_fields__" not in written.__dict__:
            # Otherwise it writes the signature as documentation, which takes longer than all the rest.
            written.__doc__ = written.__doc__ or written.__name__
            # It compiles two methods where it shall be frozen; only what inherits from a frozen class has to be.
            inherits = any("__dataclass_fields__" in base.__dict__ for base in written.__mro__[1:])
            plain = dataclasses.dataclass(
                init=False, repr=False, eq=False, match_args=False, frozen=frozen and inherits
            )
            plain(written)
        return written.__dict__["__dataclass_fields__"]


@lru_cache
def _params(frozen: bool) -> Any:
    return dataclasses.dataclass(frozen=frozen)(type("Params", (), {})).__dict__["__dataclass_params__"]


def _by_position(cls: type) -> tuple[str, ...]:
    return tuple(field.name for field in _each(cls) if field.init and not field.kw_only)


def _each(cls: Any) -> tuple[Field[Any], ...]:
    return dataclasses.fields(cls)


def _parts(cls: type) -> Mapping[str, Field[Any]]:
    """The fields as they were written, by name, those of bases first; the standard library, which takes ten times as
    long, is asked of what it has looked at already, and of what only it can read."""
    parts: dict[str, Field[Any]] = {}
    with _asking:
        for base in reversed(cls.__mro__):
            written = _written.get(base, base)
            if "__dataclass_fields__" in written.__dict__:
                parts |= {field.name: field for field in _each(written)}
            elif written is not base:
                for name, hint in _hints(written).items():
                    default: Any = getattr(written, name, MISSING)
                    default = MISSING if isinstance(default, MemberDescriptorType) else default
                    if "KW_ONLY" in str(hint) or type(default).__hash__ is None:
                        return {field.name: field for field in _each(cls)}
                    if "ClassVar" in str(hint):
                        continue
                    field: Field[Any] = default if isinstance(default, Field) else dataclasses.field(default=default)
                    parts[name] = field
    return parts


# The methods. Each is compiled from the names of the fields alone; what they hold comes beside it.


def _first_init(cls: type) -> Method:
    """`__init__` as long as it is not called often: it looks at what is given, field by field. A call that is wrong is
    left to the one that is compiled, which says so in Python's words."""
    parts = _parts(cls)
    at = [name for name, field in parts.items() if field.init and field.kw_only is not True]
    # Its value where none is given, or what makes one.
    rest = [(name, field.default, field.default_factory, field.init) for name, field in parts.items()]
    needed = [parts[name].default is parts[name].default_factory for name in at]  # both are missing
    if needed != sorted(needed, reverse=True):
        return _init(cls)  # which cannot be
    put, prepared = object.__setattr__, hasattr(cls, "__post_init__")
    calls = 0

    def init(self: Any, /, *args: Any, **named: Any) -> None:
        nonlocal calls
        calls += 1
        given = {**dict(zip(at, args, strict=False)), **named}
        if calls > OFTEN or len(given) < len(args) + len(named):
            return compiled(self, *args, **named)
        for name, default, make, asked in rest:
            if asked and name in given:
                put(self, name, given.pop(name))
            elif default is not MISSING:
                put(self, name, default)
            elif make is not MISSING:
                put(self, name, make())
            elif asked:
                return compiled(self, *args, **named)
        if given:
            return compiled(self, *args, **named)
        if prepared:
            self.__post_init__()
        return None

    def compiled(self: Any, *args: Any, **named: Any) -> None:
        method = _named(cls, "__init__", _init(cls))
        _set(cls, "__init__", method)
        method(self, *args, **named)

    return init


def _init(cls: type) -> Method:
    given: dict[str, Any] = {"__missing": MISSING, "__put": object.__setattr__}
    at, by_name, body = ["self"], list[str](), list[str]()
    for name, field in _parts(cls).items():
        value = name
        if field.default is not MISSING:
            given[f"__default_{name}"] = field.default
            parameter, value_of = f"{name}=__default_{name}", f"__default_{name}"
        elif field.default_factory is not MISSING:
            given[f"__make_{name}"] = field.default_factory
            parameter, value_of = f"{name}=__missing", f"__make_{name}()"
            value = f"{value_of} if {name} is __missing else {name}"
        else:
            parameter, value_of = name, ""
        if field.init:
            (by_name if field.kw_only is True else at).append(parameter)
        else:
            value = value_of
        if value:
            body.append(f"__put(self, {name!r}, {value})")
    if hasattr(cls, "__post_init__"):
        body.append("self.__post_init__()")
    if by_name:
        at += ["*", *by_name]
    return _compiled("__init__", at, body, given)


def _repr(cls: type) -> Method:
    shown = ", ".join(f"{name}={{self.{name}!r}}" for name, field in _parts(cls).items() if field.repr)
    method = _compiled("__repr__", ["self"], [f"return f'{{type(self).__qualname__}}({shown})'"], {})
    return recursive_repr()(method)


def _eq(cls: type) -> Method:
    names = [name for name, field in _parts(cls).items() if field.compare]
    same = f"return {_tuple('self', names)} == {_tuple('other', names)}"
    body = ["if other.__class__ is self.__class__:", f"    {same}", "return NotImplemented"]
    return _compiled("__eq__", ["self", "other"], body, {})


def _hash(cls: type) -> Method:
    parts = _parts(cls).items()
    names = [name for name, field in parts if (field.compare if field.hash is None else field.hash)]
    return _compiled("__hash__", ["self"], [f"return hash({_tuple('self', names)})"], {})


def _tuple(of: str, names: list[str]) -> str:
    return f"({''.join(f'{of}.{name}, ' for name in names)})"


def _compiled(name: str, parameters: list[str], body: list[str], given: dict[str, Any]) -> Method:
    lines = "".join(f"    {line}\n" for line in body) or "    pass\n"
    exec(f"def {name}({', '.join(parameters)}):\n{lines}", given)  # noqa: S102 - names of fields and nothing else
    return given[name]


# What all frozen classes share.


def _refused_set(_self: object, name: str, _value: Any) -> None:
    raise FrozenInstanceError(f"cannot assign to field {name!r}")


def _refused_delete(_self: object, name: str) -> None:
    raise FrozenInstanceError(f"cannot delete field {name!r}")


def _values(self: Any) -> Iterator[tuple[str, Any]]:
    for field in _each(type(self)):
        yield field.name, getattr(self, field.name)


def _state(self: object) -> dict[str, Any]:
    return dict(_values(self))


def _restore(self: object, state: dict[str, Any]) -> None:
    for name, value in state.items():
        object.__setattr__(self, name, value)
