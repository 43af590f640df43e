"""How much of the difference between a search's trials each setting explains."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from sklearn.ensemble import RandomForestRegressor

from analysis.figures.figure_style import (
    BLACK,
    BLUE,
    GREY,
    SMALL_SIZE,
    TEXT_SIZE,
    RunFigure,
    new_figure,
    note_figure,
    set_caption,
)
from analysis.figures.setting_scale import Scale, label
from analysis.runs.trials import Trial, trials_of
from analysis.statistics.bootstrap import percentiles
from analysis.statistics.inference import Interval
from csg.tracking import TrackedRun

MINIMUM_TRIALS = 8
"""Trials that must have been measured at one and the same epoch."""
SEED = 0
"""Of the random forests."""
TREES, REFITTED_TREES = 64, 16
"""Of a forest. A refitted one has fewer: its noise is in the interval, which errs on the wide side."""


@dataclass(frozen=True)
class Importance:
    """What each setting explains, and what that rests on."""

    epoch: int | None
    """The rung: every score was taken after this epoch. None if too few trials share one."""
    trials: int
    """How many trials were measured there (without ``epoch``: the most that any epoch has)."""
    values: dict[str, float]
    """Share of the score's variance that a setting explains by itself, the largest first; below 1 in total, the rest
    being explained only by settings together."""
    predicted: float | None
    """R squared of the forest on trials that it was not fitted to; at 0 or below the shares are noise."""
    note: str
    """What was computed, on what, and what was left out, in sentences."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """Where the middle 95 % of the shares lie when trials are drawn anew; empty unless asked for."""


def importance(runs: Iterable[TrackedRun], score: str, names: Sequence[str], *, refits: int = 0) -> Importance:
    """Estimate which settings matter, by fANOVA (Hutter et al., ICML 2014; Optuna's implementation).

    Suggested trials and the paper's are compared at the highest epoch that at least 8 of them reached, whatever became
    of them later, so that no rung is compared with another. A random forest predicts the score from the settings; the
    share of a setting is the variance of its marginal prediction (all others averaged out, evenly over the range or,
    from two decades on, the logarithmic range that occurred) in the forest's total variance. Settings that some of
    these trials do not have, and those that never differ, are left out and named in the note.

    With ``refits``, as many more forests are fitted, each with a seed of its own to as many trials drawn with
    replacement, and the middle 95 % of their shares become the intervals (percentile bootstrap). They say how far the
    shares depend on which trials there happen to be; not how far the forest is from the truth.
    """
    candidates = _candidates(runs, score)
    counts = Counter(epoch for trial in candidates for epoch, value in trial.scores.items() if isfinite(value))
    epoch = max((epoch for epoch, count in counts.items() if count >= MINIMUM_TRIALS), default=None)
    if epoch is None:
        return Importance(None, max(counts.values(), default=0), {}, None, _too_few(counts))
    compared = [trial for trial in candidates if _measured(trial, epoch)]
    scores = [trial.scores[epoch] for trial in compared]
    present = [name for name in dict.fromkeys(names) if all(_value(trial, name) is not None for trial in compared)]
    scales = {name: Scale.of(_value(trial, name) for trial in compared) for name in present}
    varied = {name: scale for name, scale in scales.items() if not scale.constant}
    left_out = _left_out("not set in every trial", [name for name in dict.fromkeys(names) if name not in present])
    left_out += _left_out("the same in every trial", [name for name in present if name not in varied])
    where = f"at epoch {epoch}, which {len(compared)} trials reached"
    if not varied or max(scores) == min(scores):
        reason = "no setting differs between these trials" if not varied else "these trials all have the same score"
        return Importance(epoch, len(compared), {}, None, f"No importance {where}: {reason}.{left_out}")
    settings = [{name: _encoded(trial, name, scale) for name, scale in varied.items()} for trial in compared]
    values, predicted = _fanova(settings, scores, varied), _predicted(settings, scores, varied)
    trust = (
        f"The forest predicts trials it has not seen with R squared = {predicted:.2f}."
        if predicted > 0
        else f"The forest cannot predict trials it has not seen (R squared = {predicted:.2f}): read the bars as noise."
    )
    intervals = _refitted(settings, scores, varied, refits)
    moved = f" Lines: the middle 95 % over {refits} refits to trials drawn anew." if intervals else ""
    note = f"Share of the variance of {score} {where}, that a setting explains by itself (fANOVA). {trust}"
    return Importance(epoch, len(compared), values, predicted, note + moved + left_out, intervals)


def compared_trials(runs: Iterable[TrackedRun], score: str, epoch: int) -> list[TrackedRun]:
    """Return the runs that an importance at ``epoch`` rests on."""
    return [trial.run for trial in _candidates(runs, score) if _measured(trial, epoch)]


def _candidates(runs: Iterable[TrackedRun], score: str) -> list[Trial]:
    return [trial for trial in trials_of(runs, score) if trial.role != "source_only"]


def _measured(trial: Trial, epoch: int) -> bool:
    return isfinite(trial.scores.get(epoch, float("nan")))


def _too_few(counts: Mapping[int, int]) -> str:
    most = max(counts.values(), default=0)
    nearest = max((epoch for epoch, count in counts.items() if count == most), default=0)
    best = f"so far the most is {most}, at epoch {nearest}" if counts else "so far there is none"
    return (
        f"No importance yet: it compares trials at the same epoch and needs at least {MINIMUM_TRIALS} there "
        f"(source_only not counted); {best}. Run more trials."
    )


def _left_out(reason: str, names: Sequence[str]) -> str:
    return f" Left out, because {reason}: {', '.join(names)}." if names else ""


def _value(trial: Trial, name: str) -> object:
    return trial.run.params.get(name)


def _encoded(trial: Trial, name: str, scale: Scale) -> str | float:
    value = _value(trial, name)
    return label(value) if scale.kind == "category" else scale.position(value)


def _refitted(
    settings: Sequence[Mapping[str, str | float]], scores: Sequence[float], scales: Mapping[str, Scale], refits: int
) -> dict[str, Interval]:
    """Return the middle 95 % of each share over forests refitted to resampled trials; empty without refits.

    Resamples in which all scores are equal have no variance to share and are drawn again.
    """
    rng = np.random.default_rng(SEED)
    shares: dict[str, list[float]] = {name: [] for name in scales} if refits else {}
    for refit in range(refits):
        drawn = rng.integers(len(scores), size=len(scores))
        while len({scores[index] for index in drawn}) < 2:
            drawn = rng.integers(len(scores), size=len(scores))
        chosen, their_scores = [settings[index] for index in drawn], [scores[index] for index in drawn]
        for name, share in _fanova(chosen, their_scores, scales, seed=refit + 1, trees=REFITTED_TREES).items():
            shares[name].append(share)
    return {name: percentiles(np.asarray(found), 0.95) for name, found in shares.items()}


def _fanova(
    settings: Sequence[Mapping[str, str | float]],
    scores: Sequence[float],
    scales: Mapping[str, Scale],
    *,
    seed: int = SEED,
    trees: int = TREES,
) -> dict[str, float]:
    """Rebuild the trials as an Optuna study and ask its evaluator; the largest share comes first."""
    distributions: dict[str, BaseDistribution] = {
        name: CategoricalDistribution(scale.categories) if scale.kind == "category" else FloatDistribution(0, 1)
        for name, scale in scales.items()
    }
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize")
        study.add_trials(
            [
                optuna.trial.create_trial(params=dict(values), distributions=distributions, value=score)
                for values, score in zip(settings, scores, strict=True)
            ]
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ExperimentalWarning)
            evaluator = FanovaImportanceEvaluator(seed=seed, n_trees=trees)
            found = get_param_importances(study, evaluator=evaluator, normalize=False)
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(value) for name, value in sorted(found.items(), key=lambda item: (-item[1], item[0]))}


def _predicted(
    settings: Sequence[Mapping[str, str | float]], scores: Sequence[float], scales: Mapping[str, Scale]
) -> float:
    """Return the out-of-bag R squared of a forest like fANOVA's."""
    rows = [
        [
            column
            for name, scale in scales.items()
            for column in (
                [float(values[name] == category) for category in scale.categories]
                if scale.kind == "category"
                else [values[name]]
            )
        ]
        for values in settings
    ]
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=SEED).fit(rows, scores)
    return float(forest.oob_score_)


def importance_figure(found: Importance) -> RunFigure:
    """Show the shares as horizontal bars, the largest on top, with the note below; or the note alone.

    The bars are grey where the forest cannot predict trials that it has not seen. Intervals, where there are any, are
    lines across their ends, and stand beside the shares in brackets.
    """
    if not found.values:
        return note_figure(found.note)
    figure, axes = new_figure(height=1.4 + 0.17 * len(found.values))
    colour = BLUE if (found.predicted or 0) > 0 else GREY
    axes.barh(range(len(found.values)), list(found.values.values()), color=colour, height=0.7)
    furthest = 0.0
    for place, (name, share) in enumerate(found.values.items()):
        end, text = share, f"{share:.2f}"
        if name in found.intervals:
            low, high = found.intervals[name].low, found.intervals[name].high
            axes.plot([low, high], [place, place], color=BLACK, lw=0.8, marker="|", ms=4)
            end, text = max(share, high), f"{text} [{low:.2f}, {high:.2f}]"
        axes.annotate(text, (end, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=SMALL_SIZE)
        furthest = max(furthest, end)
    axes.set_yticks(range(len(found.values)), list(found.values), fontsize=TEXT_SIZE)
    axes.invert_yaxis()
    axes.set_xlim(0, max((1.6 if found.intervals else 1.15) * furthest, 0.1))
    axes.set_xlabel(f"share of variance explained\n(epoch {found.epoch}, {found.trials} trials)", fontsize=TEXT_SIZE)
    set_caption(figure, found.note)
    return figure
