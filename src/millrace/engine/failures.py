"""How many rows may fail before an object, or the whole run, does (pipelines.md 19.8)."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, cast

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError, DataError

Level: TypeAlias = Literal["strict", "moderate", "threshold"]

# A share of few rows says little: it is judged from so many rows on, and at the end of the object.
ENOUGH_ROWS = 1_000


class ObjectFailed(DataError):
    """One object cannot go on in this run: too many of its rows failed, or its table is gone. The others do."""

    code = "object_failed"


@dataclass(frozen=True, slots=True)
class FailurePolicy:
    """What failed rows mean for a run.

    *strict*: the first one ends the run. *moderate*: more than ``most_rows`` in all end it. *threshold*: an object of
    which more than ``most_rows``, or more than ``most_percent`` of those read for the first time, failed is left for
    this run; the run goes on. Whatever was committed stays, and what failed waits among the rejects.
    """

    level: Level = "moderate"
    most_rows: int | None = 10_000
    most_percent: float | None = None

    @staticmethod
    def from_json(found: Any) -> FailurePolicy:
        """The policy that a name (strict, moderate) or ``{object_failure_level, object_failure_threshold}`` says.

        A threshold is ``{max_failed_events, max_failed_percent}``, one or both, or a number of rows; it may stand in
        the policy itself, and then needs no level. Raises ConfigError for anything else.
        """
        if found is None:
            return FailurePolicy()
        given: dict[str, Any] = {"object_failure_level": found} if isinstance(found, str) else _object(found)
        threshold = given.pop("object_failure_threshold", None)
        if type(threshold) is int:
            threshold = {"max_failed_events": threshold}
        if threshold is not None:
            inner = _object(threshold)
            if twice := next((key for key in inner if key in given), None):
                raise _wrong(f"{twice} is said twice")
            given |= inner
        level = given.pop("object_failure_level", "threshold")
        rows, percent = given.pop("max_failed_events", None), given.pop("max_failed_percent", None)
        if given:
            raise _wrong(f"it has no part {next(iter(given))!r}")
        level = str(level).lower()
        if level not in ("strict", "moderate", "threshold"):
            raise _wrong(f"{level!r} is none of strict, moderate and threshold")
        if level != "threshold":
            if rows is not None or percent is not None:
                raise _wrong(f"a {level} policy has no threshold")
            return FailurePolicy("strict", 0) if level == "strict" else FailurePolicy()
        if rows is None and percent is None:
            raise _wrong("a threshold needs max_failed_events or max_failed_percent")
        if rows is not None and (type(rows) is not int or rows < 0):
            raise _wrong(f"max_failed_events is {rows!r}, not a number of rows")
        if percent is not None and (type(percent) not in (int, float) or not 0 <= percent <= 100):
            raise _wrong(f"max_failed_percent is {percent!r}, not a share from 0 to 100")
        return FailurePolicy("threshold", rows, percent)

    @staticmethod
    def none() -> FailurePolicy:
        """However many rows fail, nothing ends: for rows that failed before."""
        return FailurePolicy("moderate", None)

    def judge(self, failed: int) -> None:
        """Raises DataError when so many failed rows end the run."""
        if self.level == "threshold" or self.most_rows is None or failed <= self.most_rows:
            return
        hint = "Look at `millrace rejects list`, mend the cause, then run again; nothing is lost."
        if self.level == "strict":
            raise DataError("a row failed, and this pipeline is strict: the run was stopped", hint=hint, code="strict")
        raise DataError(
            f"more than {self.most_rows:,} rows were rejected in this run, so it was stopped",
            hint=hint,
            code="too_many_rejects",
        )

    def judge_object(self, name: str, failed: int, new: int, *, ended: bool) -> None:
        """Raises ObjectFailed when too many rows of one object failed. ``new``: its rows without those that were read
        before; ``ended``: all of them were read."""
        if self.level != "threshold":
            return
        said: str | None = None
        if self.most_rows is not None and failed > self.most_rows:
            said = f"more than {self.most_rows:,} of its rows failed"
        elif self.most_percent is not None and new and (ended or new >= ENOUGH_ROWS):
            share = 100 * failed / new
            if share > self.most_percent:
                said = f"{share:.3g} % of its rows failed, more than {self.most_percent:g} %"
        if said is not None:
            raise ObjectFailed(
                f"{name} was left: {said}",
                hint="Look at `millrace rejects list`, mend the cause, then run again; nothing is lost.",
            )


def _object(found: object) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise _wrong(f"{found!r} is none")
    return dict(cast("dict[str, Any]", found))


def _wrong(why: str) -> ConfigError:
    return ConfigError(
        f"this is no failure policy: {why}",
        hint="Write strict, moderate, or a threshold for each object: {max_failed_events: 100, max_failed_percent: 1}.",
        code="failure_policy",
    )
