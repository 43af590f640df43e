"""What selects, and that the target's labels do not where they must not."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from csg.config.sections import SelectionConfig, ValidatorName
from csg.data.maps.label_maps import VOID
from csg.data.pair import TARGET_VAL, ArrayStream, Pair
from csg.metrics.validators import VALIDATORS
from csg.training.run import Run
from csg.training.score_words import Unit, describe_queries
from csg.training.selection import PROTOCOLS, get_score_metric
from tests.finished_run import new_run
from tests.made_up_pair import made_up_pair
from tests.made_up_scenes import made_up_scenes


def test_the_settings_name_every_validator() -> None:
    assert set(get_args(ValidatorName)) == set(VALIDATORS)


SCENES = {"data__name": "glyph_scenes", "data__source_images": 24, "data__window": 32, "train__batch_size": 2}


def permute_labels(pair: Pair) -> Pair:
    """Call each of the three classes of target/val by the next one's name."""
    changed: Any = copy.copy(pair.streams[TARGET_VAL])
    if isinstance(changed, ArrayStream):
        changed.labels = (changed.labels + 1) % 3
    else:
        changed._classes = np.where(changed._classes == VOID, VOID, (changed._classes + 1) % 3).astype(np.uint8)
    return dataclasses.replace(pair, streams={**pair.streams, TARGET_VAL: changed})


def train(run: Run) -> dict[str, float]:
    """Train a run and return its metrics, but for times."""
    for _ in run.train():
        pass
    run.finish()
    metrics = {f"{epoch}/{name}": value for epoch, each in enumerate(run.record.epochs) for name, value in each.items()}
    return {name: value for name, value in (metrics | run.record.final).items() if "second" not in name}


@pytest.mark.parametrize(
    ("pair", "settings"), [(made_up_pair(), {}), (made_up_scenes(), SCENES)], ids=["images", "maps"]
)
def test_permuted_target_labels_change_no_validator_and_no_epoch_that_one_selects(
    pair: Pair, settings: dict[str, Any], tmp_path: Path
) -> None:
    selection = {"selection__epoch": "best", "selection__protocol": "unlabelled"}
    seen = train(new_run(tmp_path / "one", pair, **settings, **selection))
    permuted = train(new_run(tmp_path / "other", permute_labels(pair), **settings, **selection))
    differing = {name for name in seen if seen[name] != permuted[name]}
    by_labels = tuple(
        f"target/val/{name}" for name in ("accuracy", "mean_class_accuracy", "pixel_accuracy", "mean_iou")
    )
    assert differing and all(name.endswith(by_labels) for name in differing)
    assert seen["selected/epoch"] == permuted["selected/epoch"]
    assert len({seen[f"{epoch}/target/val/class_ami"] for epoch in range(4)}) > 1, "it is a score of something"


def test_every_validator_is_on_record_each_epoch_and_of_the_selected_one(tmp_path: Path) -> None:
    metrics = train(new_run(tmp_path))
    for name in VALIDATORS:
        assert all(f"{epoch}/{TARGET_VAL}/{name}" in metrics for epoch in range(4))
        assert metrics[f"selected/{TARGET_VAL}/{name}"] == metrics[f"3/{TARGET_VAL}/{name}"]
    best = train(new_run(tmp_path, selection__epoch="best", selection__protocol="unlabelled"))
    amis = [best[f"{epoch}/{TARGET_VAL}/class_ami"] for epoch in range(4)]
    assert best["selected/epoch"] == amis.index(max(amis)) + 1


def test_the_validator_is_part_of_what_is_computed_only_where_it_selects_an_epoch(tmp_path: Path) -> None:
    def name(**settings: Any) -> str:
        return new_run(tmp_path, **settings).identity.config_id

    assert name(selection__validator="bnm") == name(selection__protocol="unlabelled") == name()
    best: dict[str, Any] = {"selection__epoch": "best", "selection__protocol": "unlabelled"}
    assert len({name(**best), name(**best, selection__validator="bnm"), name()}) == 3


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_protocol_selects_by_a_metric_of_its_own_stream(protocol: Any, tmp_path: Path) -> None:
    config = new_run(tmp_path).config
    config = dataclasses.replace(config, selection=SelectionConfig(protocol=protocol, validator="snd"))
    assert (
        get_score_metric(config)
        == {
            "source": "source/val/mean_class_accuracy",
            "shifted": "source/shifted/mean_class_accuracy",
            "held_out_source": "held_out/mean_class_accuracy",
            "unlabelled": "target/val/snd",
            "oracle": "target/val/mean_class_accuracy",
        }[protocol]
    )


def test_scores_are_written_in_their_own_unit() -> None:
    assert Unit.of("source/val/mean_iou").format_whole(0.1234) == "12.3 %"
    assert Unit.of("target/val/class_ami").format_whole(0.1234) == "0.123"
    assert Unit.of("target/val/class_ami").name_axis("score") == "score"
    assert Unit.of("target/val/accuracy").name_axis("score") == "score (%)"


def test_looks_at_images_and_at_labels_are_counted_apart() -> None:
    assert describe_queries(0, ["source"]) == "0 target queries"
    assert describe_queries(12, ["unlabelled"]) == "12 target queries, without labels"
    assert describe_queries(12, ["unlabelled", "oracle"]) == "12 target queries, with labels"
