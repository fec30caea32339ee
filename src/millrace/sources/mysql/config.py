"""Settings of the MySQL source."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from millrace.connect.config import SourceConfig
from millrace.connect.mysql.server import ServerSettings
from millrace.connect.sql.reading.services import check_log, with_defaults
from millrace.sources.mysql.services import VARIANTS


class Config(SourceConfig, ServerSettings):
    """Which database is read, by whom, and how."""

    variant: Literal["generic", "rds", "aurora", "azure", "google", "mariadb"] = Field(
        "generic",
        description="Who runs the server: services have defaults of their own (encryption), and a guide.",
    )
    ingestion_mode: Literal["log", "table", "custom_sql"] = Field(
        "table",
        description="log: changes from the binary log. table: tables and views by queries. custom_sql: one query of "
        "yours.",
    )
    custom_sql: str | None = Field(None, description="The query of ingestion_mode custom_sql: one SELECT.")
    custom_sql_name: str = Field("query", min_length=1, max_length=255, description="Name of the query as an object.")
    load_historical_data: bool = Field(True, description="Load what tables had before the pipeline began.")
    historical_parallelism: int = Field(
        2,
        ge=1,
        le=16,
        description="Connections that read one table's history in ingestion_mode table, where the user may lock it.",
    )
    full_load_every_hours: int = Field(
        6, ge=0, le=168, description="Hours from one reading of a whole table to the next; 0: each run reads it."
    )
    special_values: Literal["reject", "null"] = Field(
        "reject",
        description="Values that no type of a warehouse has (spans of more than a day, a TINYINT(1) beyond 0 and 1, "
        "text that is no UTF-8): reject the row, or leave the value out. Zero dates are always left out.",
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
        if self.ingestion_mode != "custom_sql" and self.custom_sql is not None:
            raise ValueError("custom_sql is read with ingestion_mode: custom_sql alone")
        return self
