"""Words of a statement, and the definition of a column among them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from millrace.sources.mysql.log.columns import Known

# Comments that a server runs are statements; others are none.
_RUN = re.compile(r"/\*M?!\d*(.*?)\*/", re.DOTALL)
_TOKEN = re.compile(
    r"(?P<quoted>`(?:[^`]|``)*`)|(?P<text>[xXbBnN]?'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\")"
    r"|(?P<comment>/\*.*?\*/|\#[^\n]*|--[ \t\n][^\n]*)|(?P<word>[\w$]+)|(?P<sign>[^\s\w])",
    re.DOTALL,
)
_ALIASES: Mapping[str, str] = {
    "integer": "int", "int1": "tinyint", "int2": "smallint", "int3": "mediumint", "middleint": "mediumint",
    "int4": "int", "int8": "bigint", "dec": "decimal", "numeric": "decimal", "fixed": "decimal", "real": "double",
    "float4": "float", "float8": "double", "character": "char", "nchar": "char", "nvarchar": "varchar",
    "varcharacter": "varchar", "varchar2": "varchar", "long": "mediumtext", "clob": "longtext",
}  # fmt: skip
_ALONE: Mapping[str, str] = {
    "decimal": "(10,0)", "char": "(1)", "binary": "(1)", "bit": "(1)", "year": "(4)"
}  # fmt: skip
_TEXTS = frozenset(("char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json"))
# Bytes that a character of a set may have.
WIDTHS: Mapping[str, int] = {
    **dict.fromkeys(("ascii", "latin1", "latin2", "latin5", "latin7", "cp1250", "cp1251", "cp1256", "cp1257"), 1),
    **dict.fromkeys(("ucs2", "gbk", "gb2312", "big5", "sjis", "cp932", "euckr"), 2),
    "utf8mb3": 3, "utf8mb4": 4, "utf16": 4, "utf16le": 4, "utf32": 4, "gb18030": 4,
}  # fmt: skip
_BY_SIZE = ((1 << 8, "tiny"), (1 << 16, ""), (1 << 24, "medium"), (1 << 32, "long"))


class Tokens:
    """Words from front to back. Names in backquotes keep them until they are asked for as names."""

    def __init__(self, found: Sequence[str]) -> None:
        self._found, self._at = found, 0

    def peek(self, ahead: int = 0) -> str:
        """The next word in capital letters; empty at the end."""
        at = self._at + ahead
        return self._found[at].upper() if at < len(self._found) else ""

    def word(self) -> str:
        found = self.peek()
        self._at += 1
        return found

    def skip(self, *words: str) -> bool:
        """Whether these words come; then they are behind."""
        if any(self.peek(ahead) != word for ahead, word in enumerate(words)):
            return False
        self._at += len(words)
        return True

    def name(self) -> str:
        raw = self._found[self._at] if self._at < len(self._found) else ""
        self._at += 1
        return _unquoted(raw)

    def group(self) -> Tokens | None:
        """What is between the parentheses that come; None where none do."""
        if self.peek() != "(":
            return None
        depth, begin = 0, self._at + 1
        for at in range(self._at, len(self._found)):
            depth += (self._found[at] == "(") - (self._found[at] == ")")
            if depth == 0:
                self._at = at + 1
                return Tokens(self._found[begin:at])
        self._at = len(self._found)
        return Tokens(self._found[begin:])

    def rest(self) -> Sequence[str]:
        return self._found[self._at :]

    def has(self, word: str) -> bool:
        return any(one.upper() == word for one in self.rest())

    def last(self) -> str:
        return self._found[-1].upper() if self._found else ""

    def after(self, word: str) -> str | None:
        """The last name, where this word is in front of it."""
        if len(self._found) < 2 or self._found[-2].upper() != word:
            return None
        return _unquoted(self._found[-1])

    def charset(self) -> str:
        """The character set that the words name, "?" where they name none."""
        rest = [one.upper() for one in self.rest()]
        for at, word in enumerate(rest):
            begin = at + 1 if word == "CHARSET" else at + 2 if rest[at : at + 2] == ["CHARACTER", "SET"] else None
            if word == "COLLATE":
                begin = at + 1
            if begin is not None and begin < len(rest):
                begin += rest[begin] == "="
                named = _unquoted(self.rest()[begin]).strip("'\"").lower()
                named = named.partition("_")[0] if word == "COLLATE" else named
                return "utf8mb3" if named == "utf8" else named
        return "?"


def tokens(text: str) -> Tokens:
    text = _RUN.sub(r" \1 ", text)
    return Tokens([match[0] for match in _TOKEN.finditer(text) if match.lastgroup != "comment"])


def name_of(found: Tokens, database: str) -> tuple[str, str]:
    """Database and table that a statement names."""
    first = found.name()
    if found.skip("."):
        return first, found.name()
    return database, first


def parts(found: Tokens) -> Iterator[Tokens]:
    """What is between the commas that are in no parentheses."""
    depth, one = 0, list[str]()
    for word in found.rest():
        depth += (word == "(") - (word == ")")
        if word == "," and depth == 0:
            yield Tokens(one)
            one = []
        else:
            one.append(word)
    if one:
        yield Tokens(one)


def definition(part: Tokens, charset: str) -> Known | None:
    """The column that is defined, its type as information_schema would write it. ``charset``: of text without one of
    its own. None where the type is not told."""
    name = part.name()
    word = part.word().lower()
    if not word:
        return None
    if word == "national":
        word = part.word().lower()
    if word in ("character", "char") and part.skip("VARYING"):
        word = "varchar"
    if word == "double":
        part.skip("PRECISION")
    if word == "long":
        word = "mediumblob" if part.skip("VARBINARY") else "mediumtext"
        part.skip("VARCHAR")
    word = _ALIASES.get(word, word)
    inside = part.group()
    size = "".join(inside.rest()) if inside is not None else ""
    if word == "serial":
        return Known(name, "bigint unsigned")
    if word in ("bool", "boolean"):
        return Known(name, "tinyint(1)")
    return Known(name, *_type(word, size, part, charset))


def _type(word: str, size: str, part: Tokens, charset: str) -> tuple[str, str]:
    own = part.charset()
    if own == "?":
        own = "latin1" if part.has("ASCII") else charset or "?"
    if own == "binary":
        word = {"char": "binary", "varchar": "varbinary"}.get(word, word.replace("text", "blob"))
    if word in ("text", "blob") and size:
        # So many characters, of up to four bytes, find room in the smallest kind.
        width = 1 if word == "blob" else WIDTHS.get(own, 4)
        word = next(front for limit, front in _BY_SIZE if int(size) * width < limit) + word
        size = ""
    if word == "float" and size:
        word = "double" if "," not in size and int(size) > 24 else "float"
    if word == "decimal" and size and "," not in size:
        size = f"{size},0"
    shown = word + (f"({size})" if size else _ALONE.get(word, ""))
    if part.has("UNSIGNED") or part.has("ZEROFILL"):
        shown += " unsigned"
    return shown, own if word in _TEXTS else ""


def as_long(column: Known, charset: str) -> str:
    """The type of the column of text where all its characters shall have room in another character set; "" where that
    is not known."""
    front = column.type.removesuffix("text")
    limit = next((limit for limit, one in _BY_SIZE if column.type.endswith("text") and one == front), None)
    if limit is None:
        return column.type
    width = WIDTHS.get(column.charset)
    if width is None or charset not in WIDTHS:
        return ""
    size = -(-(limit - 1) // width) * WIDTHS[charset]
    return next((front for limit, front in _BY_SIZE if size < limit), "long") + "text"


def _unquoted(raw: str) -> str:
    return raw[1:-1].replace("``", "`") if raw[:1] == "`" else raw.strip('"') if raw[:1] == '"' else raw
