"""Services that run PostgreSQL: what holds there where the settings do not say otherwise. Their guides: `variants`."""

from __future__ import annotations

from millrace.connect.source import Variant

# They are reached over networks of others.
_ENCRYPTED = {"use_ssl": True}

VARIANTS = (
    Variant("rds", "Amazon RDS", _ENCRYPTED),
    Variant("aurora", "Amazon Aurora", _ENCRYPTED),
    Variant("azure", "Azure", _ENCRYPTED),
    Variant("google", "Google Cloud SQL", _ENCRYPTED),
    Variant("heroku", "Heroku Postgres", _ENCRYPTED, logged=False),
)
