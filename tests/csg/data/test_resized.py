"""Images that are kept resized are those that are decoded, to the last bit."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
from importlib import metadata
from pathlib import Path

import pytest
import torch
from PIL import features

from csg.config import DataConfig
from csg.data import load_pair
from csg.data.pair import SOURCE_TRAIN, SOURCE_VAL, Reading, Stream
from csg.data.reading import image_files, resized
from csg.data.reading.resized import ResizedImages
from csg.training.identity import compute_config_id
from csg.training.loop import Training
from tests.checked_data import forget
from tests.csg.data.test_sources import without_pair
from tests.published_trees import write_folders, write_shards


@pytest.fixture
def config(tmp_path: Path) -> DataConfig:
    forget()
    source, _ = write_folders(tmp_path)
    cache = str(tmp_path / "cache")
    return DataConfig(name="folders", source=str(source), image_size=32, cache=cache, resized_gigabytes=1)


def load(config: DataConfig, name: str = SOURCE_TRAIN) -> Stream:
    """Return images whose files were all read once, as the identity of a run has them read."""
    forget()
    stream = load_pair(config).streams[name]
    assert stream.fingerprint
    return stream


def read(stream: Stream) -> list[Reading]:
    every = torch.arange(len(stream))
    return [stream.read(every), stream.read_crops(every, seed=3, epoch=1, views=2)]


def find_kept(config: DataConfig) -> list[Path]:
    return sorted(path for path in Path(str(config.cache), "resized").rglob("*") if path.is_file())


def refuse_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_files, "read_resized", lambda path, *_: pytest.fail(f"{path} is decoded again"))


def assert_same(ones: list[Reading], others: list[Reading]) -> None:
    for one, other in zip(ones, others, strict=True):
        assert one.several_frames == other.several_frames and torch.equal(one.indices, other.indices)
        assert all(torch.equal(*views) for views in zip(one.views, other.views, strict=True))


def test_kept_images_are_those_that_are_decoded(config: DataConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = read(load(dataclasses.replace(config, resized_gigabytes=0)))
    assert not find_kept(config)
    assert_same(read(load(config)), decoded)
    assert len(find_kept(config)) == 12
    refuse_decoding(monkeypatch)
    assert_same(read(load(config)), decoded)


def test_an_image_in_a_shard_is_kept_as_the_same_image_in_a_file(
    config: DataConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (SOURCE_TRAIN, SOURCE_VAL):
        read(load(config, name))
    write_shards(tmp_path / "shards", tmp_path / "renders")
    refuse_decoding(monkeypatch)
    assert len(read(load(dataclasses.replace(config, source=str(tmp_path / "shards"))))[0].indices) == 12


def test_another_size_is_another_image(config: DataConfig) -> None:
    read(load(config))
    other = dataclasses.replace(config, image_size=48)
    assert_same(read(load(other)), read(load(dataclasses.replace(other, resized_gigabytes=0))))
    assert len(find_kept(config)) == 24


@pytest.mark.parametrize("decoder", ["libjpeg_turbo", "webp", "pillow-heif"])
def test_another_version_of_a_decoder_is_another_image(
    config: DataConfig, monkeypatch: pytest.MonkeyPatch, decoder: str
) -> None:
    read(load(config))
    pillow = features.version
    monkeypatch.setattr(features, "version", lambda name: "0.1" if name == decoder else pillow(name))
    monkeypatch.setattr(resized, "version", lambda name: "0.1" if name == decoder else metadata.version(name))
    read(load(config))
    assert len(find_kept(config)) == 24


def test_a_damaged_one_is_decoded_and_kept_anew(config: DataConfig) -> None:
    decoded = read(load(config))
    whole = {path: path.read_bytes() for path in find_kept(config)}
    for path, content in whole.items():
        flipped = content[:-1] + bytes([content[-1] ^ 1])
        path.write_bytes(content[: len(content) // 2] if path.name[0] < "8" else flipped)
    assert_same(read(load(config)), decoded)
    assert {path: path.read_bytes() for path in find_kept(config)} == whole


def test_a_changed_file_is_not_taken_for_what_it_was(config: DataConfig) -> None:
    before = read(stream := load(config))
    for path in Path(str(config.source)).rglob("*.png"):
        path.write_bytes(max(Path(str(config.source)).rglob("*.png")).read_bytes())
    kept = find_kept(config)
    assert_same(read(stream), before)
    for path in kept:
        path.unlink()
    read(stream)
    assert len(find_kept(config)) <= 1, "what was read is not what was listed"
    after = read(load(config))
    assert_same(after, read(load(dataclasses.replace(config, resized_gigabytes=0))))
    assert not torch.equal(after[0].views[0], before[0].views[0])


def test_no_more_is_kept_than_there_is_room_for(tmp_path: Path) -> None:
    image = torch.arange(3 * 4 * 5, dtype=torch.uint8).view(3, 4, 5)
    kept = ResizedImages(tmp_path, capacity=256 * 160, what="")
    for number in range(4):
        kept.keep(bytes([7, number, *bytes(30)]), image, several_frames=number == 1)
    found = [kept.read(bytes([7, number, *bytes(30)])) for number in range(4)]
    assert [each is not None for each in found] == [True, True, False, False]
    assert all(each is None or torch.equal(each[0], image) for each in found)
    assert [each[1] for each in found if each] == [False, True]
    again = ResizedImages(tmp_path, capacity=256 * 160, what="")
    again.keep(bytes([7, 9, *bytes(30)]), image, several_frames=False)
    again.keep(bytes([8, 9, *bytes(30)]), image, several_frames=False)
    assert sorted(path.parent.name for path in tmp_path.rglob("*-*")) == ["07", "07", "08"]


def test_a_folder_is_seldom_counted_and_loses_what_a_kill_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = torch.zeros(3, 4, 5, dtype=torch.uint8)
    left, being_written = (tmp_path / "07" / f".{number}-0.0123456{number}" for number in range(2))
    left.parent.mkdir()
    left.touch()
    being_written.touch()
    os.utime(left, (0, 0))
    counted: list[Path] = []
    count_bytes = resized._count_bytes

    def count(folder: Path) -> int:
        counted.append(folder)
        return count_bytes(folder)

    monkeypatch.setattr(resized, "_count_bytes", count)
    kept = ResizedImages(tmp_path, capacity=256 * 73 * 1000, what="")
    for number in range(100):
        kept.keep(bytes([7, number, *bytes(30)]), image, several_frames=False)
    assert len(counted) == 2
    assert len(list(left.parent.iterdir())) == 101 and being_written.exists()


def _read_at_once(config: DataConfig, barrier: object) -> None:
    stream = load(config)
    barrier.wait()  # type: ignore[attr-defined]
    read(stream)


def test_two_processes_may_keep_the_same_images(config: DataConfig) -> None:
    load(config)
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(2)
    processes = [context.Process(target=_read_at_once, args=(config, barrier)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert len(find_kept(config)) == 12
    assert_same(read(load(config)), read(load(dataclasses.replace(config, resized_gigabytes=0))))


def test_batches_and_identity_are_those_of_a_run_that_decodes(config: DataConfig) -> None:
    batches = []
    for gigabytes, workers in ((0, 0), (1, 2), (1, 0)):
        load(given := dataclasses.replace(config, resized_gigabytes=gigabytes))
        training = Training(without_pair({"data.workers": workers}), load_pair(given))
        batches.append([batch.query for batch in training.load_batches()])
    assert len(batches[0]) == 1
    assert all(torch.equal(one, other) for each in batches for one, other in zip(batches[0], each, strict=True))
    one, other = (without_pair({"data.name": "folders", "data.resized_gigabytes": number}) for number in (0, 1))
    assert compute_config_id(one) == compute_config_id(other)
