"""PostgreSQL's write-ahead log, as its output plugin pgoutput tells of it."""
