"""Which fields hold personal data: told by what values look like, and by names of fields that everybody uses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from millrace.data import json_text, types
from millrace.data.columns import is_ours
from millrace.data.compute import pc
from millrace.data.dataclass import dataclass

Kind: TypeAlias = Literal["email", "phone", "card", "iban", "ip", "name", "birth", "address", "national_id", "secret"]
Flags: TypeAlias = npt.NDArray[np.bool_]

MAX_DEPTH = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """A field that holds personal data.

    ``field``: its name; below it, keys after dots and ``[]`` for the items of arrays. ``by``: what told so. ``rows``:
    how many rows do; ``share``: of those that have the field, 0 to 1. By its name, a field does in all of those.
    """

    field: str
    kind: Kind
    by: Literal["value", "name"]
    rows: int
    share: float


@dataclass(frozen=True, slots=True)
class _Look:
    """How values of a kind look. ``least``: the share of rows below which digits alone are a coincidence."""

    kind: Kind
    pattern: str
    valid: Callable[[str], bool]
    least: float = 0.0


def detect(rows: pa.RecordBatch) -> list[Finding]:
    """Fields with personal data, in the order of the columns; objects and arrays in JSON are looked into.

    Values are searched for e-mail addresses, phone numbers with a country code, card numbers (check digit), IBANs
    (check digits) and IP addresses, also inside of longer text. Digits without any sign count as a card number only
    where half of the rows have them, because one number in ten has the right check digit.
    """
    found: list[Finding] = []
    for field, column in zip(rows.schema, rows.columns, strict=True):
        if not is_ours(field):
            found += _column(field.name, column)
    return found


def _column(name: str, column: pa.Array) -> Iterator[Finding]:
    if pa.types.is_struct(column.type):
        for index, child in enumerate(column.flatten()):
            yield from _column(f"{name}.{column.type.field(index).name}", child)
    elif types.is_json(column.type):
        yield from _in_json(name, column.storage)
    elif pa.types.is_list(column.type):
        yield from _judged(f"{name}[]", column.flatten(), pc.list_parent_indices(column).to_numpy())
    else:
        yield from _judged(name, column, np.arange(len(column)))


def _judged(path: str, values: pa.Array, owners: npt.NDArray[np.int64]) -> Iterator[Finding]:
    """What the values of a field say; ``owners``: the row of each."""
    if pa.types.is_nested(values.type) or types.is_json(values.type):
        return
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    has = len(np.unique(owners[valid]))
    if not has:
        return
    kinds: dict[Kind, Flags] = {}
    texts = _texts(values)
    for look in _LOOKS if texts is not None else ():
        hits = _hits(look, texts)
        rows = len(np.unique(owners[hits]))
        if rows and rows / has >= look.least:
            kinds[look.kind] = kinds.get(look.kind, False) | hits
    for kind, hits in kinds.items():
        rows = len(np.unique(owners[hits]))
        yield Finding(path, kind, "value", rows, rows / has)
    named = _named(path)
    if named is not None and named not in kinds and not pa.types.is_boolean(values.type):
        yield Finding(path, named, "name", has, 1.0)


def _texts(values: pa.Array) -> pa.Array | None:
    """Text, and numbers long enough to be one that people have; None for other types."""
    stored = types.storage(values)
    if pa.types.is_string(stored.type):
        return stored
    if values.type == types.LONG or (types.is_decimal(values.type) and values.type.scale == 0):
        return stored.cast(pa.string())
    return None


def _hits(look: _Look, texts: pa.Array) -> Flags:
    """The texts in which there is such a value."""
    maybe = pc.match_substring_regex(texts, look.pattern).fill_null(False)
    if not maybe.true_count:
        return np.zeros(len(texts), bool)
    encoded = texts.filter(maybe).dictionary_encode()
    said = [any(look.valid(hit[0]) for hit in re.finditer(look.pattern, one)) for one in encoded.dictionary.to_pylist()]
    hits = maybe.to_numpy(zero_copy_only=False).copy()
    hits[hits] = np.array(said, bool)[encoded.indices.to_numpy()]
    return hits


def _always(_: str) -> bool:
    return True


def _phone(text: str) -> bool:
    return 8 <= len(re.sub(r"\D", "", text)) <= 15


def _card(text: str) -> bool:
    """The issuer's first digits, the length, and the check digit of Luhn (ISO/IEC 7812)."""
    digits = [int(sign) for sign in text if sign.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len({*digits}) == 1:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) if place % 2 else digit for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def _iban(text: str) -> bool:
    """The check digits of ISO 13616: the number, its first four signs moved to the end, is 1 modulo 97."""
    plain = text.replace(" ", "").upper()
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(sign, 36)) for sign in plain[4:] + plain[:4])) % 97 == 1


def _ip(text: str) -> bool:
    address = re.sub(r"^[^0-9A-Fa-f:]+|[^0-9A-Fa-f:]+$", "", text)
    if address.count(":") in (1, 2) and address != "::1":  # a time of day, a::b
        return False
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return True


# Patterns of RE2 and of Python alike.
_LOOKS = (
    _Look("email", r"[A-Za-z0-9._%+'-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}", _always),
    _Look("iban", r"\b[A-Za-z]{2}[0-9]{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,4})?\b", _iban),
    _Look("card", r"\b[0-9]{4}(?:[ -][0-9]{4}){2}[ -][0-9]{1,7}\b|\b3[0-9]{3}[ -][0-9]{6}[ -][0-9]{4,5}\b", _card),
    _Look("card", r"^[0-9]{13,19}$", _card, 0.5),
    _Look(
        "phone",
        r"(?:^00|(?:^|[^0-9A-Za-z])\+)[1-9][0-9]{0,3}[ ./-]?(?:\([0-9]{1,5}\)[ ./-]?)?[0-9]+(?:[ ./-][0-9]+)*",
        _phone,
    ),
    _Look("ip", r"(?:^|[^0-9A-Za-z.])[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?:\.?(?:[^0-9A-Za-z.]|$))", _ip),
    _Look("ip", r"(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3})?", _ip),
)

_NAMED: dict[Kind, str] = {
    "email": r"e?_?mail(_?(address|id))?",
    "phone": r"(tele)?phone(_?(number|no))?|mobile(_?(number|no|phone))?|cell(_?phone)?|msisdn|fax(_?(number|no))?",
    "card": r"(credit_?|debit_?)?card_?(number|no)|pan",
    "iban": r"iban|(bank_?)?account_?(number|no)",
    "ip": r"ip(_?addr(ess)?)?|(client|remote|user|source)_?ip|ipv[46]",
    "name": r"(first|last|full|middle|given|family|sur|maiden|user)_?name|surname",
    "birth": r"birth_?(day|date)|date_?of_?birth|dob|age",
    "address": r"(home_?|street_?|mailing_?|billing_?|shipping_?)?address(_?(line_?)?[0-9])?|street|zip_?(code)?"
    r"|post_?(al_?)?(code|address)",
    "national_id": r"ssn|social_?security(_?(number|no))?|national_?id|passport(_?(number|no))?|tax_?id|nino|aadhaar",
    "secret": r"pass_?word|passwd|pwd|secret|(api_?|access_?)?token|api_?key",
}  # fmt: skip
_PATTERNS: dict[Kind, re.Pattern[str]] = {kind: re.compile(f"(?:.*_)?(?:{one})") for kind, one in _NAMED.items()}


def _named(path: str) -> Kind | None:
    """The kind that the last part of a path names: homePhone, HOME-PHONE and home_phone alike."""
    last = path.rpartition(".")[2].removesuffix("[]")
    words = re.sub(r"([a-z0-9])([A-Z])", r"\1_\2", last)
    plain = re.sub(r"[^a-z0-9]+", "_", words.lower()).strip("_")
    return next((kind for kind, pattern in _PATTERNS.items() if pattern.fullmatch(plain)), None)


def _in_json(name: str, texts: pa.Array) -> Iterator[Finding]:
    """Values by their paths, of every row."""
    ends: dict[str, tuple[list[int], list[str]]] = {}
    numbers: dict[str, tuple[list[int], list[str]]] = {}
    for row, text in enumerate(texts.to_pylist()):
        if text is not None:
            for path, value in _ends(name, _read(text), MAX_DEPTH):
                rows, values = (ends if isinstance(value, str) else numbers).setdefault(path, ([], []))
                rows.append(row)
                values.append(str(value))
    for path in dict.fromkeys([*ends, *numbers]):
        rows, values = ends.get(path, ([], []))
        more_rows, more = numbers.get(path, ([], []))
        yield from _judged(path, pa.array([*values, *more], pa.string()), np.array([*rows, *more_rows], np.int64))


def _read(text: str) -> Any:
    try:
        return json_text.loads(text)
    except (ValueError, RecursionError):
        return text


def _ends(path: str, value: Any, depth: int) -> Iterator[tuple[str, str | int]]:
    """Texts and integers at the ends of objects and arrays."""
    if isinstance(value, dict) and depth:
        for key, below in value.items():  # pyright: ignore[reportUnknownVariableType] - any JSON
            yield from _ends(f"{path}.{key}", below, depth - 1)
    elif isinstance(value, list) and depth:
        for item in value:  # pyright: ignore[reportUnknownVariableType] - any JSON
            yield from _ends(f"{path}[]", item, depth - 1)
    elif isinstance(value, (str, int)) and not isinstance(value, bool):
        yield path, value
