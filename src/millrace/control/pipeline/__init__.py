"""Pipelines and their objects: what people decide for them, from draft to deletion."""
