"""The intake: everything that was written is read once and in order, wherever readers stop and writers end."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millrace.connect.intake import folder as folders
from millrace.connect.intake.bucket import Bucket
from millrace.connect.intake.folder import Folder
from millrace.connect.intake.frames import Damage, Entry, entries, framed
from millrace.connect.intake.place import Place
from millrace.connect.intake.reading import Intake, Lost, Position, Taken

P = "pipeline"
ENTRIES = st.builds(
    Entry,
    st.sampled_from(["hook", "track"]),
    st.integers(0, 2**50),
    st.binary(max_size=300),
    st.none() | st.text(max_size=20).filter(lambda text: text.isprintable()),
    st.none() | st.from_regex(r"[!-~]{1,20}", fullmatch=True),
)


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return Folder(str(tmp_path)) if request.param == "folder" else Bucket(tmp_path.as_uri())


def entry(number: int, size: int = 0) -> Entry:
    return Entry("hook", number, b"x" * size)


def put(place: Place, *numbers: int, part: str = "a") -> None:
    writer = place.writer(P, part)
    writer.append([framed(entry(number)) for number in numbers])
    writer.close()


def taken(intake: Intake, position: Position, most: int | None = None) -> tuple[list[int], dict[str, tuple[int, int]]]:
    """Numbers of entries, at most so many, and the position behind them."""
    found: list[int] = []
    now = dict(position)
    for one in intake.take(position):
        if isinstance(one, Taken):
            found.append(one.entry.at_ms)
        now[one.part] = one.after
        if len(found) == most:
            break
    return found, now


@given(st.lists(ENTRIES, max_size=6), st.data())
def test_frames_come_back_whole_and_a_cut_loses_what_it_hits_alone(kept: list[Entry], data: st.DataObject) -> None:
    frames = [framed(one) for one in kept]
    whole = b"".join(frames)
    assert [one[2] for one in entries(whole, 0) if not isinstance(one, Damage)] == kept
    cut = data.draw(st.integers(0, len(whole)))
    found = list(entries(whole[:cut], 7))
    ends = [7 + sum(map(len, frames[: place + 1])) for place in range(len(frames))]
    assert [one[1] for one in found if not isinstance(one, Damage)] == [end for end in ends if end <= 7 + cut]
    torn = [one for one in found if isinstance(one, Damage)]
    assert torn == ([] if cut in {0, *(end - 7 for end in ends)} else [Damage(torn[0].offset, torn=True)])


@given(ENTRIES, st.data())
def test_a_byte_that_changed_is_found(kept: Entry, data: st.DataObject) -> None:
    frame = bytearray(framed(kept))
    frame[data.draw(st.integers(0, len(frame) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    assert not [one for one in entries(bytes(frame), 0) if not isinstance(one, Damage)]


@given(st.data())
def test_whatever_is_written_read_and_deleted_in_between_each_entry_is_read_once(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(folders, "ROTATE_BYTES", 120)
        patch.setattr(folders.os, "fdatasync", lambda _: None)
        place = Folder(str(tmp_path_factory.mktemp("intake")))
        intake = Intake(place, P)
        writers = {part: place.writer(P, part) for part in ("a", "b")}
        written: list[int] = []
        read: list[int] = []
        committed: Position = {}
        for step in data.draw(st.lists(st.sampled_from(["a", "b", "read", "lost", "end"]), max_size=25)):
            if step in writers:
                some = [len(written) + n for n in range(data.draw(st.integers(1, 4)))]
                writers[step].append([framed(entry(number, 20)) for number in some])
                written += some
            elif step == "end":
                part = data.draw(st.sampled_from(sorted(writers)))
                writers.pop(part).close()
                writers[part + "'"] = place.writer(P, part + "'")
            else:
                # A run deletes behind what is committed, reads, and commits; or it dies before that.
                pruned = intake.collect(committed)
                found, position = taken(intake, pruned, data.draw(st.none() | st.integers(1, 5)))
                if step == "read":
                    read += found
                    committed = position
        for writer in writers.values():
            writer.close()
        found, committed = taken(intake, intake.collect(committed))
        read += found
        assert sorted(read) == written
        assert not intake.waiting(committed)
        assert intake.collect(committed) == {}
        assert intake.files() == []


def test_each_part_is_read_in_the_order_in_which_it_was_written(place: Place) -> None:
    put(place, 1, 2, 3)
    put(place, 4, 5, part="b")
    intake = Intake(place, P)
    found, position = taken(intake, {})
    assert found == [1, 2, 3, 4, 5]
    assert taken(intake, position)[0] == []
    assert not intake.waiting(position)


def test_a_file_that_is_still_written_is_neither_deleted_nor_over(tmp_path: Path) -> None:
    place = Folder(str(tmp_path))
    writer = place.writer(P, "a")
    writer.append([framed(entry(1))])
    intake = Intake(place, P)
    found, position = taken(intake, {})
    assert found == [1]
    position = intake.collect(position)
    writer.append([framed(entry(2))])
    assert intake.waiting(position)
    found, position = taken(intake, position)
    assert found == [2]
    writer.close()
    _, position = taken(intake, position)
    assert intake.collect(position) == {}
    assert not intake.files()


def test_half_an_entry_is_waited_for_as_long_as_its_writer_lives(tmp_path: Path) -> None:
    place = Folder(str(tmp_path))
    writer = place.writer(P, "a")
    writer.append([framed(entry(1))])
    (file,) = place.files(P)
    with (tmp_path / file.path).open("ab") as opened:
        opened.write(framed(entry(2))[:9])
    intake = Intake(place, P)
    assert [type(one) for one in intake.take({})] == [Taken]
    writer.close()
    assert [type(one) for one in intake.take({})] == [Taken, Lost]


def test_what_has_changed_is_set_aside_and_told(place: Place, tmp_path: Path) -> None:
    put(place, 1, 2)
    (file,) = place.files(P)
    where = tmp_path / file.path
    data = bytearray(where.read_bytes())
    data[-1] ^= 1
    where.write_bytes(data)
    intake = Intake(place, P)
    *_, lost = intake.take({})
    assert isinstance(lost, Lost)
    assert not lost.torn
    intake.collect({lost.part: lost.after})
    assert not intake.files()
    assert [one.read_bytes() for one in tmp_path.rglob("*.damaged")] == [bytes(data)]


def test_a_group_that_could_not_be_synced_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Folder(str(tmp_path))
    writer = place.writer(P, "a")
    writer.append([framed(entry(1))])

    def broken(_: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(folders.os, "fdatasync", broken)
        with pytest.raises(OSError, match="Input/output"):
            writer.append([framed(entry(2))])
    writer.append([framed(entry(3))])
    writer.close()
    assert taken(Intake(place, P), {})[0] == [1, 3]


def test_every_group_is_synced_and_so_are_new_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    monkeypatch.setattr(folders.os, "fdatasync", lambda file: synced.append(_name(file)))
    monkeypatch.setattr(folders.os, "fsync", lambda file: synced.append(_name(file)))
    writer = Folder(str(tmp_path)).writer(P, "a")
    for number in range(2):
        writer.append([framed(entry(number)), framed(entry(number))])
    writer.close()
    assert [Path(one).name for one in synced] == ["a", P, "intake", tmp_path.name, *["000000000001.log"] * 2]


def _name(file: int) -> str:
    return str(Path(f"/proc/self/fd/{file}").readlink())
