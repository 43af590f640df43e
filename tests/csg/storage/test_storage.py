"""Files on disk: whole or absent, whatever killed their writer."""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from csg.data.reading.cache import write_cached
from csg.messages.errors import UserError
from csg.storage.files import digest_content, digest_file, make_folder, open_replacement


def test_what_kills_left_of_any_file_goes_when_it_is_old(tmp_path: Path) -> None:
    new, old, other = (tmp_path / f".a[1].csv.{end}" for end in ("0123abcd", "0123abce", "swp"))
    for left in (new, old, other):
        left.write_bytes(b"half")
        os.utime(left, (0, 0) if left != new else None)
    with open_replacement(tmp_path / "a[1].csv") as file:
        file.write(b"whole")
    assert {path.name for path in tmp_path.iterdir()} == {"a[1].csv", new.name, other.name}


def test_a_file_is_hashed_without_being_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    content = bytes(range(256)) * 20_000
    path.write_bytes(content)
    assert digest_content(str(path)).hex() == digest_file(str(path)) == hashlib.sha256(content).hexdigest()
    tracemalloc.start()
    try:
        digest_content(os.fsencode(path))
        assert tracemalloc.get_traced_memory()[1] < len(content) / 2
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EMFILE])
def test_a_machine_that_is_short_of_something_is_no_settings_fault(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match=os.strerror(number)) as made:
        make_folder(tmp_path / "runs", "train.output")
    assert made.value.filename == str(tmp_path / "runs")
    with pytest.raises(OSError, match=os.strerror(number)), write_cached(tmp_path / "cache" / "a") as file:
        file.write(b"content")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOTDIR])
def test_a_folder_that_is_closed_to_this_user_asks_for_another_one(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError, match=r"train\.output: cannot write to .*choose another folder"):
        make_folder(tmp_path / "runs", "train.output")
    with pytest.raises(UserError, match=r"data\.cache: cannot write"), write_cached(tmp_path / "cache" / "a"):
        pass


def test_who_writes_many_files_looks_through_their_folder_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    scandir = os.scandir

    def counting(folder: Any) -> Any:
        looked.append(folder)
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", counting)
    for number in range(5):
        with open_replacement(tmp_path / f"{number}.png") as file:
            file.write(b"whole")
    assert looked == [tmp_path]


def test_a_pipe_has_no_digest(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.pth")
    with pytest.raises(OSError, match="not a regular file"):
        digest_file(str(tmp_path / "weights.pth"))
