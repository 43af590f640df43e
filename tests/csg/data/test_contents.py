"""Files are known by what they hold: whatever stays the same outside, a change is seen, and nothing is read twice."""

from __future__ import annotations

import os
import shutil
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from csg.data.reading import contents
from csg.data.reading import image_files as files
from csg.data.reading.contents import NO_FILE, NOT_READ
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.spelling import place_in_order
from csg.messages.errors import UserError
from tests.checked_data import repaint

NAMES = [f"class {number % 3}/{number}.ppm" for number in range(30)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty files of one size, written within one tick of the clock or a few."""
    for number, name in enumerate(NAMES):
        path = tmp_path / "data" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes([number]) * 40)
    return tmp_path / "data"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that were read."""
    found: list[str] = []
    digest = contents._digest

    def counting(path: bytes) -> bytes:
        found.append(Path(os.fsdecode(path)).name)
        return digest(path)

    monkeypatch.setattr(contents, "_digest", counting)
    return found


def listed(folder: Path, names: list[str] = NAMES, *, cache: str = "cache") -> ImageFiles:
    return ImageFiles.of(str(folder), dict.fromkeys(names, 0), cache=folder.parent / cache)


def test_a_file_is_read_again_only_when_it_has_changed(folder: Path, read: list[str]) -> None:
    first = listed(folder).fingerprint
    assert len(read) == 30
    assert listed(folder).fingerprint == first and len(read) == 30
    os.utime(folder / NAMES[4])
    assert listed(folder).fingerprint == first and read[30:] == ["4.ppm"]
    repaint(folder / NAMES[7])
    second = listed(folder).fingerprint
    assert second != first and read[31:] == ["7.ppm"]
    repaint(folder / NAMES[7])
    assert listed(folder).fingerprint == first


def test_two_changes_within_a_tick_of_the_clock_are_two_changes(folder: Path) -> None:
    path = folder / NAMES[0]
    seen = set()
    for number in range(100, 130):
        path.write_bytes(bytes([number]) * 40)
        os.utime(path, ns=(0, 0))
        seen.add(listed(folder).fingerprint)
    assert len(seen) == 30


def test_folders_that_change_places_are_noticed(folder: Path) -> None:
    """Neither size nor any time of the files below moves then."""
    for part in ("0", "1"):
        for place, path in enumerate(sorted((folder / f"class {part}").iterdir())):
            os.utime(path.rename(path.with_name(f"{place}.ppm")), ns=(0, 0))
    names = [f"class {part}/{place}.ppm" for part in (0, 1) for place in range(10)]
    first = listed(folder, names).fingerprint
    (folder / "class 0").rename(folder / "other")
    (folder / "class 1").rename(folder / "class 0")
    (folder / "other").rename(folder / "class 1")
    assert listed(folder, names).fingerprint != first


def test_a_copy_elsewhere_is_the_same_data(folder: Path, tmp_path: Path) -> None:
    first = listed(folder).fingerprint
    copy = shutil.copytree(folder, tmp_path / "elsewhere" / "copy")
    assert listed(copy).fingerprint == first
    assert listed(folder.rename(tmp_path / "moved")).fingerprint == first


def test_a_damaged_memory_is_made_again(folder: Path, read: list[str]) -> None:
    first = listed(folder).fingerprint
    (memory,) = (folder.parent / "cache").iterdir()
    whole = memory.read_bytes()
    for damaged in (b"", whole[:100], whole[:-1] + bytes([whole[-1] ^ 1])):
        read.clear()
        memory.write_bytes(damaged)
        assert listed(folder).fingerprint == first and len(read) == 30
        assert memory.read_bytes() == whole


def test_listings_of_one_folder_share_one_memory(folder: Path, read: list[str]) -> None:
    halves = NAMES[:15], NAMES[15:]
    for half in halves:
        assert listed(folder, half).fingerprint
    assert len(read) == 30 and len(list((folder.parent / "cache").iterdir())) == 1
    assert listed(folder).fingerprint and len(read) == 30


def _fingerprint(folder: Path) -> str:
    return listed(folder).fingerprint


def test_processes_that_look_at_once_find_the_same(folder: Path) -> None:
    with ProcessPoolExecutor(4, mp_context=get_context("fork")) as processes:
        assert len(set(processes.map(_fingerprint, [folder] * 8))) == 1
    (memory,) = (folder.parent / "cache").iterdir()
    assert len(contents._read_memory(memory)) == 30


def test_what_is_no_file_and_what_cannot_be_read_have_digests_of_their_own(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = {listed(folder).fingerprint}
    (folder / NAMES[0]).write_bytes(b"")
    seen.add(listed(folder).fingerprint)
    (folder / NAMES[0]).unlink()
    held = listed(folder)
    seen.add(held.fingerprint)
    assert held.digests[0].tobytes() == NO_FILE and held.contents.count_unknown() == 0
    (folder / NAMES[0]).mkdir()
    assert listed(folder).fingerprint in seen
    (folder / NAMES[0]).rmdir()
    (folder / NAMES[0]).write_bytes(b"x" * 40)

    def refused(path: bytes, *_: object, **named: object) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("builtins.open", refused)
        held = listed(folder, cache="other")
        assert held.contents._memory is not None
        held.contents._memory = None
        assert held.digests[0].tobytes() == NOT_READ
        seen.add(held.fingerprint)
    assert len(seen) == 4
    seen.add(listed(folder).fingerprint)
    assert len(seen) == 5


def test_some_files_keep_their_digests(folder: Path) -> None:
    held = listed(folder)
    part = held.subset(torch.tensor([20, 3]))
    assert np.array_equal(part.digests, held.digests[[20, 3]])
    assert part.fingerprint != held.fingerprint
    again = listed(folder).subset(torch.tensor([20, 3]))
    assert again.fingerprint == part.fingerprint


def test_what_was_read_elsewhere_is_not_read_again(folder: Path, read: list[str]) -> None:
    whole = listed(folder, cache="other").digests
    read.clear()
    held = listed(folder)
    assert held.contents.count_unknown() == 30
    held.learn([b"", *(digest.tobytes() for digest in whole[1:])])
    assert listed(folder).fingerprint == listed(folder, cache="other").fingerprint and len(read) == 1


def test_a_cache_that_cannot_be_written_to_is_named(folder: Path) -> None:
    (folder.parent / "file").touch()
    with pytest.raises(UserError, match=r"data\.cache: cannot write .*choose another folder with --data\.cache"):
        assert listed(folder, cache="file").fingerprint


def test_a_fingerprint_is_found_once_until_other_contents_are_learnt(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = listed(folder)
    named: list[str] = []

    def counting(name: str) -> Any:
        named.append(name)
        return place_in_order(name)

    monkeypatch.setattr(files, "place_in_order", counting)
    first = held.fingerprint
    assert held.fingerprint == first and len(named) == len(held)
    held.learn([bytes(32)] * len(held))
    assert held.fingerprint != first
