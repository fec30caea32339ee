"""The closed list of logical types, each an Arrow type: names, foreign types brought to the list, and widening.

Nothing here looks at values; `data.cast` does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, cast, get_args

import pyarrow as pa
from pyarrow import types as arrow

from millrace.errors import ConfigError

TextKind: TypeAlias = Literal["TIMETZ", "VARCHAR", "XML", "UUID", "GEO"]

Kind: TypeAlias = Literal[
    "NULL",
    "BOOLEAN",
    "BYTE",
    "SHORT",
    "INTEGER",
    "LONG",
    "FLOAT",
    "DOUBLE",
    "DECIMAL",
    "DATE",
    "TIME",
    "TIMETZ",
    "TIMESTAMP",
    "TIMESTAMPTZ",
    "VARCHAR",
    "BYTEARRAY",
    "JSON",
    "STRUCT",
    "ARRAY",
    "XML",
    "UUID",
    "GEO",
]


class UnknownType(ConfigError):
    """A type that is not in the closed list, or a name that means none."""

    code = "unknown_type"


class TextType(pa.ExtensionType):  # pyright: ignore[reportUntypedBaseClass] - pyarrow ships no types
    """Text of a particular kind over string storage: bounded VARCHAR, TIMETZ, XML, UUID, GEO.

    ``length`` is in characters and is set for VARCHAR alone. Kind and length survive Arrow IPC and Parquet.
    """

    def __init__(self, kind: TextKind, length: int | None = None) -> None:
        if kind not in get_args(TextKind) or (kind == "VARCHAR") != (length is not None):
            raise UnknownType(f"There is no text type of kind {kind!r} with length {length}.")
        if length is not None and length < 1:
            raise UnknownType(f"VARCHAR({length}) cannot hold anything.", hint="Give a length of 1 or more.")
        self.kind: TextKind = kind
        self.length = length
        super().__init__(pa.string(), "millrace.text")

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps({"kind": self.kind, "length": self.length}).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: pa.DataType, serialized: bytes) -> TextType:
        written = json.loads(serialized)
        return cls(written["kind"], written["length"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TextType) and (self.kind, self.length) == (other.kind, other.length)

    def __ne__(self, other: object) -> bool:
        # pyarrow's own looks at the storage alone, and would take every kind of text for the same.
        return not self == other

    def __hash__(self) -> int:
        return hash((self.kind, self.length))

    def __reduce__(self) -> tuple[Any, ...]:
        return TextType, (self.kind, self.length)


BOOLEAN = pa.bool_()
BYTE = pa.int8()
SHORT = pa.int16()
INTEGER = pa.int32()
LONG = pa.int64()
FLOAT = pa.float32()
DOUBLE = pa.float64()
DATE = pa.date32()
TIME = pa.time64("us")
TIMETZ = TextType("TIMETZ")
TIMESTAMP = pa.timestamp("us")
TIMESTAMPTZ = pa.timestamp("us", "UTC")
VARCHAR = pa.string()
BYTEARRAY = pa.binary()
JSON = pa.json_()
XML = TextType("XML")
UUID = TextType("UUID")
GEO = TextType("GEO")
# The bottom of the lattice: a column of which only nulls were seen. No table has a column of it.
NULL = pa.null()

MAX_PRECISION = 76
INTEGER_DIGITS: dict[Kind, int] = {"BYTE": 3, "SHORT": 5, "INTEGER": 10, "LONG": 19}

_PLAIN: dict[Kind, pa.DataType] = {
    "NULL": NULL,
    "BOOLEAN": BOOLEAN,
    "BYTE": BYTE,
    "SHORT": SHORT,
    "INTEGER": INTEGER,
    "LONG": LONG,
    "FLOAT": FLOAT,
    "DOUBLE": DOUBLE,
    "DATE": DATE,
    "TIME": TIME,
    "TIMETZ": TIMETZ,
    "TIMESTAMP": TIMESTAMP,
    "TIMESTAMPTZ": TIMESTAMPTZ,
    "VARCHAR": VARCHAR,
    "BYTEARRAY": BYTEARRAY,
    "JSON": JSON,
    "XML": XML,
    "UUID": UUID,
    "GEO": GEO,
}
_KIND_OF: dict[pa.DataType, Kind] = {type_: kind for kind, type_ in _PLAIN.items()}

try:
    pa.register_extension_type(TIMETZ)
except pa.ArrowKeyError:  # the module was loaded anew in the same process
    pa.unregister_extension_type("millrace.text")
    pa.register_extension_type(TIMETZ)


def varchar(length: int) -> pa.DataType:
    """VARCHAR(length), in characters."""
    return TextType("VARCHAR", length)


def decimal(precision: int, scale: int) -> pa.DataType:
    """DECIMAL(precision, scale): 128 bits up to 38 digits, 256 bits up to 76."""
    if not 1 <= precision <= MAX_PRECISION or not 0 <= scale <= precision:
        raise UnknownType(
            f"There is no DECIMAL({precision},{scale}).",
            hint=f"The precision is 1 to {MAX_PRECISION}, the scale 0 to the precision.",
        )
    return pa.decimal128(precision, scale) if precision <= 38 else pa.decimal256(precision, scale)


def array(item: pa.DataType) -> pa.DataType:
    """ARRAY of items of a type of the list."""
    return pa.list_(pa.field("item", item))


def kind(type_: pa.DataType) -> Kind:
    """Which of the logical types this is, without its parameters.

    Raises UnknownType for an Arrow type outside the list; `canonical` brings it in.
    """
    if known := _KIND_OF.get(type_):
        return known
    if isinstance(type_, TextType):
        return type_.kind
    if arrow.is_decimal(type_) and type_ == _decimal_or_none(type_):
        return "DECIMAL"
    if is_nested(type_) and type_ == canonical(type_):
        return "STRUCT" if arrow.is_struct(type_) else "ARRAY"
    raise UnknownType(f"{type_} is not a logical type.", hint="Bring it to the list with canonical().")


def is_text(type_: pa.DataType) -> bool:
    """VARCHAR of any length."""
    return type_ == VARCHAR or (isinstance(type_, TextType) and type_.kind == "VARCHAR")


def is_integer(type_: pa.DataType) -> bool:
    """BYTE, SHORT, INTEGER or LONG."""
    return _KIND_OF.get(type_) in INTEGER_DIGITS


def is_float(type_: pa.DataType) -> bool:
    """FLOAT or DOUBLE."""
    return type_ in (FLOAT, DOUBLE)


def is_decimal(type_: pa.DataType) -> bool:
    return arrow.is_decimal(type_)


def is_json(type_: pa.DataType) -> bool:
    """The type JSON itself; STRUCT and ARRAY are `is_nested`."""
    return type_ == JSON


def is_nested(type_: pa.DataType) -> bool:
    """STRUCT or ARRAY."""
    return arrow.is_struct(type_) or arrow.is_list(type_)


def length(type_: pa.DataType) -> int | None:
    """The characters that a VARCHAR(n) holds; None for every other type."""
    return type_.length if isinstance(type_, TextType) else None


def storage(values: pa.Array) -> pa.Array:
    """The values below an extension type (JSON text, TIMETZ text …); other arrays as they are."""
    return values.storage if isinstance(values, pa.ExtensionArray) else values


def name(type_: pa.DataType) -> str:
    """The name of a logical type: ``DECIMAL(10,2)``, ``ARRAY(STRUCT(a INTEGER, "b c" JSON))``.

    `parse` reads it back. Raises UnknownType for an Arrow type outside the list.
    """
    base = kind(type_)
    if base == "DECIMAL":
        return f"DECIMAL({type_.precision},{type_.scale})"
    if base == "VARCHAR" and (n := length(type_)):
        return f"VARCHAR({n})"
    if base == "ARRAY":
        return f"ARRAY({name(type_.value_type)})"
    if base == "STRUCT":
        return f"STRUCT({', '.join(f'{_quoted(field.name)} {name(field.type)}' for field in _fields(type_))})"
    return base


def parse(text: str) -> pa.DataType:
    """The logical type of this name; the case of its words does not matter.

    Raises UnknownType, telling the word that was not understood.
    """
    tokens = _Tokens(text)
    found = _parsed(tokens)
    if tokens.peek() is not None:
        raise _unreadable(text)
    return found


def canonical(type_: pa.DataType) -> pa.DataType:
    """The type of the list that holds all values of a foreign Arrow type.

    Moments and times finer than a microsecond have no such type; they go to TIMESTAMP and TIME, and `data.cast`
    names the values that do not fit. Maps become arrays of (key, value); durations and intervals ISO 8601 text;
    nested types with an unknown (null) or repeated part become JSON. Raises UnknownType for unions.
    """
    if type_ in _KIND_OF or isinstance(type_, TextType):
        return type_
    if simple := _FOREIGN.get(type_):
        return simple
    if isinstance(type_, pa.JsonType):
        return JSON
    if isinstance(type_, pa.BaseExtensionType):
        return canonical(type_.storage_type)
    if arrow.is_decimal(type_):
        return _decimal_or_none(type_) or VARCHAR
    if arrow.is_timestamp(type_):
        return TIMESTAMP if type_.tz is None else TIMESTAMPTZ
    if arrow.is_fixed_size_binary(type_):
        return BYTEARRAY
    if arrow.is_duration(type_) or arrow.is_interval(type_):
        return VARCHAR
    if arrow.is_dictionary(type_) or arrow.is_run_end_encoded(type_):
        return canonical(type_.value_type)
    if arrow.is_map(type_):
        return canonical(pa.list_(pa.struct([("key", type_.key_type), ("value", type_.item_type)])))
    if arrow.is_struct(type_):
        return _struct(type_)
    if _is_list(type_):
        item = canonical(type_.value_type)
        return JSON if item == NULL else array(item)
    raise UnknownType(f"Values of the Arrow type {type_} cannot be kept.", hint="Cast the column in the source.")


def widen(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    """The narrowest type of the list that holds every value of both.

    A law: total, commutative, associative, idempotent, with NULL as its identity and VARCHAR as its top. Where the
    answer could depend on values (LONG with DOUBLE, a scalar with JSON) it is VARCHAR here, and whoever sees the
    values may do better: docs/decisions/0003-widening-is-a-law.md.
    """
    if a == b:
        kind(a)
        return a
    one, two = kind(a), kind(b)
    if one == "NULL":
        return b
    if two == "NULL":
        return a
    if one == two == "VARCHAR":
        m, n = length(a), length(b)
        return varchar(max(m, n)) if m and n else VARCHAR
    for chain in _CHAINS:
        if one in chain and two in chain:
            return a if chain.index(one) > chain.index(two) else b
    if "DECIMAL" in (one, two):
        return _wider_decimal(a, b)
    if {one, two} <= _NUMBERS_IN_DOUBLE:
        return DOUBLE
    if {one, two} <= {"JSON", "STRUCT", "ARRAY"}:
        return JSON
    return VARCHAR


_CHAINS: tuple[tuple[Kind, ...], ...] = (
    ("BYTE", "SHORT", "INTEGER", "LONG"),
    ("FLOAT", "DOUBLE"),
    ("DATE", "TIMESTAMP", "TIMESTAMPTZ"),
    ("TIME", "TIMETZ"),
)
_NUMBERS_IN_DOUBLE: frozenset[Kind] = frozenset({"BYTE", "SHORT", "INTEGER", "FLOAT", "DOUBLE"})

_FOREIGN: dict[pa.DataType, pa.DataType] = {
    pa.uint8(): SHORT,
    pa.uint16(): INTEGER,
    pa.uint32(): LONG,
    pa.uint64(): decimal(20, 0),
    pa.float16(): FLOAT,
    pa.date64(): DATE,
    pa.time32("s"): TIME,
    pa.time32("ms"): TIME,
    pa.time64("ns"): TIME,
    pa.large_string(): VARCHAR,
    pa.string_view(): VARCHAR,
    pa.large_binary(): BYTEARRAY,
    pa.binary_view(): BYTEARRAY,
    pa.uuid(): UUID,
    pa.bool8(): BOOLEAN,
}


def _wider_decimal(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    digits, scale = 0, 0
    for type_ in (a, b):
        if is_decimal(type_):
            digits, scale = max(digits, type_.precision - type_.scale), max(scale, type_.scale)
        elif whole := INTEGER_DIGITS.get(kind(type_)):
            digits = max(digits, whole)
        else:
            return VARCHAR
    return decimal(digits + scale, scale) if digits + scale <= MAX_PRECISION else VARCHAR


def _decimal_or_none(type_: pa.DataType) -> pa.DataType | None:
    """This decimal in the list's form; None where its digits before and after the point are more than 76."""
    precision, scale = cast(int, type_.precision), cast(int, type_.scale)
    if scale < 0:
        precision, scale = precision - scale, 0
    precision = max(precision, scale)
    return decimal(precision, scale) if precision <= MAX_PRECISION else None


def _struct(type_: pa.DataType) -> pa.DataType:
    fields = [pa.field(field.name, canonical(field.type)) for field in _fields(type_)]
    names = {field.name for field in fields}
    if len(names) < len(fields):
        raise UnknownType(f"{type_} has two fields of one name.", hint="Rename one of them in the source.")
    return JSON if not fields or any(field.type == NULL for field in fields) else pa.struct(fields)


def _fields(type_: pa.DataType) -> Iterator[pa.Field]:
    return (type_.field(i) for i in range(type_.num_fields))


def _is_list(type_: pa.DataType) -> bool:
    return (
        arrow.is_list(type_)
        or arrow.is_large_list(type_)
        or arrow.is_fixed_size_list(type_)
        or arrow.is_list_view(type_)
        or arrow.is_large_list_view(type_)
    )


def _quoted(field: str) -> str:
    return field if re.fullmatch(r"[A-Za-z_]\w*", field, re.ASCII) else '"' + field.replace('"', '""') + '"'


class _Tokens:
    """The words, numbers, marks and quoted names of a type's name, one after the other."""

    def __init__(self, text: str) -> None:
        self.text = text
        self._left = re.findall(r'"(?:[^"]|"")*"|\w+|\S', text)[::-1]

    def peek(self) -> str | None:
        return self._left[-1] if self._left else None

    def word(self) -> str:
        if not self._left:
            raise _unreadable(self.text)
        return self._left.pop()

    def expect(self, *marks: str) -> str:
        token = self.word()
        if token not in marks:
            raise _unreadable(self.text)
        return token

    def number(self) -> int:
        token = self.word()
        if not (token.isascii() and token.isdigit()):
            raise _unreadable(self.text)
        return int(token)

    def field(self) -> str:
        token = self.word()
        if token.startswith('"') and len(token) > 1:
            return token[1:-1].replace('""', '"')
        if re.fullmatch(r"\w+", token):
            return token
        raise _unreadable(self.text)


def _parsed(tokens: _Tokens) -> pa.DataType:
    word = tokens.word().upper()
    if word == "DECIMAL":
        tokens.expect("(")
        precision = tokens.number()
        scale = 0
        if tokens.expect(",", ")") == ",":
            scale = tokens.number()
            tokens.expect(")")
        return decimal(precision, scale)
    if word == "ARRAY":
        tokens.expect("(")
        item = _parsed(tokens)
        tokens.expect(")")
        return array(item)
    if word == "STRUCT":
        tokens.expect("(")
        fields: list[pa.Field] = []
        while not fields or tokens.expect(",", ")") == ",":
            fields.append(pa.field(tokens.field(), _parsed(tokens)))
        return pa.struct(fields)
    if word == "VARCHAR" and tokens.peek() == "(":
        tokens.expect("(")
        characters = tokens.number()
        tokens.expect(")")
        return varchar(characters)
    for kind_, plain in _PLAIN.items():
        if word == kind_:
            return plain
    raise _unreadable(tokens.text)


def _unreadable(text: str) -> UnknownType:
    return UnknownType(
        f"{text!r} is not the name of a type.",
        hint=f"The names are {', '.join(k for k in get_args(Kind) if k != 'NULL')}; "
        "for example DECIMAL(10,2), VARCHAR(50), ARRAY(LONG), STRUCT(a LONG, b VARCHAR).",
    )
