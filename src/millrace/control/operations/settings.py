"""Settings that hold for the whole workspace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from millrace.control import settings as workspace
from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.settings import Workspace


@operation("GET", "/settings")
def show(home: Home) -> Workspace:
    """Show the settings of the workspace."""
    return workspace.workspace(home.database)


@operation("PUT", "/settings", "settings.edit")
def put(
    home: Home, settings: Annotated[Mapping[str, Any], Field(description="Those that change, by their names.")]
) -> Workspace:
    """Change settings of the workspace. Those that are not named stay."""
    return workspace.change(home, **settings)


OPERATIONS = (show, put)
