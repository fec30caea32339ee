"""What formulas and filters mean, value by value: the reference of the columnar code and its way out where Arrow has
no kernel; `transform explain` prints these functions into scripts, so that only modules open to scripts are used.

A missing value is None. ValueError: the event fails.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import json
import math
import re
from collections.abc import Callable
from decimal import ROUND_HALF_UP, Context, Decimal
from typing import Any

EXACT = Context(prec=400)
DIGITS = 38
FLOAT_EXACT = 2**53
NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")
MOMENT = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,6})0*)?)?(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
ALGORITHMS = {"MD5": "md5", "SHA-1": "sha1", "SHA-256": "sha256", "SHA-512": "sha512"}


def field(properties: dict[str, Any], path: str) -> Any:
    """The value at a dotted path: the longest name that is a field, then keys of the objects below it."""
    names = path.split(".")
    for count in range(len(names), 0, -1):
        name = ".".join(names[:count])
        if name in properties:
            return below(properties[name], names[count:])
    return None


def below(value: Any, names: list[str]) -> Any:
    """The value that these keys lead to, one object below the other; None where one of them is not there."""
    for name in names:
        if not isinstance(value, dict):
            return None
        value = value.get(name)
    return value


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float, Decimal)) and not isinstance(value, bool)


def limited(value: Any) -> Any:
    """An integer or decimal, if it has no more than 38 digits before the point and 38 after it."""
    if isinstance(value, int):
        if abs(value) < 10**DIGITS:
            return value
    elif not value.is_finite():
        raise ValueError("The result is not a finite number.")
    elif value.adjusted() < DIGITS or not value:
        value = value if value else value.copy_abs()
        if -int(value.as_tuple().exponent) <= DIGITS:
            return value
        cut = value.quantize(Decimal(1).scaleb(-DIGITS), context=EXACT)
        if cut == value:
            return cut
    raise ValueError("The result needs more than 38 digits before or after the point.")


def as_float(value: Any) -> float:
    """The number as DOUBLE, if that is the same number."""
    if isinstance(value, float):
        return value
    if isinstance(value, int):
        if abs(value) <= FLOAT_EXACT:
            return float(value)
    else:
        near = float(value)
        if math.isfinite(near) and Decimal(repr(near)) == value:
            return near
    raise ValueError(f"{text(value)} has more digits than the DOUBLE that it is calculated with.")


def operands(sign: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Both as float, both as Decimal, or both as int."""
    for value in (a, b):
        if not is_number(value):
            raise ValueError(f"{sign} takes numbers; {described(value)} is none.")
    if isinstance(a, float) or isinstance(b, float):
        return as_float(a), as_float(b)
    if isinstance(a, Decimal) or isinstance(b, Decimal):
        return Decimal(a), Decimal(b)
    return a, b


def described(value: Any) -> str:
    """A value in an error: its form, not what it says."""
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, str):
        return "text"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, (dt.date, dt.time)):
        return "a date or time"
    return "a number" if is_number(value) else "a value of another kind"


def finite(result: float, a: float, b: float) -> float:
    if math.isinf(result) and math.isfinite(a) and math.isfinite(b):
        raise ValueError("The result is beyond what a DOUBLE holds.")
    return result


def add(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    if isinstance(a, str) or isinstance(b, str):
        return text(a) + text(b)
    a, b = operands("+", a, b)
    if isinstance(a, float):
        return finite(a + b, a, b)
    return limited(EXACT.add(a, b) if isinstance(a, Decimal) else a + b)


def subtract(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    a, b = operands("-", a, b)
    if isinstance(a, float):
        return finite(a - b, a, b)
    return limited(EXACT.subtract(a, b) if isinstance(a, Decimal) else a - b)


def multiply(a: Any, b: Any) -> Any:
    if a is None or b is None:
        return None
    a, b = operands("*", a, b)
    if isinstance(a, float):
        return finite(a * b, a, b)
    return limited(EXACT.multiply(a, b) if isinstance(a, Decimal) else a * b)


def divide(a: Any, b: Any) -> Any:
    """Integers and floats give the nearest DOUBLE; with a decimal, half up to 10 digits or as many as the two have."""
    if a is None or b is None:
        return None
    a, b = operands("/", a, b)
    if b == 0:
        raise ValueError("Division by zero.")
    if isinstance(a, float):
        return finite(a / b, a, b)
    if isinstance(a, int):
        return a / b
    digits = min(max(10, -int(a.as_tuple().exponent), -int(b.as_tuple().exponent)), DIGITS)
    return limited(half_up(EXACT.divide(a, b), digits))


def negate(value: Any) -> Any:
    return subtract(0, value)


def invert(value: Any) -> Any:
    if value is None or isinstance(value, bool):
        return None if value is None else not value
    raise ValueError(f"! takes true or false; {described(value)} is neither.")


def equal(a: Any, b: Any) -> Any:
    """None where a side is missing; else by the rules of `order`."""
    return None if a is None or b is None else order(a, b) == 0


def unequal(a: Any, b: Any) -> Any:
    return None if a is None or b is None else order(a, b) != 0


def order(a: Any, b: Any) -> int | None:
    """-1, 0 or 1: a is less than, equal to or greater than b; None where neither can be said.

    Numerically if both read as numbers, in time if both read as dates, as text if both are text that reads as neither.
    """
    for read in READINGS:
        one, other = read(a, b), read(b, a)
        if one is not None or other is not None:
            if one is None or other is None:
                return None
            return (one > other) - (one < other)
    if isinstance(a, str) and isinstance(b, str):
        return (a > b) - (a < b)
    return 0 if type(a) is type(b) and a == b else None


def number_of(value: Any, _: Any = None) -> Decimal | None:
    if isinstance(value, str):
        return Decimal(value) if NUMBER.fullmatch(value) else None
    if not is_number(value):
        return None
    if isinstance(value, float):
        return None if math.isnan(value) else Decimal(repr(value))
    return Decimal(value)


def moment_of(value: Any, _: Any = None) -> int | None:
    """Microseconds since 1970 of a date, a moment, or text that says one in ISO 8601 (midnight, UTC)."""
    if isinstance(value, str):
        found = MOMENT.fullmatch(value)
        if not found:
            return None
        year, month, day, hour, minute, second, fraction, zone = found.groups()
        try:
            moment = dt.datetime(int(year), int(month), int(day), int(hour or 0), int(minute or 0), int(second or 0))
        except ValueError:
            return None
        offset = 0
        if zone and zone != "Z":
            east = zone[1:].replace(":", "").ljust(4, "0")
            if int(east[:2]) > 23 or int(east[2:]) > 59:
                return None
            offset = (int(east[:2]) * 60 + int(east[2:])) * (-1 if zone[0] == "-" else 1)
        return micros(moment) + int((fraction or "0").ljust(6, "0")) - offset * 60_000_000
    if isinstance(value, dt.datetime):
        return micros(value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value)
    return micros(dt.datetime(value.year, value.month, value.day)) if isinstance(value, dt.date) else None


def micros(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1)) // dt.timedelta(microseconds=1)


def time_of(value: Any, other: Any) -> dt.time | None:
    if isinstance(value, dt.time):
        return value
    if isinstance(value, str) and isinstance(other, dt.time):
        try:
            return dt.time.fromisoformat(value) if re.fullmatch(r"[0-9]{2}:[0-9]{2}(:[0-9]{2}.*)?", value) else None
        except ValueError:
            return None
    return None


def truth_of(value: Any, other: Any) -> bool | None:
    """A boolean, or the word for it beside a boolean."""
    if isinstance(value, str) and isinstance(other, bool):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


READINGS: tuple[Callable[[Any, Any], Any], ...] = (number_of, moment_of, time_of, truth_of)


def text(value: Any) -> Any:
    """The one text form of a value: decimals plain, floats as short as they read back, dates in ISO 8601."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return float_text(value)
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, dt.datetime):
        utc = value.astimezone(dt.UTC).replace(tzinfo=None) if value.tzinfo else value
        return utc.isoformat(timespec="microseconds") + ("Z" if value.tzinfo else "")
    if isinstance(value, dt.time):
        return value.isoformat(timespec="microseconds")
    if isinstance(value, dt.date):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return json_text(value) if isinstance(value, (dict, list)) else str(value)


def float_text(value: float) -> str:
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if not value:
        return "-0" if math.copysign(1, value) < 0 else "0"
    shortest = Decimal(repr(value)).normalize()
    if -7 < shortest.adjusted() < 10:
        return f"{shortest:f}"
    digits = "".join(map(str, shortest.as_tuple().digits))
    point = "." if len(digits) > 1 else ""
    return f"{'-' if value < 0 else ''}{digits[0]}{point}{digits[1:]}e{shortest.adjusted():+d}"


def json_text(value: Any) -> str:
    """Compact JSON; a Decimal is a number."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key, ensure_ascii=False)}:{json_text(value[key])}" for key in value) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(json_text, value)) + "]"
    if isinstance(value, Decimal):
        return str(value)
    return json.dumps(
        value if isinstance(value, (str, int, float)) or value is None else text(value), ensure_ascii=False
    )


def lower(value: Any) -> Any:
    return None if value is None else text(value).lower()


def upper(value: Any) -> Any:
    return None if value is None else text(value).upper()


def title(value: Any) -> Any:
    """The first character of each word in upper case, others in lower case; white space parts words."""
    if value is None:
        return None
    return re.sub(r"\S+", lambda word: word[0][0].upper() + word[0][1:].lower(), text(value))


def snake_case(value: Any) -> Any:
    """Words in lower case joined by one underscore; a word ends before an upper-case letter and at other signs."""
    if value is None:
        return None
    parted = re.sub(r"[\W_]+", "_", text(value))
    out: list[str] = []
    for at, sign in enumerate(parted):
        before, after = parted[at - 1] if at else "_", parted[at + 1] if at + 1 < len(parted) else "_"
        if sign.isupper() and before != "_" and (not before.isupper() or after.islower()):
            out.append("_")
        out.append(sign)
    return "".join(out).lower().strip("_")


def replace(value: Any, *how: Any) -> Any:
    """``find, replace``, or ``REGEX|OTHERS, MATCH_EXACT|OTHERS, find, replace``; ``$1`` is the first group."""
    regex, case, find, new = ("OTHERS", "MATCH_EXACT", *how) if len(how) == 2 else how
    if value is None or find is None or new is None:
        return None
    value, find, new = text(value), text(find), text(new)
    if not find:
        raise ValueError("REPLACE has nothing to find.")
    if regex != "REGEX":
        if case == "MATCH_EXACT":
            return value.replace(find, new)
        return re.sub(re.escape(find), lambda _: new, value, flags=re.IGNORECASE)
    flags = 0 if case == "MATCH_EXACT" else re.IGNORECASE

    def put(found: re.Match[str]) -> str:
        return re.sub(r"\$([0-9])", lambda group: found[int(group[1])] or "", new)

    return re.sub(find, put, value, flags=flags)


def split(value: Any, delimiter: Any) -> Any:
    if value is None or delimiter is None:
        return None
    if not text(delimiter):
        raise ValueError("The delimiter is empty.")
    return text(value).split(text(delimiter))


def number(value: Any, decimals: Any = None) -> Any:
    """The number that the text says, half up to so many decimals; an integer where there are none."""
    if value is None:
        return None
    if not isinstance(value, str) and not is_number(value):
        raise ValueError(f"STRING_TO_NUMBER takes text; {described(value)} is none.")
    read = number_of(value.strip(" \t\r\n") if isinstance(value, str) else value)
    if read is None or not read.is_finite():
        raise ValueError("STRING_TO_NUMBER: the text is no number.")
    if decimals is not None:
        read = half_up(read, decimals)
    elif read.adjusted() < DIGITS and int(read.as_tuple().exponent) > 0:
        read = Decimal(int(read))
    read = limited(read)
    return int(read) if read.as_tuple().exponent == 0 else read


def half_up(value: Decimal, digits: int) -> Decimal:
    if value and value.adjusted() >= DIGITS:
        return value
    if digits < 0:
        unit = Decimal(1).scaleb(-digits)
        return Decimal(int((value / unit).quantize(Decimal(1), ROUND_HALF_UP, EXACT))) * unit if value else value
    return value.quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP, EXACT)


def rounded(value: Any, digits: Any) -> Any:
    """Half up, away from zero; a DOUBLE as the decimal that it is shown as."""
    if value is None or digits is None:
        return None
    if not is_number(value):
        raise ValueError(f"ROUND takes numbers; {described(value)} is none.")
    if isinstance(value, float):
        return float(half_up(Decimal(repr(value)), digits)) if abs(value) < 1e38 else value
    if digits >= 0 and (isinstance(value, int) or -int(value.as_tuple().exponent) <= digits):
        return value
    near = limited(half_up(Decimal(value), digits))
    return int(near) if isinstance(value, int) else near


def number_text(value: Any, pattern: Any) -> Any:
    """A number in a pattern such as ``#,##0.00``; ``plain`` is all its digits without an exponent."""
    if value is None or pattern is None:
        return None
    if not is_number(value):
        raise ValueError(f"NUMBER_TO_STRING takes numbers; {described(value)} is none.")
    exact = number_of(value)
    if exact is None or not exact.is_finite():
        raise ValueError("NUMBER_TO_STRING: the number is not finite.")
    if pattern in ("", "plain"):
        return f"{Decimal(int(exact)):f}" if isinstance(value, float) and exact == int(exact) else f"{exact:f}"
    before, whole, fraction, after = number_pattern(pattern)
    near = half_up(exact, len(fraction)) if exact.adjusted() < DIGITS else exact
    digits, _, decimals = f"{abs(near):f}".partition(".")
    while len(decimals) > fraction.count("0") and decimals.endswith("0"):
        decimals = decimals[:-1]
    digits = digits.lstrip("0").rjust(whole.replace(",", "").count("0"), "0")
    if "," in whole:
        size = len(whole) - whole.rindex(",") - 1
        digits = re.sub(f"(?<=[0-9])(?=(?:[0-9]{{{size}}})+$)", ",", digits)
    shown = digits + ("." + decimals if decimals else "")
    return ("-" if near < 0 else "") + before + (shown or "0") + after


def number_pattern(pattern: str) -> tuple[str, str, str, str]:
    """What stands before, the digits before the point, those after it, what stands after."""
    found = re.fullmatch(r"([^#0,.;%']*)(#*(?:,?#+)*(?:,?0+)*)(?:\.(0*#*))?([^#0,.;%']*)", pattern)
    if not found or not (found[2] or found[3]):
        raise ValueError(f"{pattern!r} is no pattern of a number.")
    return found[1], found[2], found[3] or "", found[4]


def digest(value: Any, algorithm: str) -> Any:
    return None if value is None else hashlib.new(ALGORITHMS[algorithm], text(value).encode()).hexdigest()


def masked(value: Any) -> Any:
    return None if value is None else "*" * len(text(value))


def parsed_json(value: Any) -> Any:
    """The value of JSON text; any other value, and text that is no JSON, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value, parse_float=exact_float, parse_constant=no_constant)
    except (ValueError, RecursionError):
        return value


def exact_float(written: str) -> Any:
    near = float(written)
    return near if math.isfinite(near) and Decimal(repr(near)) == Decimal(written) else Decimal(written)


def no_constant(word: str) -> Any:
    raise ValueError(word)
