"""What SQL systems share: dialects as data, statements as text, and a destination that runs them."""
