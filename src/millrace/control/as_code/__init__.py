"""Pipelines as code: YAML files that are read, applied and written."""
