"""What a route needs its caller to be permitted: told before anything is looked up."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeAlias

from fastapi import Depends

from millrace.control.home import Home
from millrace.control.people.actors import Permission
from millrace.rest.asking import Asking


def _may(permission: Permission) -> Callable[[Home], Coroutine[Any, Any, Home]]:
    async def permitted(home: Asking) -> Home:
        home.actor.must(permission)
        return home

    return permitted


Viewing: TypeAlias = Annotated[Home, Depends(_may("view"))]
CreatingPipelines: TypeAlias = Annotated[Home, Depends(_may("pipelines.create"))]
EditingPipelines: TypeAlias = Annotated[Home, Depends(_may("pipelines.edit"))]
DeletingPipelines: TypeAlias = Annotated[Home, Depends(_may("pipelines.delete"))]
CreatingDestinations: TypeAlias = Annotated[Home, Depends(_may("destinations.create"))]
EditingDestinations: TypeAlias = Annotated[Home, Depends(_may("destinations.edit"))]
EditingTransformations: TypeAlias = Annotated[Home, Depends(_may("transformations.edit"))]
EditingMappings: TypeAlias = Annotated[Home, Depends(_may("mappings.edit"))]
EditingUsers: TypeAlias = Annotated[Home, Depends(_may("users.edit"))]
