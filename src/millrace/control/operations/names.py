"""How the operations take a name."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Name = Annotated[str, Field(min_length=1, max_length=255, description="Name that it is saved under.")]
