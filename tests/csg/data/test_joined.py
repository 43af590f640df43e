"""Joined streams read as one: in any order, each image once or twice, broken ones left out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from csg.data.fault import BadImageError
from csg.data.reading.image_files import FileStream, ImageFiles
from csg.data.reading.joined import JoinedImages, join_images

SIDE = 32


def make_stream(folder: Path, *, shade: int, images: int, first: int = 0) -> FileStream:
    folder.mkdir()
    for number in range(images):
        Image.linear_gradient("L").resize((40, 48)).point(lambda value: (value + shade) % 256).save(
            folder / f"{number}.png"
        )
    labels = {f"{number}.png": number % 3 for number in range(images)}
    return FileStream(ImageFiles.of(str(folder), labels), SIDE, first=first)


@pytest.fixture
def parts(tmp_path: Path) -> list[FileStream]:
    first = make_stream(tmp_path / "a", shade=0, images=4)
    return [first, make_stream(tmp_path / "b", shade=90, images=3, first=4)]


def test_images_come_in_the_order_that_is_asked_for(parts: list[FileStream]) -> None:
    joined = JoinedImages(parts)
    assert len(joined) == 7
    reading = joined.read(torch.tensor([5, 0, 6, 3]))
    expected = [parts[1].load_images(torch.tensor([1])), parts[0].load_images(torch.tensor([0]))]
    assert torch.equal(reading.views[0][:2], torch.cat(expected))
    assert reading.indices.tolist() == [5, 0, 6, 3]
    assert reading.labels.tolist() == [1, 0, 2, 0] == joined.labels[reading.indices].tolist()


def test_an_image_may_be_asked_for_twice(parts: list[FileStream]) -> None:
    reading = JoinedImages(parts).read(torch.tensor([5, 1, 5]))
    assert reading.indices.tolist() == [5, 1, 5]
    assert torch.equal(reading.views[0][0], reading.views[0][2])


def test_nothing_is_read_where_nothing_is_asked_for(parts: list[FileStream]) -> None:
    reading = JoinedImages(parts).read_crops(torch.tensor([], dtype=torch.int64), seed=0, epoch=0, views=2)
    assert [tuple(view.shape) for view in reading.views] == [(0, 3, SIDE, SIDE)] * 2


def test_a_broken_image_is_left_out_of_its_part_alone(parts: list[FileStream]) -> None:
    parts[0].files.get_path(1).write_bytes(b"")
    joined = JoinedImages(parts)
    reading = joined.read(torch.tensor([1, 6, 0]))
    assert reading.indices.tolist() == [6, 0] and reading.labels.tolist() == [2, 0]
    assert [error.path for error in reading.bad] == [str(parts[0].files.get_path(1))]
    with pytest.raises(BadImageError, match="empty file"):
        joined.load_images(torch.tensor([1]))


def test_no_two_images_share_their_random_draws(parts: list[FileStream]) -> None:
    def crops(stream: FileStream | JoinedImages, places: list[int]) -> Tensor:
        return stream.read_crops(torch.tensor(places), seed=0, epoch=0, views=1).views[0]

    joined = JoinedImages(parts)
    assert torch.equal(crops(joined, [4]), crops(parts[1], [0]))
    alone = FileStream(parts[1].files, SIDE)
    draws = [torch.equal(crops(parts[1], [place]), crops(alone, [place])) for place in range(3)]
    assert not all(draws)


def test_the_fingerprint_tells_order_and_content(parts: list[FileStream]) -> None:
    joined = JoinedImages(parts)
    assert joined.fingerprint == JoinedImages(parts).fingerprint != JoinedImages(parts[::-1]).fingerprint
    assert join_images(parts[:1]) is parts[0]
