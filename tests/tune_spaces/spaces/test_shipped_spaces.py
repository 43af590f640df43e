"""Search spaces: found by name, started at the defaults, holding only what concerns a method."""

from __future__ import annotations

import pytest

from csg.config import DataConfig
from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.parsing import build_config, overlay
from tune_spaces.spaces.narrowing import check_space
from tune_spaces.spaces.shipped import SPACES, find_space
from tune_spaces.spaces.space import Choice, Float

RIVALS = ("weight_l2", "synaptic_intelligence", "feature_l2", "asg", "low_rank", "lp_ft", "miro", "mixstyle", "gcisg")


def test_a_space_can_be_named_or_imported() -> None:
    assert find_space("contrast", method="csg", data=DataConfig()) is SPACES["contrast"]
    scenes, streets = (DataConfig(name=name, augmentation="none") for name in ("glyph_scenes", "gta5_cityscapes"))
    for method, data, name in (
        ("csg", streets, "csg_segmentation"),
        ("csg", scenes, "csg_glyph_scenes"),
        ("asg", streets, "asg"),
        ("of somebody's own", DataConfig(), "learning_rates"),
    ):
        *declared, augmentation = find_space("", method=method, data=data).parameters
        assert tuple(declared) == SPACES[name].parameters
        assert isinstance(augmentation, Choice) and augmentation.name == "data.augmentation"
        assert ("randaugment" in augmentation.options) == (data.task == "classification"), "which moves pixels"
    with pytest.raises(UserError, match="--space: expected one of csg"):
        find_space("everything", method="csg", data=DataConfig())
    with pytest.raises(UserError, match="--space: cannot import"):
        find_space("no_such_module:SPACE", method="csg", data=DataConfig())


def test_a_relative_range_moves_with_its_default_and_another_one_stays() -> None:
    moved = Float("optim.lr", 0.03, 0.003, 0.06, log=True, relative=True).with_default(0.003)
    assert (moved.low, moved.default, moved.high) == pytest.approx((0.0003, 0.003, 0.006))
    stayed = Float("optim.lr", 0.03, 0.003, 0.06, log=True).with_default(0.004)
    assert (stayed.low, stayed.default, stayed.high) == (0.003, 0.004, 0.06)


def test_a_files_values_are_the_default_trial_where_the_space_holds_them() -> None:
    space = SPACES["contrast"].with_defaults({"method.temperature": 0.2, "method.stage4.weight": None})
    point = space.make_point({"method.stages": "3+4"})
    assert point["method.temperature"] == 0.2 and point["method.stage4.weight"] == 0.1
    with pytest.raises(UserError, match=r"method\.temperature: the space searches 0\.01 to 1, found 5"):
        SPACES["contrast"].with_defaults({"method.temperature": 5.0})


@pytest.mark.parametrize("name", RIVALS)
def test_a_rivals_space_starts_at_its_defaults_and_holds_only_its_settings(name: str) -> None:
    config = build_config({"data.name": "folders", "method.name": name})
    space = SPACES[name].with_defaults(flatten(config))
    assert space == SPACES[name]
    for point in space.list_corners(flatten(config)):
        build_config(overlay(flatten(config), point))


def test_pastas_strength_is_searched_where_a_search_begins_at_it_and_from_its_pairs_own() -> None:
    names = ["data.pasta_alpha", "data.pasta_k", "data.pasta_beta"]
    for pair, strength in (("glyphs", [10.0, 1.0, 0.5]), ("visda17", [10.0, 1.0, 0.5]), ("glyph_scenes", [3, 2, 0.25])):
        config = build_config({"data.name": pair, "data.augmentation": "pasta"})
        flat = flatten(config)
        space = find_space("", method="csg", data=config.data).with_defaults(flat)
        point = space.make_point(flat)
        assert [point[name] for name in names] == strength
        assert not set(names) & set(space.make_point(flat, {"data.augmentation": "none"}))
        check_space(space, {k: v for k, v in flat.items() if k not in space.names}, config)
    assert not set(names) & set(find_space("", method="csg", data=DataConfig()).names)


@pytest.mark.parametrize("averaging", ["swad", "wise_ft"])
@pytest.mark.parametrize("method", ["csg", "source_only"])
def test_an_averaging_is_searched_beside_what_it_is_around(method: str, averaging: str) -> None:
    config = build_config({"data.name": "folders", "method.name": method, "averaging.name": averaging})
    plain = find_space("", method=method, data=config.data)
    declared = find_space("", method=method, data=config.data, averaging=averaging)
    added = set(declared.names) - set(plain.names)
    assert added and added <= {f"averaging.{name}" for name in config.averaging.get_active()}
    space = declared.with_defaults(flatten(config))
    assert space == declared
    check_space(space, {k: v for k, v in flatten(config).items() if k not in space.names}, config)
