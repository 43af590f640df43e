"""What a search says of its own score: its rank correlation with real accuracy over the runs on record."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from csg.parsing import build_config
from csg.tracking import TrackedRun
from csg.training.selection import get_score_metric
from tune_spaces.search.worth import describe_worth


def say_worth(
    scores: list[float],
    protocol: str,
    real: list[float] | None = None,
    tag: Callable[[int], dict[str, str]] = lambda _number: {},
) -> str:
    """Return what is said of runs with these scores, whose accuracy on real images rises from run to run.

    ``tag`` says which more tags a run has, by its number.
    """
    config = build_config({"selection.protocol": protocol})
    search: Any = SimpleNamespace(config=config, score_metric=get_score_metric(config))
    runs = []
    for number, score in enumerate(scores):
        metrics = {f"selected/{search.score_metric}": score}
        if real is None:
            metrics["target/test/mean_class_accuracy"] = 0.5 + number / 100
        params = {"data.name": "glyphs", "method.name": "csg", "train.seed": number}
        tags = {"csg.run": str(number)} | tag(number)
        runs.append(TrackedRun(f"id{number}", f"{number}", "finished", params, tags, metrics))
    return describe_worth(search, runs, runs)


@pytest.mark.parametrize(
    ("scores", "rho"),
    [([number / 10 for number in range(8)], "1.00 [1.00, 1.00]"), ([-3.0 * n for n in range(8)], "-1.00")],
)
def test_a_score_is_said_to_rank_runs_as_it_does(scores: list[float], rho: str) -> None:
    for protocol, name in (("source", "source/val"), ("shifted", "source/shifted"), ("unlabelled", "class_ami")):
        said = say_worth(scores, protocol)
        assert said.startswith("Over 8 comparable finished runs on record (8 configurations), ") and name in said
        assert f"has a rank correlation of {rho}" in said


def test_where_few_runs_or_no_difference_can_tell_that_is_said() -> None:
    few, equal = say_worth([0.1, 0.3, 0.2], "source"), say_worth([0.5] * 9, "source")
    assert few.endswith("is not known on these data yet: runs of 3 configurations, and it takes 7.")
    assert equal.endswith("is not known on these data yet: all 9 values of x are equal.")


def test_seeds_of_a_configuration_count_as_one_and_runs_on_other_data_not_at_all() -> None:
    scores = [number / 10 for number in range(8)]
    by_two = say_worth(scores, "source", tag=lambda number: {"config_id": str(number // 2)})
    assert by_two.endswith("runs of 4 configurations, and it takes 7.")
    half = say_worth(scores, "source", tag=lambda number: {"data.fingerprint": "ab"[number > 3]})
    assert half.endswith("runs of 4 configurations, and it takes 7.")


def test_nothing_is_said_without_labels_and_under_a_protocol_that_looks_at_them() -> None:
    assert say_worth([0.1 * n for n in range(9)], "oracle") == ""
    assert say_worth([0.1 * n for n in range(9)], "source", real=[]) == ""
