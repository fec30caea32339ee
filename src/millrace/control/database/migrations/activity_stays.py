"""The database itself refuses a change of what the activity log tells. Migrations and new databases say so alike."""

from __future__ import annotations

# For each kind of database, one statement after the other.
STAYS = {
    "sqlite": (
        "CREATE TRIGGER activity_stays BEFORE UPDATE ON activity "
        "BEGIN SELECT RAISE(ABORT, 'what the activity log tells is never changed'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION activity_stays() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'what the activity log tells is never changed'; END $$",
        "CREATE TRIGGER activity_stays BEFORE UPDATE ON activity FOR EACH ROW EXECUTE FUNCTION activity_stays()",
    ),
}
