"""A folder of files keeps the contract of destinations, in every format."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest

from millrace.connect.files.formats import Format
from millrace.connect.testing.destination import DestinationContract
from millrace.destinations.folder.destination import Config, Destination


class FolderContract(DestinationContract):
    format: ClassVar[Format]

    @pytest.fixture(autouse=True)
    def _place(self, tmp_path: Path) -> None:
        self.path = tmp_path / "lake"

    def another(self) -> Destination:
        return Destination(Config.model_validate({"path": str(self.path), "format": self.format}))


class TestParquet(FolderContract):
    format = "parquet"


class TestJSONLines(FolderContract):
    format = "jsonl"


class TestCSV(FolderContract):
    format = "csv"
