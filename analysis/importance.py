"""How much of the difference between a search's trials each setting explains."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import optuna
from matplotlib.figure import Figure
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from sklearn.ensemble import RandomForestRegressor

from analysis.figure_style import BLUE, GREY, SMALL_SIZE, TEXT_SIZE, new_figure, note_figure, set_caption
from analysis.setting_scale import Scale, label
from analysis.trials import Trial, trials_of
from csg.tracking import TrackedRun

MINIMUM_TRIALS = 8
"""Trials that must have been measured at one and the same epoch."""
SEED = 0
"""Of the random forests."""


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


def importance(runs: Iterable[TrackedRun], score: str, names: Sequence[str]) -> Importance:
    """Estimate which settings matter, by fANOVA (Hutter et al., ICML 2014; Optuna's implementation).

    Suggested trials and the paper's are compared at the highest epoch that at least 8 of them reached, whatever became
    of them later, so that no rung is compared with another. A random forest predicts the score from the settings; the
    share of a setting is the variance of its marginal prediction (all others averaged out, evenly over the range or,
    from two decades on, the logarithmic range that occurred) in the forest's total variance. Settings that some of
    these trials do not have, and those that never differ, are left out and named in the note.
    """
    candidates = [trial for trial in trials_of(runs, score) if trial.role != "source_only"]
    counts = Counter(epoch for trial in candidates for epoch, value in trial.scores.items() if isfinite(value))
    epoch = max((epoch for epoch, count in counts.items() if count >= MINIMUM_TRIALS), default=None)
    if epoch is None:
        return Importance(None, max(counts.values(), default=0), {}, None, _too_few(counts))
    compared = [trial for trial in candidates if isfinite(trial.scores.get(epoch, float("nan")))]
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
    note = f"Share of the variance of {score} {where}, that a setting explains by itself (fANOVA). {trust}{left_out}"
    return Importance(epoch, len(compared), values, predicted, note)


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


def _fanova(
    settings: Sequence[Mapping[str, str | float]], scores: Sequence[float], scales: Mapping[str, Scale]
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
            found = get_param_importances(study, evaluator=FanovaImportanceEvaluator(seed=SEED), normalize=False)
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
    forest = RandomForestRegressor(64, oob_score=True, random_state=SEED).fit(rows, scores)
    return float(forest.oob_score_)


def importance_figure(found: Importance) -> Figure:
    """Show the shares as horizontal bars, the largest on top, with the note below; or the note alone.

    The bars are grey where the forest cannot predict trials that it has not seen.
    """
    if not found.values:
        return note_figure(found.note)
    figure, axes = new_figure(height=1.4 + 0.17 * len(found.values))
    colour = BLUE if (found.predicted or 0) > 0 else GREY
    bars = axes.barh(range(len(found.values)), list(found.values.values()), color=colour, height=0.7)
    axes.bar_label(bars, fmt="%.2f", fontsize=SMALL_SIZE, padding=2)
    axes.set_yticks(range(len(found.values)), list(found.values), fontsize=TEXT_SIZE)
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.15 * max(found.values.values()), 0.1))
    axes.set_xlabel(f"share of variance explained\n(epoch {found.epoch}, {found.trials} trials)", fontsize=TEXT_SIZE)
    set_caption(figure, found.note)
    return figure
