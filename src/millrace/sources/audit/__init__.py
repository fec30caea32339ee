"""The jobs of all pipelines of a team, as rows."""
