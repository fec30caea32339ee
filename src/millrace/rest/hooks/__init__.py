"""What other systems send, over HTTP."""
