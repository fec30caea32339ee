"""How people come in over HTTP: signing in and out, one-time links, and what everybody does for themselves."""
