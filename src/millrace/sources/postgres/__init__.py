"""The PostgreSQL source: tables and one query of a database."""
