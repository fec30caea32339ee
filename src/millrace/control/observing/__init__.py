"""How all is going, for people who look and systems that watch."""
