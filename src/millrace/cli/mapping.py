"""`millrace mapping`: the Schema Mapper. Where event types and fields go, changed by hand, version by version."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.documents import told
from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.paging import LIMIT, newest_first
from millrace.cli.pipelines import ANY, PIPELINE, YES, chosen, confirmed
from millrace.cli.text import State, ago, bold, count, dim, mark, table
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.desk import Desk
    from millrace.control.mapper.mapping_plans import Plan
    from millrace.control.mapper.mapping_versions import Difference
    from millrace.control.mapper.mapping_views import Field, Overview, Shown
    from millrace.control.mapper.mappings import Bulk
    from millrace.control.operations.mappings import Version

EVENT_TYPE = typer.Argument(metavar="EVENT_TYPE", help="Name of an event type.")
EVENT_TYPES = typer.Argument(metavar="EVENT_TYPE...", help="Names of event types; left out with --all.")
ALL = typer.Option("--all", help="Every event type whose status allows it.")
REASON = typer.Option("--reason", "-m", metavar="TEXT", help="Why; kept with the version.")
DRY_RUN = typer.Option("--dry-run", help="Only show what would change.")
NOT_ASKED = typer.Option("--yes", "-y", help="Taken as elsewhere; nobody is asked, as it can be taken back.")

Auto = Literal["on", "off", "pipeline"]

group = noun("mapping", "Where event types and fields go: tables, columns, types, and what is left out.")


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    app.add_typer(group)


@command(
    group,
    "list",
    examples=[
        "millrace mapping list",
        "millrace mapping list shop --status INCOMPLETE",
        "millrace mapping list shop --json",
    ],
)
def list_(
    face: Face,
    pipeline: Annotated[str | None, ANY] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help="Only those of this status; LOOK: that need a look.")
    ] = None,
    search: Annotated[str | None, typer.Option(metavar="TEXT", help="Only names with this text.")] = None,
) -> None:
    """List event types with their table, status and warnings."""
    from millrace.control.database.pages import every
    from millrace.control.operations import mappings

    with face.desk() as desk:

        def of(name: str) -> list[Overview]:
            return list(every(lambda after: desk.ask(mappings.list_, name, status, search, after, LIMIT)))

        found = {name: of(name) for name in chosen(desk, pipeline)}
    face.answer(found, _listed(found, datetime.now(UTC)))


@command(
    group,
    "show",
    examples=["millrace mapping show shop orders", "millrace mapping show shop orders --version 3"],
)
def show(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    event_type: Annotated[str, EVENT_TYPE],
    version: Annotated[int | None, typer.Option(metavar="N", help="An earlier version.")] = None,
) -> None:
    """Show one mapping field by field, its warnings, and what the next load changes at the destination."""
    from millrace.control.operations import mappings

    with face.desk() as desk:
        found = desk.ask(mappings.find, pipeline, event_type, version)
    face.answer(found, _shown(found))


@command(group, "history", examples=["millrace mapping history shop orders"])
def history(face: Face, pipeline: Annotated[str, PIPELINE], event_type: Annotated[str, EVENT_TYPE]) -> None:
    """List the versions of a mapping: when, by whom, and why."""
    from millrace.control.operations import mappings

    with face.desk() as desk:

        def some(before: int | None) -> list[Version]:
            return desk.ask(mappings.history, pipeline, event_type, LIMIT, before)

        found = list(newest_first(some, lambda one: one.version))
    rows = [(one.version, one.at, one.author or "a run", one.columns, one.table, one.reason) for one in found]
    face.answer(found, table(("version", "when", "by", "columns", "table", "why"), rows))


@command(group, "diff", examples=["millrace mapping diff shop orders", "millrace mapping diff shop orders 3 7"])
def diff(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    event_type: Annotated[str, EVENT_TYPE],
    a: Annotated[int | None, typer.Argument(metavar="A", help="A version; left out: the one before B.")] = None,
    b: Annotated[int | None, typer.Argument(metavar="B", help="A version; left out: the latest.")] = None,
) -> None:
    """Compare two versions of a mapping."""
    from millrace.control.operations import mappings

    with face.desk() as desk:
        found = desk.ask(mappings.difference, pipeline, event_type, a, b)
    face.answer(found, list(_differences(found)) or ["Nothing differs."])


@command(group, "switch", examples=["millrace mapping switch shop off", "millrace mapping switch shop"])
def switch(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    to: Annotated[Literal["on", "off"] | None, typer.Argument(metavar="on|off", help="Left out: show it.")] = None,
) -> None:
    """Switch auto mapping of a whole pipeline on or off. Event types with a choice of their own keep it."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        if to is None:
            found = desk.ask(pipelines.mapped_automatically, pipeline)
        else:
            found = desk.ask(pipelines.map_automatically, pipeline, to == "on")
    since = "" if to is None else " from the next run on"
    face.answer(found, [f"Auto mapping of {bold(pipeline)} is {'on' if found.on else 'off'}{since}."])


@command(
    group,
    "set",
    examples=[
        "millrace mapping set shop orders --rename 'First Name=given_name'",
        "millrace mapping set shop orders --type 'total=DECIMAL(12,2)' --ignore note",
        "millrace mapping set shop orders --auto off --policy columns=freeze,types=freeze",
        "millrace mapping set shop orders --table sales --column total=amount --dry-run",
        "millrace mapping set shop visits --key visitor,at",
    ],
)
def set_(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    event_type: Annotated[str, EVENT_TYPE],
    auto: Annotated[Auto | None, typer.Option(help="Tables, columns and wider types appear by themselves.")] = None,
    policy: Annotated[
        str | None,
        typer.Option(metavar="POLICY", help="ALLOW_ALL, BLOCK_ALL, columns=freeze,types=discard_row …, or pipeline."),
    ] = None,
    rename: Annotated[
        list[str] | None, typer.Option(metavar="FIELD=COLUMN", help="Another name for a column; may be repeated.")
    ] = None,
    type_: Annotated[
        list[str] | None, typer.Option("--type", metavar="FIELD=TYPE", help="A type that stays; may be repeated.")
    ] = None,
    free: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="The type follows the values again; may be repeated.")
    ] = None,
    ignore: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Leave a field out; may be repeated.")
    ] = None,
    unignore: Annotated[
        list[str] | None, typer.Option(metavar="FIELD", help="Heed a field again; may be repeated.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="FIELDS", help="Fields that tell rows apart: id or a,b.")] = None,
    to: Annotated[str | None, typer.Option("--table", metavar="TABLE", help="Another table, there or new.")] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD=COLUMN", help="With --table: the column of a field; may be repeated."),
    ] = None,
    unmap: Annotated[bool, typer.Option("--unmap", help="No table: rows wait as rejects.")] = False,
    reason: Annotated[str | None, REASON] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Change a mapping. What the next load does to the table is shown before, and asked for."""
    from millrace.control.as_code.apply import pairs
    from millrace.control.operations import mappings

    if column and to is None:
        raise ConfigError("--column needs --table", hint="To rename a column use --rename.", code="usage")

    def change(desk: Desk, dry: bool) -> list[Plan]:
        plan = desk.ask(
            mappings.change,
            pipeline,
            event_type,
            auto=auto,
            policy=None if policy is None else _policy(policy),
            table=to,
            columns={field: name or None for field, name in pairs(column or ()).items()},
            rename=pairs(rename or ()),
            unignore=unignore or (),
            types=pairs(type_ or ()),
            free=free or (),
            ignore=ignore or (),
            key=None if key is None else [field.strip() for field in key.split(",") if field.strip()],
            unmap=unmap,
            reason=reason,
            dry_run=dry,
        )
        return [plan]

    _edit(face, change, dry_run=dry_run, yes=yes)


# What is done with many at once, whether somebody is asked first (the others can be taken back), and in which words.
BULK: tuple[tuple[Bulk, bool, str, Sequence[str]], ...] = (
    (
        "skip", False, "Leave event types out. Rows that are staged already are still loaded.",
        ["millrace mapping skip shop visits", "millrace mapping skip shop a b --reason noise"],
    ),
    ("include", False, "Load event types again that were skipped.", ["millrace mapping include shop visits"]),
    (
        "reset", True,
        "Forget what was learned and chosen; the rows to come say anew which columns there are. Tables stay.",
        ["millrace mapping reset shop visits --yes", "millrace mapping reset shop --all"],
    ),
    (
        "auto", False, "Map event types automatically that are mapped by hand, or not at all.",
        ["millrace mapping auto shop visits", "millrace mapping auto shop --all"],
    ),
    (
        "unmap", True,
        "Take event types that are mapped by hand from their tables: rows wait as rejects. The tables stay.",
        ["millrace mapping unmap shop visits", "millrace mapping unmap shop --all --dry-run"],
    ),
)  # fmt: skip


def _bulk(what: Bulk, asks: bool, says: str, examples: Sequence[str]) -> None:
    """The command that does one thing with many event types."""

    def act(
        face: Face,
        pipeline: Annotated[str, PIPELINE],
        event_types: Annotated[list[str] | None, EVENT_TYPES] = None,
        all_: Annotated[bool, ALL] = False,
        reason: Annotated[str | None, REASON] = None,
        dry_run: Annotated[bool, DRY_RUN] = False,
        yes: Annotated[bool, YES] = False,
    ) -> None:
        from millrace.control.operations import mappings

        if bool(event_types) == all_:
            raise ConfigError("no event type is named", hint="Name some, or say --all.", code="usage")

        def change(desk: Desk, dry: bool) -> list[Plan]:
            return desk.ask(mappings.bulk, pipeline, what, event_types or None, reason, dry)

        nothing = "Nothing to do: there is no event type whose status allows that."
        _edit(face, change, dry_run=dry_run, yes=yes or not asks, nothing=nothing)

    act.__doc__ = says
    act.__annotations__["yes"] = Annotated[bool, YES if asks else NOT_ASKED]
    command(group, what, examples=examples)(act)


for _one in BULK:
    _bulk(*_one)


@command(group, "restore", examples=["millrace mapping restore shop orders 4 --reason 'the new types were wrong'"])
def restore(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    event_type: Annotated[str, EVENT_TYPE],
    version: Annotated[int, typer.Argument(metavar="VERSION", help="A version of `millrace mapping history`.")],
    reason: Annotated[str | None, REASON] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Make an earlier version the present one. It becomes a version of its own."""
    from millrace.control.operations import mappings

    def change(desk: Desk, dry: bool) -> list[Plan]:
        return [desk.ask(mappings.restore, pipeline, event_type, version, reason, dry)]

    _edit(face, change, dry_run=dry_run, yes=yes)


@command(group, "delete-table", examples=["millrace mapping delete-table shop visits --yes"])
def delete_table(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    event_type: Annotated[str, EVENT_TYPE],
    discard_waiting: Annotated[
        bool, typer.Option("--discard-waiting", help="Rows on the stage that wait for the table go with it.")
    ] = False,
    reason: Annotated[str | None, REASON] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Delete the table of an event type at the destination, with all that was loaded. The mapping stays."""
    from millrace.control.operations import mappings

    def change(desk: Desk, dry: bool) -> list[Plan]:
        return [desk.ask(mappings.delete_table, pipeline, event_type, discard_waiting, reason, dry)]

    _edit(face, change, dry_run=dry_run, yes=yes)


@command(
    group,
    "apply",
    examples=["millrace mapping apply mappings.yaml --dry-run", "millrace mapping apply mappings.yaml -p shop --yes"],
)
def apply_(
    face: Face,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A YAML file as `millrace mapping export` writes it.")],
    pipeline: Annotated[
        str | None, typer.Option("--pipeline", "-p", metavar="NAME", help="The pipeline; left out: the file says it.")
    ] = None,
    reason: Annotated[str | None, REASON] = None,
    dry_run: Annotated[bool, DRY_RUN] = False,
    yes: Annotated[bool, YES] = False,
) -> None:
    """Bring mappings to what a file says. What the file leaves out stays."""
    from millrace.control.operations import mappings

    text, variables = told(file)

    def change(desk: Desk, dry: bool) -> list[Plan]:
        return desk.ask(mappings.apply, text, pipeline, file.name, variables, reason, dry)

    _edit(face, change, dry_run=dry_run, yes=yes)


@command(
    group, "export", examples=["millrace mapping export shop > mappings.yaml", "millrace mapping export shop orders"]
)
def export(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    event_types: Annotated[
        list[str] | None, typer.Argument(metavar="EVENT_TYPE...", help="Names of event types; left out: all.")
    ] = None,
) -> None:
    """Write mappings as a YAML file, to stdout."""
    from millrace.control.operations import mappings

    with face.desk() as desk:
        written = desk.ask(mappings.export, pipeline, event_types or ())
    face.answer(written, [written.yaml.rstrip()])


# How a change is shown, asked for and made.


def _edit(
    face: Face,
    change: Callable[[Desk, bool], list[Plan]],
    *,
    dry_run: bool,
    yes: bool,
    nothing: str = "Nothing to do.",
) -> None:
    """``change`` gets the desk and whether it is only to say what it would do; ``nothing`` is told where no event type
    is concerned."""
    with face.desk() as desk:
        if not (dry_run or yes):
            planned = change(desk, True)
            if any(plan.changed for plan in planned):
                confirmed(face, "\n".join(line for plan in planned for line in _plan(plan)), yes)
        plans = change(desk, dry_run)
    face.answer(plans, [line for plan in plans for line in _plan(plan)] or [nothing])


def _policy(said: str) -> str | dict[str, str]:
    from millrace.control.as_code.apply import pairs

    return pairs(said.split(",")) if "=" in said else said


def _plan(plan: Plan) -> Iterator[str]:
    if not plan.changed and not plan.differences:
        why = "is as wanted; nothing changes" if plan.unchanged is None else f"stays as it is: {plan.unchanged}"
        yield f"{bold(plan.event_type)} {why}."
        return
    would = "would be" if plan.dry_run else "is"
    yield f"{bold(plan.event_type)} {would} at version {plan.version}"
    yield from (f"  {line}" for line in _differences(plan.differences))
    if plan.ddl is None:
        yield f"  {dim(f'the destination could not be asked what changes there: {plan.unasked}')}"
    elif plan.ddl:
        yield f"  {'what runs at once' if plan.at_once else 'the next load of rows runs'}:"
        yield from (f"    {line}" for one in plan.ddl for line in one.splitlines())
    if plan.waiting_rows:
        yield f"  {count(plan.waiting_rows, 'row')} on the stage still come in the shape in which they were staged"
    for one in plan.warnings:
        yield f"  {mark('look')} {one.message}"


def _differences(found: Sequence[Difference]) -> Iterator[str]:
    for one in found:
        if one.before is None:
            yield f"{one.what}: {one.after}"
        else:
            yield f"{one.what}: {one.before} → {one.after if one.after is not None else '(gone)'}"


_MARKS: dict[str, State] = {
    "AUTO_MAPPED": "good",
    "MAPPED": "good",
    "CREATING_TABLE": "busy",
    "ALTERING": "busy",
    "SKIPPED": "idle",
    "UNMAPPED": "bad",
    "INCOMPLETE": "look",
    "ERROR": "bad",
}


def _listed(found: dict[str, list[Overview]], now: datetime) -> Iterator[str]:
    rows = [
        (
            *([name] if len(found) > 1 else []),
            one.event_type,
            one.table,
            f"{mark(_MARKS[one.status])} {one.status}",
            one.fields,
            len(one.warnings),
            one.version,
            ago(one.changed_at, now),
        )
        for name, several in found.items()
        for one in several
    ]
    if not rows:
        yield "No mappings: nothing was read yet, or none of that kind is there."
        return
    heads = ("event type", "table", "status", "fields", "warnings", "version", "changed")
    yield from table((*(["pipeline"] if len(found) > 1 else []), *heads), rows)
    if any(one.warnings or one.error for several in found.values() for one in several):
        yield dim("see the warnings of one: millrace mapping show PIPELINE EVENT_TYPE")


def _shown(found: Shown) -> Iterator[str]:
    one = found.overview
    yield f"{bold(one.event_type)} {mark(_MARKS[one.status])} {one.status} {dim(f'version {one.version}')}"
    yield f"  table {one.table or '-'}, {found.load_mode}, key {', '.join(found.key) or '(none)'}"
    yield f"  auto mapping {'on' if one.auto_mapping else 'off'}, policy {found.policy}"
    if found.author or found.reason:
        yield f"  by {found.author or 'a run'}" + (f": {found.reason}" if found.reason else "")
    yield ""
    yield from table(
        ("field", "column", "type", "at the destination", ""),
        [(each.field, each.column, each.type, each.present, _about(each)) for each in found.fields],
    )
    for warned in one.warnings:
        yield f"{mark('look')} {warned.message}"
        yield f"  → {warned.hint}"
    if one.error:
        yield f"{mark('bad')} {one.error}"
    if found.unasked:
        yield dim(f"the destination could not be asked what it is like: {found.unasked}")
    if found.ddl:
        yield "The next load of rows runs:"
        yield from (f"  {line}" for each in found.ddl for line in each.splitlines())
    if found.waiting_rows:
        yield f"{count(found.waiting_rows, 'row')} wait on the stage."


def _about(field: Field) -> str:
    said = [word for word, holds in (("key", field.key), ("fixed", field.fixed)) if holds]
    said += [f"was {name}" for name in field.formerly]
    return ", ".join([*said, *([field.reason] if field.reason else [])])
