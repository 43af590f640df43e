"""How much of the variance between a search's trials each setting explains."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.importance import FanovaImportanceEvaluator, get_param_importances
from sklearn.ensemble import RandomForestRegressor

from analysis.figures import style
from analysis.figures.setting_scale import Scale, format_category
from analysis.inference.bootstrap import percentile_interval
from analysis.inference.t_tests import Interval
from analysis.runs.names import name_metric, name_setting
from analysis.runs.trials import Trial, list_trials
from csg.tracking import TrackedRun

MINIMUM_TRIALS = 8
"""The number of trials that must have been measured at the same epoch."""
NOISE = "Noise: too few trials to say which setting matters"
"""Stands above shares that say nothing."""
SEED = 0
"""The seed of the random forests."""
LOWEST_R_SQUARED = 0.1
"""A forest that predicts less of the scores it has not seen says nothing about the settings."""
REDRAWS = 10
"""Resamples that are tried for each refit, since not every one lets a forest split."""
NO_VARIANCE = "zero total variance"
"""Part of the message by which Optuna says that no tree of a forest predicts two different scores."""
TREES, REFITTED_TREES = 64, 16
"""The size of a forest. A refitted one has fewer trees, whose noise makes the interval wider rather than narrower."""


@dataclass(frozen=True)
class Importance:
    """What each setting explains, and on which trials that rests."""

    epoch: int | None
    """The epoch after which every score was taken, of the longest trials where lengths differ; None if too few trials
    share one."""
    trials: int
    """The number of trials measured there; without ``epoch``, the largest number at any epoch."""
    values: dict[str, float]
    """The share of the score's variance that each setting explains by itself, the largest first. Their sum is below 1,
    because settings explain the rest together."""
    r_squared: float | None
    """R squared of the forest on trials that it was not fitted to."""
    note: str
    """Sentences on what was computed, on which trials, and what was left out."""
    place: str = ""
    """The same for people: ``epoch 6``, or ``6/8 of each trial's epochs``."""
    intervals: dict[str, Interval] = field(default_factory=dict)
    """The middle 95 % of the shares over resampled trials; empty without refits."""

    @property
    def says_something(self) -> bool:
        """Whether the forest predicts trials that it has not seen; otherwise the shares are noise."""
        return (self.r_squared or 0.0) >= LOWEST_R_SQUARED


def estimate_importance(runs: Iterable[TrackedRun], score: str, names: Sequence[str], *, refits: int = 0) -> Importance:
    """Estimate which settings matter, by fANOVA (Hutter et al., ICML 2014; Optuna's implementation).

    All trials but source only are compared at the highest epoch that at least 8 of them reached, whatever happened
    to them later, so that scores of different epochs are not compared; where trials have different numbers of
    epochs, at the highest share of them. A random forest predicts the score from the settings. The share of a
    setting is the variance of its marginal prediction in the forest's total variance. The marginal prediction
    averages over all other settings, evenly over the range that occurred, or over its logarithm from two decades
    on. Settings that some of these trials lack, or that never differ, are left out and named in the note.

    With ``refits``, as many more forests are fitted to resampled trials, each with its own seed. The middle 95 % of
    their shares are the intervals (percentile bootstrap). They say how much the shares depend on the choice of trials,
    but not how far the forest is from the truth.
    """
    candidates = _list_candidates(runs, score)
    counts = Counter(epoch for trial in candidates for epoch, value in trial.scores.items() if isfinite(value))
    epoch = max((epoch for epoch, count in counts.items() if count >= MINIMUM_TRIALS), default=None)
    if epoch is None:
        return Importance(None, max(counts.values(), default=0), {}, None, _explain_too_few(counts))
    compared = [trial for trial in candidates if _is_measured(trial, epoch)]
    scores = [trial.scores[epoch] for trial in compared]
    names = tuple(dict.fromkeys(names))
    present = [name for name in names if all(trial.run.params.get(name) is not None for trial in compared)]
    scales = {name: Scale.of(trial.run.params[name] for trial in compared) for name in present}
    varied = {name: scale for name, scale in scales.items() if not scale.constant}
    left_out = _name_left_out("not set in every trial", [name for name in names if name not in present])
    left_out += _name_left_out("the same in every trial", [name for name in present if name not in varied])
    lengths = set(_list_lengths(candidates))
    place = f"epoch {epoch}" if len(lengths) < 2 else f"{epoch}/{max(lengths)} of each trial's epochs"
    where = f"at {place}, which {len(compared)} trials reached"
    if not varied or max(scores) == min(scores):
        reason = "no setting differs between these trials" if not varied else "these trials all have the same score"
        return Importance(epoch, len(compared), {}, None, f"No importance {where}: {reason}.{left_out}", place)
    settings = [{name: _encode(trial, name, scale) for name, scale in varied.items()} for trial in compared]
    values = _compute_shares(settings, scores, varied)
    if not values:
        reason = "the settings explain none of the differences between these trials"
        return Importance(epoch, len(compared), {}, None, f"No importance {where}: {reason}.{left_out}", place)
    r_squared = _compute_r_squared(settings, scores, varied)
    trust = (
        f"The forest predicts trials it has not seen with R squared = {r_squared:.2f}."
        if r_squared >= LOWEST_R_SQUARED
        else f"The forest cannot predict trials it has not seen (R squared = {r_squared:.2f}): read the bars as noise."
    )
    intervals = _refit(settings, scores, varied, refits)
    lines = f" Lines: the middle 95 % over {refits} refits to resampled trials." if intervals else ""
    note = f"Share of the variance of {name_metric(score)} {where}, that a setting explains by itself (fANOVA). {trust}"
    return Importance(epoch, len(compared), values, r_squared, note + lines + left_out, place, intervals)


def list_compared(runs: Iterable[TrackedRun], score: str, epoch: int) -> list[TrackedRun]:
    """Return the runs on which an importance at ``epoch`` rests."""
    return [trial.run for trial in _list_candidates(runs, score) if _is_measured(trial, epoch)]


def _list_candidates(runs: Iterable[TrackedRun], score: str) -> list[Trial]:
    """List the trials; where epochs were searched, with scores at the same shares of the longest trial's."""
    trials = [trial for trial in list_trials(runs, score) if trial.role != "source_only"]
    lengths = _list_lengths(trials)
    if len(set(lengths)) < 2:
        return trials
    longest = max(lengths)
    return [
        replace(trial, scores={e * longest // own: s for e, s in trial.scores.items() if e * longest % own == 0})
        for trial, own in zip(trials, lengths, strict=True)
    ]


def _list_lengths(trials: Iterable[Trial]) -> list[int]:
    """Return how many epochs each trial trains at most; empty unless all say so."""
    stated = [trial.run.params.get("train.epochs") for trial in trials]
    return [int(each) for each in stated if each is not None] if all(stated) else []


def _is_measured(trial: Trial, epoch: int) -> bool:
    return isfinite(trial.scores.get(epoch, float("nan")))


def _explain_too_few(counts: Mapping[int, int]) -> str:
    most = max(counts.values(), default=0)
    nearest = max((epoch for epoch, count in counts.items() if count == most), default=0)
    best = f"so far the most is {most}, at epoch {nearest}" if counts else "so far there is none"
    return (
        "No importance yet: it compares trials at the same epoch, or share of their epochs, and needs at least "
        f"{MINIMUM_TRIALS} there (source only not counted); {best}. Run more trials."
    )


def _name_left_out(reason: str, names: Sequence[str]) -> str:
    return f" Left out, because {reason}: {', '.join(map(name_setting, names))}." if names else ""


def _encode(trial: Trial, name: str, scale: Scale) -> str | float:
    value = trial.run.params[name]
    return format_category(value) if scale.kind == "category" else scale.compute_position(value)


def _refit(
    settings: Sequence[Mapping[str, str | float]], scores: Sequence[float], scales: Mapping[str, Scale], refits: int
) -> dict[str, Interval]:
    """Return the middle 95 % of each share over forests that are refitted to resampled trials; empty without refits.

    A resample whose settings explain nothing, such as one that holds a single value of each, is drawn again; empty too
    where nearly all are such.
    """
    rng = np.random.default_rng(SEED)
    refitted: list[dict[str, float]] = []
    for _ in range(REDRAWS * refits):
        if len(refitted) == refits:
            break
        drawn = rng.integers(len(scores), size=len(scores))
        chosen, their_scores = [settings[index] for index in drawn], [scores[index] for index in drawn]
        shares = _compute_shares(chosen, their_scores, scales, seed=len(refitted) + 1, trees=REFITTED_TREES)
        refitted += [shares] if shares else []
    if len(refitted) < max(refits, 1):
        return {}
    return {name: percentile_interval(np.asarray([shares[name] for shares in refitted])) for name in scales}


def _compute_shares(
    settings: Sequence[Mapping[str, str | float]],
    scores: Sequence[float],
    scales: Mapping[str, Scale],
    *,
    seed: int = SEED,
    trees: int = TREES,
) -> dict[str, float]:
    """Return each setting's share, the largest first, as Optuna's evaluator computes it from a study of the trials.

    Empty where the forest predicts the same score whatever the settings.
    """
    if len(set(scores)) < 2:
        return {}
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
    except RuntimeError as error:
        if NO_VARIANCE not in str(error):
            raise
        return {}
    finally:
        optuna.logging.set_verbosity(verbosity)
    return {name: float(value) for name, value in sorted(found.items(), key=lambda item: (-item[1], item[0]))}


def _compute_r_squared(
    settings: Sequence[Mapping[str, str | float]], scores: Sequence[float], scales: Mapping[str, Scale]
) -> float:
    """Return the out-of-bag R squared of a forest like fANOVA's."""
    frame = pd.DataFrame(settings)
    columns = [
        pd.get_dummies(frame[name]) if scale.kind == "category" else frame[name] for name, scale in scales.items()
    ]
    rows = pd.concat(columns, axis=1).to_numpy(float)
    forest = RandomForestRegressor(TREES, oob_score=True, random_state=SEED).fit(rows, scores)
    return float(forest.oob_score_)


def draw_importance(found: Importance) -> style.RunFigure:
    """Draw the shares as horizontal bars, the largest on top, with the note below; or the note alone.

    If the forest cannot predict trials that it has not seen, the bars are grey and a heading says so. Intervals are
    lines across the ends of the bars, and are written in brackets.
    """
    if not found.values:
        return style.make_note(found.note)
    figure, axes = style.make_figure(height=(0.75 if found.says_something else 0.85) + 0.17 * len(found.values))
    colour = style.BLUE if found.says_something else style.GREY
    if not found.says_something:
        axes.set_title(style.balance_lines(NOISE, 36), fontsize=style.TEXT_SIZE, loc="left")
    axes.barh(range(len(found.values)), list(found.values.values()), color=colour, height=0.7)
    furthest = 0.0
    for place, (name, share) in enumerate(found.values.items()):
        end, text = share, f"{share:.2f}"
        if name in found.intervals:
            low, high = found.intervals[name].low, found.intervals[name].high
            axes.plot([low, high], [place, place], color=style.BLACK, lw=0.8, marker="|", ms=4)
            end, text = max(share, high), f"{text} [{low:.2f}, {high:.2f}]"
        axes.annotate(
            text, (end, place), xytext=(3, 0), textcoords="offset points", va="center", fontsize=style.SMALL_SIZE
        )
        furthest = max(furthest, end)
    axes.set_yticks(range(len(found.values)), list(map(name_setting, found.values)))
    axes.invert_yaxis()
    axes.set_xlim(0, max((1.6 if found.intervals else 1.15) * furthest, 0.1))
    axes.set_xlabel(f"share of variance explained\n({found.place}, {found.trials} trials)")
    style.set_caption(figure, found.note)
    return figure
