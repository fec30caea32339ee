"""What every source that speaks HTTP is made of: a client, limits, waits, and reading side by side."""

import logging
import sys
from typing import Any

# httpx brings a command line of its own along (click, rich, pygments) and does without where that cannot be imported.
# Nobody needs it here, and a small sync starts a twentieth of a second sooner.
_modules: dict[str, Any] = sys.modules
_modules.setdefault("httpx._main", None)

# It logs every URL that it asks, and those may hold secrets (I7).
logging.getLogger("httpx").setLevel(logging.WARNING)
