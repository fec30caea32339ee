"""How many rows count, and what limits say of it."""
