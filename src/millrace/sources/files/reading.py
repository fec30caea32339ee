"""One file, opened, unpacked and read by its format."""

from __future__ import annotations

import errno
import gzip
import lzma
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from typing import BinaryIO, cast

import pyarrow as pa

from millrace.errors import ConfigError, EnvironmentProblem, MillraceError
from millrace.sources.files.choosing import Kind
from millrace.sources.files.config import Config
from millrace.sources.files.encodings import recoded
from millrace.sources.files.parts import Part, Told, Unreadable, after
from millrace.sources.files.places import Found, Place


def parts(place: Place, found: Found, kind: Kind, config: Config, begun: int) -> Generator[Part]:
    """The rows of a file behind the first ``begun``. Raises Unreadable, from where on it cannot be read, and what its
    place raises."""
    with ExitStack() as held, _in_words(found):
        if kind.format == "parquet":
            # Imported here, as the others: a run reads few formats.
            from millrace.sources.files import parquet

            if kind.compression:
                raise Unreadable("Parquet files are compressed within, and not as a whole")
            file = held.enter_context(place.open_anywhere(found))
            yield from after(parquet.read(file, begun), begun)
            return
        packed = held.enter_context(place.open(found))
        told = Told(held.enter_context(_unpacked(packed, kind.compression)))
        try:
            yield from after(_read(cast(BinaryIO, told), told.check, kind, config), begun)
        except Exception:
            # What the stream says is more than that something is not at its end.
            told.check()
            raise
        told.check()


def _read(stream: BinaryIO, check: Callable[[], None], kind: Kind, config: Config) -> Iterator[Part]:
    match kind.format:
        case "csv" | "tsv":
            from millrace.sources.files import texts

            delimiter = "," if kind.format == "csv" else "\t"
            return texts.read(recoded(stream, config.encoding, marked=True), config, delimiter, check)
        case "json":
            from millrace.sources.files import lines

            return lines.read(recoded(stream, config.encoding, marked=False), check)
        case "clevertap":
            from millrace.sources.files import clevertap

            return clevertap.read(recoded(stream, config.encoding, marked=False), check, config.timezone)
        case "avro":
            from millrace.sources.files import avro

            return avro.read(stream)
        case _:
            from millrace.sources.files import xml_events

            return xml_events.read(stream, config)


@contextmanager
def _unpacked(stream: BinaryIO, compression: str) -> Generator[BinaryIO]:
    if compression == "gzip":
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield cast(BinaryIO, unpacked)
    elif compression == "zstd":
        with pa.CompressedInputStream(pa.PythonFile(stream, "r"), "zstd") as unpacked:
            yield cast(BinaryIO, unpacked)
    else:
        yield stream


@contextmanager
def _in_words(found: Found) -> Generator[None]:
    """What is wrong with a file, in words; what is wrong with its place, or the machine, is left as it is."""
    try:
        yield
    except ConfigError as error:
        if error.code != "PERMISSION_DENIED":
            raise
        raise Unreadable("this user may not read it, or it is in an archive", lasting=False) from error
    except (MillraceError, MemoryError):
        raise
    except FileNotFoundError:
        raise Unreadable("it is gone", lasting=False) from None
    except PermissionError as error:
        raise Unreadable("this user may not read it", lasting=False) from error
    except EOFError as error:
        raise Unreadable("it is cut off") from error
    except OSError as error:
        if error.errno == errno.EIO:
            # A bad place of the disk: other files may be whole.
            raise Unreadable(f"its disk cannot read it: {error.strerror}", lasting=False) from error
        if error.errno is not None:
            raise EnvironmentProblem(
                f"{found.key} cannot be read: {error.strerror}", hint="See to the disk, then run again.", code="file_io"
            ) from error
        raise Unreadable(str(error)[:500]) from error
    except RecursionError as error:
        raise Unreadable("something in it nests too deep") from error
    except (pa.ArrowException, ValueError, zlib.error, lzma.LZMAError) as error:
        said = str(error).strip()
        raise Unreadable(said.splitlines()[0][:500] if said else type(error).__name__) from error
