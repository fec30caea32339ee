"""Secrets: sealed where they are kept, taken out of what is shown."""
