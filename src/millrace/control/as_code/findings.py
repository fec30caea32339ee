"""What pydantic finds wrong with settings, in words: the code, the message, the hint, and the key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from millrace.connect.config import Settings
from millrace.data.dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong; ``path`` leads to the key, below the model. Holds no value of a secret field (I7)."""

    code: str
    message: str
    path: tuple[str | int, ...]
    hint: str | None = None
    text_expected: bool = False
    """A number or a truth value stands where text belongs."""


def findings(error: ValidationError, model: type[BaseModel], tags: frozenset[str] = frozenset()) -> Iterator[Finding]:
    """All that ``error`` says. ``tags`` are steps of pydantic's path that only name a branch of a union."""
    for one in error.errors(include_url=False):
        path = tuple(step for step in one["loc"] if step not in tags)
        yield _finding(one["type"], one["msg"], one.get("input"), one.get("ctx") or {}, path, model)


def nearest(word: str, known: Sequence[str], *, what: str = "Known keys") -> str:
    """A hint that names the nearest known word, or all of them."""
    from difflib import get_close_matches

    near = get_close_matches(word, known, n=1, cutoff=0.6) or [k for k in known if k.lower() == word.lower()]
    if near:
        return f"Did you mean {near[0]!r}?"
    return f"{what}: {', '.join(known)}." if known else "No key can stand here."


def _finding(
    kind: str, told: str, value: object, context: dict[str, Any], path: tuple[str | int, ...], model: type[BaseModel]
) -> Finding:
    owner = _model_at(model, path[:-1])
    key = str(path[-1]) if path else ""
    field = owner.model_fields.get(key) if owner else None
    about = field.description if field else None
    secret = bool(owner and issubclass(owner, Settings) and key in owner.secret_keys())
    shown = "this value" if secret or not isinstance(value, (str, int, float, bool)) else repr(value)
    shown = "empty" if value is None else shown
    match kind:
        case "extra_forbidden":
            return Finding("unknown_key", f"unknown key {key!r}", path, nearest(key, _keys(owner)))
        case "missing":
            return Finding("missing_key", f"{key!r} is missing", path, about)
        case "literal_error" | "enum":
            choices = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "").split(", ")
            hint = nearest(value, choices, what="Choices") if isinstance(value, str) and not secret else None
            return Finding("bad_value", f"{key!r} cannot be {shown}; it is one of {', '.join(choices)}", path, hint)
        case "string_type":
            return Finding("bad_value", f"{key!r} must be text", path, about, text_expected=True)
        case "value_error":
            return Finding("bad_value", told.removeprefix("Value error, "), path, about)
        case "list_type":
            return Finding("bad_value", f"{key!r} must be a list", path, about)
        case "path_type":
            hint = "Write a path that looks like a number in quotes." if isinstance(value, (int, float)) else about
            return Finding("bad_value", f"{key!r} must be the path of a file or a folder, as text", path, hint)
        case "dict_type" | "model_type" | "model_attributes_type":
            message = f"{key!r} must be a mapping of keys and values" if key else "the file must hold a mapping of keys"
            return Finding("bad_value", message, path, about)
        case _:
            reason = (
                told.removeprefix("Input ").replace("should ", "it should ", 1) if not secret else "it is not valid"
            )
            return Finding("bad_value", f"{key!r} cannot be {shown}: {reason}", path, about)


def _keys(owner: type[BaseModel] | None) -> list[str]:
    return [field.alias or name for name, field in owner.model_fields.items()] if owner else []


def _model_at(model: type[BaseModel], path: Sequence[str | int]) -> type[BaseModel] | None:
    at: Any = model
    for step in path:
        inside = [m for m in _models(at) if step in m.model_fields]
        if inside:
            at = inside[0].model_fields[str(step)].annotation
        elif not (args := get_args(at)):
            return None
        else:
            at = args[-1] if not _models(at) else next(iter(_models(at)))
    return next(iter(_models(at)), None)


def _models(annotation: Any) -> list[type[BaseModel]]:
    """The models that a value of this annotation can be, not those inside of containers."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    origin = getattr(annotation, "__origin__", None)
    if isinstance(origin, type) and issubclass(origin, (dict, list, tuple)):
        return []
    return [model for arg in get_args(annotation) for model in _models(arg)]
