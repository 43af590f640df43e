"""What a disk and a bucket both promise of the places of results."""

from __future__ import annotations

import itertools
import pickle
import shutil
import threading
from pathlib import Path

import pytest

from csg.storage.layout import place_at, place_to_read
from csg.storage.place import ConflictError, Place

pytestmark = pytest.mark.usefixtures("first_machine")

NUMBERS = itertools.count()
ODD = ["a b", "it's", "100%", "%41", "runs?q", "runs#x", "Tür", 'q"q', "a;b", "a:b@c", "a+b", "x?a=b", "[x]", "~"]


@pytest.fixture(params=["disk", "s3", "file"])
def folder(request: pytest.FixtureRequest, bucket: str, tmp_path: Path) -> Place:
    """A folder where nothing is yet: on a disk, and in buckets whose writing is atomic and that have to move files."""
    texts = {
        "disk": f"{tmp_path}/disk",
        "s3": f"s3://bucket/contract{next(NUMBERS)}{bucket}",
        "file": f"file://{tmp_path}/bucket",
    }
    place = place_at(texts[request.param]) / "a" / "b"
    if not place.makes_folders:
        place.make_folder("train.output")
    return place


def write(place: Place, text: str) -> None:
    with place.open_replacement() as file:
        file.write(text.encode())


def read(place: Place) -> str:
    with place.open() as file:
        return file.read().decode()


def test_a_file_is_written_read_listed_and_removed(folder: Place) -> None:
    file = folder / ".hidden"
    assert not file.exists() and file.stamp() is None and folder.list_names() == []
    file.remove()
    with pytest.raises(FileNotFoundError):
        file.open()
    write(file, "one")
    write(file, "three")
    write(folder / "other", "")
    assert (read(file), folder.list_names()) == ("three", [".hidden", "other"])
    found = file.stamp()
    assert found is not None and found.size == 5
    file.remove()
    assert folder.list_names() == ["other"] and (folder / "other").exists() and not file.exists()


def test_a_file_is_whole_or_as_it_was(folder: Place) -> None:
    file = folder / "record.json"
    write(file, "old")

    def write_half() -> None:
        with file.open_replacement() as half:
            half.write(b"ne")
            half.flush()
            assert read(file) == "old", "a reader saw a part"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert read(file) == "old" and folder.list_names() == ["record.json"]


def test_a_disk_that_went_away_is_not_written_to_at_its_mount_point(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    run = place_at(f"{mount}/runs") / "trained" / "one"
    run.make_folder("train.output")
    write(run / "record.json", "old")
    shutil.move(mount / "runs", tmp_path / "away")
    with pytest.raises(FileNotFoundError):
        write(run / "record.json", "new")
    with pytest.raises(FileNotFoundError), run.lock(wait=False):
        pytest.fail("there is nothing to lock")
    assert list(mount.iterdir()) == []


def test_a_line_is_appended_to_what_its_writer_knows(folder: Place) -> None:
    file = folder / "journal.jsonl"
    folder.make_folder("train.output")
    file.append(b"1\n", after=b"")
    file.append(b"2\n", after=b"1\n")
    for known in (b"", b"1\n"):
        with pytest.raises(ConflictError):
            file.append(b"3\n", after=known)
    assert read(file) == "1\n2\n"


def test_a_folder_has_one_owner_on_a_machine(folder: Place) -> None:
    folder.make_folder("train.output")
    with folder.lock(wait=False):
        with pytest.raises(BlockingIOError), folder.lock(wait=False):
            pass
        waited: list[int] = []

        def wait() -> None:
            with folder.lock(wait=True):
                waited.append(1)

        other = threading.Thread(target=wait)
        other.start()
        assert not waited
    other.join()
    assert waited == [1]


@pytest.mark.parametrize("name", ODD)
def test_a_places_text_leads_back_to_it(name: str, folder: Place) -> None:
    file = folder / name / "best.yaml"
    write(file, name)
    assert read(place_to_read(str(file), "--config")) == name
    assert read(pickle.loads(pickle.dumps(file))) == name, "a place means the same in another process"


def test_what_no_other_machine_needs_lies_on_this_one(folder: Place) -> None:
    folder.make_folder("train.output")
    (folder.local / "tune.log").write_text("text")
    write(folder / "record.json", "text")
    assert (folder / "tune.log").local.read_text() == "text"
    folder.reach("train.output", writing=True)
    (folder / "record.json").reach("--config", writing=False)
