"""What is wrong with a chain of blocks, in words that name the block and the setting."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from millrace.errors import ConfigError, Problem

_SHOWN = 20
_BRANCHES = ("blocks", "true", "false")


class BlocksError(ConfigError):
    """A chain that cannot be run; all that was found is in ``problems``."""

    code = "blocks"

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        told = [one.message for one in problems[:_SHOWN]]
        if len(problems) > _SHOWN:
            told.append(f"… and {len(problems) - _SHOWN} more.")
        hints = list(dict.fromkeys(one.hint for one in problems[:_SHOWN] if one.hint))
        super().__init__("\n".join(told), hint=" ".join(hints) or None, path=first.path)
        self.problems = tuple(problems)


def mistakes(
    error: ValidationError, document: Any, model: type[BaseModel], types: Mapping[str, type[BaseModel]]
) -> list[Problem]:
    """Each thing that is wrong, once."""
    return list(dict.fromkeys(_problem(one, document, model, types) for one in error.errors(include_url=False)))


def _problem(one: ErrorDetails, document: Any, model: type[BaseModel], types: Mapping[str, type[BaseModel]]) -> Problem:
    where = _Place(document, model, types)
    for step in one["loc"]:
        where.go(step)
    message, hint = _told(one, where, types)
    return Problem("blocks", f"{where.told}{message}", hint, where.path)


class _Place:
    """Where in the document an error is: pydantic's path without the steps that only name a branch of a union."""

    def __init__(self, document: Any, model: type[BaseModel], types: Mapping[str, type[BaseModel]]) -> None:
        self._at = document
        self._types = types
        self._model: type[BaseModel] | None = model
        self._list = ""
        self._block = ""
        self._inside: list[str] = []
        self._path: list[str] = []
        self.keys: list[str] = []

    def go(self, step: str | int) -> None:
        if isinstance(step, str) and self._names_a_branch(step):
            return
        self.keys = _fields(self._model)
        self._path.append(str(step))
        if isinstance(step, int) and self._list in _BRANCHES:
            self._at = _at(self._at, step)
            found = cast("dict[str, Any]", self._at) if isinstance(self._at, dict) else {}
            id_, type_ = found.get("id"), found.get("type")
            kind = f"{type_}, " if type_ else ""
            self._block = f"Block {id_ or '?'} ({kind}number {step + 1})"
            self._model = self._types.get(str(type_))
            self._inside = []
        else:
            self._list = str(step)
            self._inside.append(str(step + 1) if isinstance(step, int) else step)
            self._at = _at(self._at, step)
            self._model = _below(self._model, step)

    def _names_a_branch(self, step: str) -> bool:
        """It is no key but says as what pydantic read the value: as this block, this kind of a part, this type."""
        if step in _keys(self._at) or step in _fields(self._model):
            return False
        return step in self._types or step in ("filter", "condition")

    @property
    def told(self) -> str:
        inside = ".".join(self._inside) if self._block or self._inside != ["blocks"] else ""
        place = ", ".join(part for part in (self._block, inside) if part)
        return f"{place}: " if place else ""

    @property
    def path(self) -> str:
        return ".".join(self._path)

    @property
    def key(self) -> str:
        return self._path[-1] if self._path else ""

    @property
    def model_keys(self) -> list[str]:
        """The keys of the last thing on the way that has keys."""
        return self.keys


def _told(one: ErrorDetails, where: _Place, types: Mapping[str, type[BaseModel]]) -> tuple[str, str | None]:
    context, value = one.get("ctx") or {}, one.get("input")
    match one["type"]:
        case "block" | "filter":
            told = str(context.get("told", one["msg"]))
            return told if told.endswith(".") else told + ".", context.get("hint")
        case "union_tag_invalid":
            type_ = str(context.get("tag", ""))
            return f"there is no block {type_!r}.", _nearest(type_, list(types), "The blocks are")
        case "union_tag_not_found":
            return "the block has no 'type'.", _nearest("", list(types), "The blocks are")
        case "extra_forbidden":
            return f"unknown key {where.key!r}.", _nearest(where.key, where.model_keys, "Known keys:")
        case "model_type" | "model_attributes_type" | "dict_type":
            return f"{_shown(value)} cannot stand here: it must be an object.", None
        case "missing":
            return f"{where.key!r} is missing.", None
        case "literal_error":
            choices = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
            near = _nearest(str(value), choices, "It is one of")
            return f"{_shown(value)} is none of {', '.join(choices)}.", near if near and near.startswith(
                "Did"
            ) else None
        case _:
            return f"{_shown(value)} cannot stand here: {one['msg'].removeprefix('Value error, ')}.", None


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, (str, int, float, bool)) or value is None else "the value"


def _nearest(word: str, known: Sequence[str], what: str) -> str | None:
    near = get_close_matches(word.upper(), [k.upper() for k in known], n=1, cutoff=0.6)
    if near:
        return f"Did you mean {next(k for k in known if k.upper() == near[0])}?"
    return f"{what} {', '.join(known)}." if known else None


def _keys(value: Any) -> set[str]:
    return set(cast("dict[str, Any]", value)) if isinstance(value, dict) else set()


def _at(value: Any, step: str | int) -> Any:
    try:
        return value[step]
    except (KeyError, IndexError, TypeError):
        return None


def _fields(model: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()] if model else []


def _below(model: type[BaseModel] | None, step: str | int) -> type[BaseModel] | None:
    """The model of what a key holds; that of the items where it holds a list."""
    if model is None or isinstance(step, int):
        return model
    field = model.model_fields.get(step)
    return next(_models(field.annotation), None) if field else None


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inside in getattr(annotation, "__args__", ()):
        yield from _models(inside)
