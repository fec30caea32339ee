"""Webhook addresses of pipelines."""

from __future__ import annotations

from millrace.control.desk import operation
from millrace.control.home import Home
from millrace.control.operations.connections import Name
from millrace.control.pipeline import hooks
from millrace.control.pipeline.hooks import Hook, NewHook


@operation("GET", "/pipelines/{pipeline}/hook")
def show(home: Home, pipeline: Name) -> Hook:
    """Show whether a pipeline has a webhook address, without its token."""
    return hooks.find(home, pipeline)


@operation("POST", "/pipelines/{pipeline}/hook", "pipelines.edit", status=201)
def rotate(home: Home, pipeline: Name) -> NewHook:
    """Make a new webhook address for a pipeline, which is shown this once. The old one is good for nothing then."""
    return hooks.rotate(home, pipeline)


@operation("DELETE", "/pipelines/{pipeline}/hook", "pipelines.edit")
def revoke(home: Home, pipeline: Name) -> Hook:
    """Take the webhook address of a pipeline away."""
    return hooks.revoke(home, pipeline)


OPERATIONS = (show, rotate, revoke)
