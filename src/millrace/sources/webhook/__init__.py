"""Events that other systems send."""
