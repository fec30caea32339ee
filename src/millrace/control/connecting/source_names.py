"""What becomes of the names that a source would read, such as the events of a project, before anything is saved."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from typing import TYPE_CHECKING

from millrace.connect import registry
from millrace.connect.config import Settings
from millrace.connect.listed_names import ListedNames
from millrace.connect.source import Context
from millrace.control.connecting import aims, connections, files, reach
from millrace.control.pipeline import drafts
from millrace.control.running.clock import clock
from millrace.control.secrecy import secrets
from millrace.data.batch import JSON
from millrace.errors import ConfigError, MillraceError

if TYPE_CHECKING:
    from millrace.control.home import Home


def names(
    home: Home, type_: str, config: Mapping[str, JSON], *, source: str | None = None, draft: int | None = None
) -> ListedNames:
    """What becomes of each name that a source of the type with these settings would read.

    Secrets that are not given are those of the saved ``source``, or of the ``draft``, where it leads to the same place.
    Raises ConfigError where the type knows no names, the settings do not hold, or the file lies where others keep
    theirs: what may be named need not be shown.
    """
    home.actor.must("pipelines.edit")
    model, key = named(type_)
    config = files.placed(home, model, config)
    # Where the system is not asked, a file is read, whatever else the settings say.
    if (model.reads_names(config) or not model.asks_for_names(config)) and (path := config.get(key)) is not None:
        files.must_be_mine(home, {key: path})
    if source is not None:
        saved = connections.find(home, "source", source)
        of, kind, was, whole = f"source {source!r}", saved.type, saved.config, connections.opened(home, saved)
    elif draft is not None:
        home.actor.must("pipelines.create")
        kept, whole = drafts.opened(home, draft)
        of, kind, was = f"draft #{draft}", kept.source_type, kept.config
    else:
        of, kind, was, whole = "", type_, {}, {}
    if kind != type_:
        raise ConfigError(
            f"{of} is of the type {kind}, and its secrets are for no other",
            hint=f"Ask for the names of a {kind} source, or give all settings.",
            path="type",
            code="wrong_type",
        )
    hidden = {name: whole[name] for name in model.secret_keys() & whole.keys() if name not in config}
    if hidden:
        aims.must_stay(home, model, was, config, hidden, of)
    config = {**hidden, **config}
    try:
        return told(type_, config, Context(clock=clock(), reach=reach.of_source(home, type_, config)))
    except MillraceError as error:
        texts = [text for name in model.secret_keys() & config.keys() for text in secrets.texts(config[name])]
        error.message = secrets.redact(error.message, texts)
        raise


def told(type_: str, config: Mapping[str, JSON], context: Context) -> ListedNames:
    """The same without a home: of a file, or of what the system says."""
    model, key = named(type_)
    if not model.asks_for_names(config):
        if not (path := config.get(key)):
            raise ConfigError(f"{key} is missing", hint="Name the file.", path=key, code="missing")
        return model.names_in(str(path))
    settings = connections.validated("source", type_, config, where=type_)
    with closing(registry.source(type_)(settings, context)) as source:
        return source.listed_names()


def named(type_: str) -> tuple[type[Settings], str]:
    """The settings of a type of sources, and which of them names a file of names. Raises ConfigError for none."""
    model = connections.config_class("source", type_)
    if (key := model.names_key()) is None:
        raise ConfigError(
            f"sources of the type {type_} take no file of names",
            hint="`millrace check` tests the files that its settings name.",
            path="type",
            code="no_names",
        )
    return model, key
