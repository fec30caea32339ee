"""What people are told: events become alerts, alerts messages, messages go out by channels."""
