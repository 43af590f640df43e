"""Trials that differ are named differently: in the table of a search, in MLflow and in its confirmation."""

from __future__ import annotations

from typing import Any

import optuna
import pytest

from csg.config.settings import flatten
from csg.parsing import build_config, overlay
from csg.tracking import TrackedRun
from csg.tracking.tags import Tag
from csg.training.identity import compute_config_id
from tests.made_up_pair import made_up_pair
from tune_spaces.search.confirmation import DEFAULT, make_design
from tune_spaces.search.labels import label_trial
from tune_spaces.search.options import SearchOptions
from tune_spaces.search.plan import Search
from tune_spaces.spaces.narrowing import narrow_space
from tune_spaces.spaces.shipped import SPACES, find_space
from tune_spaces.spaces.space import Space

METHODS = ("csg", "weight_l2", "feature_l2", "asg", "drpc", "miro", "mixstyle", "gcisg", "source_only")


def search_of(space: Space, **settings: Any) -> Search:
    config = build_config({name.replace("__", "."): value for name, value in settings.items()})
    space = narrow_space(space, config, {})
    base = {name: value for name, value in flatten(config).items() if name not in space.names}
    return Search(config, SearchOptions(), space, made_up_pair(), base, "", "bars")


def draw_point(search: Search, seed: int) -> dict[str, Any]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    trial = study.ask()
    search.space.suggest(search.base, trial)
    return dict(trial.params)


@pytest.mark.parametrize("method", METHODS)
def test_trials_that_differ_are_named_differently(method: str) -> None:
    search = search_of(
        find_space("", method=method, data=build_config({}).data, averaging="swad"),
        method__name=method,
        averaging__name="swad",
    )
    labels: dict[str, str] = {}
    for seed in range(20):
        point = draw_point(search, seed)
        config = build_config(overlay(search.base, point))
        labels[compute_config_id(config)] = label_trial(config, point)
    assert len(set(labels.values())) == len(labels) > 15


def test_a_label_tells_each_setting_once() -> None:
    search = search_of(find_space("", method="csg", data=build_config({}).data))
    point = search.space.make_point(search.base) | {"optim.lr": 0.0123}
    label = label_trial(build_config(overlay(search.base, point)), point)
    assert label.startswith("csg 3:apool*") and "lr 0.0123, backbone_lr_factor " in label
    assert "stages" not in label and "temperature" not in label and "pooling" not in label


def test_a_winner_that_is_the_default_setting_by_another_name_is_confirmed_as_the_default_setting() -> None:
    """The sampler may suggest the default setting again; it then has the score of the default trial."""
    search = search_of(SPACES["stages"])
    point = search.space.make_point(search.base)
    tags = {Tag.ROLE: "suggested", Tag.CONFIG_ID: compute_config_id(build_config(overlay(search.base, point)))}
    suggested = TrackedRun("1", "007 csg ...", "finished", params=point, tags=tags, metrics={})
    design = make_design(search, [suggested])
    assert [cell.name for cell in design.cells] == [DEFAULT, "source only"]
    other = dict(point, **{"method.stages": "4"})
    other.pop("method.stage3.pooling")
    tags = tags | {Tag.CONFIG_ID: compute_config_id(build_config(overlay(search.base, other)))}
    won = TrackedRun("2", "008 csg ...", "finished", params=other, tags=tags, metrics={})
    assert [cell.name for cell in make_design(search, [won]).cells] == ["008 csg ...", DEFAULT, "source only"]
