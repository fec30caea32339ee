"""Settings of the audit source: there is nothing to say but what every source may be told."""

from __future__ import annotations

from millrace.connect.config import SourceConfig


class Config(SourceConfig):
    """Settings of the audit source. There are none."""
