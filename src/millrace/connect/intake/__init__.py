"""What systems send by themselves waits here, durable and in order, until a pipeline reads it."""
