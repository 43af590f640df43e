"""One vocabulary: names, types, ranges and identity of a configuration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from csg.config import Config
from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.parsing import build_config, find_recipe, overlay, parse_flags, read_yaml, to_yaml
from csg.storage.disk import DiskPlace
from csg.training.identity import compute_config_id, resolve_settings
from tune_spaces.search.options import SearchOptions

RECIPE = find_recipe("gta5_cityscapes_csg")
floats = st.floats(1e-6, 1, exclude_min=True)


@st.composite
def configurations(draw: st.DrawFn) -> Config:
    """Draw settings of every type, conditional ones included."""
    flat: dict[str, Any] = {
        "optim.lr": draw(floats),
        "optim.name": draw(st.sampled_from(["sgd", "adamw"])),
        "optim.lr_in_momentum": draw(st.booleans()),
        "train.seed": draw(st.integers(0, 2**32 - 1)),
        "train.epochs": draw(st.integers(1, 99)),
        "data.augmentation": draw(st.sampled_from(["randaugment", "none"])),
        "data.root": draw(st.none() | st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=9)),
        "model.frozen_statistics": draw(st.booleans()),
    }
    if draw(st.booleans()):
        return build_config(flat | {"method.name": draw(st.sampled_from(["source_only", "oracle_imagenet"]))})
    stages = sorted(draw(st.sets(st.sampled_from("1234"), min_size=1)))
    flat |= {
        "method.stages": "+".join(stages),
        "method.temperature": draw(floats),
        "method.queue_size": draw(st.integers(1, 10**6)),
    }
    for stage in stages:
        flat[f"method.stage{stage}.weight"] = draw(st.none() | st.floats(0, 1000))
        flat[f"method.stage{stage}.pooling"] = draw(st.sampled_from([None, "apool", "average"]))
    return build_config(flat)


@settings(max_examples=100)
@given(configurations())
def test_a_configuration_survives_dotted_names_and_yaml(
    tmp_path_factory: pytest.TempPathFactory, config: Config
) -> None:
    path = tmp_path_factory.mktemp("yaml") / "config.yaml"
    path.write_text(to_yaml(config))
    assert build_config(flatten(config)) == config
    assert build_config(read_yaml(DiskPlace(path))) == config
    assert compute_config_id(build_config(read_yaml(DiskPlace(path)))) == compute_config_id(config)


@pytest.mark.parametrize("text", ["1e5", "0e0", "-.5E-3", "1.", "12", "null", "yes"])
def test_a_path_that_looks_like_something_else_stays_a_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(build_config({"data.root": text})))
    assert read_yaml(DiskPlace(path))["data.root"] == text


@settings(max_examples=100)
@given(configurations(), st.integers(0, 2**32 - 1), st.integers(1, 64))
def test_seed_machine_and_paths_do_not_change_the_identity(config: Config, seed: int, threads: int) -> None:
    elsewhere = {"train.seed": seed, "train.threads": threads, "train.output": "elsewhere", "data.cache": "elsewhere"}
    assert compute_config_id(build_config(flatten(config) | elsewhere)) == compute_config_id(config)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"method.temprature": 0.1},
            "method.temprature: no such setting; the nearest valid name is method.temperature",
        ),
        ({"method.temperature": "hot"}, "method.temperature: expected a valid number, found 'hot'"),
        ({"method.temperature": 0}, "method.temperature: expected more than 0 and at most 10, found 0"),
        ({"method.temperature": float("nan")}, "method.temperature: expected a finite number, found nan"),
        ({"train.seed": -1}, "train.seed: expected at least 0 and less than 4,294,967,296, found -1"),
        ({"train.epochs": 1.5}, "train.epochs: expected a valid integer"),
        ({"model.frozen_statistics": 1}, "model.frozen_statistics: expected a valid boolean, found 1"),
        ({"method.stages": "7"}, "method.stages: expected different stages of 1 to 4 joined by +"),
        (
            {"method.stages": "4", "method.stage3.pooling": "apool"},
            "method.stage3.pooling: stage 3 is not among the chosen",
        ),
        ({"method.name": "dan"}, "method.name: expected one of csg, source_only, oracle_imagenet, weight_l2"),
        ({"selection.protocol": "paper"}, "needs selection.epoch=best"),
        ({"train.batch_size": 4096}, "train.batch_size: expected at most data.source_images"),
        ({"method.stage3.wait": 1.0}, "the nearest valid name is method.stage3.weight"),
    ],
)
def test_unusable_settings_are_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as refused:
        build_config(settings)
    assert message in str(refused.value)


def test_unset_settings_of_a_stage_are_the_published_ones() -> None:
    published = {"weight": 0.1, "pooling": "apool", "chunks": 1}
    spelt_out = {f"method.stage{stage}.{name}": value for stage in (3, 4) for name, value in published.items()}
    assert compute_config_id(build_config(spelt_out)) == compute_config_id(build_config({}))


def test_what_is_said_of_every_stage_holds_for_the_chosen_ones_that_say_nothing_themselves() -> None:
    config = build_config({"method.stages": "2+4", "method.weight": 3.0, "method.stage4.weight": 0.5})
    active = resolve_settings(config)
    assert (active["method.stage2.weight"], active["method.stage4.weight"]) == (3.0, 0.5)
    assert not {"method.weight", "method.pooling", "method.chunks", "method.stage3.weight"} & set(active)


def test_settings_without_effect_do_not_change_the_identity() -> None:
    plain = build_config({"optim.name": "adamw", "data.augmentation": "none"})
    other = build_config(flatten(plain) | {"optim.momentum": 0.5, "data.augmentation_magnitude": 9})
    assert compute_config_id(plain) == compute_config_id(other)
    assert compute_config_id(plain) != compute_config_id(build_config(flatten(plain) | {"optim.weight_decay": 0.1}))


def test_the_protocol_enters_the_identity_only_where_it_selects_the_epoch() -> None:
    last = [build_config({"selection.protocol": protocol}) for protocol in ("source", "oracle")]
    best = [build_config(flatten(config) | {"selection.epoch": "best"}) for config in last]
    assert compute_config_id(last[0]) == compute_config_id(last[1])
    assert compute_config_id(best[0]) != compute_config_id(best[1])


def test_a_weights_file_enters_the_identity_by_its_contents(tmp_path: Path) -> None:
    for name, data in (("a.pth", b"one"), ("b.pth", b"one"), ("c.pth", b"two")):
        (tmp_path / name).write_bytes(data)
    a, b, c = (build_config({"model.weights": str(tmp_path / name)}) for name in ("a.pth", "b.pth", "c.pth"))
    assert compute_config_id(a) == compute_config_id(b) != compute_config_id(c)
    assert str(tmp_path) not in str(resolve_settings(a))


def test_another_method_drops_the_settings_of_the_former() -> None:
    assert overlay({"method.temperature": 0.1, "optim.lr": 0.1}, {"method.name": "source_only"}) == {
        "method.name": "source_only",
        "optim.lr": 0.1,
    }


def test_flags_override_the_file_and_are_known_as_given(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("method:\n  temperature: 1e-1\noptim.lr: 2.0e-3\n")
    argv = ["--config", str(path), "--optim.lr", "0.5", "--model.frozen-statistics", "False", "--num-samples", "3"]
    flags = parse_flags(SearchOptions, argv, prog="test", description="")
    assert flags.options.num_samples == 3
    assert flags.given == {"optim.lr": 0.5, "model.frozen_statistics": False}
    assert flatten(flags.config)["method.temperature"] == 0.1


def test_paths_are_resolved_where_the_command_was_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    flags = parse_flags(SearchOptions, [], prog="test", description="")
    assert flags.config.train.output == str(tmp_path / "runs")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", ""])
def test_a_file_that_holds_no_settings_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match="--config"):
        read_yaml(DiskPlace(path))


def test_a_pair_of_maps_has_defaults_of_its_own_and_flags_win() -> None:
    config = build_config({"data.name": "gta5_cityscapes"})
    assert (config.data.task, config.data.augmentation) == ("segmentation", "colour_jitter")
    assert (config.model.output_stride, config.model.frozen_norms) == (8, True)
    assert (config.selection.validator, build_config({}).selection.validator) == ("bnm", "class_ami")
    assert build_config({"data.name": "gta5_cityscapes", "model.output_stride": 16}).model.output_stride == 16
    assert build_config({}).model.output_stride == 32
    with pytest.raises(UserError, match=r"data\.augmentation: expected colour_jitter, pasta or none"):
        build_config({"data.name": "glyph_scenes", "data.augmentation": "randaugment"})
    with pytest.raises(UserError, match=r"train\.batch_size: expected at least 2 for segmentation"):
        build_config({"data.name": "glyph_scenes", "train.batch_size": 1})
    with pytest.raises(UserError, match=r"model\.aspp_rates: expected three dilations joined by \+"):
        build_config({"data.name": "glyph_scenes", "model.aspp_rates": "1+2"})


def test_a_pairs_defaults_of_a_method_are_those_of_that_method_alone() -> None:
    recipe = {name: value for name, value in read_yaml(RECIPE).items() if name != "data.source_images"}
    published = resolve_settings(build_config(recipe))
    default = resolve_settings(build_config({"data.name": "gta5_cityscapes"}))
    assert {name for name, value in published.items() if default.get(name) != value} == {
        *("data.source_val_fraction", "model.name", "selection.epoch", "selection.protocol"),
    }
    assert default["method.stage3.weight"] == default["method.stage4.weight"] == 75.0
    for method, weight in (("weight_l2", 0.1), ("feature_l2", 1e-4)):
        flat = flatten(build_config({"data.name": "gta5_cityscapes", "method.name": method}))
        assert flat["method.weight"] == weight and "method.chunks" not in flat
    four = build_config({"data.name": "glyph_scenes", "method.stages": "4"})
    assert resolve_settings(four)["method.stage4.chunks"] == 4


def test_settings_that_do_nothing_for_a_task_are_no_identity() -> None:
    assert compute_config_id(build_config({"model.aspp_rates": "1+2+3", "data.window": 64})) == compute_config_id(
        build_config({})
    )
    dense = {"data.name": "glyph_scenes"}
    assert compute_config_id(build_config(dense | {"model.aspp_rates": "2+4+6"})) != compute_config_id(
        build_config(dense)
    )
    assert compute_config_id(build_config(dense | {"data.flip_averaging": "none"})) == compute_config_id(
        build_config(dense)
    )
