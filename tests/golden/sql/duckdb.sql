-- create: every logical type
CREATE TABLE "schema"."every type" (
  "boolean" BOOLEAN,
  "byte" TINYINT,
  "short" SMALLINT,
  "integer" INTEGER,
  "long" BIGINT,
  "float" FLOAT,
  "double" DOUBLE,
  "decimal" DECIMAL(10,2),
  "decimal_38" DECIMAL(38,10),
  "decimal_76" VARCHAR,
  "date" DATE,
  "time" TIME,
  "timetz" TIMETZ,
  "timestamp" TIMESTAMP,
  "timestamptz" TIMESTAMPTZ,
  "varchar" VARCHAR,
  "varchar_n" VARCHAR,
  "bytearray" BLOB,
  "json" JSON USING COMPRESSION zstd,
  "struct" STRUCT("a" BIGINT, "b" VARCHAR),
  "array" BIGINT[],
  "xml" VARCHAR,
  "uuid" VARCHAR,
  "geo" VARCHAR,
  "__hevo__ingested_at" BIGINT,
  "__hevo__loaded_at" BIGINT
);

-- create: merge, with deletes
CREATE TABLE "schema"."users" (
  "id" BIGINT,
  "name" VARCHAR,
  "__hevo__source_modified_at" TIMESTAMPTZ,
  "__hevo__ingested_at" BIGINT,
  "__hevo__loaded_at" BIGINT,
  "__hevo__marked_deleted" BOOLEAN
);

-- create: history
CREATE TABLE "schema"."users" (
  "id" BIGINT,
  "name" VARCHAR,
  "__hevo__source_modified_at" TIMESTAMPTZ,
  "__hevo__ingested_at" BIGINT,
  "__hevo__loaded_at" BIGINT,
  "__hevo__marked_deleted" BOOLEAN,
  "__hevo__valid_from" TIMESTAMPTZ,
  "__hevo__valid_to" TIMESTAMPTZ,
  "__hevo__is_active" BOOLEAN
);

-- alter: columns added, a type widened
ALTER TABLE "schema"."users" ALTER COLUMN "name" SET DATA TYPE VARCHAR USING CAST("name" AS VARCHAR);

ALTER TABLE "schema"."users" ADD COLUMN "__hevo__source_modified_at" TIMESTAMPTZ;

ALTER TABLE "schema"."users" ADD COLUMN "__hevo__ingested_at" BIGINT;

ALTER TABLE "schema"."users" ADD COLUMN "__hevo__loaded_at" BIGINT;

ALTER TABLE "schema"."users" ADD COLUMN "__hevo__marked_deleted" BOOLEAN;

-- BOOLEAN as text
CAST("c" AS VARCHAR);

-- BYTE as text
CAST("c" AS VARCHAR);

-- SHORT as text
CAST("c" AS VARCHAR);

-- INTEGER as text
CAST("c" AS VARCHAR);

-- LONG as text
CAST("c" AS VARCHAR);

-- FLOAT as text
CASE WHEN isnan("c") THEN 'NaN' WHEN isinf("c") THEN CASE WHEN "c" < 0 THEN '-Infinity' ELSE 'Infinity' END ELSE regexp_replace(CAST("c" AS VARCHAR), '\.0$', '') END;

-- DOUBLE as text
CASE WHEN isnan("c") THEN 'NaN' WHEN isinf("c") THEN CASE WHEN "c" < 0 THEN '-Infinity' ELSE 'Infinity' END ELSE regexp_replace(CAST("c" AS VARCHAR), '\.0$', '') END;

-- DECIMAL as text
CAST("c" AS VARCHAR);

-- DATE as text
CAST("c" AS VARCHAR);

-- TIME as text
strftime(DATE '1970-01-01' + "c", '%H:%M:%S.%f');

-- TIMETZ as text
CAST("c" AS VARCHAR);

-- TIMESTAMP as text
strftime("c", '%Y-%m-%dT%H:%M:%S.%f');

-- TIMESTAMPTZ as text
strftime("c" AT TIME ZONE 'UTC', '%Y-%m-%dT%H:%M:%S.%fZ');

-- VARCHAR as text
CAST("c" AS VARCHAR);

-- BYTEARRAY as text
base64("c");

-- JSON as text
CAST("c" AS VARCHAR);

-- STRUCT as text
CAST(to_json("c") AS VARCHAR);

-- ARRAY as text
CAST(to_json("c") AS VARCHAR);

-- XML as text
CAST("c" AS VARCHAR);

-- UUID as text
CAST("c" AS VARCHAR);

-- GEO as text
CAST("c" AS VARCHAR);

-- append, with deletes
INSERT INTO "schema"."users" ("id", "name", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at", "__hevo__marked_deleted")
SELECT r."id", r."name", r."__hevo__source_modified_at", r."__hevo__ingested_at", 1700000000000, COALESCE(r."__hevo_op_type" = 'D', FALSE)
FROM rows AS r;

-- merge, without deletes: repeated
SELECT count(*) FROM (SELECT "id" FROM temp.main."__mr_keys" GROUP BY "id" HAVING count(*) > 1) AS k;

-- merge, without deletes: newest
CREATE TEMP TABLE temp.main."__mr_newest" AS SELECT "id", "__hevo__ingested_at", "__he__msg_seq_id", "__mr_gone"
FROM (SELECT "id", "__hevo__ingested_at", "__he__msg_seq_id", "__mr_gone", row_number() OVER (PARTITION BY "id", "__mr_gone" ORDER BY "__hevo__ingested_at" DESC NULLS LAST, "__he__msg_seq_id" DESC) AS __mr_place FROM temp.main."__mr_keys") AS k WHERE __mr_place = 1;

-- merge, without deletes: all_newest
CREATE TEMP VIEW temp.main."__mr_newest" AS SELECT * FROM temp.main."__mr_keys";

-- merge, without deletes: met
CREATE TEMP TABLE temp.main."__mr_met" AS
SELECT n."__he__msg_seq_id", n."__mr_gone", t.rowid AS spot, COALESCE(t."__hevo__ingested_at" > n."__hevo__ingested_at", FALSE) AS stale
FROM "schema"."users" AS t JOIN temp.main."__mr_newest" AS n ON t."id" = n."id";

-- merge, without deletes: counts
SELECT count(DISTINCT CASE WHEN NOT "__mr_gone" THEN "__he__msg_seq_id" END), count(DISTINCT CASE WHEN NOT "__mr_gone" AND stale THEN "__he__msg_seq_id" END), count(DISTINCT CASE WHEN "__mr_gone" AND stale THEN "__he__msg_seq_id" END)
FROM temp.main."__mr_met";

-- merge, without deletes: chosen
CREATE TEMP TABLE temp.main."__mr_chosen" AS
SELECT u."__he__msg_seq_id", CAST(NULL AS BIGINT) AS gone_seq FROM temp.main."__mr_newest" AS u
WHERE NOT u."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m.stale AND m."__he__msg_seq_id" = u."__he__msg_seq_id");

-- merge, without deletes: flag
UPDATE "schema"."users" AS t SET "__hevo__ingested_at" = COALESCE(g."__hevo__ingested_at", t."__hevo__ingested_at"), "__hevo__loaded_at" = 1700000000000
FROM temp.main."__mr_met" AS x JOIN temp.main."__mr_newest" AS g ON g."__he__msg_seq_id" = x."__he__msg_seq_id"
WHERE t.rowid = x.spot AND g."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m.stale AND m."__he__msg_seq_id" = g."__he__msg_seq_id") AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_chosen" AS c WHERE c.gone_seq = g."__he__msg_seq_id");

-- merge, without deletes: clear
DELETE FROM "schema"."users" WHERE rowid IN
(SELECT x.spot FROM temp.main."__mr_met" AS x WHERE NOT x."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m.stale AND m."__he__msg_seq_id" = x."__he__msg_seq_id"));

-- merge, without deletes: insert
INSERT INTO "schema"."users" ("id", "name", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at")
SELECT r."id", r."name", r."__hevo__source_modified_at", r."__hevo__ingested_at", 1700000000000
FROM rows AS r;

-- merge, without deletes: insert_chosen
INSERT INTO "schema"."users" ("id", "name", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at")
SELECT r."id", r."name", r."__hevo__source_modified_at", r."__hevo__ingested_at", 1700000000000
FROM rows AS r JOIN temp.main."__mr_chosen" AS c ON c."__he__msg_seq_id" = r."__he__msg_seq_id";

-- merge, without deletes: insert_gone
INSERT INTO "schema"."users" ("id", "__hevo__ingested_at", "__hevo__loaded_at")
SELECT g."id", g."__hevo__ingested_at", 1700000000000
FROM temp.main."__mr_newest" AS g WHERE g."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_chosen" AS c WHERE c.gone_seq = g."__he__msg_seq_id") AND
NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m."__he__msg_seq_id" = g."__he__msg_seq_id");

-- merge, with deletes: repeated
SELECT count(*) FROM (SELECT "id" FROM temp.main."__mr_keys" GROUP BY "id" HAVING count(*) > 1) AS k;

-- merge, with deletes: newest
CREATE TEMP TABLE temp.main."__mr_newest" AS SELECT "id", "__hevo__source_modified_at", "__hevo__ingested_at", "__he__msg_seq_id", "__mr_gone"
FROM (SELECT "id", "__hevo__source_modified_at", "__hevo__ingested_at", "__he__msg_seq_id", "__mr_gone", row_number() OVER (PARTITION BY "id", "__mr_gone" ORDER BY "__hevo__source_modified_at" DESC NULLS LAST, "__hevo__ingested_at" DESC NULLS LAST, "__he__msg_seq_id" DESC) AS __mr_place, row_number() OVER (PARTITION BY "id" ORDER BY "__hevo__source_modified_at" DESC NULLS LAST, "__hevo__ingested_at" DESC NULLS LAST, "__he__msg_seq_id" DESC) AS __mr_overall FROM temp.main."__mr_keys") AS k WHERE __mr_place = 1 AND (NOT "__mr_gone" OR __mr_overall = 1);

-- merge, with deletes: all_newest
CREATE TEMP VIEW temp.main."__mr_newest" AS SELECT * FROM temp.main."__mr_keys";

-- merge, with deletes: met
CREATE TEMP TABLE temp.main."__mr_met" AS
SELECT n."__he__msg_seq_id", n."__mr_gone", t.rowid AS spot, (COALESCE(t."__hevo__source_modified_at" > n."__hevo__source_modified_at", FALSE) OR (COALESCE(t."__hevo__source_modified_at" = n."__hevo__source_modified_at", TRUE) AND COALESCE(t."__hevo__ingested_at" > n."__hevo__ingested_at", FALSE))) AS stale
FROM "schema"."users" AS t JOIN temp.main."__mr_newest" AS n ON t."id" = n."id";

-- merge, with deletes: counts
SELECT count(DISTINCT CASE WHEN NOT "__mr_gone" THEN "__he__msg_seq_id" END), count(DISTINCT CASE WHEN NOT "__mr_gone" AND stale THEN "__he__msg_seq_id" END), count(DISTINCT CASE WHEN "__mr_gone" AND stale THEN "__he__msg_seq_id" END)
FROM temp.main."__mr_met";

-- merge, with deletes: chosen
CREATE TEMP TABLE temp.main."__mr_chosen" AS
SELECT u."__he__msg_seq_id", g."__he__msg_seq_id" AS gone_seq FROM temp.main."__mr_newest" AS u LEFT JOIN temp.main."__mr_newest" AS g ON g."__mr_gone" AND g."id" = u."id"
WHERE NOT u."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m.stale AND m."__he__msg_seq_id" = u."__he__msg_seq_id");

-- merge, with deletes: flag
UPDATE "schema"."users" AS t SET "__hevo__source_modified_at" = COALESCE(g."__hevo__source_modified_at", t."__hevo__source_modified_at"), "__hevo__ingested_at" = COALESCE(g."__hevo__ingested_at", t."__hevo__ingested_at"), "__hevo__loaded_at" = 1700000000000, "__hevo__marked_deleted" = TRUE
FROM temp.main."__mr_met" AS x JOIN temp.main."__mr_newest" AS g ON g."__he__msg_seq_id" = x."__he__msg_seq_id"
WHERE t.rowid = x.spot AND g."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m.stale AND m."__he__msg_seq_id" = g."__he__msg_seq_id") AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_chosen" AS c WHERE c.gone_seq = g."__he__msg_seq_id");

-- merge, with deletes: clear
DELETE FROM "schema"."users" WHERE rowid IN
(SELECT x.spot FROM temp.main."__mr_met" AS x WHERE NOT x."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m.stale AND m."__he__msg_seq_id" = x."__he__msg_seq_id"));

-- merge, with deletes: insert
INSERT INTO "schema"."users" ("id", "name", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at", "__hevo__marked_deleted")
SELECT r."id", r."name", r."__hevo__source_modified_at", r."__hevo__ingested_at", 1700000000000, FALSE
FROM rows AS r;

-- merge, with deletes: insert_chosen
INSERT INTO "schema"."users" ("id", "name", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at", "__hevo__marked_deleted")
SELECT r."id", r."name", COALESCE(g."__hevo__source_modified_at", r."__hevo__source_modified_at"), COALESCE(g."__hevo__ingested_at", r."__hevo__ingested_at"), 1700000000000, (g."__he__msg_seq_id" IS NOT NULL)
FROM rows AS r JOIN temp.main."__mr_chosen" AS c ON c."__he__msg_seq_id" = r."__he__msg_seq_id" LEFT JOIN temp.main."__mr_newest" AS g ON g."__he__msg_seq_id" = c.gone_seq;

-- merge, with deletes: insert_gone
INSERT INTO "schema"."users" ("id", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at", "__hevo__marked_deleted")
SELECT g."id", g."__hevo__source_modified_at", g."__hevo__ingested_at", 1700000000000, TRUE
FROM temp.main."__mr_newest" AS g WHERE g."__mr_gone" AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_chosen" AS c WHERE c.gone_seq = g."__he__msg_seq_id") AND
NOT EXISTS (SELECT 1 FROM temp.main."__mr_met" AS m WHERE m."__he__msg_seq_id" = g."__he__msg_seq_id");

-- merge of items: crossed
SELECT count(*) FROM (SELECT "__hevo_ref_id" FROM temp.main."__mr_keys" AS k GROUP BY "__hevo_ref_id"
HAVING count(CASE WHEN "__hevo_op_type" = 'E' THEN 1 END) BETWEEN 1 AND count(*) - 1 LIMIT 1) AS c;

-- merge of items: ends
CREATE TEMP TABLE temp.main."__mr_ends" AS SELECT "__hevo_ref_id", "__he__array_length", "__hevo__ingested_at"
FROM (SELECT k.*, row_number() OVER (PARTITION BY k."__hevo_ref_id" ORDER BY k."__hevo__ingested_at" DESC NULLS LAST, k."__he__msg_seq_id" DESC) AS __mr_place FROM temp.main."__mr_keys" AS k) AS k WHERE __mr_place = 1;

-- merge of items: tops
CREATE TEMP TABLE temp.main."__mr_tops" AS SELECT "__hevo_ref_id", "__hevo__ingested_at"
FROM (SELECT t."__hevo_ref_id", t."__hevo__ingested_at", row_number() OVER (PARTITION BY t."__hevo_ref_id" ORDER BY t."__hevo__ingested_at" DESC NULLS LAST) AS __mr_place
FROM "schema"."orgs_contact" AS t JOIN temp.main."__mr_ends" AS e ON e."__hevo_ref_id" = t."__hevo_ref_id") AS t WHERE __mr_place = 1;

-- merge of items: bygone
CREATE TEMP TABLE temp.main."__mr_bygone" AS
SELECT k."__he__msg_seq_id", k."__hevo_id" AS id, EXISTS (SELECT 1 FROM "schema"."orgs_contact" AS t WHERE t."__hevo_id" = k."__hevo_id") AS known, p."__hevo__ingested_at"
FROM temp.main."__mr_keys" AS k JOIN temp.main."__mr_tops" AS p ON p."__hevo_ref_id" = k."__hevo_ref_id"
WHERE k."__hevo_op_type" IS DISTINCT FROM 'E' AND COALESCE(p."__hevo__ingested_at" > k."__hevo__ingested_at", FALSE);

-- merge of items: bygone_above
INSERT INTO temp.main."__mr_bygone"
SELECT k."__he__msg_seq_id", k."__hevo_id" AS id, EXISTS (SELECT 1 FROM "schema"."orgs_contact" AS t WHERE t."__hevo_id" = k."__hevo_id") AS known, p."__hevo__ingested_at"
FROM temp.main."__mr_keys" AS k JOIN "schema"."orgs_division" AS p ON p."__hevo_id" = k."__hevo_ref_id"
WHERE k."__hevo_op_type" IS DISTINCT FROM 'E' AND COALESCE(p."__hevo__ingested_at" > k."__hevo__ingested_at", FALSE);

-- merge of items: aged
UPDATE "schema"."orgs_contact" AS t SET "__hevo__ingested_at" = COALESCE(b."__hevo__ingested_at", t."__hevo__ingested_at")
FROM temp.main."__mr_bygone" AS b
WHERE b.known AND b.id = t."__hevo_id" AND t."__hevo__marked_deleted" AND COALESCE(b."__hevo__ingested_at" > t."__hevo__ingested_at", FALSE);

-- merge of items: forget
DELETE FROM temp.main."__mr_keys" WHERE "__he__msg_seq_id" IN (SELECT "__he__msg_seq_id" FROM temp.main."__mr_bygone" WHERE known);

-- merge of items: leave
DELETE FROM temp.main."__mr_keys" WHERE "__hevo_op_type" = 'E';

-- merge of items: fallen
CREATE TEMP TABLE temp.main."__mr_fallen" AS
SELECT t.rowid AS spot, t."__hevo_id" AS id, e."__hevo__ingested_at"
FROM "schema"."orgs_contact" AS t JOIN temp.main."__mr_ends" AS e ON e."__hevo_ref_id" = t."__hevo_ref_id"
WHERE t."__hevo_array_index" >= e."__he__array_length" AND NOT COALESCE(t."__hevo__marked_deleted", FALSE) AND NOT COALESCE(t."__hevo__ingested_at" > e."__hevo__ingested_at", FALSE)
UNION SELECT t.rowid, t."__hevo_id", p."__hevo__ingested_at"
FROM "schema"."orgs_contact" AS t JOIN temp.main."__mr_newest" AS n ON n."__hevo_id" = t."__hevo_id"
JOIN "schema"."orgs_division" AS p ON p."__hevo_id" = t."__hevo_ref_id"
WHERE COALESCE(p."__hevo__marked_deleted", FALSE) AND NOT COALESCE(t."__hevo__marked_deleted", FALSE) AND NOT COALESCE(t."__hevo__ingested_at" > p."__hevo__ingested_at", FALSE);

-- merge of items: overdue
INSERT INTO temp.main."__mr_fallen"
SELECT t.rowid, t."__hevo_id", b."__hevo__ingested_at"
FROM temp.main."__mr_bygone" AS b JOIN temp.main."__mr_keys" AS k ON k."__he__msg_seq_id" = b."__he__msg_seq_id" JOIN "schema"."orgs_contact" AS t ON t."__hevo_id" = b.id
WHERE NOT b.known AND NOT COALESCE(t."__hevo__marked_deleted", FALSE) AND NOT COALESCE(t."__hevo__ingested_at" > k."__hevo__ingested_at", FALSE);

-- merge of items: mark
UPDATE "schema"."orgs_contact" AS t SET "__hevo__marked_deleted" = TRUE, "__hevo__ingested_at" = COALESCE(f."__hevo__ingested_at", t."__hevo__ingested_at"), "__hevo__loaded_at" = 1700000000000
FROM (SELECT f.spot, f."__hevo__ingested_at", row_number() OVER (PARTITION BY f.spot ORDER BY f."__hevo__ingested_at" DESC NULLS LAST) AS __mr_place FROM temp.main."__mr_fallen" AS f) AS f
WHERE f.__mr_place = 1 AND t.rowid = f.spot;

-- merge of items: those below
CREATE TEMP TABLE temp.main."__mr_fallen_0" AS
SELECT t.rowid AS spot, t."__hevo_id" AS id, f."__hevo__ingested_at"
FROM "schema"."orgs_contact_phone_no" AS t JOIN temp.main."__mr_fallen" AS f ON f.id = t."__hevo_ref_id"
WHERE NOT COALESCE(t."__hevo__marked_deleted", FALSE) AND NOT COALESCE(COALESCE(t."__hevo__ingested_at" > f."__hevo__ingested_at", FALSE), FALSE);

-- history: 1
CREATE TEMP TABLE temp.main."__mr_batch" AS
SELECT k.*, row_number() OVER (PARTITION BY "id", __mr_since, __mr_gone ORDER BY __mr_ing DESC NULLS LAST, "__he__msg_seq_id" DESC) AS __mr_place
FROM (SELECT r."id", COALESCE(CAST(r."__hevo__source_modified_at" AS TIMESTAMPTZ), make_timestamptz(r."__hevo__ingested_at" * 1000)) AS __mr_since, r.__mr_gone, r."__he__msg_seq_id", r."__hevo__ingested_at" AS __mr_ing FROM temp.main."__mr_rows" AS r) AS k;

-- history: 2
CREATE TEMP TABLE temp.main."__mr_known" AS
SELECT t."id", t."__hevo__valid_from" AS __mr_since, t."__hevo__valid_to" AS __mr_until, COALESCE(t."__hevo__marked_deleted", FALSE) AS __mr_flagged, t."__hevo__ingested_at" AS __mr_ing, t.rowid AS __mr_spot
FROM "schema"."users" AS t WHERE t."__hevo__valid_from" IS NOT NULL AND EXISTS (SELECT 1 FROM temp.main."__mr_batch" AS b WHERE b."id" = t."id");

-- history: 3
CREATE TEMP TABLE temp.main."__mr_meeting" AS
SELECT b."__he__msg_seq_id", k.__mr_spot, COALESCE(k.__mr_ing > b.__mr_ing, FALSE) AS stale, CASE WHEN r."name" IS DISTINCT FROM t."name" THEN FALSE ELSE TRUE END AS same
FROM temp.main."__mr_batch" AS b JOIN temp.main."__mr_known" AS k ON k."id" = b."id" AND k.__mr_since = b.__mr_since
JOIN temp.main."__mr_rows" AS r ON r."__he__msg_seq_id" = b."__he__msg_seq_id"
JOIN "schema"."users" AS t ON t.rowid = k.__mr_spot
WHERE b.__mr_place = 1 AND NOT b.__mr_gone;

-- history: 4
CREATE TEMP TABLE temp.main."__mr_events" AS
SELECT e.*, lag(__mr_gone) OVER (PARTITION BY "id" ORDER BY __mr_since, __mr_source, "__he__msg_seq_id") AS __mr_gone_before, lag("__he__msg_seq_id") OVER (PARTITION BY "id" ORDER BY __mr_since, __mr_source, "__he__msg_seq_id") AS __mr_seq_before, lag(__mr_spot) OVER (PARTITION BY "id" ORDER BY __mr_since, __mr_source, "__he__msg_seq_id") AS __mr_spot_before
FROM (
SELECT k."id", k.__mr_since, FALSE AS __mr_gone, CAST(NULL AS BIGINT) AS "__he__msg_seq_id", k.__mr_spot, 0 AS __mr_source FROM temp.main."__mr_known" AS k
WHERE NOT EXISTS (SELECT 1 FROM temp.main."__mr_meeting" AS m WHERE m.__mr_spot = k.__mr_spot AND NOT m.same AND NOT m.stale)
UNION ALL SELECT k."id", k.__mr_until + INTERVAL '1 millisecond', TRUE, CAST(NULL AS BIGINT), CAST(NULL AS BIGINT), 1 FROM temp.main."__mr_known" AS k WHERE k.__mr_flagged
UNION ALL SELECT b."id", b.__mr_since, b.__mr_gone, b."__he__msg_seq_id", CAST(NULL AS BIGINT), 2 FROM temp.main."__mr_batch" AS b WHERE b.__mr_place = 1
AND NOT EXISTS (SELECT 1 FROM temp.main."__mr_meeting" AS m WHERE m."__he__msg_seq_id" = b."__he__msg_seq_id" AND (m.same OR m.stale))
) AS e;

-- history: 5
CREATE TEMP TABLE temp.main."__mr_same" AS
SELECT e."__he__msg_seq_id" FROM temp.main."__mr_events" AS e JOIN temp.main."__mr_rows" AS r ON r."__he__msg_seq_id" = e."__he__msg_seq_id"
JOIN "schema"."users" AS p ON p.rowid = e.__mr_spot_before
WHERE NOT e.__mr_gone AND e.__mr_gone_before = FALSE AND CASE WHEN r."name" IS DISTINCT FROM p."name" THEN FALSE ELSE TRUE END
UNION ALL SELECT e."__he__msg_seq_id" FROM temp.main."__mr_events" AS e JOIN temp.main."__mr_rows" AS r ON r."__he__msg_seq_id" = e."__he__msg_seq_id"
JOIN temp.main."__mr_rows" AS p ON p."__he__msg_seq_id" = e.__mr_seq_before
WHERE NOT e.__mr_gone AND e.__mr_gone_before = FALSE AND CASE WHEN r."name" IS DISTINCT FROM p."name" THEN FALSE ELSE TRUE END;

-- history: 6
CREATE TEMP TABLE temp.main."__mr_line" AS
SELECT e.*, CASE WHEN __mr_next IS NULL THEN CAST('9999-12-31 23:59:59+00' AS TIMESTAMPTZ) ELSE greatest(__mr_since, __mr_next - INTERVAL '1 millisecond') END AS __mr_until, __mr_next IS NULL AS __mr_active
FROM (SELECT "id", __mr_since, __mr_gone, "__he__msg_seq_id", __mr_spot, lead(__mr_since) OVER (PARTITION BY "id" ORDER BY __mr_since, __mr_source, "__he__msg_seq_id") AS __mr_next, COALESCE(lead(__mr_gone) OVER (PARTITION BY "id" ORDER BY __mr_since, __mr_source, "__he__msg_seq_id"), FALSE) AS __mr_ended, lag(__mr_gone) OVER (PARTITION BY "id" ORDER BY __mr_since, __mr_source, "__he__msg_seq_id") AS __mr_gone_before
FROM temp.main."__mr_events" AS e WHERE "__he__msg_seq_id" IS NULL OR NOT EXISTS (SELECT 1 FROM temp.main."__mr_same" AS s WHERE s."__he__msg_seq_id" = e."__he__msg_seq_id")) AS e;

-- history: 7
SELECT (SELECT count(*) FROM temp.main."__mr_line" WHERE "__he__msg_seq_id" IS NOT NULL AND NOT __mr_gone) - (SELECT count(*) FROM temp.main."__mr_meeting" WHERE NOT same AND NOT stale), (SELECT count(*) FROM temp.main."__mr_meeting" WHERE NOT same AND NOT stale), (SELECT count(*) FROM temp.main."__mr_line" WHERE "__he__msg_seq_id" IS NOT NULL AND __mr_gone AND COALESCE(__mr_gone_before, FALSE) = FALSE), (SELECT count(*) FROM temp.main."__mr_batch" WHERE __mr_place > 1), (SELECT count(*) FROM temp.main."__mr_meeting" WHERE stale AND NOT same);

-- history: 8
UPDATE "schema"."users" AS t SET "__hevo__valid_to" = l.__mr_until, "__hevo__is_active" = l.__mr_active, "__hevo__marked_deleted" = l.__mr_ended, "__hevo__loaded_at" = 1700000000000
FROM temp.main."__mr_line" AS l
WHERE t.rowid = l.__mr_spot AND (t."__hevo__valid_to" IS DISTINCT FROM l.__mr_until OR t."__hevo__is_active" IS DISTINCT FROM l.__mr_active OR t."__hevo__marked_deleted" IS DISTINCT FROM l.__mr_ended);

-- history: 9
DELETE FROM "schema"."users" WHERE rowid IN (SELECT __mr_spot FROM temp.main."__mr_meeting" WHERE NOT same AND NOT stale);

-- history: 10
INSERT INTO "schema"."users" ("id", "name", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at", "__hevo__marked_deleted", "__hevo__valid_from", "__hevo__valid_to", "__hevo__is_active")
SELECT r."id", r."name", r."__hevo__source_modified_at", r."__hevo__ingested_at", 1700000000000, l.__mr_ended, l.__mr_since, l.__mr_until, l.__mr_active
FROM temp.main."__mr_rows" AS r JOIN temp.main."__mr_line" AS l ON l."__he__msg_seq_id" = r."__he__msg_seq_id" WHERE NOT l.__mr_gone;

-- history: 11
INSERT INTO "schema"."users" ("id", "__hevo__source_modified_at", "__hevo__ingested_at", "__hevo__loaded_at", "__hevo__marked_deleted", "__hevo__valid_from", "__hevo__valid_to", "__hevo__is_active")
SELECT r."id", r."__hevo__source_modified_at", r."__hevo__ingested_at", 1700000000000, TRUE, l.__mr_since, l.__mr_since, FALSE
FROM temp.main."__mr_rows" AS r JOIN temp.main."__mr_line" AS l ON l."__he__msg_seq_id" = r."__he__msg_seq_id" WHERE l.__mr_gone AND l.__mr_gone_before IS NULL;

