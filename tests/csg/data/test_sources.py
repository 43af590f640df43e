"""Several sources: what each image is from, how they take turns, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch

from csg.config import Config, DataConfig
from csg.config.settings import find_places, flatten
from csg.data import load_pair
from csg.data.balance import APART, RepeatedStream, balance_stream, draw_order
from csg.data.check import check
from csg.data.pair import SOURCE_TRAIN, SOURCE_VAL, ArrayStream
from csg.messages.errors import UserError
from csg.parsing import ConfigOptions, build_config, parse_flags, read_yaml, to_yaml
from csg.randomness import make_generator
from csg.storage.disk import DiskPlace
from csg.training.loop import Training
from tests.checked_data import finds_only, forget
from tests.made_up_pair import TINY, labelled, made_up_pair
from tests.published_trees import write_image

CLASSES = ("car", "street sign", "vélo")
SIZES = {"engine": 12, "pack": 6, "scans": 4}
"""Images a class of each source."""


def without_pair(changes: Mapping[str, object]) -> Config:
    """Return a configuration of the tiny network for a pair that is given beside it."""
    base = {name: value for name, value in TINY.items() if not name.startswith(("method.", "data."))}
    return build_config({**base, "method.name": "source_only", **changes})


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    root = tmp_path_factory.mktemp("sources")
    for source, images in SIZES.items():
        for label, name in enumerate(CLASSES):
            for number in range(images):
                write_image(root / source / name / f"{source} {number}.png", label, number, real=False)
    return [root / name for name in SIZES]


def settings(sources: list[Path], **more: object) -> DataConfig:
    forget()
    given = {"cache": str(sources[0].parent / "cache"), "image_size": 32, "source_val_fraction": 0.25, **more}
    return DataConfig(name="folders", source=tuple(map(str, sources)), **given)  # type: ignore[arg-type]


def test_every_image_knows_its_source(sources: list[Path]) -> None:
    pair = load_pair(settings(sources))
    assert pair.sources == ("engine", "pack", "scans")
    train, val = (labelled(pair, name) for name in (SOURCE_TRAIN, SOURCE_VAL))
    assert torch.bincount(train.sources).tolist() == [27, 12, 9] and torch.bincount(val.sources).tolist() == [9, 6, 3]
    assert all(len(set(torch.bincount(val.labels[val.sources == source]).tolist())) == 1 for source in range(3))
    assert "synthetic images in engine/ and pack/ and scans/, 3 classes" in pair.description


def test_one_folder_is_one_source(sources: list[Path]) -> None:
    alone = load_pair(settings(sources[:1]))
    listed = load_pair(dataclasses.replace(settings(sources), source=str(sources[0])))
    assert alone.sources == listed.sources == () and alone.fingerprint == listed.fingerprint
    assert set(labelled(alone, SOURCE_TRAIN).sources.tolist()) == {0}


def test_sources_of_one_name_are_told_apart_by_the_folder_above(sources: list[Path], tmp_path: Path) -> None:
    for name in ("a", "b"):
        shutil.copytree(sources[2], tmp_path / name / "renders")
    pair = load_pair(settings([tmp_path / name / "renders" for name in ("a", "b")], cache=str(tmp_path / "cache")))
    assert pair.sources == ("a/renders", "b/renders")


def test_a_part_of_the_images_has_every_class_of_every_source(sources: list[Path]) -> None:
    train = labelled(load_pair(settings(sources, source_images=16)), SOURCE_TRAIN)
    assert torch.bincount(train.sources).tolist() == [9, 4, 3] and torch.bincount(train.labels).min() >= 5


def test_a_check_counts_each_source(sources: list[Path]) -> None:
    report = check(settings(sources))
    assert report.usable and list(report.domains) == ["source engine", "source pack", "source scans"]
    counts = [list(report.domains[f"source {name}"]["images_per_class"].values()) for name in SIZES]
    assert counts == [[size] * 3 for size in SIZES.values()]


def test_a_source_without_some_class_is_at_fault(sources: list[Path], tmp_path: Path) -> None:
    copied = [Path(shutil.copytree(source, tmp_path / source.name)) for source in sources]
    shutil.rmtree(copied[1] / "vélo")
    config = settings(copied, cache=str(tmp_path / "cache"))
    with pytest.raises(UserError, match="expected source images of 'vélo', found none"):
        load_pair(config)
    finds_only(config, kind="class without images", place=str(copied[1]))
    assert load_pair(dataclasses.replace(config, allow_missing_classes=True)).sources == tuple(SIZES)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [*s, s[0]], r"data\.source: expected folders that differ, found .*engine for both"),
        (lambda s: [*s, s[0] / "car"], r"data\.source: expected one sub-folder a class, found none in .*car"),
        (lambda s: [*s, s[0].parent / "nowhere"], r"data\.source: expected .*, found nothing at .*nowhere"),
        (lambda s: [*s, s[0].parent], r"data\.source: expected folders that differ, found .* which lies in"),
    ],
)
def test_folders_that_are_no_sources_of_their_own_are_refused(
    sources: list[Path], change: object, message: str
) -> None:
    assert callable(change)
    with pytest.raises(UserError, match=message):
        load_pair(settings(change(sources)))


def test_several_sources_are_a_setting_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def parsed(*words: str) -> DataConfig:
        return parse_flags(ConfigOptions, words, prog="test", description="").config.data

    assert parsed("--data.source", "a", "b").source == (str(tmp_path / "a"), str(tmp_path / "b"))
    assert parsed("--data.source=a", "b", "--data.name", "folders").sources == parsed("--data.source", "a", "b").sources
    assert parsed("--data.source", "a").source == str(tmp_path / "a")
    assert parsed("--data.source", "None").sources == ()
    config = build_config({"data.source": ("a", "b")})
    (tmp_path / "c.yaml").write_text(to_yaml(config))
    assert build_config(read_yaml(DiskPlace(tmp_path / "c.yaml"))) == config
    assert flatten(build_config({"data.source": ["a"]}))["data.source"] == "a"
    assert find_places(config, "read") == {"data.source": "a", "data.source 2": "b"}


def test_sources_of_other_sizes_take_turns(sources: list[Path]) -> None:
    pair = load_pair(config := settings(sources, balance="equally"))
    stream = balance_stream(pair.streams[SOURCE_TRAIN], config)
    order = draw_order(stream, config, seed=3, epoch=1)
    assert len(order) == 48 == len(stream)
    assert torch.bincount(stream.sources[order % 48]).tolist() == [16, 16, 16]
    assert all(stream.sources[order[at : at + 3] % 48].tolist() == [0, 1, 2] for at in range(0, 48, 3))
    assert len(set(order.tolist())) == 48 and len(set((order[2::3] % 48).tolist())) == 9
    assert torch.equal(order, draw_order(stream, config, seed=3, epoch=1))
    assert not torch.equal(order, draw_order(stream, config, seed=3, epoch=2))


def test_by_size_every_image_comes_once() -> None:
    stream, config = made_up_pair().streams[SOURCE_TRAIN], DataConfig()
    assert balance_stream(stream, config) is stream
    order = draw_order(stream, config, seed=3, epoch=1)
    assert order.tolist() == make_generator(3, "order", 1).permutation(40).tolist()


def test_an_image_that_comes_again_is_cut_out_elsewhere(sources: list[Path]) -> None:
    plain = load_pair(settings(sources)).streams[SOURCE_TRAIN]
    again = RepeatedStream(plain)
    places = torch.arange(8)
    first, second = (again.read_crops(places + count, seed=0, epoch=2, views=1).views[0] for count in (0, len(plain)))
    assert torch.equal(first, plain.read_crops(places, seed=0, epoch=2, views=1).views[0])
    assert torch.equal(second, plain.read_crops(places, seed=0, epoch=2 + APART, views=1).views[0])
    assert not torch.equal(first, second)
    mixed = again.read(torch.tensor([len(plain) + 1, 0, 1]))
    assert mixed.indices.tolist() == [len(plain) + 1, 0, 1] and torch.equal(mixed.views[0][0], mixed.views[0][2])


def test_a_batch_says_which_source_each_image_is_from(sources: list[Path]) -> None:
    pair = load_pair(settings(sources))
    given = [{"data.balance": "equally", "data.workers": workers} for workers in (0, 2)]
    batches = [list(Training(without_pair(each), pair).load_batches()) for each in given]
    assert len(batches[0]) == 6
    for one, other in zip(*batches, strict=True):
        assert torch.equal(one.query, other.query) and torch.equal(one.sources, other.sources)
        assert one.source_count == 3 and torch.bincount(one.sources).min() >= 2
        assert torch.equal(one.sources, pair.streams[SOURCE_TRAIN].sources[one.indices % 48])


def test_the_sources_of_the_bundled_digits_are_families_of_fonts(tmp_path: Path) -> None:
    pair = load_pair(DataConfig(source_images=320, cache=str(tmp_path)))
    held_out, trained = (sorted(set(labelled(pair, name).sources.tolist())) for name in (SOURCE_VAL, SOURCE_TRAIN))
    assert [pair.sources[each] for each in held_out] == ["Computer Modern"]
    assert len(trained) == len(pair.sources) - 1 and held_out[0] not in trained
    stream = labelled(pair, SOURCE_TRAIN)
    assert isinstance(stream, ArrayStream) and len(stream.sources) == 320
