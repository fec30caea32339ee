-- create: every logical type
CREATE TABLE `schema`.`every type` (
  `boolean` TINYINT(1),
  `byte` TINYINT,
  `short` SMALLINT,
  `integer` INT,
  `long` BIGINT,
  `float` FLOAT,
  `double` DOUBLE,
  `decimal` DECIMAL(10,2),
  `decimal_38` DECIMAL(38,10),
  `decimal_76` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `date` DATE,
  `time` TIME(6),
  `timetz` VARCHAR(24) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `timestamp` DATETIME(6),
  `timestamptz` DATETIME(6) COMMENT 'UTC',
  `varchar` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `varchar_n` VARCHAR(5) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `bytearray` LONGBLOB,
  `json` JSON,
  `struct` JSON,
  `array` JSON,
  `xml` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `uuid` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `geo` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `__hevo__ingested_at` BIGINT,
  `__hevo__loaded_at` BIGINT,
  PRIMARY KEY (`long`, `varchar`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- create: merge, with deletes
CREATE TABLE `schema`.`users` (
  `id` BIGINT,
  `name` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `__hevo__source_modified_at` DATETIME(6) COMMENT 'UTC',
  `__hevo__ingested_at` BIGINT,
  `__hevo__loaded_at` BIGINT,
  `__hevo__marked_deleted` TINYINT(1),
  PRIMARY KEY (`id`)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- create: history
CREATE TABLE `schema`.`users` (
  `id` BIGINT,
  `name` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin,
  `__hevo__source_modified_at` DATETIME(6) COMMENT 'UTC',
  `__hevo__ingested_at` BIGINT,
  `__hevo__loaded_at` BIGINT,
  `__hevo__marked_deleted` TINYINT(1),
  `__hevo__valid_from` DATETIME(6) COMMENT 'UTC',
  `__hevo__valid_to` DATETIME(6) COMMENT 'UTC',
  `__hevo__is_active` TINYINT(1)
) ENGINE=InnoDB ROW_FORMAT=DYNAMIC CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

-- alter: columns added, a type widened
ALTER TABLE `schema`.`users` MODIFY COLUMN `name` LONGTEXT CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin;

ALTER TABLE `schema`.`users` ADD COLUMN `__hevo__source_modified_at` DATETIME(6) COMMENT 'UTC';

ALTER TABLE `schema`.`users` ADD COLUMN `__hevo__ingested_at` BIGINT;

ALTER TABLE `schema`.`users` ADD COLUMN `__hevo__loaded_at` BIGINT;

ALTER TABLE `schema`.`users` ADD COLUMN `__hevo__marked_deleted` TINYINT(1);

-- BOOLEAN as text
CASE WHEN "c" IS NULL THEN NULL WHEN "c" = 0 THEN 'false' ELSE 'true' END;

-- BYTE as text
CAST("c" AS CHAR);

-- SHORT as text
CAST("c" AS CHAR);

-- INTEGER as text
CAST("c" AS CHAR);

-- LONG as text
CAST("c" AS CHAR);

-- FLOAT as text
REPLACE(REPLACE(CAST("c" + 0e0 AS CHAR), 'e', 'e+'), 'e+-', 'e-');

-- DOUBLE as text
REPLACE(REPLACE(CAST("c" + 0e0 AS CHAR), 'e', 'e+'), 'e+-', 'e-');

-- DECIMAL as text
CAST("c" AS CHAR);

-- DATE as text
CAST("c" AS CHAR);

-- TIME as text
CAST("c" AS CHAR);

-- TIMETZ as text
"c";

-- TIMESTAMP as text
DATE_FORMAT("c", '%Y-%m-%dT%H:%i:%s.%f');

-- TIMESTAMPTZ as text
DATE_FORMAT("c", '%Y-%m-%dT%H:%i:%s.%fZ');

-- VARCHAR as text
"c";

-- BYTEARRAY as text
REPLACE(TO_BASE64("c"), '\n', '');

-- JSON as text
CAST("c" AS CHAR);

-- STRUCT as text
CAST("c" AS CHAR);

-- ARRAY as text
CAST("c" AS CHAR);

-- XML as text
"c";

-- UUID as text
"c";

-- GEO as text
"c";

-- append, with deletes
INSERT INTO `schema`.`users` (`id`, `name`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`, `__hevo__marked_deleted`)
SELECT r.`id`, r.`name`, r.`__hevo__source_modified_at`, r.`__hevo__ingested_at`, 1700000000000, COALESCE(r.`__hevo_op_type` = 'D', FALSE)
FROM rows AS r;

-- merge, without deletes: repeated
SELECT count(*) FROM (SELECT `id` FROM `__mr_keys` GROUP BY `id` HAVING count(*) > 1) AS k;

-- merge, without deletes: newest
CREATE TEMPORARY TABLE `__mr_newest` (PRIMARY KEY (`__he__msg_seq_id`)) AS SELECT `id`, `__hevo__ingested_at`, `__he__msg_seq_id`, `__mr_gone`, CAST(NULL AS SIGNED) AS `__mr_after`
FROM (SELECT `id`, `__hevo__ingested_at`, `__he__msg_seq_id`, `__mr_gone`, row_number() OVER (PARTITION BY `id`, `__mr_gone` ORDER BY `__hevo__ingested_at` DESC, `__he__msg_seq_id` DESC) AS __mr_place FROM `__mr_keys`) AS k WHERE __mr_place = 1;

-- merge, without deletes: all_newest
CREATE TEMPORARY TABLE `__mr_newest` (PRIMARY KEY (`__he__msg_seq_id`)) AS SELECT `id`, `__hevo__ingested_at`, `__he__msg_seq_id`, `__mr_gone`, CAST(NULL AS SIGNED) AS `__mr_after` FROM `__mr_keys`;

-- merge, without deletes: met
CREATE TEMPORARY TABLE `__mr_met` (PRIMARY KEY (`__he__msg_seq_id`)) AS
SELECT n.`id`, n.`__he__msg_seq_id`, n.`__mr_gone`, max(COALESCE(t.`__hevo__ingested_at` > n.`__hevo__ingested_at`, FALSE)) AS `__mr_stale`
FROM `__mr_newest` AS n JOIN `schema`.`users` AS t ON t.`id` = n.`id`
GROUP BY n.`id`, n.`__he__msg_seq_id`, n.`__mr_gone`;

-- merge, without deletes: counts
SELECT count(CASE WHEN NOT `__mr_gone` THEN 1 END), count(CASE WHEN NOT `__mr_gone` AND `__mr_stale` THEN 1 END), count(CASE WHEN `__mr_gone` AND `__mr_stale` THEN 1 END)
FROM `__mr_met`;

-- merge, without deletes: chosen
CREATE TEMPORARY TABLE `__mr_chosen` (PRIMARY KEY (`__he__msg_seq_id`), KEY (`__mr_after`)) AS
SELECT u.`__he__msg_seq_id`, u.`__mr_after` FROM `__mr_newest` AS u LEFT JOIN `__mr_met` AS m ON m.`__he__msg_seq_id` = u.`__he__msg_seq_id`
WHERE NOT u.`__mr_gone` AND NOT COALESCE(m.`__mr_stale`, FALSE);

-- merge, without deletes: flag
UPDATE `schema`.`users` AS t, `__mr_met` AS x JOIN `__mr_newest` AS g ON g.`__he__msg_seq_id` = x.`__he__msg_seq_id`
SET t.`__hevo__ingested_at` = COALESCE(g.`__hevo__ingested_at`, t.`__hevo__ingested_at`), t.`__hevo__loaded_at` = 1700000000000
WHERE t.`id` = x.`id` AND x.`__mr_gone` AND NOT x.`__mr_stale` AND c.`__he__msg_seq_id` IS NULL;

-- merge, without deletes: clear
DELETE t FROM `schema`.`users` AS t JOIN `__mr_met` AS x ON t.`id` = x.`id`
WHERE NOT x.`__mr_gone` AND NOT x.`__mr_stale`;

-- merge, without deletes: insert
INSERT INTO `schema`.`users` (`id`, `name`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`)
SELECT r.`id`, r.`name`, r.`__hevo__source_modified_at`, r.`__hevo__ingested_at`, 1700000000000
FROM rows AS r;

-- merge, without deletes: insert_chosen
INSERT INTO `schema`.`users` (`id`, `name`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`)
SELECT r.`id`, r.`name`, r.`__hevo__source_modified_at`, r.`__hevo__ingested_at`, 1700000000000
FROM `__mr_chosen` AS c JOIN rows AS r ON r.`__he__msg_seq_id` = c.`__he__msg_seq_id`;

-- merge, without deletes: insert_gone
INSERT INTO `schema`.`users` (`id`, `__hevo__ingested_at`, `__hevo__loaded_at`)
SELECT g.`id`, g.`__hevo__ingested_at`, 1700000000000
FROM `__mr_newest` AS g
LEFT JOIN `__mr_met` AS m ON m.`__he__msg_seq_id` = g.`__he__msg_seq_id`
WHERE g.`__mr_gone` AND c.`__he__msg_seq_id` IS NULL AND m.`__he__msg_seq_id` IS NULL;

-- merge, with deletes: repeated
SELECT count(*) FROM (SELECT `id` FROM `__mr_keys` GROUP BY `id` HAVING count(*) > 1) AS k;

-- merge, with deletes: newest
CREATE TEMPORARY TABLE `__mr_newest` (PRIMARY KEY (`__he__msg_seq_id`)) AS SELECT `id`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__he__msg_seq_id`, `__mr_gone`, CASE WHEN `__mr_gone` THEN NULL ELSE __mr_last END AS `__mr_after`
FROM (SELECT `id`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__he__msg_seq_id`, `__mr_gone`, row_number() OVER (PARTITION BY `id`, `__mr_gone` ORDER BY `__hevo__source_modified_at` DESC, `__hevo__ingested_at` DESC, `__he__msg_seq_id` DESC) AS __mr_place, row_number() OVER (PARTITION BY `id` ORDER BY `__hevo__source_modified_at` DESC, `__hevo__ingested_at` DESC, `__he__msg_seq_id` DESC) AS __mr_overall, first_value(CASE WHEN `__mr_gone` THEN `__he__msg_seq_id` END) OVER (PARTITION BY `id` ORDER BY `__hevo__source_modified_at` DESC, `__hevo__ingested_at` DESC, `__he__msg_seq_id` DESC) AS __mr_last FROM `__mr_keys`) AS k WHERE __mr_place = 1 AND (NOT `__mr_gone` OR __mr_overall = 1);

-- merge, with deletes: all_newest
CREATE TEMPORARY TABLE `__mr_newest` (PRIMARY KEY (`__he__msg_seq_id`)) AS SELECT `id`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__he__msg_seq_id`, `__mr_gone`, CAST(NULL AS SIGNED) AS `__mr_after` FROM `__mr_keys`;

-- merge, with deletes: met
CREATE TEMPORARY TABLE `__mr_met` (PRIMARY KEY (`__he__msg_seq_id`)) AS
SELECT n.`id`, n.`__he__msg_seq_id`, n.`__mr_gone`, max((COALESCE(t.`__hevo__source_modified_at` > n.`__hevo__source_modified_at`, FALSE) OR (COALESCE(t.`__hevo__source_modified_at` = n.`__hevo__source_modified_at`, TRUE) AND COALESCE(t.`__hevo__ingested_at` > n.`__hevo__ingested_at`, FALSE)))) AS `__mr_stale`
FROM `__mr_newest` AS n JOIN `schema`.`users` AS t ON t.`id` = n.`id`
GROUP BY n.`id`, n.`__he__msg_seq_id`, n.`__mr_gone`;

-- merge, with deletes: counts
SELECT count(CASE WHEN NOT `__mr_gone` THEN 1 END), count(CASE WHEN NOT `__mr_gone` AND `__mr_stale` THEN 1 END), count(CASE WHEN `__mr_gone` AND `__mr_stale` THEN 1 END)
FROM `__mr_met`;

-- merge, with deletes: chosen
CREATE TEMPORARY TABLE `__mr_chosen` (PRIMARY KEY (`__he__msg_seq_id`), KEY (`__mr_after`)) AS
SELECT u.`__he__msg_seq_id`, u.`__mr_after` FROM `__mr_newest` AS u LEFT JOIN `__mr_met` AS m ON m.`__he__msg_seq_id` = u.`__he__msg_seq_id`
WHERE NOT u.`__mr_gone` AND NOT COALESCE(m.`__mr_stale`, FALSE);

-- merge, with deletes: flag
UPDATE `schema`.`users` AS t, `__mr_met` AS x JOIN `__mr_newest` AS g ON g.`__he__msg_seq_id` = x.`__he__msg_seq_id`
LEFT JOIN `__mr_chosen` AS c ON c.`__mr_after` = g.`__he__msg_seq_id`
SET t.`__hevo__source_modified_at` = COALESCE(g.`__hevo__source_modified_at`, t.`__hevo__source_modified_at`), t.`__hevo__ingested_at` = COALESCE(g.`__hevo__ingested_at`, t.`__hevo__ingested_at`), t.`__hevo__loaded_at` = 1700000000000, t.`__hevo__marked_deleted` = TRUE
WHERE t.`id` = x.`id` AND x.`__mr_gone` AND NOT x.`__mr_stale` AND c.`__he__msg_seq_id` IS NULL;

-- merge, with deletes: clear
DELETE t FROM `schema`.`users` AS t JOIN `__mr_met` AS x ON t.`id` = x.`id`
WHERE NOT x.`__mr_gone` AND NOT x.`__mr_stale`;

-- merge, with deletes: insert
INSERT INTO `schema`.`users` (`id`, `name`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`, `__hevo__marked_deleted`)
SELECT r.`id`, r.`name`, r.`__hevo__source_modified_at`, r.`__hevo__ingested_at`, 1700000000000, FALSE
FROM rows AS r;

-- merge, with deletes: insert_chosen
INSERT INTO `schema`.`users` (`id`, `name`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`, `__hevo__marked_deleted`)
SELECT r.`id`, r.`name`, COALESCE(g.`__hevo__source_modified_at`, r.`__hevo__source_modified_at`), COALESCE(g.`__hevo__ingested_at`, r.`__hevo__ingested_at`), 1700000000000, (g.`__he__msg_seq_id` IS NOT NULL)
FROM `__mr_chosen` AS c JOIN rows AS r ON r.`__he__msg_seq_id` = c.`__he__msg_seq_id`
LEFT JOIN `__mr_newest` AS g ON g.`__he__msg_seq_id` = c.`__mr_after`;

-- merge, with deletes: insert_gone
INSERT INTO `schema`.`users` (`id`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`, `__hevo__marked_deleted`)
SELECT g.`id`, g.`__hevo__source_modified_at`, g.`__hevo__ingested_at`, 1700000000000, TRUE
FROM `__mr_newest` AS g
LEFT JOIN `__mr_chosen` AS c ON c.`__mr_after` = g.`__he__msg_seq_id`
LEFT JOIN `__mr_met` AS m ON m.`__he__msg_seq_id` = g.`__he__msg_seq_id`
WHERE g.`__mr_gone` AND c.`__he__msg_seq_id` IS NULL AND m.`__he__msg_seq_id` IS NULL;

-- merge of items: crossed
SELECT count(*) FROM (SELECT `__hevo_ref_id` FROM `__mr_keys` AS k GROUP BY `__hevo_ref_id`
HAVING count(CASE WHEN `__hevo_op_type` = 'E' THEN 1 END) BETWEEN 1 AND count(*) - 1 LIMIT 1) AS c;

-- merge of items: ends
CREATE TEMPORARY TABLE `__mr_ends` AS SELECT `__hevo_ref_id`, `__he__array_length`, `__hevo__ingested_at`
FROM (SELECT k.*, row_number() OVER (PARTITION BY k.`__hevo_ref_id` ORDER BY k.`__hevo__ingested_at` DESC, k.`__he__msg_seq_id` DESC) AS __mr_place FROM `__mr_keys` AS k) AS k WHERE __mr_place = 1;

-- merge of items: tops
CREATE TEMPORARY TABLE `__mr_tops` AS SELECT `__hevo_ref_id`, `__hevo__ingested_at`
FROM (SELECT t.`__hevo_ref_id`, t.`__hevo__ingested_at`, row_number() OVER (PARTITION BY t.`__hevo_ref_id` ORDER BY t.`__hevo__ingested_at` DESC) AS __mr_place
FROM `schema`.`orgs_contact` AS t JOIN `__mr_ends` AS e ON e.`__hevo_ref_id` = t.`__hevo_ref_id`) AS t WHERE __mr_place = 1;

-- merge of items: bygone
CREATE TEMPORARY TABLE `__mr_bygone` AS
SELECT k.`__he__msg_seq_id`, k.`__hevo_id` AS id, EXISTS (SELECT 1 FROM `schema`.`orgs_contact` AS t WHERE t.`__hevo_id` = k.`__hevo_id`) AS known, p.`__hevo__ingested_at`
FROM `__mr_keys` AS k JOIN `__mr_tops` AS p ON p.`__hevo_ref_id` = k.`__hevo_ref_id`
WHERE NOT (k.`__hevo_op_type` <=> 'E') AND COALESCE(p.`__hevo__ingested_at` > k.`__hevo__ingested_at`, FALSE);

-- merge of items: bygone_above
INSERT INTO `__mr_bygone`
SELECT k.`__he__msg_seq_id`, k.`__hevo_id` AS id, EXISTS (SELECT 1 FROM `schema`.`orgs_contact` AS t WHERE t.`__hevo_id` = k.`__hevo_id`) AS known, p.`__hevo__ingested_at`
FROM `__mr_keys` AS k JOIN `schema`.`orgs_division` AS p ON p.`__hevo_id` = k.`__hevo_ref_id`
WHERE NOT (k.`__hevo_op_type` <=> 'E') AND COALESCE(p.`__hevo__ingested_at` > k.`__hevo__ingested_at`, FALSE);

-- merge of items: aged
UPDATE `schema`.`orgs_contact` AS t, `__mr_bygone` AS b
SET t.`__hevo__ingested_at` = COALESCE(b.`__hevo__ingested_at`, t.`__hevo__ingested_at`)
WHERE b.known AND b.id = t.`__hevo_id` AND t.`__hevo__marked_deleted` AND COALESCE(b.`__hevo__ingested_at` > t.`__hevo__ingested_at`, FALSE);

-- merge of items: forget
DELETE FROM `__mr_keys` WHERE `__he__msg_seq_id` IN (SELECT `__he__msg_seq_id` FROM `__mr_bygone` WHERE known);

-- merge of items: leave
DELETE FROM `__mr_keys` WHERE `__hevo_op_type` = 'E';

-- merge of items: fallen
CREATE TEMPORARY TABLE `__mr_fallen` AS
SELECT t.`__hevo_id` AS spot, t.`__hevo_id` AS id, e.`__hevo__ingested_at`
FROM `schema`.`orgs_contact` AS t JOIN `__mr_ends` AS e ON e.`__hevo_ref_id` = t.`__hevo_ref_id`
WHERE t.`__hevo_array_index` >= e.`__he__array_length` AND NOT COALESCE(t.`__hevo__marked_deleted`, FALSE) AND NOT COALESCE(t.`__hevo__ingested_at` > e.`__hevo__ingested_at`, FALSE)
UNION SELECT t.`__hevo_id`, t.`__hevo_id`, p.`__hevo__ingested_at`
FROM `schema`.`orgs_contact` AS t JOIN `__mr_newest` AS n ON n.`__hevo_id` = t.`__hevo_id`
JOIN `schema`.`orgs_division` AS p ON p.`__hevo_id` = t.`__hevo_ref_id`
WHERE COALESCE(p.`__hevo__marked_deleted`, FALSE) AND NOT COALESCE(t.`__hevo__marked_deleted`, FALSE) AND NOT COALESCE(t.`__hevo__ingested_at` > p.`__hevo__ingested_at`, FALSE);

-- merge of items: overdue
INSERT INTO `__mr_fallen`
SELECT t.`__hevo_id`, t.`__hevo_id`, b.`__hevo__ingested_at`
FROM `__mr_bygone` AS b JOIN `__mr_keys` AS k ON k.`__he__msg_seq_id` = b.`__he__msg_seq_id` JOIN `schema`.`orgs_contact` AS t ON t.`__hevo_id` = b.id
WHERE NOT b.known AND NOT COALESCE(t.`__hevo__marked_deleted`, FALSE) AND NOT COALESCE(t.`__hevo__ingested_at` > k.`__hevo__ingested_at`, FALSE);

-- merge of items: mark
UPDATE `schema`.`orgs_contact` AS t, (SELECT f.spot, f.`__hevo__ingested_at`, row_number() OVER (PARTITION BY f.spot ORDER BY f.`__hevo__ingested_at` DESC) AS __mr_place FROM `__mr_fallen` AS f) AS f
SET t.`__hevo__marked_deleted` = TRUE, t.`__hevo__ingested_at` = COALESCE(f.`__hevo__ingested_at`, t.`__hevo__ingested_at`), t.`__hevo__loaded_at` = 1700000000000
WHERE f.__mr_place = 1 AND t.`__hevo_id` = f.spot;

-- merge of items: those below
CREATE TEMPORARY TABLE `__mr_fallen_0` AS
SELECT t.`__hevo_id` AS spot, t.`__hevo_id` AS id, f.`__hevo__ingested_at`
FROM `schema`.`orgs_contact_phone_no` AS t JOIN `__mr_fallen` AS f ON f.id = t.`__hevo_ref_id`
WHERE NOT COALESCE(t.`__hevo__marked_deleted`, FALSE) AND NOT COALESCE(COALESCE(t.`__hevo__ingested_at` > f.`__hevo__ingested_at`, FALSE), FALSE);

-- history: 1
CREATE TEMPORARY TABLE `__mr_batch` (PRIMARY KEY (`__he__msg_seq_id`)) AS
SELECT k.*, row_number() OVER (PARTITION BY `id`, __mr_since, __mr_gone ORDER BY __mr_ing DESC, `__he__msg_seq_id` DESC) AS __mr_place
FROM (SELECT r.`id`, COALESCE(CAST(r.`__hevo__source_modified_at` AS DATETIME(6)), (CAST('1970-01-01' AS DATETIME(6)) + INTERVAL (r.`__hevo__ingested_at` * 1000) MICROSECOND)) AS __mr_since, r.__mr_gone, r.`__he__msg_seq_id`, r.`__hevo__ingested_at` AS __mr_ing FROM `__mr_rows` AS r) AS k;

-- history: 2
CREATE TEMPORARY TABLE `__mr_known` AS
SELECT t.`id`, t.`__hevo__valid_from` AS __mr_since, t.`__hevo__valid_to` AS __mr_until, COALESCE(t.`__hevo__marked_deleted`, FALSE) AS __mr_flagged, t.`__hevo__ingested_at` AS __mr_ing
FROM (SELECT DISTINCT `id` FROM `__mr_batch`) AS b JOIN `schema`.`users` AS t ON b.`id` = t.`id`
WHERE t.`__hevo__valid_from` IS NOT NULL;

-- history: 3
CREATE TEMPORARY TABLE `__mr_meeting` (KEY (`__he__msg_seq_id`)) AS
SELECT k.`id`, k.__mr_since, b.`__he__msg_seq_id`, COALESCE(k.__mr_ing > b.__mr_ing, FALSE) AS stale, r.`name` <=> t.`name` AS same
FROM `__mr_batch` AS b JOIN `__mr_known` AS k ON k.`id` = b.`id` AND k.__mr_since = b.__mr_since
JOIN `__mr_rows` AS r ON r.`__he__msg_seq_id` = b.`__he__msg_seq_id`
JOIN `schema`.`users` AS t ON t.`id` = k.`id` AND t.`__hevo__valid_from` = k.__mr_since
WHERE b.__mr_place = 1 AND NOT b.__mr_gone;

-- history: 4
CREATE TEMPORARY TABLE `__mr_events` AS
SELECT k.`id`, k.__mr_since, FALSE AS __mr_gone, CAST(NULL AS SIGNED) AS `__he__msg_seq_id`, 0 AS __mr_source
FROM `__mr_known` AS k LEFT JOIN `__mr_meeting` AS m ON m.`id` = k.`id` AND m.__mr_since = k.__mr_since AND NOT m.same AND NOT m.stale
WHERE m.`__he__msg_seq_id` IS NULL;

-- history: 5
INSERT INTO `__mr_events`
SELECT k.`id`, k.__mr_until + INTERVAL 1000 MICROSECOND, TRUE, NULL, 1 FROM `__mr_known` AS k WHERE k.__mr_flagged;

-- history: 6
INSERT INTO `__mr_events`
SELECT b.`id`, b.__mr_since, b.__mr_gone, b.`__he__msg_seq_id`, 2
FROM `__mr_batch` AS b LEFT JOIN `__mr_meeting` AS m ON m.`__he__msg_seq_id` = b.`__he__msg_seq_id` AND (m.same OR m.stale)
WHERE b.__mr_place = 1 AND m.`__he__msg_seq_id` IS NULL;

-- history: 7
CREATE TEMPORARY TABLE `__mr_numbered` (KEY (`__he__msg_seq_id`)) AS
SELECT e.*, lag(__mr_gone) OVER (PARTITION BY `id` ORDER BY __mr_since, __mr_source, `__he__msg_seq_id`) AS __mr_gone_before, lag(`__he__msg_seq_id`) OVER (PARTITION BY `id` ORDER BY __mr_since, __mr_source, `__he__msg_seq_id`) AS __mr_seq_before, lag(__mr_since) OVER (PARTITION BY `id` ORDER BY __mr_since, __mr_source, `__he__msg_seq_id`) AS __mr_since_before
FROM `__mr_events` AS e;

-- history: 8
CREATE TEMPORARY TABLE `__mr_before` (PRIMARY KEY (__mr_next)) AS
SELECT e.`__he__msg_seq_id` AS __mr_next, p.* FROM `__mr_numbered` AS e
JOIN `__mr_rows` AS p ON p.`__he__msg_seq_id` = e.__mr_seq_before
WHERE e.`__he__msg_seq_id` IS NOT NULL AND NOT e.__mr_gone AND e.__mr_gone_before = FALSE;

-- history: 9
CREATE TEMPORARY TABLE `__mr_same` (KEY (`__he__msg_seq_id`)) AS
SELECT e.`__he__msg_seq_id` FROM `__mr_numbered` AS e JOIN `__mr_rows` AS r ON r.`__he__msg_seq_id` = e.`__he__msg_seq_id`
JOIN `schema`.`users` AS p ON p.`id` = e.`id` AND p.`__hevo__valid_from` = e.__mr_since_before
WHERE NOT e.__mr_gone AND e.__mr_gone_before = FALSE AND e.__mr_seq_before IS NULL AND r.`name` <=> p.`name`;

-- history: 10
INSERT INTO `__mr_same`
SELECT r.`__he__msg_seq_id` FROM `__mr_before` AS p JOIN `__mr_rows` AS r ON r.`__he__msg_seq_id` = p.__mr_next
WHERE r.`name` <=> p.`name`;

-- history: 11
CREATE TEMPORARY TABLE `__mr_line` (KEY (`__he__msg_seq_id`)) AS
SELECT e.*, CASE WHEN __mr_next IS NULL THEN CAST('9999-12-31 23:59:59' AS DATETIME(6)) ELSE greatest(__mr_since, __mr_next - INTERVAL 1000 MICROSECOND) END AS __mr_until, __mr_next IS NULL AS __mr_active
FROM (SELECT e.`id`, e.__mr_since, e.__mr_gone, e.`__he__msg_seq_id`, e.__mr_source, lead(__mr_since) OVER (PARTITION BY `id` ORDER BY __mr_since, __mr_source, `__he__msg_seq_id`) AS __mr_next, COALESCE(lead(__mr_gone) OVER (PARTITION BY `id` ORDER BY __mr_since, __mr_source, `__he__msg_seq_id`), FALSE) AS __mr_ended, lag(__mr_gone) OVER (PARTITION BY `id` ORDER BY __mr_since, __mr_source, `__he__msg_seq_id`) AS __mr_gone_before
FROM (SELECT n.* FROM `__mr_numbered` AS n LEFT JOIN `__mr_same` AS s ON s.`__he__msg_seq_id` = n.`__he__msg_seq_id` WHERE s.`__he__msg_seq_id` IS NULL) AS e) AS e;

-- history: 12
SELECT l.versions - m.replaced, m.replaced, l.deletes, b.twice, m.stale
FROM (SELECT count(CASE WHEN `__he__msg_seq_id` IS NOT NULL AND NOT __mr_gone THEN 1 END) AS versions, count(CASE WHEN `__he__msg_seq_id` IS NOT NULL AND __mr_gone AND NOT COALESCE(__mr_gone_before, FALSE) THEN 1 END) AS deletes FROM `__mr_line`) AS l,
(SELECT count(CASE WHEN NOT same AND NOT stale THEN 1 END) AS replaced, count(CASE WHEN stale AND NOT same THEN 1 END) AS stale FROM `__mr_meeting`) AS m,
(SELECT count(CASE WHEN __mr_place > 1 THEN 1 END) AS twice FROM `__mr_batch`) AS b;

-- history: 13
UPDATE `schema`.`users` AS t, `__mr_line` AS l
SET t.`__hevo__valid_to` = l.__mr_until, t.`__hevo__is_active` = l.__mr_active, t.`__hevo__marked_deleted` = l.__mr_ended, t.`__hevo__loaded_at` = 1700000000000
WHERE l.__mr_source = 0 AND t.`id` = l.`id` AND t.`__hevo__valid_from` = l.__mr_since AND (NOT (t.`__hevo__valid_to` <=> l.__mr_until) OR NOT (t.`__hevo__is_active` <=> l.__mr_active) OR NOT (t.`__hevo__marked_deleted` <=> l.__mr_ended));

-- history: 14
DELETE t FROM `schema`.`users` AS t JOIN `__mr_meeting` AS m ON t.`id` = m.`id` AND t.`__hevo__valid_from` = m.__mr_since
WHERE NOT m.same AND NOT m.stale;

-- history: 15
INSERT INTO `schema`.`users` (`id`, `name`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`, `__hevo__marked_deleted`, `__hevo__valid_from`, `__hevo__valid_to`, `__hevo__is_active`)
SELECT r.`id`, r.`name`, r.`__hevo__source_modified_at`, r.`__hevo__ingested_at`, 1700000000000, l.__mr_ended, l.__mr_since, l.__mr_until, l.__mr_active
FROM `__mr_line` AS l JOIN `__mr_rows` AS r ON r.`__he__msg_seq_id` = l.`__he__msg_seq_id` WHERE l.__mr_source = 2 AND NOT l.__mr_gone;

-- history: 16
INSERT INTO `schema`.`users` (`id`, `__hevo__source_modified_at`, `__hevo__ingested_at`, `__hevo__loaded_at`, `__hevo__marked_deleted`, `__hevo__valid_from`, `__hevo__valid_to`, `__hevo__is_active`)
SELECT r.`id`, r.`__hevo__source_modified_at`, r.`__hevo__ingested_at`, 1700000000000, TRUE, l.__mr_since, l.__mr_since, FALSE
FROM `__mr_line` AS l JOIN `__mr_rows` AS r ON r.`__he__msg_seq_id` = l.`__he__msg_seq_id` WHERE l.__mr_source = 2 AND l.__mr_gone AND l.__mr_gone_before IS NULL;

