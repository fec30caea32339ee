"""Failed events: why rows fail, and how they go their way once more."""
