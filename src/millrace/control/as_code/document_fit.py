"""What a file says, brought into the shape of a model; what does not fit is a problem of the file."""

from __future__ import annotations

from pydantic import BaseModel, ValidationError

from millrace.connect.config import Settings
from millrace.control.as_code.document_schema import TAGS
from millrace.control.as_code.findings import findings, nearest
from millrace.control.as_code.places import Path as Keys
from millrace.control.as_code.places import Tree
from millrace.data.batch import JSON
from millrace.errors import MillraceError


def fitted(model: type[BaseModel], tree: Tree, at: Keys, value: JSON) -> JSON:
    """``value`` once it fits ``model``; None, and problems in the tree, when it does not.

    A number where text belongs is put back into the text of the file (`007`, `1e5` in a password).
    """
    if issubclass(model, Settings):
        value = _known(model, tree, at, value)
    for attempt in ("as read", "with numbers as text"):
        try:
            model.model_validate(value)
            return value
        except ValidationError as error:
            found = list(findings(error, model, TAGS))
        except MillraceError as error:
            tree.report(error.code, error.message, (*at, *(error.path or "").split(".")), error.hint)
            return None
        texts = {one.path: tree.text((*at, *one.path)) for one in found if one.text_expected}
        for path, text in texts.items():
            value = value if text is None else _with(value, path, text)
        if not any(texts.values()) or attempt == "with numbers as text":
            for one in found:
                tree.report(one.code, one.message, (*at, *one.path), one.hint)
            return None
    return None


def rest(model: type[BaseModel], value: JSON) -> JSON:
    """``value`` without the keys that do not fit, so that what else is wrong is told too; None if that is no rest."""
    try:
        model.model_validate(value)
    except ValidationError as error:
        for one in findings(error, model, TAGS):
            value = _without(value, one.path) if one.code != "missing_key" else value
    try:
        model.model_validate(value)
    except ValidationError:
        return None
    return value


def _without(value: JSON, path: Keys) -> JSON:
    """``value`` without the key that ``path`` ends in, if it is there."""
    if not path or not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {key: one for key, one in value.items() if key != path[0]}  # pyright: ignore[reportUnknownVariableType]  # YAML
    return {**value, path[0]: _without(value[path[0]], path[1:])}


def _known(model: type[Settings], tree: Tree, at: Keys, value: JSON) -> JSON:
    """``value`` without keys that the model lacks; each is a problem, whatever else is wrong with the settings."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    for key in value.keys() - {*known}:
        tree.report("unknown_key", f"unknown key {key!r}", (*at, key), nearest(key, known))
    return {key: one for key, one in value.items() if key in known}


def _with(value: JSON, path: Keys, text: str) -> JSON:
    """``value`` with ``text`` at ``path``."""
    if not path:
        return text
    copy: JSON = value.copy()
    copy[path[0]] = _with(copy[path[0]], path[1:], text)
    return copy
