"""The books: commits, cursors, segments, counts and runs on record, each change one transaction."""
