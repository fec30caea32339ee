"""Transformations: versions that are kept, and trials of what is not deployed yet."""
