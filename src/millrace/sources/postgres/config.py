"""Settings of the PostgreSQL source."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from millrace.connect.config import SourceConfig
from millrace.connect.sql.libpq import ServerSettings
from millrace.connect.sql.reading.services import check_log, with_defaults
from millrace.sources.postgres.services import VARIANTS


class Config(SourceConfig, ServerSettings):
    """Which database is read, by whom, and how."""

    variant: Literal["generic", "rds", "aurora", "azure", "google", "heroku"] = Field(
        "generic",
        description="Who runs the server: services have defaults of their own (encryption), and a guide.",
    )
    ingestion_mode: Literal["log", "table", "custom_sql"] = Field(
        "table",
        description="log: changes from the write-ahead log. table: tables by queries. custom_sql: one query of yours.",
    )
    schemas: list[str] = Field(
        default_factory=list[str], description="Schemas whose tables are read; left out: all that the user may use."
    )
    publication_name: str | None = Field(
        None,
        min_length=1,
        description="A publication that you made, where the user may not make one; of ingestion_mode log.",
    )
    failover_slot: bool | None = Field(
        None,
        description="The replication slot goes on at a standby that takes the server's place, from version 17 on; left "
        "out: a slot stays as it is, and a new one does not go on; of ingestion_mode log.",
    )
    custom_sql: str | None = Field(None, description="The query of ingestion_mode custom_sql: one SELECT.")
    custom_sql_name: str = Field("query", min_length=1, max_length=255, description="Name of the query as an object.")
    load_historical_data: bool = Field(True, description="Load what tables had before the pipeline began.")
    historical_parallelism: int = Field(2, ge=1, le=16, description="Connections that read one table's history.")
    full_load_every_hours: int = Field(
        6, ge=0, le=168, description="Hours from one reading of a whole table to the next; 0: each run reads it."
    )
    special_values: Literal["reject", "null"] = Field(
        "reject",
        description="Values that no type of a warehouse has (infinite dates, NaN among decimals): reject the row, or "
        "leave the value out.",
    )

    def account(self) -> str:
        return f"{self.db_host.lower()}:{self.db_port}"

    @model_validator(mode="before")
    @classmethod
    def _of_service(cls, given: Any) -> Any:
        return with_defaults(given, VARIANTS)

    @model_validator(mode="after")
    def _together(self) -> Self:
        check_log(self.variant, VARIANTS, self.ingestion_mode)
        if self.ingestion_mode == "custom_sql" and not (self.custom_sql or "").strip():
            raise ValueError("custom_sql is missing: write the query that ingestion_mode custom_sql reads")
        if self.publication_name is not None and self.ingestion_mode != "log":
            raise ValueError("publication_name is of ingestion_mode: log alone")
        if self.failover_slot and self.ingestion_mode != "log":
            raise ValueError("failover_slot is of ingestion_mode: log alone")
        if self.ingestion_mode != "custom_sql" and self.custom_sql is not None:
            raise ValueError("custom_sql is read with ingestion_mode: custom_sql alone")
        return self
