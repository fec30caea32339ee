"""Rules that make a simulator misbehave on purpose: which request they meet, and how often. Effects live elsewhere."""

from __future__ import annotations

import difflib
import random
import threading
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from millrace.data.dataclass import dataclass
from millrace.errors import ConfigError


class Rule(BaseModel):
    """One fault: the request that it meets (all given matchers must agree) and its effect with its parameters."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    effect: str
    account: str | None = Field(default=None, description="Account or project id, exact.")
    path: str | None = Field(default=None, description="Path without region prefix; a trailing * matches any rest.")
    step: Literal["open", "page"] | None = Field(default=None, description="Opening a walk, or one of its pages.")
    event: str | None = Field(default=None, description="Name of the event asked for, exact.")
    page: int | None = Field(default=None, ge=1, description="Number of the page within its walk, from 1.")
    nth: int | None = Field(default=None, ge=1, description="Only the nth request that agrees with the rest.")
    probability: float = Field(default=1.0, ge=0, le=1)
    times: int | None = Field(default=None, ge=0, description="How often at most; without it, for ever.")

    status: int = Field(default=500, description="server_error: 500, 502, 503 or 504.")
    body: Literal["json", "html", "empty"] = Field(default="json", description="server_error: form of the body.")
    delay_s: float = Field(default=1.0, ge=0, description="slow: seconds before the headers.")
    bytes_per_s: int | None = Field(default=None, ge=1, description="slow: drip the body at this pace instead.")
    at: float = Field(default=0.5, gt=0, lt=1, description="truncate, reset in body: share of the body that is sent.")
    form: Literal["", "length", "short", "202", "no_cursor", "digits", "string", "null", "impossible"] = Field(
        default="",
        description="truncate: length (kept right) or short (agrees with the cut). "
        "not_ready: 202, or no_cursor in step 1. "
        "bad_ts: 13 digits, string, null, or an impossible date.",
    )
    shape: Literal["html", "list", "null", "no_status"] = Field(default="html", description="garbage: what comes.")
    records: int = Field(
        default=1, ge=0, description="How many records of the page are touched or sent; 0 in bad_ts: all."
    )
    copies: int = Field(default=2, ge=1, description="duplicate_records: copies of each record in all.")
    to_page: int = Field(default=1, ge=1, description="loop_cursor: the page to which next_cursor returns.")
    field: Literal["profile", "event_props", "ts"] = Field(default="ts", description="missing_field: what is dropped.")
    size_mb: float = Field(default=8.0, gt=0, description="huge_record: size of the record.")
    where: Literal["headers", "body"] = Field(default="body", description="reset: when the connection is reset.")
    seconds: float = Field(default=86400.0, description="clock_skew: how far behind; timeout: how long nothing comes.")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a request when rules are asked whether they meet it."""

    account: str
    path: str
    step: str = ""
    event: str = ""
    page: int = 0


class Faults:
    """The rules in force. Counting is exact under threads; chance is drawn from the seed."""

    def __init__(self, effects: Iterable[str], *, seed: int = 0) -> None:
        self.effects = tuple(sorted(effects))
        self._seed = seed
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._met: list[int] = []
        self._fired: list[int] = []

    def set(self, rules: Iterable[Rule | Mapping[str, Any]]) -> None:
        """These rules replace all earlier ones, with fresh counts. Raises ConfigError for a rule not understood."""
        parsed = [self._parsed(number, rule) for number, rule in enumerate(rules)]
        with self._lock:
            self._rules = parsed
            self._met = [0] * len(parsed)
            self._fired = [0] * len(parsed)

    def clear(self) -> None:
        self.set([])

    def rules(self) -> list[tuple[Rule, int]]:
        """Each rule with the number of times that it fired."""
        with self._lock:
            return list(zip(self._rules, self._fired, strict=True))

    def fire(self, facts: Facts) -> list[Rule]:
        """The rules that strike this request, in order; their counts are taken."""
        if not self._rules:
            return []
        struck: list[Rule] = []
        with self._lock:
            for i, rule in enumerate(self._rules):
                if not _meets(rule, facts):
                    continue
                self._met[i] += 1
                if rule.times is not None and self._fired[i] >= rule.times:
                    continue
                if rule.nth is not None and self._met[i] != rule.nth:
                    continue
                if rule.probability < 1:
                    chance = random.Random(f"{self._seed}:{i}:{self._met[i]}").random()  # noqa: S311 - not for secrets
                    if chance >= rule.probability:
                        continue
                self._fired[i] += 1
                struck.append(rule)
        return struck

    def _parsed(self, number: int, rule: Rule | Mapping[str, Any]) -> Rule:
        try:
            parsed = rule if isinstance(rule, Rule) else Rule.model_validate(rule)
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise ConfigError(f"fault rule {number}: {where}: {first['msg']}", path=f"{number}.{where}") from exc
        if parsed.effect not in self.effects:
            near = difflib.get_close_matches(parsed.effect, self.effects, 1)
            hint = f"Did you mean {near[0]}?" if near else f"Effects: {', '.join(self.effects)}."
            raise ConfigError(f"fault rule {number}: no effect {parsed.effect!r}", hint=hint, path=f"{number}.effect")
        return parsed


def _meets(rule: Rule, facts: Facts) -> bool:
    if rule.path is not None:
        if rule.path.endswith("*"):
            if not facts.path.startswith(rule.path[:-1]):
                return False
        elif rule.path != facts.path:
            return False
    return (
        (rule.account is None or rule.account == facts.account)
        and (rule.step is None or rule.step == facts.step)
        and (rule.event is None or rule.event == facts.event)
        and (rule.page is None or rule.page == facts.page)
    )
