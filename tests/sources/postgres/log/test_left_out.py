"""What is not in PostgreSQL's log is left out, and each run says so."""

from __future__ import annotations

from tests.postgres import Database
from tests.sources.postgres.log.site import Site, site

from millrace.control.books import records

__all__ = ["site"]


def test_columns_that_the_server_computes_and_tables_without_a_log_are_left_out_and_named(
    site: Site, shop: Database
) -> None:
    shop.run(
        "CREATE TABLE g (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED, z text)",
        "INSERT INTO g (id, a) VALUES (1, 1), (2, 2)",
        "CREATE UNLOGGED TABLE u (id int PRIMARY KEY)",
    )
    site.create()
    site.run()
    shop.run("UPDATE g SET a = 5, z = 'x' WHERE id = 1", "INSERT INTO g (id, a) VALUES (3, 3)")
    site.run()
    assert site.rows("g", "id, a, z") == [(1, 5, "x"), (2, 2, None), (3, 3, None)]
    # A value that was right in the history alone would be wrong with the first change.
    names = {row[0] for row in site.query("SELECT column_name FROM information_schema.columns WHERE table_name = 'g'")}
    assert "twice" not in names
    said = [note.message for note in records.run_records(site.home)[0].notes if note.code == "not_in_log"]
    assert [text for text in said if text.startswith("public.g.twice ")] != []
    assert [text for text in said if "public.u" in text] != []


def test_columns_that_the_server_computes_are_read_by_queries(site: Site, shop: Database) -> None:
    shop.run("CREATE TABLE q (id int PRIMARY KEY, a int, twice int GENERATED ALWAYS AS (a * 2) STORED)")
    shop.run("INSERT INTO q (id, a) VALUES (1, 1)")
    site.create(ingestion_mode="table")
    site.run()
    assert site.query("SELECT id, a, twice FROM q") == [(1, 1, 2)]
