CREATE TABLE settings (
    "key" VARCHAR(64) NOT NULL,
    value TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_settings PRIMARY KEY ("key")
)

CREATE TABLE sealed_values (
    name VARCHAR(64) NOT NULL,
    sealed BLOB NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_sealed_values PRIMARY KEY (name)
)

CREATE TABLE teams (
    id VARCHAR(36) NOT NULL,
    name TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_teams PRIMARY KEY (id)
)

CREATE TABLE numbers (
    kind VARCHAR(16) NOT NULL,
    last BIGINT NOT NULL,
    CONSTRAINT pk_numbers PRIMARY KEY (kind)
)

CREATE TABLE leases (
    name VARCHAR(255) NOT NULL,
    token VARCHAR(36) NOT NULL,
    holder TEXT NOT NULL,
    acquired_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT pk_leases PRIMARY KEY (name)
)

CREATE TABLE departures (
    email VARCHAR(254) NOT NULL,
    left_at BIGINT NOT NULL,
    CONSTRAINT pk_departures PRIMARY KEY (email)
)

CREATE TABLE connections (
    id VARCHAR(36) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name VARCHAR(255) NOT NULL,
    type VARCHAR(64) NOT NULL,
    config TEXT NOT NULL,
    secret_keys TEXT NOT NULL,
    sealed BLOB,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    team_id VARCHAR(36) NOT NULL,
    number BIGINT NOT NULL,
    load_schedule TEXT DEFAULT 'null' NOT NULL,
    CONSTRAINT pk_connections PRIMARY KEY (id),
    CONSTRAINT uq_connections_team_id UNIQUE (team_id, kind, name),
    CONSTRAINT fk_connections_team_id FOREIGN KEY(team_id) REFERENCES teams (id),
    CONSTRAINT uq_connections_number UNIQUE (number)
)

CREATE TABLE drafts (
    id VARCHAR(36) NOT NULL,
    team_id VARCHAR(36) NOT NULL,
    number BIGINT NOT NULL,
    name VARCHAR(255) NOT NULL,
    chosen TEXT NOT NULL,
    sealed BLOB,
    author TEXT,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_drafts PRIMARY KEY (id),
    CONSTRAINT fk_drafts_team_id FOREIGN KEY(team_id) REFERENCES teams (id),
    CONSTRAINT uq_drafts_number UNIQUE (number)
)

CREATE TABLE deleted_jobs (
    run_id INTEGER NOT NULL,
    team_id VARCHAR(36) NOT NULL,
    ended_at BIGINT NOT NULL,
    job TEXT NOT NULL,
    CONSTRAINT pk_deleted_jobs PRIMARY KEY (run_id),
    CONSTRAINT fk_deleted_jobs_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE INDEX ix_deleted_jobs_ended ON deleted_jobs (team_id, ended_at)

CREATE TABLE users (
    id VARCHAR(36) NOT NULL,
    team_id VARCHAR(36) NOT NULL,
    email VARCHAR(254) NOT NULL,
    name TEXT NOT NULL,
    status VARCHAR(16) NOT NULL,
    password TEXT,
    failures INTEGER NOT NULL,
    locked_until BIGINT,
    totp BLOB,
    totp_on BOOLEAN NOT NULL,
    totp_step BIGINT NOT NULL,
    time_zone VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    signed_in_at BIGINT,
    CONSTRAINT pk_users PRIMARY KEY (id),
    CONSTRAINT fk_users_team_id FOREIGN KEY(team_id) REFERENCES teams (id),
    CONSTRAINT uq_users_email UNIQUE (email)
)

CREATE INDEX ix_users_team ON users (team_id, email)

CREATE TABLE kept_answers (
    team_id VARCHAR(36) NOT NULL,
    "key" VARCHAR(255) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    state VARCHAR(8) NOT NULL,
    token VARCHAR(36) NOT NULL,
    holder TEXT NOT NULL,
    status INTEGER,
    sealed BLOB,
    began_at BIGINT NOT NULL,
    CONSTRAINT pk_kept_answers PRIMARY KEY (team_id, "key"),
    CONSTRAINT fk_kept_answers_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE INDEX ix_kept_answers_began_at ON kept_answers (began_at)

CREATE TABLE team_settings (
    team_id VARCHAR(36) NOT NULL,
    "key" VARCHAR(64) NOT NULL,
    value TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_team_settings PRIMARY KEY (team_id, "key"),
    CONSTRAINT fk_team_settings_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE TABLE single_sign_on (
    team_id VARCHAR(36) NOT NULL,
    issuer TEXT NOT NULL,
    client_id TEXT NOT NULL,
    sealed BLOB,
    domains TEXT NOT NULL,
    role VARCHAR(40) NOT NULL,
    just_in_time BOOLEAN NOT NULL,
    changed_at BIGINT NOT NULL,
    saml TEXT,
    CONSTRAINT pk_single_sign_on PRIMARY KEY (team_id),
    CONSTRAINT fk_single_sign_on_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE TABLE activity (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    team_id VARCHAR(36) NOT NULL,
    at BIGINT NOT NULL,
    severity INTEGER NOT NULL,
    author TEXT NOT NULL,
    author_kind VARCHAR(16) NOT NULL,
    entity VARCHAR(32) NOT NULL,
    entity_id VARCHAR(36),
    entity_name TEXT NOT NULL,
    action VARCHAR(32) NOT NULL,
    message TEXT NOT NULL,
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    run_id BIGINT,
    address VARCHAR(64),
    CONSTRAINT fk_activity_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE INDEX ix_activity_at ON activity (at)

CREATE INDEX ix_activity_done ON activity (entity_id, entity, id) WHERE severity > 0

CREATE INDEX ix_activity_entity ON activity (entity_id, id)

CREATE INDEX ix_activity_team ON activity (team_id, id)

CREATE INDEX ix_activity_told ON activity (team_id, id) WHERE severity > 0

CREATE TRIGGER activity_stays BEFORE UPDATE ON activity BEGIN SELECT RAISE(ABORT, 'what the activity log tells is never changed'); END

CREATE TABLE usage_hourly (
    team_id VARCHAR(36) NOT NULL,
    pipeline_id VARCHAR(36) NOT NULL,
    pipeline TEXT NOT NULL,
    hour BIGINT NOT NULL,
    stream TEXT NOT NULL,
    table_name TEXT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    ingested BIGINT NOT NULL,
    loaded BIGINT NOT NULL,
    CONSTRAINT pk_usage_hourly PRIMARY KEY (pipeline_id, hour, stream, table_name, kind),
    CONSTRAINT fk_usage_hourly_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE INDEX ix_usage_hourly_team ON usage_hourly (team_id, hour)

CREATE TABLE ingestion_limits (
    team_id VARCHAR(36) NOT NULL,
    rows BIGINT NOT NULL,
    window_us BIGINT NOT NULL,
    window_at BIGINT NOT NULL,
    counted BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_ingestion_limits PRIMARY KEY (team_id),
    CONSTRAINT fk_ingestion_limits_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE TABLE alert_events (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    team_id VARCHAR(36) NOT NULL,
    at BIGINT NOT NULL,
    code VARCHAR(40) NOT NULL,
    severity VARCHAR(8) NOT NULL,
    entity VARCHAR(32) NOT NULL,
    entity_id VARCHAR(36),
    entity_name TEXT NOT NULL,
    cause VARCHAR(64) NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    facts TEXT NOT NULL,
    run_id BIGINT,
    CONSTRAINT fk_alert_events_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE TABLE alerts (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    team_id VARCHAR(36) NOT NULL,
    fingerprint VARCHAR(64) NOT NULL,
    code VARCHAR(40) NOT NULL,
    category VARCHAR(16) NOT NULL,
    severity VARCHAR(8) NOT NULL,
    entity VARCHAR(32) NOT NULL,
    entity_id VARCHAR(36),
    entity_name TEXT NOT NULL,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    facts TEXT NOT NULL,
    run_id BIGINT,
    state VARCHAR(16) NOT NULL,
    times INTEGER NOT NULL,
    first_at BIGINT NOT NULL,
    last_at BIGINT NOT NULL,
    told_at BIGINT,
    ended_at BIGINT,
    author TEXT,
    CONSTRAINT fk_alerts_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE INDEX ix_alerts_entity ON alerts (entity_id, state)

CREATE INDEX ix_alerts_open ON alerts (team_id, state, fingerprint)

CREATE INDEX ix_alerts_team ON alerts (team_id, id)

CREATE TABLE alert_channels (
    id VARCHAR(36) NOT NULL,
    team_id VARCHAR(36) NOT NULL,
    name VARCHAR(255) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    config TEXT NOT NULL,
    secret_keys TEXT NOT NULL,
    sealed BLOB,
    enabled BOOLEAN NOT NULL,
    wanted TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_alert_channels PRIMARY KEY (id),
    CONSTRAINT uq_alert_channels_team_id UNIQUE (team_id, name),
    CONSTRAINT fk_alert_channels_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE
)

CREATE TABLE pipelines (
    id VARCHAR(36) NOT NULL,
    name VARCHAR(255) NOT NULL,
    source_id VARCHAR(36) NOT NULL,
    destination_id VARCHAR(36) NOT NULL,
    load_mode VARCHAR(16) NOT NULL,
    table_prefix VARCHAR(64) NOT NULL,
    naming VARCHAR(16) NOT NULL,
    auto_mapping BOOLEAN NOT NULL,
    schedule TEXT NOT NULL,
    options TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    ingested_at_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    changed_at BIGINT NOT NULL,
    team_id VARCHAR(36) NOT NULL,
    number BIGINT NOT NULL,
    priority VARCHAR(8) DEFAULT 'NORMAL' NOT NULL,
    CONSTRAINT pk_pipelines PRIMARY KEY (id),
    CONSTRAINT uq_pipelines_team_id UNIQUE (team_id, name),
    CONSTRAINT fk_pipelines_source_id FOREIGN KEY(source_id) REFERENCES connections (id),
    CONSTRAINT fk_pipelines_destination_id FOREIGN KEY(destination_id) REFERENCES connections (id),
    CONSTRAINT fk_pipelines_team_id FOREIGN KEY(team_id) REFERENCES teams (id),
    CONSTRAINT uq_pipelines_number UNIQUE (number)
)

CREATE TABLE user_roles (
    user_id VARCHAR(36) NOT NULL,
    role VARCHAR(40) NOT NULL,
    CONSTRAINT pk_user_roles PRIMARY KEY (user_id, role),
    CONSTRAINT fk_user_roles_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)

CREATE TABLE recovery_codes (
    user_id VARCHAR(36) NOT NULL,
    hash VARCHAR(64) NOT NULL,
    used_at BIGINT,
    CONSTRAINT pk_recovery_codes PRIMARY KEY (user_id, hash),
    CONSTRAINT fk_recovery_codes_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)

CREATE TABLE api_keys (
    id VARCHAR(36) NOT NULL,
    user_id VARCHAR(36) NOT NULL,
    "key" VARCHAR(40) NOT NULL,
    secret_hash VARCHAR(64) NOT NULL,
    name TEXT NOT NULL,
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    used_at BIGINT,
    CONSTRAINT pk_api_keys PRIMARY KEY (id),
    CONSTRAINT fk_api_keys_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT uq_api_keys_key UNIQUE ("key")
)

CREATE INDEX ix_api_keys_user ON api_keys (user_id)

CREATE TABLE sessions (
    hash VARCHAR(64) NOT NULL,
    user_id VARCHAR(36) NOT NULL,
    state VARCHAR(16) NOT NULL,
    created_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    address VARCHAR(64),
    agent TEXT,
    way VARCHAR(16),
    CONSTRAINT pk_sessions PRIMARY KEY (hash),
    CONSTRAINT fk_sessions_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)

CREATE INDEX ix_sessions_expires_at ON sessions (expires_at)

CREATE INDEX ix_sessions_user ON sessions (user_id)

CREATE TABLE links (
    hash VARCHAR(64) NOT NULL,
    purpose VARCHAR(16) NOT NULL,
    user_id VARCHAR(36),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    used_at BIGINT,
    CONSTRAINT pk_links PRIMARY KEY (hash),
    CONSTRAINT fk_links_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)

CREATE INDEX ix_links_user ON links (user_id)

CREATE TABLE alert_preferences (
    user_id VARCHAR(36) NOT NULL,
    wanted TEXT NOT NULL,
    changed_at BIGINT NOT NULL,
    CONSTRAINT pk_alert_preferences PRIMARY KEY (user_id),
    CONSTRAINT fk_alert_preferences_user_id FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
)

CREATE TABLE alert_deliveries (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    team_id VARCHAR(36) NOT NULL,
    alert_id BIGINT NOT NULL,
    channel_id VARCHAR(36) NOT NULL,
    recipient VARCHAR(254) NOT NULL,
    occasion VARCHAR(16) NOT NULL,
    nth INTEGER NOT NULL,
    "key" VARCHAR(36) NOT NULL,
    message TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    attempts INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    token VARCHAR(36),
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    ended_at BIGINT,
    error TEXT,
    CONSTRAINT uq_alert_deliveries_alert_id UNIQUE (alert_id, channel_id, recipient, occasion, nth),
    CONSTRAINT fk_alert_deliveries_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE,
    CONSTRAINT fk_alert_deliveries_alert_id FOREIGN KEY(alert_id) REFERENCES alerts (id) ON DELETE CASCADE,
    CONSTRAINT fk_alert_deliveries_channel_id FOREIGN KEY(channel_id) REFERENCES alert_channels (id) ON DELETE CASCADE,
    CONSTRAINT uq_alert_deliveries_key UNIQUE ("key")
)

CREATE INDEX ix_alert_deliveries_due ON alert_deliveries (state, due_at)

CREATE INDEX ix_alert_deliveries_team ON alert_deliveries (team_id, id)

CREATE TABLE objects (
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    load_mode VARCHAR(16),
    CONSTRAINT pk_objects PRIMARY KEY (pipeline_id, stream),
    CONSTRAINT fk_objects_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE object_settings (
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    historical BOOLEAN NOT NULL,
    "key" TEXT NOT NULL,
    query_mode TEXT NOT NULL,
    schedule TEXT NOT NULL,
    seen_at BIGINT,
    changed_at BIGINT NOT NULL,
    gone_at BIGINT,
    CONSTRAINT pk_object_settings PRIMARY KEY (pipeline_id, stream),
    CONSTRAINT fk_object_settings_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE slots (
    pipeline_id VARCHAR(36) NOT NULL,
    part VARCHAR(8) NOT NULL,
    stream TEXT NOT NULL,
    schedule TEXT NOT NULL,
    anchor_at BIGINT NOT NULL,
    slot_at BIGINT,
    retry_at BIGINT,
    held_until BIGINT,
    due_at BIGINT,
    empty_runs INTEGER NOT NULL,
    failed_runs INTEGER NOT NULL,
    CONSTRAINT pk_slots PRIMARY KEY (pipeline_id, part, stream),
    CONSTRAINT fk_slots_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE INDEX ix_slots_due ON slots (due_at)

CREATE TABLE tasks (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    arguments TEXT NOT NULL,
    priority VARCHAR(8) NOT NULL,
    rank INTEGER NOT NULL,
    due_at BIGINT NOT NULL,
    run_id BIGINT NOT NULL,
    "exclusive" VARCHAR(36),
    attempts INTEGER NOT NULL,
    token VARCHAR(36),
    holder TEXT NOT NULL,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    CONSTRAINT fk_tasks_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE INDEX ix_tasks_pipeline ON tasks (pipeline_id)

CREATE INDEX ix_tasks_turn ON tasks (priority, rank, due_at)

CREATE TABLE cursors (
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    lane VARCHAR(16) NOT NULL,
    cursor TEXT NOT NULL,
    progress FLOAT,
    committed_at BIGINT NOT NULL,
    run_id BIGINT,
    CONSTRAINT pk_cursors PRIMARY KEY (pipeline_id, stream, lane),
    CONSTRAINT fk_cursors_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE cursor_history (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    lane VARCHAR(16) NOT NULL,
    cursor TEXT NOT NULL,
    progress FLOAT,
    committed_at BIGINT NOT NULL,
    run_id BIGINT,
    CONSTRAINT fk_cursor_history_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE INDEX ix_cursor_history_lane ON cursor_history (pipeline_id, stream, lane, run_id)

CREATE TABLE marks (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    part TEXT NOT NULL,
    data BLOB NOT NULL,
    CONSTRAINT fk_marks_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE INDEX ix_marks_part ON marks (pipeline_id, stream, part)

CREATE TABLE mappings (
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    version INTEGER NOT NULL,
    table_name TEXT NOT NULL,
    mapping TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    author TEXT,
    reason TEXT,
    CONSTRAINT pk_mappings PRIMARY KEY (pipeline_id, stream, version),
    CONSTRAINT fk_mappings_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE transformations (
    pipeline_id VARCHAR(36) NOT NULL,
    version INTEGER NOT NULL,
    kind VARCHAR(16) NOT NULL,
    text TEXT NOT NULL,
    author TEXT,
    reason TEXT,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_transformations PRIMARY KEY (pipeline_id, version),
    CONSTRAINT fk_transformations_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE samples (
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    number INTEGER NOT NULL,
    "row" TEXT NOT NULL,
    types TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_samples PRIMARY KEY (pipeline_id, stream, number),
    CONSTRAINT fk_samples_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE raw_files (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    lane VARCHAR(16) NOT NULL,
    path TEXT NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    rows BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    run_id BIGINT NOT NULL,
    kept BOOLEAN NOT NULL,
    ingested_at_ms BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT fk_raw_files_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE,
    CONSTRAINT uq_raw_files_path UNIQUE (path)
)

CREATE INDEX ix_raw_files_pipeline ON raw_files (pipeline_id, stream, id)

CREATE TABLE file_log (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    stream TEXT NOT NULL,
    digest VARCHAR(32) NOT NULL,
    path TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    modified_at BIGINT NOT NULL,
    version TEXT NOT NULL,
    status VARCHAR(16) NOT NULL,
    skipped BOOLEAN NOT NULL,
    rows BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    attempts INTEGER NOT NULL,
    first_seen_at BIGINT NOT NULL,
    started_at BIGINT,
    ended_at BIGINT,
    gone_at BIGINT,
    changed_at BIGINT NOT NULL,
    run_id BIGINT,
    error TEXT,
    CONSTRAINT uq_file_log_pipeline_id UNIQUE (pipeline_id, stream, digest),
    CONSTRAINT fk_file_log_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE INDEX ix_file_log_gone ON file_log (gone_at)

CREATE INDEX ix_file_log_status ON file_log (pipeline_id, status)

CREATE TABLE tables (
    pipeline_id VARCHAR(36) NOT NULL,
    name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    stream TEXT NOT NULL,
    fresh BOOLEAN NOT NULL,
    loaded INTEGER NOT NULL,
    last INTEGER NOT NULL,
    complete BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    awaits TEXT DEFAULT '[]' NOT NULL,
    CONSTRAINT pk_tables PRIMARY KEY (pipeline_id, name, generation),
    CONSTRAINT fk_tables_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE reject_files (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    run_id BIGINT NOT NULL,
    path TEXT NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    size_bytes BIGINT NOT NULL,
    kept BOOLEAN NOT NULL,
    parked_table TEXT,
    parked_generation INTEGER,
    parked_after INTEGER,
    parked_upto INTEGER,
    counted BOOLEAN NOT NULL,
    created_at BIGINT NOT NULL,
    replayed_file BIGINT,
    CONSTRAINT fk_reject_files_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE,
    CONSTRAINT uq_reject_files_path UNIQUE (path)
)

CREATE INDEX ix_reject_files_pipeline ON reject_files (pipeline_id, parked_table)

CREATE TABLE runs (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    pipeline_id VARCHAR(36) NOT NULL,
    kind VARCHAR(32) NOT NULL,
    status VARCHAR(32) NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT,
    notes TEXT NOT NULL,
    error TEXT NOT NULL,
    job_id VARCHAR(36),
    "trigger" VARCHAR(24),
    stage VARCHAR(16),
    requested_at BIGINT,
    ingested_at BIGINT,
    cancel_at BIGINT,
    meter TEXT,
    beat_at BIGINT,
    CONSTRAINT fk_runs_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE INDEX ix_runs_ended ON runs (ended_at)

CREATE INDEX ix_runs_pipeline ON runs (pipeline_id, id)

CREATE INDEX ix_runs_status ON runs (status, id)

CREATE UNIQUE INDEX ix_runs_job ON runs (job_id)

CREATE TABLE hooks (
    pipeline_id VARCHAR(36) NOT NULL,
    token_hash VARCHAR(64) NOT NULL,
    created_at BIGINT NOT NULL,
    CONSTRAINT pk_hooks PRIMARY KEY (pipeline_id),
    CONSTRAINT fk_hooks_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE,
    CONSTRAINT uq_hooks_token_hash UNIQUE (token_hash)
)

CREATE TABLE usage_limits (
    id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    team_id VARCHAR(36) NOT NULL,
    pipeline_id VARCHAR(36),
    period VARCHAR(8) NOT NULL,
    rows BIGINT NOT NULL,
    pause BOOLEAN NOT NULL,
    told VARCHAR(40),
    changed_at BIGINT NOT NULL,
    sideline BOOLEAN,
    grace_hours INTEGER,
    CONSTRAINT uq_usage_limits_team_id UNIQUE (team_id, pipeline_id, period),
    CONSTRAINT fk_usage_limits_team_id FOREIGN KEY(team_id) REFERENCES teams (id) ON DELETE CASCADE,
    CONSTRAINT fk_usage_limits_pipeline_id FOREIGN KEY(pipeline_id) REFERENCES pipelines (id) ON DELETE CASCADE
)

CREATE TABLE segments (
    pipeline_id VARCHAR(36) NOT NULL,
    table_name TEXT NOT NULL,
    generation INTEGER NOT NULL,
    number INTEGER NOT NULL,
    stream TEXT NOT NULL,
    path TEXT NOT NULL,
    rows BIGINT NOT NULL,
    size_bytes BIGINT NOT NULL,
    checksum VARCHAR(64) NOT NULL,
    run_id BIGINT NOT NULL,
    state VARCHAR(16) NOT NULL,
    refused TEXT NOT NULL,
    refused_rows BIGINT NOT NULL,
    staged_at BIGINT NOT NULL,
    loaded_at BIGINT,
    dropped_at BIGINT,
    mapping_version INTEGER,
    transformation INTEGER,
    replayed_file BIGINT,
    usage VARCHAR(16),
    CONSTRAINT pk_segments PRIMARY KEY (pipeline_id, table_name, generation, number),
    CONSTRAINT fk_segments_pipeline_id FOREIGN KEY(pipeline_id, table_name, generation) REFERENCES tables (pipeline_id, name, generation) ON DELETE CASCADE,
    CONSTRAINT uq_segments_path UNIQUE (path)
)

CREATE INDEX ix_segments_run ON segments (run_id)

CREATE INDEX ix_segments_state ON segments (state, loaded_at)

CREATE TABLE reject_groups (
    file_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    stage VARCHAR(16) NOT NULL,
    code TEXT NOT NULL,
    rows BIGINT NOT NULL,
    sample TEXT NOT NULL,
    state VARCHAR(16) NOT NULL,
    closed_at BIGINT,
    attempts INTEGER DEFAULT '0' NOT NULL,
    retry_at BIGINT,
    mapping_version INTEGER,
    transformation INTEGER,
    CONSTRAINT pk_reject_groups PRIMARY KEY (file_id, stream, stage, code),
    CONSTRAINT fk_reject_groups_file_id FOREIGN KEY(file_id) REFERENCES reject_files (id) ON DELETE CASCADE
)

CREATE INDEX ix_reject_groups_state ON reject_groups (state)

CREATE TABLE run_objects (
    run_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    status VARCHAR(32) NOT NULL,
    started_at BIGINT,
    ingested_at BIGINT,
    load_started_at BIGINT,
    loaded_at BIGINT,
    "before" TEXT NOT NULL,
    "after" TEXT NOT NULL,
    tables TEXT NOT NULL,
    error TEXT NOT NULL,
    CONSTRAINT pk_run_objects PRIMARY KEY (run_id, stream),
    CONSTRAINT fk_run_objects_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)

CREATE TABLE run_counts (
    run_id INTEGER NOT NULL,
    stream TEXT NOT NULL,
    kind VARCHAR(16) NOT NULL,
    name TEXT NOT NULL,
    n BIGINT NOT NULL,
    CONSTRAINT pk_run_counts PRIMARY KEY (run_id, stream, kind, name),
    CONSTRAINT fk_run_counts_run_id FOREIGN KEY(run_id) REFERENCES runs (id) ON DELETE CASCADE
)
