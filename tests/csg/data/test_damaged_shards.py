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
    with pytest.raises(BadDataError, match=r"0\.tar: .* whole \.tar file, .* that is cut short .*copy it again"):
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
    subprocess.run(["tar", "-cf", shard, "-C", tmp_path / "files", *dict(MEMBERS)], check=True)
    assert list_names(tmp_path / "shards") == ["a.png", "b.png", "c.png"]


def test_shards_put_together_are_read_to_the_last(tmp_path: Path) -> None:
    first, second = write(tmp_path / "0.tar", MEMBERS[:4]), write(tmp_path / "1.tar", MEMBERS[4:], mode="w|")
    whole = first.read_bytes() + second.read_bytes()
    second.unlink()
    first.write_bytes(whole)
    assert list_names(tmp_path) == ["a.png", "b.png", "c.png"]
    samples = list_shards(tmp_path, cache=None).samples[0]
    assert all(whole[each.offset : each.offset + each.size] == b"x" * 700 and each.label == "1" for each in samples)
    first.write_bytes(whole.replace(b"c.png", b"d.png"))
    with pytest.raises(BadDataError, match="a damaged header at byte 10240"):
        list_shards(tmp_path, cache=None)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ([*MEMBERS, ("a.cls", b"1")], "expected every file once, found a.cls twice; write the shard anew"),
        ([*MEMBERS, ("a.png", b"x")], "expected every file once, found a.png twice; write the shard anew"),
        ([*MEMBERS, ("a.cls", b"2")], "expected one label for a, found '1' and '2'"),
        ([*MEMBERS, ("a.json", b'{"label": 2}')], "expected one label for a, found '1' and '2'"),
        ([*MEMBERS, ("a.mask.png", b"x")], r"expected one image a key .*, found a.png and a.mask.png; leave one"),
        ([], "expected images in every shard, found none"),
        ([("a.txt", b"x"), ("a.cls", b"1")], "expected images in every shard, found none"),
        ([*MEMBERS, ("d.cls", b"9" * 5000)], r"at most 255 characters in every .cls, found 5,000: '9{40}' and more$"),
        (
            [*MEMBERS, ("d.json", b'["car"')],
            r"expected JSON in every .json, found something else \(Expecting ',' delim",
        ),
        ([*MEMBERS, ("d.json", b"[" * 200_000)], "expected JSON in every .json, found lists .* too deep"),
        ([*MEMBERS, ("d.json", b'{"label": ' + b"9" * 5000 + b"}")], r"expected JSON in every .json, found something"),
    ],
)
def test_a_shard_that_says_two_things_or_nothing_is_refused(
    tmp_path: Path, members: list[tuple[str, bytes]], message: str
) -> None:
    write(tmp_path / "0.tar", members)
    with pytest.raises(BadDataError, match=message) as caught:
        list_shards(tmp_path, cache=tmp_path / "cache")
    assert str(caught.value).startswith(f"{tmp_path / '0.tar'}: ")
    assert len(str(caught.value)) < len(str(tmp_path)) + 250


def test_a_number_and_a_name_may_mean_the_same_class(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", [("a.png", b"x"), ("a.cls", b"1"), ("a.json", b'{"label": "car"}')])
    (sample,) = list_shards(tmp_path, cache=None).samples[0]
    assert sample.label == "car"


def test_names_of_classes_are_utf_8(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", MEMBERS)
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\n\xe9\n")
    with pytest.raises(BadDataError, match=r"classes\.txt: expected a class's name a line as UTF-8, found other bytes"):
        list_shards(tmp_path, cache=None)


@pytest.mark.parametrize("cached", [True, False])
def test_a_pipe_named_as_a_shard_is_refused_at_once(tmp_path: Path, cached: bool) -> None:
    os.mkfifo(tmp_path / "0.tar")
    with pytest.raises(BadDataError, match=r"0\.tar: expected a \.tar file, found what is not a regular file"):
        list_shards(tmp_path, cache=tmp_path / "cache" if cached else None)


@pytest.mark.parametrize("spoilt", ["[]", "{}", "", '[[1, 2, 3, 4], ["a.png", 0, -5, "0"]]', "[" * 100_000, None])
def test_an_index_that_is_not_as_it_was_written_is_made_anew(tmp_path: Path, spoilt: str | None) -> None:
    shards, cache = tmp_path / "shards", tmp_path / "cache"
    shards.mkdir()
    write(shards / "0.tar", MEMBERS)
    listing = list_shards(shards, cache=cache)
    (kept,) = cache.iterdir()
    written = kept.read_text()
    kept.write_text(written.replace('"1"', '"2"', 1) if spoilt is None else spoilt)
    assert list_shards(shards, cache=cache) == listing
    assert kept.read_text() == written
