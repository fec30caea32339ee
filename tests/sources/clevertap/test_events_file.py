from __future__ import annotations

from pathlib import Path

import pytest

from millrace.errors import ConfigError
from millrace.sources.clevertap import events_file
from millrace.sources.clevertap.events_file import parse

FIXTURES = Path(events_file.__file__).parent / "fixtures"
DOWNLOAD = (FIXTURES / "events.csv").read_bytes()


@pytest.mark.spec("clevertap.10.24")
def test_10_24_the_file_as_clevertap_offers_it_is_read() -> None:
    found = parse(DOWNLOAD)
    assert found.names == ("App Launched", "Charged", "Tutorial Complete", "tutorial complete", "Old Banner Shown")
    assert found.discarded == ("Old Banner Shown",)
    assert [row.line for row in found.rows] == [2, 3, 4, 5, 6]
    assert any("'Tutorial Complete', 'tutorial complete'" in text for text in found.warnings)
    assert any("discarded" in text and "'Old Banner Shown'" in text for text in found.warnings)


@pytest.mark.spec("clevertap.10.24")
@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfEvent name,Type\nCharged,Defined\nLivraison Pr\xc3\xa9vue,Defined\n",
        "Event name;Type\r\nCharged;Defined\r\nLivraison Prévue;Defined\r\n".encode(),
        "Type\tEVENT_NAME\nDefined\tCharged\nDefined\tLivraison Prévue".encode(),
        "Charged\nLivraison Prévue\n".encode(),
        '"Charged"\r\n"Livraison Prévue"\r\n'.encode(),
        "\n\n eventName \n  Charged  \n\n\nLivraison Prévue\n\n".encode(),
        "Event Name,Type\n,\nCharged,Defined\n , \nCharged,Defined\nLivraison Prévue,x\n".encode(),
        "Name,Property name\nCharged,Amount\nCharged,Currency\nLivraison Prévue,a\n".encode(),
        '\ufeff"Event name","Type"\r\n"Charged","Defined"\r\n"Livraison Prévue","Defined"\r\n'.encode(),
        '"Type";"Event name"\n"Defined";"Charged"\n"a, ""b""";"Livraison Prévue"\n'.encode(),
        '"Event name"\t"Type"\n"Charged"\t"a; b, c"\n"Livraison Prévue"\t"x"\n'.encode(),
    ],
    ids=[
        *["bom", "semicolon-crlf", "tab", "no-header", "quoted", "blank-rows", "doubled", "name"],
        *["all-quoted", "all-quoted-semicolon", "all-quoted-tab"],
    ],
)
def test_10_24_every_form_of_the_file_gives_the_same_names(content: bytes) -> None:
    assert parse(content).names == ("Charged", "Livraison Prévue")


@pytest.mark.spec("clevertap.10.24")
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_10_24_a_quoted_name_may_hold_what_parts_columns_and_break_its_line(delimiter: str) -> None:
    names = ("Hello, World", "a; b", "tab\there", 'Say "hi"', "two\nlines", "plain")
    lines = ["Event name,Type", *('"{}",Defined'.format(name.replace('"', '""')) for name in names)]
    found = parse("\r\n".join(line[::-1].replace(",", delimiter, 1)[::-1] for line in lines).encode())
    assert found.names == names
    assert [row.line for row in found.rows] == [2, 3, 4, 5, 6, 8]


@pytest.mark.spec("clevertap.10.24")
def test_10_24_the_status_of_a_property_is_not_the_status_of_its_event() -> None:
    found = parse((FIXTURES / "events_with_properties.csv").read_bytes())
    assert found.names == ("Charged", "Product Viewed")
    assert not found.discarded
    # An event stands there once for each of its properties, which is no mistake.
    assert [row.fate for row in found.rows] == ["read", "read"]


@pytest.mark.spec("clevertap.10.24")
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (b"Event name\n\n", "no event names"),
        (b"Colour,Size\nred,4\n", "none of its columns"),
        (b"Charged;x\nApp Launched;y\n", "none of its columns"),
        (b"Event name\nok\nbad \xff\n", "line 3 is not UTF-8"),
        (b"Event name\nok\n\x00\x01\n", "line 3 has binary data"),
        (b"<!DOCTYPE html>\n<p>Sign in</p>\n", "line 1 begins like a web page"),
        (b'\n {"error": "signed out"}\n', "begins like JSON"),
        (b"PK\x03\x04zip", "Excel"),
        ("Event name\nok\n".encode("utf-16"), "UTF-16"),
        (b'Event name\nok\n"open\n', "line 3 is not CSV"),
        (b'Event name,Type\nok,"open\n', "line 2 is not CSV"),
        (b'ok\n"open\n', "line 2 is not CSV"),
        (b'"Colour","Size"\n"red","4"\n', "none of its columns"),
    ],
)
def test_10_24_what_is_no_such_file_is_refused_with_the_reason(content: bytes, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as refused:
        parse(content)
    assert refused.value.path == "events_file" and refused.value.hint


@pytest.mark.spec("clevertap.10.24")
def test_10_24_2000_names_are_taken_and_2001_are_not() -> None:
    lines = [f"name {number}" for number in range(2001)]
    assert len(parse("\n".join(["Event name", *lines[:2000]]).encode()).names) == 2000
    with pytest.raises(ConfigError, match="2,001 names"):
        parse("\n".join(["Event name", *lines]).encode())


def test_a_file_beyond_five_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "big.csv"
    path.write_bytes(b"Event name\n" + b"x" * (5 * 2**20))
    with pytest.raises(ConfigError, match="larger than 5 MB"):
        events_file.load(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.csv") as refused:
        events_file.load(str(tmp_path / "nowhere.csv"))
    assert refused.value.hint


def test_what_cannot_be_exported_and_system_events_alone_are_warned_about() -> None:
    found = parse(b"Event name\nNotification Sent\nApp Launched\n")
    assert [row.fate for row in found.rows] == ["not_exportable", "read"]
    assert any("S3" in text and "'Notification Sent'" in text for text in found.warnings)
    assert any("system events only" in text for text in found.warnings)
    assert not parse(b"Event name\nMy Event\n").warnings


def test_a_preview_says_of_each_row_what_becomes_of_its_name() -> None:
    rows = [
        "Charged,Active", "Notification Sent,Active", "Charged,Active", "Tutorial Complete,",
        "tutorialcomplete,inactive", "Old Banner Shown,Discarded", "Notification Sent,Active", " My Event ,Active",
        "my event,Active", "MY EVENT,Active",
    ]  # fmt: skip
    found = parse("\n".join(["Event name,Status", *rows]).encode()).preview()
    assert [(row.line, row.name, row.fate, row.status, row.note) for row in found.rows] == [
        (2, "Charged", "read", "Active", None),
        (3, "Notification Sent", "not_exportable", "Active", "CleverTap has it in its S3 export alone"),
        (4, "Charged", "twice", "Active", "read once, as in line 2"),
        (5, "Tutorial Complete", "read", None, "not the same event as 'tutorialcomplete'"),
        (
            6, "tutorialcomplete", "read", "Inactive",
            "not the same event as 'Tutorial Complete'; inactive in CleverTap",
        ),
        (7, "Old Banner Shown", "read", "Discarded", "discarded in CleverTap"),
        (8, "Notification Sent", "twice", "Active", "listed in line 3 already"),
        (9, "My Event", "read", "Active", "not the same event as 'my event', 'MY EVENT'"),
        (10, "my event", "read", "Active", "not the same event as 'My Event', 'MY EVENT'"),
        (11, "MY EVENT", "read", "Active", "not the same event as 'My Event', 'my event'"),
    ]  # fmt: skip
    assert (found.read, found.not_exportable, found.twice) == (7, 1, 2)
    assert [text.partition(":")[0] for text in found.warnings] == [
        "names that differ only in case or spaces are different events",
        "names that differ only in case or spaces are different events",
        "CleverTap does not export these by its API; use its S3 export and an S3 source",
        "discarded in CleverTap, so new events may never come",
        "inactive in CleverTap, so new events may never come",
    ]


def test_a_preview_has_every_name_and_counts_what_is_listed_again_beyond_what_it_shows() -> None:
    again = events_file.MOST_REPEATED + 50
    found = parse("\n".join(["Event name", *["Charged"] * (again + 1), "Last"]).encode()).preview()
    assert (found.read, found.twice) == (2, again)
    assert len(found.rows) == events_file.MOST_REPEATED + 2
    assert (found.rows[0].name, found.rows[-1].name, found.rows[-1].line) == ("Charged", "Last", again + 3)
