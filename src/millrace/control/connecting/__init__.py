"""Connections: settings of sources and destinations, tests of them, and looks at what is there."""
