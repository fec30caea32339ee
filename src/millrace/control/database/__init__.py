"""The control database: its tables, its transactions, and how it is brought up to date."""
