"""Services that run MySQL: what holds there where the settings do not say otherwise. Their guides: `variants`."""

from __future__ import annotations

from millrace.connect.source import Variant
from millrace.connect.sql.reading.services import CLOUDS

VARIANTS = (*CLOUDS, Variant("mariadb", "MariaDB"))
