"""Who works here: teams, users, what each may, and how they come in."""
