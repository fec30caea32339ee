"""What a source holds beside what a table holds, and why they differ."""
