"""The REST APIs. Only `millrace serve` imports this package: nothing else waits for a web framework."""
