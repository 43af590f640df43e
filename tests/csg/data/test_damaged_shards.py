"""A shard that lost something, or says two things of one image, is refused by name; none is used in part."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable
from pathlib import Path

import pytest

from csg import cli
from csg.data.reading.shard_index import list_shards
from csg.messages.errors import BadDataError

MEMBERS = [(f"{key}.{kind}", content) for key in "abc" for kind, content in (("png", b"x" * 700), ("cls", b"1"))]


def write(path: Path, members: Iterable[tuple[str, bytes]], *, mode: str = "w") -> Path:
    with path.open("wb") as raw, tarfile.open(fileobj=raw, mode=mode) as shard:  # type: ignore[call-overload]
        for name, content in members:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    return path


def find_offsets(path: Path) -> list[int]:
    with tarfile.open(path) as shard:
        return [member.offset for member in shard]


def list_names(folder: Path, cache: Path | None = None) -> list[str]:
    return [sample.name for shard in list_shards(folder, cache=cache).samples for sample in shard]


@pytest.mark.parametrize("beyond", [0, 100, 511])
def test_a_shard_that_is_cut_between_members_or_in_a_header_is_refused(tmp_path: Path, beyond: int) -> None:
    path = write(tmp_path / "0.tar", MEMBERS)
    path.write_bytes(path.read_bytes()[: find_offsets(path)[4] + beyond])
    with pytest.raises(BadDataError, match=r"0\.tar: expected a whole \.tar file, .* that is cut short .*copy it again"):
        list_shards(tmp_path, cache=None)


def test_a_shard_with_a_damaged_header_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = bytearray(write(tmp_path / "0.tar", MEMBERS).read_bytes())
    at = find_offsets(tmp_path / "0.tar")[4]
    content[at + 3] ^= 0x55
    (tmp_path / "0.tar").write_bytes(content)
    argv = ["data", "check", "--data.name", "folders", "--data.source", str(tmp_path)]
    assert cli.main(argv) == 2
    assert f"found something else (a damaged header at byte {at}); copy it again" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["w", "w|"])
def test_what_writers_write_is_whole_with_and_without_padding(tmp_path: Path, mode: str) -> None:
    path = write(tmp_path / "0.tar", MEMBERS, mode=mode)
    assert list_names(tmp_path) == ["a.png", "b.png", "c.png"]
    with tarfile.open(path) as shard:
        end = max(member.offset_data for member in shard) + tarfile.BLOCKSIZE
    path.write_bytes(path.read_bytes()[: end + tarfile.BLOCKSIZE])
    assert list_names(tmp_path) == ["a.png", "b.png", "c.png"]


@pytest.mark.skipif(shutil.which("tar") is None, reason="there is no tar here")
def test_what_tar_writes_is_whole(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "shards").mkdir()
    for name, content in MEMBERS:
        (tmp_path / "files" / name).write_bytes(content)
    shard = tmp_path / "shards" / "0.tar"
    subprocess.run(["tar", "-cf", shard, "-C", tmp_path / "files", *sorted(os.listdir(tmp_path / "files"))], check=True)
    assert list_names(tmp_path / "shards") == ["a.png", "b.png", "c.png"]
