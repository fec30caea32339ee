"""What becomes of JSON, structs and arrays on the way to a table: columns, rows of tables of their own, or text."""
