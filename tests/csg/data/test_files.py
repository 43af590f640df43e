"""Images on disk: read once for both views, cut at places that an address decides, never replaced by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from csg.config import DataConfig
from csg.data.fault import BadImageError
from csg.data.reading import decoding
from csg.data.reading import image_files as files
from csg.data.reading.decoding import PixelLimit, decode
from csg.data.reading.image_files import FileStream, ImageFiles
from csg.data.views.augmentation import draw_views
from csg.data.views.shifted import shift_stream

SIDE = 32


@pytest.fixture
def stream(tmp_path: Path) -> FileStream:
    """Eight images of 96x48, number ``i`` at place ``i``."""
    for number in range(8):
        x, y = np.meshgrid(np.arange(96), np.arange(48))
        pixels = np.stack([2 * x, 4 * y, np.full_like(x, 20 * number)], axis=2).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    return FileStream(ImageFiles.of(str(tmp_path), {f"{number}.png": number % 3 for number in range(8)}), SIDE)


def test_names_labels_and_sizes_survive_being_packed_and_chosen_from(tmp_path: Path) -> None:
    names = ["ü/a b.png", "b.png", "a/long/name with\udcffbyte.jpg", "c.png"]
    held = ImageFiles.of(str(tmp_path), {name: place for place, name in enumerate(names)})
    assert [held.name(place) for place in range(4)] == sorted(
        names, key=lambda name: name.encode("utf8", "surrogateescape")
    )
    assert [names[label] for label in held.labels.tolist()] == [held.name(place) for place in range(4)]
    part = held.subset(torch.tensor([3, 1]))
    assert [part.name(0), part.name(1)] == [held.name(3), held.name(1)]
    assert part.get_path(1) == tmp_path / held.name(1)
    assert held.sizes.tolist() == [-1] * 4
    assert len(held.subset(torch.tensor([], dtype=torch.int64))) == 0


def test_evaluation_sees_the_middle(stream: FileStream) -> None:
    images = stream.load_images(torch.tensor([5, 2]))
    assert torch.equal(images[0], decode(stream.files.get_path(5), SIDE))
    assert images[1, 2].unique().tolist() == [40]  # type: ignore[no-untyped-call]


def test_each_view_is_cut_at_a_place_of_its_own_from_one_decoding(
    stream: FileStream, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[object] = []
    read = decoding.read_resized

    def counting(path: Path, side: int, limit: PixelLimit, content: bytes) -> tuple[torch.Tensor, bool]:
        decoded.append(path)
        return read(path, side, limit, content)

    monkeypatch.setattr(files, "read_resized", counting)
    reading = stream.read_crops(torch.arange(8), seed=0, epoch=0, views=2)
    assert len(decoded) == 8
    assert [view.shape for view in reading.views] == [(8, 3, SIDE, SIDE)] * 2
    lefts = [view[:, 0, 0, 0] for view in reading.views]
    assert not torch.equal(lefts[0], lefts[1])
    assert len(set(lefts[0].tolist())) > 3


def test_a_crop_is_a_function_of_its_address(stream: FileStream) -> None:
    together = stream.read_crops(torch.arange(8), seed=1, epoch=2, views=2)
    for place in (6, 0):
        alone = stream.read_crops(torch.tensor([place]), seed=1, epoch=2, views=2)
        assert all(torch.equal(a[0], b[place]) for a, b in zip(alone.views, together.views, strict=True))
    one = stream.read_crops(torch.arange(8), seed=1, epoch=2, views=1)
    assert torch.equal(one.views[0], together.views[0])
    for other in ({"seed": 2, "epoch": 2}, {"seed": 1, "epoch": 3}):
        assert not torch.equal(stream.read_crops(torch.arange(8), **other, views=1).views[0], one.views[0])


def test_without_augmentation_training_sees_what_evaluation_sees(stream: FileStream) -> None:
    views = draw_views(stream, torch.arange(8), config=DataConfig(augmentation="none"), seed=0, epoch=0, two_views=True)
    assert views.key is None
    assert torch.equal(views.query, stream.load_images(torch.arange(8)))


def test_a_bad_image_is_left_out_of_the_batch_and_named(stream: FileStream) -> None:
    whole = draw_views(stream, torch.arange(8), config=DataConfig(), seed=0, epoch=0, two_views=True)
    stream.files.get_path(3).write_bytes(b"")
    stream.files.get_path(4).unlink()
    views = draw_views(stream, torch.arange(8), config=DataConfig(), seed=0, epoch=0, two_views=True)
    kept = torch.tensor([0, 1, 2, 5, 6, 7])
    assert torch.equal(views.indices, kept)
    assert torch.equal(views.query, whole.query[kept])
    assert views.key is not None and whole.key is not None and torch.equal(views.key, whole.key[kept])
    assert [Path(error.path).name for error in views.bad] == ["3.png", "4.png"]
    for held in (stream, shift_stream(stream)):
        reading = held.read(torch.arange(8))
        assert torch.equal(reading.indices, kept) and len(reading.views[0]) == 6 and len(reading.bad) == 2
        with pytest.raises(BadImageError, match=r"3\.png: expected an image, found an empty file"):
            held.load_images(torch.arange(8))


def test_a_batch_of_bad_images_is_empty(stream: FileStream) -> None:
    stream.files.get_path(3).unlink()
    views = draw_views(stream, torch.tensor([3]), config=DataConfig(), seed=0, epoch=0, two_views=True)
    assert views.query.shape == (0, 3, SIDE, SIDE) and len(views.indices) == 0 and len(views.bad) == 1
