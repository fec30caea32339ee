"""Pipelines and jobs from draft to deletion: `millrace drafts | pause | resume | prioritize | clone | rename | delete |
cancel | retry`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from millrace.cli.face import Face, command
from millrace.cli.nouns import noun
from millrace.cli.paging import LIMIT
from millrace.cli.pipelines import PIPELINE, YES, confirmed
from millrace.cli.text import bold, count, dim, mark, table
from millrace.errors import as_typed

if TYPE_CHECKING:
    from millrace.control.pipeline.drafts import Draft
    from millrace.control.running.jobs import Job

JOB = typer.Argument(metavar="RUN", min=1, help="Its number, as `millrace runs` tells it.")
DRAFT = typer.Argument(metavar="NUMBER", min=1, help="Its number, as `millrace drafts` tells it.")


def join(app: typer.Typer) -> None:
    """The commands of this module are commands of the app."""
    command(app, "pause", examples=["millrace pause clevertap"])(pause)
    command(app, "resume", examples=["millrace resume clevertap"])(resume)
    command(app, "prioritize", examples=["millrace prioritize clevertap HIGH", "millrace prioritize clevertap NORMAL"])(
        prioritize
    )
    command(app, "clone", examples=["millrace clone clevertap --table-prefix copy_ --name clevertap_copy"])(clone)
    command(app, "rename", examples=["millrace rename clevertap events"])(rename)
    command(app, "delete", examples=["millrace delete clevertap", "millrace delete clevertap --yes"])(delete)
    command(app, "cancel", examples=["millrace cancel 17"])(cancel)
    command(app, "retry", examples=["millrace retry 17"])(retry)
    group = noun("drafts", "Pipelines that somebody began to make and left.")
    command(group, "list", examples=["millrace drafts", "millrace drafts list --json"])(list_drafts)
    command(group, "show", examples=["millrace drafts show 3"])(show_draft)
    finished = "millrace drafts finish 3 --destination warehouse"
    command(group, "finish", examples=[finished])(finish_draft)
    command(group, "remove", examples=["millrace drafts remove 3"])(remove_draft)
    app.add_typer(group)


def pause(face: Face, pipeline: Annotated[str, PIPELINE]) -> None:
    """Read nothing more of a pipeline. What goes on ends at its next commit; what was read is still loaded."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        found = desk.ask(pipelines.pause, pipeline)
    face.answer(found, [f"{bold(pipeline)} is paused. Let it go on with: {dim(as_typed('resume', pipeline))}"])


def resume(face: Face, pipeline: Annotated[str, PIPELINE]) -> None:
    """Let a paused pipeline run by its schedule again."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        found = desk.ask(pipelines.resume, pipeline)
    face.answer(found, [f"{bold(pipeline)} runs again: {found.schedule}."])


def prioritize(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    priority: Annotated[Literal["NORMAL", "HIGH"], typer.Argument(metavar="PRIORITY", help="HIGH or NORMAL.")],
) -> None:
    """Let a pipeline go first and run as often as its source allows, or stand with the others."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        found = desk.ask(pipelines.prioritize, pipeline, priority)
    face.answer(found, [f"{bold(pipeline)} has priority {found.priority}, and runs {found.schedule}."])


def clone(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    table_prefix: Annotated[str, typer.Option(metavar="TEXT", help="Text in front of the names of its tables.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Name of the copy.")] = None,
) -> None:
    """Make a copy of a pipeline that has read nothing yet, paused."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        found = desk.ask(pipelines.clone, pipeline, table_prefix, name)
    face.answer(found, [f"Made {bold(found.pipeline)}, paused. Start it with: millrace resume '{found.pipeline}'"])


def rename(
    face: Face,
    pipeline: Annotated[str, PIPELINE],
    to: Annotated[str, typer.Argument(metavar="NAME", help="The new name.")],
) -> None:
    """Give a pipeline another name. All else of it stays; a YAML file that names it must say the new one."""
    from millrace.control.operations import pipelines

    with face.desk() as desk:
        found = desk.ask(pipelines.rename, pipeline, to)
    face.answer(found, [f"{pipeline} is called {bold(found.pipeline)} now."])


def delete(face: Face, pipeline: Annotated[str, PIPELINE], yes: Annotated[bool, YES] = False) -> None:
    """Delete a pipeline with its books, transformations and rows that wait. Loaded rows stay. There is no way back."""
    from millrace.control.operations import pipelines

    lost = "positions, transformations, mappings, rejects, and rows that wait on the stage"
    confirmed(face, f"{pipeline} is deleted, with its {lost}. Loaded rows stay in the destination.", yes)
    with face.desk() as desk:
        found = desk.ask(pipelines.delete, pipeline)
    face.answer(found, [f"{bold(pipeline)} is {'gone' if found.gone else 'gone as soon as what goes on has ended'}."])


def cancel(face: Face, job: Annotated[int, JOB]) -> None:
    """End a run of the service: at once where it waits, at its next commit where it goes on."""
    from millrace.control.operations import jobs

    with face.desk() as desk:
        found = desk.ask(jobs.cancel, job)
    face.answer(found, _job(found))


def retry(face: Face, job: Annotated[int, JOB]) -> None:
    """Let the service try again what a run failed at, was cancelled in, or left."""
    from millrace.control.operations import jobs

    with face.desk() as desk:
        found = desk.ask(jobs.retry, job)
    face.answer(found, _job(found))


def list_drafts(face: Face) -> None:
    """List the drafts."""
    from millrace.control.database.pages import every
    from millrace.control.operations import drafts

    with face.desk() as desk:
        found = list(every(lambda after: desk.ask(drafts.list_, after, LIMIT)))
    face.answer(found, _drafts(found) if found else ["No drafts."])


def show_draft(face: Face, draft: Annotated[int, DRAFT]) -> None:
    """Show what was entered for a draft. Secrets are hidden."""
    from millrace.control.operations import drafts

    with face.desk() as desk:
        found = desk.ask(drafts.find, draft)
    rows = [*found.config.items(), *((key, "(secret)") for key in found.secret_keys)]
    face.answer(found, [*_drafts([found]), "", *table(("setting", "is"), rows)])


def finish_draft(
    face: Face,
    draft: Annotated[int, DRAFT],
    destination: Annotated[str, typer.Option(metavar="NAME", help="The destination that it loads into.")],
    name: Annotated[str | None, typer.Option(metavar="NAME", help="Another name than the draft's.")] = None,
    table_prefix: Annotated[str, typer.Option(metavar="TEXT", help="Text in front of the names of its tables.")] = "",
) -> None:
    """Make the pipeline of a draft."""
    from millrace.control.operations import drafts

    with face.desk() as desk:
        found = desk.ask(drafts.finish, draft, destination, name, table_prefix)
    face.answer(found, [f"{mark('good')} Made the pipeline {bold(found.pipeline)}, number {found.number}."])


def remove_draft(face: Face, draft: Annotated[int, DRAFT]) -> None:
    """Give a draft up."""
    from millrace.control.operations import drafts

    with face.desk() as desk:
        gone = desk.ask(drafts.remove, draft)
    face.answer(gone, [f"Draft {draft} is gone."])


def _job(job: Job) -> Iterator[str]:
    what = f"run {job.run.id} of {bold(job.run.pipeline)}"
    match job.run.status:
        case "QUEUED":
            yield f"{what} waits for a worker (millrace serve)."
        case "CANCELLING":
            yield f"{what} ends at its next commit."
        case _:
            yield f"{what} is {job.run.status.lower().replace('_', ' ')}."
    if job.object_counts:
        yield dim(", ".join(f"{count(n, 'object')} {word}" for word, n in job.object_counts.items() if n))


def _drafts(found: list[Draft]) -> Iterator[str]:
    rows = [(one.number, one.name, one.source_type, one.author, len(one.config)) for one in found]
    yield from table(("draft", "name", "source", "by", "settings"), rows)
