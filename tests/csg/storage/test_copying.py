"""Copies of files in a bucket are of one listing, and stay as they are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from pathlib import Path
from threading import Event

import pytest

from csg.messages.faults import OutsideFaultError
from csg.storage import bucket as storage_bucket
from csg.storage import copying
from csg.storage.bucket import BucketPlace
from csg.storage.copying import copy_folder
from csg.storage.files import open_replacement
from csg.storage.place import ConflictError, Stamp

pytestmark = pytest.mark.usefixtures("first_machine")


@pytest.fixture(params=["s3", "file"])
def place(request: pytest.FixtureRequest, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BucketPlace:
    """A folder with two files of ten bytes, which are read four at a time."""
    monkeypatch.setattr(storage_bucket, "BLOCK", 4)
    root = f"s3://bucket/{tmp_path.name}{bucket}" if request.param == "s3" else f"file://{tmp_path}/store"
    folder = BucketPlace(root)
    for name in ("a", "b"):
        (folder / name).write(name.encode() * 10)
    return folder


def take_all(entries: Mapping[str, Stamp | None]) -> dict[str, Stamp]:
    return {name: stamp for name, stamp in entries.items() if stamp is not None}


def read_all(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_change_in_the_bucket_changes_no_copy(place: BucketPlace, tmp_path: Path) -> None:
    first = copy_folder(place, take_all, tmp_path, open_replacement)
    assert copy_folder(place, take_all, tmp_path, open_replacement) == first
    (place / "a").write(b"another")
    (place / "b").remove()
    second = copy_folder(place, take_all, tmp_path, open_replacement)
    assert read_all(first) == {"a": b"a" * 10, "b": b"b" * 10}
    assert read_all(second) == {"a": b"another"} and second.name == first.name


def test_what_changes_or_goes_during_the_copy_is_said_and_listed_again(
    place: BucketPlace, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger=copying.__name__)
    changes: list[Callable[[], None]] = [(place / "b").remove, lambda: (place / "a").write(b"another")]

    def choose(entries: Mapping[str, Stamp | None]) -> dict[str, Stamp]:
        if changes:
            changes.pop()()
        return take_all(entries)

    assert read_all(copy_folder(place, choose, tmp_path, open_replacement)) == {"a": b"another"}
    said = [record.getMessage() for record in caplog.records if "was removed or written anew" in record.getMessage()]
    assert [text.partition(" ")[0] for text in said] == [str(place / "a"), str(place / "b")]
    sizes = iter(range(20, 30))
    changes = [lambda: (place / "a").write(bytes(next(sizes)))] * 3
    with pytest.raises(OutsideFaultError, match=r"/a\S* was removed or written anew while it was copied; try again"):
        copy_folder(place, choose, tmp_path / "other", open_replacement)


@pytest.mark.parametrize("content", [b"", b"short", b"longer than it was", None])
def test_no_file_is_read_of_two_writings(place: BucketPlace, content: bytes | None) -> None:
    file = place / "a"
    stamp = file.stamp()
    assert stamp is not None and b"".join(file.read_blocks(stamp, stop=Event())) == b"a" * 10
    blocks = file.read_blocks(stamp, stop=Event())
    assert next(blocks) == b"aaaa"
    file.remove() if content is None else file.write(content)
    with pytest.raises(ConflictError, match="/a"):
        list(blocks)


def test_reading_stops_between_two_blocks(place: BucketPlace) -> None:
    stamp, stop = (place / "a").stamp(), Event()
    assert stamp is not None
    blocks = (place / "a").read_blocks(stamp, stop=stop)
    next(blocks)
    stop.set()
    with pytest.raises(CancelledError):
        next(blocks)
