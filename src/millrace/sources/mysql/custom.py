"""One query of the user's as a relation."""

from __future__ import annotations

from collections.abc import Mapping

from millrace.connect.mysql.session import Session
from millrace.connect.sql.reading.relation import Relation
from millrace.errors import ConfigError
from millrace.sources.mysql.catalog import Described, described_column
from millrace.sources.mysql.config import Config
from millrace.sources.mysql.types import declared, typed


def custom(config: Config, session: Session) -> Mapping[str, Described]:
    """The query of the settings, by its name, with the columns that the server says it has.

    Raises ConfigError for what is not one query that reads, with columns of distinct names.
    """
    source = f"({(config.custom_sql or '').strip().rstrip(';')}\n) AS query"
    try:
        fields, _ = session.answer(f"SELECT * FROM {source} LIMIT 0")
    except ConfigError as error:
        if "Duplicate column name" not in error.message:
            raise
        raise ConfigError(
            f"the query has two columns of one name: {error.message}",
            hint="Give one of them another name with AS.",
            path="custom_sql",
            code="duplicate_columns",
        ) from error
    known = {field.name: typed(declared(field)) for field in fields}
    columns = tuple(described_column(name, type_, nullable=True) for name, type_ in known.items())
    return {config.custom_sql_name: Described(Relation(config.custom_sql_name, source, columns), known)}
