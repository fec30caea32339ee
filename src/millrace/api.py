"""What transformations are written with: ``from millrace.api import Event, TimeUtils, Utils``."""

from __future__ import annotations

from millrace.scripting.event import Event
from millrace.scripting.times import TimeUtils
from millrace.scripting.utils import Utils

__all__ = ["Event", "TimeUtils", "Utils"]
