"""Energies and selection scores against real accuracy, with rank correlations."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy import stats

from analysis.figures.diversity_accuracy import ENERGIES, draw_diversity_accuracy, judge_thesis
from analysis.figures.protocol_figure import describe_best_selector, draw_protocols
from analysis.inference.rank_correlation import RankCorrelation, rank_correlation, rho_lead
from analysis.inference.t_tests import Interval
from analysis.runs.comparable import NoDataError, keep_comparable, keep_comparable_with, keep_distinct
from analysis.runs.run_table import RunTable
from tests.analysis.figure_reading import retagged, words

ACCURACY = "target/test/mean_class_accuracy"


def test_energy_and_accuracy_carry_spearmans_rho_over_distinct_comparable_runs(
    table: RunTable, figures: dict[str, Figure]
) -> None:
    finished = [run for run in table.runs if run.status == "finished" and run.tags["data.fingerprint"] == "data0"]
    for axes, metric in zip(figures["diversity_accuracy"].axes, ENERGIES.values(), strict=True):
        energies, accuracies = ([run.metrics[name] for run in finished] for name in (metric, ACCURACY))
        found = stats.spearmanr(energies, accuracies).statistic
        interval = rank_correlation(energies, accuracies).rho_interval
        assert interval is not None
        title = f"rho = {found:.2f}, n = {len(finished)}\n[{interval.low:.2f}, {interval.high:.2f}]"
        assert axes.get_title() == title
        drawn = sum(len(np.asarray(each.get_offsets())) for each in axes.collections)
        assert drawn == len(finished)
    twice = draw_diversity_accuracy(
        [*table.runs, *(dataclasses.replace(run, run_id=f"{run.run_id}-again") for run in finished)]
    )
    assert f"{len(finished)} distinct finished runs" in words(twice), "a computation counts once"
    assert "6 runs of other commits, programs or data left out" in words(figures["diversity_accuracy"])


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (
            RankCorrelation(20, -0.5, 0.02, rho_interval=Interval(-0.8, -0.1), groups=20),
            "Over these runs more diverse features (lower E_0) have a higher mean class accuracy",
        ),
        (
            RankCorrelation(20, 0.5, 0.02, rho_interval=Interval(0.1, 0.8), groups=20),
            "Over these runs more diverse features (lower E_0) have a lower mean class accuracy",
        ),
        (
            RankCorrelation(20, -0.2, 0.4, rho_interval=Interval(-0.6, 0.3), groups=20),
            "These runs do not show that more diverse features",
        ),
        (
            RankCorrelation(18, -0.9, 0.03, rho_interval=Interval(-1, -0.4), groups=6),
            "18 runs of 6 configurations are too few to say whether more diverse features (lower E_0) have a higher",
        ),
        (RankCorrelation(4, reason="all 4 values of x are equal"), "cannot be said: all 4 values of x are equal."),
    ],
)
def test_the_thesis_is_judged_by_rule(found: RankCorrelation, says: str) -> None:
    assert says in judge_thesis(found)


def test_encoders_are_never_correlated_together(table: RunTable) -> None:
    """Features of another encoder have other energies, whatever their accuracy."""
    finished = [run for run in table.runs if run.status == "finished" and run.tags.get("data.fingerprint") == "data0"][
        :20
    ]
    runs = [
        dataclasses.replace(run, params={**run.params, "model.name": "vit" if place % 2 else "resnet"})
        for place, run in enumerate(finished)
    ]
    figure = draw_diversity_accuracy(runs)
    assert [axes.get_ylabel().partition("\n")[0] for axes in figure.axes[::3]] == ["resnet", "vit"]
    assert all("n = 10" in axes.get_title() for axes in figure.axes)
    said = words(figure)
    assert said.count("more diverse features (lower E_0)") == 2 and "resnet: " in said and "vit: " in said
    few = words(draw_diversity_accuracy([*runs[::2], runs[1]]))
    assert "1 run of encoders with fewer than 3 left out." in few


def test_few_runs_have_no_interval_and_fewer_no_figure(table: RunTable) -> None:
    finished = [run for run in table.runs if run.status == "finished" and "csg.cell" in run.tags]
    few = words(draw_diversity_accuracy(finished[:6]))
    assert "n = 6" in few and "[" not in few
    with pytest.raises(NoDataError, match="2 comparable finished runs"):
        draw_diversity_accuracy(finished[:2])


def test_the_newest_program_is_shown_on_the_data_that_most_of_its_runs_have(table: RunTable) -> None:
    (first, second, third, *_) = [run for run in table.runs if run.status == "finished" and "csg.cell" in run.tags]
    runs = [retagged(first, commit="old"), second, third, retagged(first, data_fingerprint="data9")]
    assert keep_comparable(runs).runs == (second, third)
    assert keep_comparable(runs).note == " 2 runs of other commits, programs or data left out."
    assert keep_comparable(runs, mix=["commit", "data"]).note == " Mixes runs of more than one commit and data."
    assert keep_comparable([]).runs == ()


def test_a_computation_of_two_commits_is_compared_with_those_of_either(table: RunTable) -> None:
    (first, second, *_) = [run for run in table.runs if run.status == "finished" and "csg.cell" in run.tags]
    old = [retagged(first, commit="old", csg_run="a"), retagged(second, commit="old", csg_run="b")]
    new = retagged(dataclasses.replace(first, run_id="again"), commit="new", csg_run="a")
    runs = [*old, new]
    assert keep_comparable(keep_distinct(runs)).runs == (new,), "the newest record of it"
    assert keep_comparable_with(old[1], runs).runs == tuple(old)


def test_a_protocols_lead_is_the_difference_of_spearmans_rhos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("analysis.inference.rank_correlation.RESAMPLES", 200)
    draw = np.random.default_rng(1)
    real = draw.normal(size=12)
    first, second = real + draw.normal(0, 0.4, 12), np.round(draw.normal(size=12))
    lead, interval = rho_lead(first.tolist(), second.tolist(), real.tolist())
    rng = np.random.default_rng(0)
    leads = []
    for _ in range(200):
        at = rng.integers(12, size=12)
        one, other = (stats.spearmanr(score[at], real[at]).statistic for score in (first, second))
        leads.append(one - other)
    assert lead == pytest.approx(stats.spearmanr(first, real).statistic - stats.spearmanr(second, real).statistic)
    assert (interval.low, interval.high) == pytest.approx(tuple(np.quantile(leads, [0.025, 0.975])))
    with pytest.raises(ValueError, match="all values equal"):
        rho_lead([1.0] * 8, second[:8].tolist(), real[:8].tolist())


def test_a_lead_whose_interval_lies_above_zero_is_not_called_unsure(
    table: RunTable, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = [run for run in table.runs if run.status == "finished" and run.tags["data.fingerprint"] == "data0"]
    asked = []

    def lead(first: list[float], second: list[float], *_: object, **__: object) -> tuple[float, Interval]:
        asked.append((first, second))
        return 0.3, Interval(0.1, 0.5)

    monkeypatch.setattr("analysis.figures.protocol_figure.rho_lead", lead)
    found = {"source": RankCorrelation(9, 0.4), "shifted": RankCorrelation(9, 0.5)}
    told = describe_best_selector(dict.fromkeys(found, finished), found)
    assert "Largest rho without labels: shifted" in told
    assert "over source 0.30 [0.10, 0.50]" in told and "not distinguishable" not in told
    streams = "source/shifted", "source/val"
    scores = ([run.metrics[f"selected/{stream}/mean_class_accuracy"] for run in finished] for stream in streams)
    assert asked == [tuple(scores)], "the best's first"


def test_protocols_carry_their_rhos_and_the_best_is_named_by_rule(table: RunTable, figures: dict[str, Figure]) -> None:
    finished = [run for run in table.runs if run.status == "finished" and run.tags["data.fingerprint"] == "data0"]
    real = [run.metrics[ACCURACY] for run in finished]
    streams = {"source": "source/val", "shifted": "source/shifted", "oracle": "target/val"}
    panels = figures["selection_protocols"].axes
    for axes, (protocol, stream) in zip(panels[:3], streams.items(), strict=True):
        scores = [run.metrics[f"selected/{stream}/mean_class_accuracy"] for run in finished]
        rho = stats.spearmanr(scores, real).statistic
        assert axes.get_title().startswith(f"{protocol}\nrho = {rho:.2f}, n = {len(finished)}\n[")
    assert "Largest rho without labels: s" in words(figures["selection_protocols"]), "of source and shifted, not oracle"
    assert panels[-1].get_xlabel() == "rank correlation rho with real mean class accuracy", "what is correlated"
    few = dict.fromkeys(streams, finished[:5])
    assert "too few configurations to say by how much" in describe_best_selector(
        few, {name: RankCorrelation(5, 0.5) for name in few}
    )
    same = {"source": finished, "shifted": finished}
    told = describe_best_selector(same, {"source": RankCorrelation(9, 0.5), "shifted": RankCorrelation(9, 0.4)})
    assert "not distinguishable over shifted" in told
    with pytest.raises(NoDataError, match="fewer than 3"):
        draw_protocols(finished[:2])
