"""The Schema Mapper: mappings changed by a person, each change a version with its author and reason.

Every function takes a pipeline by name and an event type, and answers a `Plan`. A change is kept under the pipeline's
lease, and the destination follows with the next load; a dry run (`By`) only says what would be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from collections.abc import Mapping as Dict
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Literal, TypeAlias

from millrace.control.activity import Entity, wrote
from millrace.control.books import commits, leases, shelving
from millrace.control.mapper import mapping_edits
from millrace.control.mapper.mapping_plans import ME, By, Edit, Plan, around, edit, keep, leased
from millrace.control.mapper.mapping_versions import Difference, Kept, diff, differences, kept, latest, named, versions
from millrace.control.pipeline import pipelines
from millrace.engine.fresh import drop_fresh
from millrace.engine.mapping import Mapping, policy_of
from millrace.engine.policy import Policy
from millrace.errors import ConfigError

if TYPE_CHECKING:
    from millrace.control.home import Home

__all__ = [
    "Bulk", "By", "Difference", "Kept", "Plan", "Policy", "bulk", "change", "change_type", "ddl", "delete_table",
    "diff", "differences", "free_type", "ignore", "include", "kept", "map_to", "rename_column", "reset", "restore",
    "set_auto", "set_key", "set_policy", "skip", "unignore", "unmap", "versions",
]  # fmt: skip

Bulk: TypeAlias = Literal["skip", "include", "reset", "unmap", "auto"]


def change(home: Home, pipeline: str, event_type: str, edits: Sequence[Edit], by: By = ME) -> Plan:
    """All of the edits (`mapping_edits`) are one version of the mapping, or none of them is."""
    return edit(home, pipeline, event_type, mapping_edits.several(edits), by)


def skip(home: Home, pipeline: str, event_type: str, by: By = ME) -> Plan:
    """Rows of the event type are left out from now on; those that were staged before are still loaded."""
    return edit(home, pipeline, event_type, mapping_edits.skipping(True), by)


def include(home: Home, pipeline: str, event_type: str, by: By = ME) -> Plan:
    """Rows of the event type are loaded again."""
    return edit(home, pipeline, event_type, mapping_edits.skipping(False), by)


def set_auto(home: Home, pipeline: str, event_type: str, auto: bool | None, by: By = ME) -> Plan:
    """Auto mapping of the event type is on or off, or (None) as the pipeline has it."""
    return edit(home, pipeline, event_type, mapping_edits.automatic(auto), by)


def set_policy(home: Home, pipeline: str, event_type: str, policy: Policy | None, by: By = ME) -> Plan:
    """What happens to what is new in the event type; None: as the pipeline has it."""
    return edit(home, pipeline, event_type, mapping_edits.following(policy), by)


def rename_column(home: Home, pipeline: str, event_type: str, field: str, name: str, by: By = ME) -> Plan:
    """The field goes to the column ``name``; where the table has only the old one, that is renamed, rows and all."""
    return edit(home, pipeline, event_type, mapping_edits.renaming(field, name), by)


def ignore(home: Home, pipeline: str, event_type: str, field: str, by: By = ME) -> Plan:
    """Values of the field are dropped without a word. Its column stays as it is at the destination."""
    return edit(home, pipeline, event_type, mapping_edits.ignoring(field), by)


def unignore(home: Home, pipeline: str, event_type: str, field: str, by: By = ME) -> Plan:
    """The field may have a column again."""
    return edit(home, pipeline, event_type, mapping_edits.heeding(field), by)


def change_type(home: Home, pipeline: str, event_type: str, field: str, type_: str, by: By = ME) -> Plan:
    """The column of the field has the type of that name (``DECIMAL(10,2)``) and keeps it; a field without a column
    gets one. Raises ConfigError where none of the field's values can be in it (loading.md 16)."""
    home.actor.must("mappings.edit")
    return edit(home, pipeline, event_type, mapping_edits.typing_as(field, type_), by)


def free_type(home: Home, pipeline: str, event_type: str, field: str, by: By = ME) -> Plan:
    """The type of the field's column follows its values again."""
    return edit(home, pipeline, event_type, mapping_edits.freeing(field), by)


def set_key(home: Home, pipeline: str, event_type: str, fields: Sequence[str], by: By = ME) -> Plan:
    """Rows are told apart by those fields. Only before the table exists, or where it has no key yet: then rows loaded
    from now on are told apart, and what was loaded before stays (loading.md 3)."""
    return edit(home, pipeline, event_type, mapping_edits.keying(fields), by)


def map_to(
    home: Home, pipeline: str, event_type: str, table: str, columns: Dict[str, str | None] | None = None, by: By = ME
) -> Plan:
    """Rows of the event type go to ``table``: an existing one, or one that the next load makes.

    ``columns`` chooses the column of a field; None leaves the field out. Of the others, fields go to the column of an
    existing table that has their name, and to a new one where the table is new or auto mapping is on. Raises
    ConfigError where the table belongs to another event type, or a column can hold none of its field's values.
    """
    return edit(home, pipeline, event_type, mapping_edits.mapping_to(table, columns or {}), by)


def unmap(home: Home, pipeline: str, event_type: str, by: By = ME) -> Plan:
    """Rows of the event type wait as rejects until somebody maps it again. The table stays."""
    return edit(home, pipeline, event_type, mapping_edits.unmapping(), by)


def reset(home: Home, pipeline: str, event_type: str, by: By = ME) -> Plan:
    """All that was learned and chosen is forgotten; the rows to come say anew which columns there are."""
    return edit(home, pipeline, event_type, mapping_edits.resetting(), by)


def restore(home: Home, pipeline: str, event_type: str, version: int, by: By = ME) -> Plan:
    """The mapping is again what it was in that version, as a new one."""
    return edit(home, pipeline, event_type, mapping_edits.restoring(version), by)


def delete_table(home: Home, pipeline: str, event_type: str, by: By = ME, *, discard_waiting: bool = False) -> Plan:
    """The table is gone from the destination, and with it what was loaded. With auto mapping on, the rows to come make
    it anew; earlier ones need `millrace resync`.

    Raises ConfigError while rows wait on the stage for it, unless they may be discarded with it.
    """
    home.actor.must("mappings.edit")
    with leased(home, pipeline) as (found, lease), closing(around(home, found, event_type)) as at:
        if at.waiting_rows and not discard_waiting:
            raise ConfigError(
                f"{at.waiting_rows:,} rows wait on the stage for {at.mapping.table}",
                hint="Load them first (millrace load), or say that they may be discarded.",
                code="rows_waiting",
            )
        made = replace(at.mapping, version=at.mapping.version + 1, staged=())
        destination = at.destination()
        statements = tuple(change.statement for change in destination.dropping(made.table))
        if not by.dry_run:
            # What is dropped does not come back.
            lease.renew()  # I4
            drop_fresh(destination, made.table, at.naming.prefix, found.id)
            destination.drop(made.table)
            why = replace(by.signed(home), reason=by.reason or f"the table {made.table} was deleted")
            with home.database.transaction() as connection:
                leases.confirm(connection, lease, home.database.now() + timedelta(seconds=leases.LEASE_S))  # I4
                entry = commits.Entry(connection, found.id, 0, datetime.now(UTC))
                if at.place.generation:
                    shelving.renew(entry, made.table, fresh=False)
                keep(entry, made, why)
                told = f"table {made.table} of {pipeline} was deleted"
                wrote(home, "HIGH", Entity("mapping", found.id, f"{pipeline}/{made.stream}"), "delete_table", told)
    gone = Difference("table at the destination", made.table, None)
    return Plan(
        pipeline,
        made.stream,
        made.table,
        made.version,
        True,
        (gone,),
        ddl=statements,
        dry_run=by.dry_run,
        at_once=True,
    )


def bulk(home: Home, pipeline: str, what: Bulk, event_types: Sequence[str] | None = None, by: By = ME) -> list[Plan]:
    """The edit for every event type named, or (None) every one, where its status allows it (loading.md 15.4).

    Of those that are named, the others stay as they are, and their plans say why.
    """
    home.actor.must("mappings.edit")
    known = latest(home, pipelines.find(home, pipeline))
    names = list(known) if event_types is None else [named(known, name) for name in event_types]
    edits: dict[Bulk, Callable[[], Edit]] = {
        "skip": lambda: mapping_edits.skipping(True),
        "include": lambda: mapping_edits.skipping(False),
        "reset": mapping_edits.resetting,
        "unmap": mapping_edits.unmapping,
        "auto": lambda: mapping_edits.automatic(True),
    }
    plans: list[Plan] = []
    for name in names:
        mapping = known[name]
        if (why := _against(mapping, what)) is None:
            plans.append(edit(home, pipeline, name, edits[what](), by))
        elif event_types is not None:
            plans.append(
                Plan(pipeline, name, mapping.table, mapping.version, False, (), dry_run=by.dry_run, unchanged=why)
            )
    return plans


def _against(mapping: Mapping, what: Bulk) -> str | None:
    """Why the status of a mapping does not allow the edit; None where it does."""
    if what == "include":
        return None if mapping.skipped else "it is not skipped"
    if mapping.skipped:
        return "it is skipped already" if what == "skip" else "it is skipped; include it first"
    if what == "unmap" and not mapping.mapped:
        return "it has no table already"
    if what == "unmap" and policy_of(mapping).tables == "evolve":
        if mapping.policy is not None:
            return "by a policy of its own its tables evolve; give it another policy first"
        return "it is mapped automatically; switch auto mapping off first"
    return "it is mapped automatically already" if what == "auto" and mapping.auto else None


def ddl(home: Home, pipeline: str, event_type: str) -> list[str]:
    """Statements with which the next load changes the table of the mapping as it is. Raises what the destination
    raises."""
    home.actor.must("view")
    with closing(around(home, pipelines.find(home, pipeline), event_type)) as at:
        return [one.statement for one in at.changes(at.mapping)]
