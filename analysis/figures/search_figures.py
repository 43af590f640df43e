"""The figures of one hyperparameter search, from its runs in the tracking store."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate
from typing import Final

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from analysis.figures import style
from analysis.figures.importance import draw_importance, estimate_importance
from analysis.figures.parallel_coordinates import draw_parallel_coordinates, name_score
from analysis.figures.parallel_page import write_parallel_coordinates
from analysis.runs.metrics import find_protocol
from analysis.runs.names import name_role
from analysis.runs.trials import REFERENCES, Trial, list_trials
from csg.messages.text import make_printable
from csg.storage.place import Place
from csg.tracking import TrackedRun
from csg.training.score_words import Unit

MARKS: Final = {
    "suggested": ("o", style.BLUE, 14),
    "source_only": ("s", style.GREEN, 26),
    "default": ("D", style.ORANGE, 26),
}
"""Shape, colour and size (in square points) of a trial's mark, by its role."""
MANY: Final = 100
"""The number of trials of one role above which their marks shrink."""
NO_RESULTS: Final = "This search has no trials with a result yet."


def draw_optimisation_history(runs: Iterable[TrackedRun], score: str) -> style.RunFigure:
    """Draw every trial's score in the order of the trials, and the best so far.

    A filled mark is the score that a finished trial is ranked by. A hollow mark is a trial that the scheduler stopped,
    or that still runs, at the last epoch that it reached; it cannot be compared and is shown for completeness. A cross
    on the axis is a failed trial or one without a score. The step line is the best score so far among finished trials.
    Like the search's result it may be the default setting, but not source only, which lies outside the search space.
    These two reference trials have marks of their own and a line across the figure.
    """
    trials = [trial for trial in list_trials(runs, score) if trial.score is not None or trial.run.status != "running"]
    if not trials:
        return style.make_note(NO_RESULTS)
    figure, axes = style.make_figure(height=2.7)
    factor = Unit.of(score).factor
    crossed = [trial for trial in trials if _is_crossed(trial)]
    scored = [trial for trial in trials if not _is_crossed(trial)]
    finished = [trial for trial in scored if trial.run.status == "finished"]
    early = [trial for trial in scored if trial.run.status != "finished"]
    eligible = [trial for trial in finished if trial.role != "source_only"]
    if eligible:
        best = [factor * value for value in accumulate(map(_get_score, eligible), max)]
        numbers = [*(trial.number for trial in eligible), trials[-1].number]
        label = "best so far (finished only)"
        axes.step(numbers, [*best, best[-1]], where="post", color=style.BLACK, lw=1, label=label)
    stopped = all(trial.run.status == "stopped" for trial in early)
    _draw_trials(axes, finished, factor, filled=True, label="finished")
    _draw_trials(axes, early, factor, filled=False, label="stopped early" if stopped else "not finished")
    if crossed:
        failed = all(trial.run.status == "failed" for trial in crossed)
        label = "failed" if failed else "failed or no score"
        numbers, floor = [trial.number for trial in crossed], axes.get_xaxis_transform()
        axes.scatter(
            numbers,
            [0] * len(crossed),
            s=20,
            c=style.RED,
            marker="x",
            lw=1,
            label=label,
            transform=floor,
            clip_on=False,
            zorder=5,
        )
    _decorate(axes, trials, score)
    _name_references(axes, trials, factor)
    if not eligible:
        why = "No trial of the space has finished, so there is no best so far." if scored else "No trial has a score."
        style.set_caption(figure, why)
    return figure


def _is_crossed(trial: Trial) -> bool:
    return trial.run.status == "failed" or trial.score is None


def _get_score(trial: Trial) -> float:
    assert trial.score is not None
    return trial.score


def _draw_trials(axes: Axes, trials: Sequence[Trial], factor: float, *, filled: bool, label: str) -> None:
    """Draw marks by role. The legend shows the first role that occurs."""
    for role, (marker, colour, size) in MARKS.items():
        chosen = [trial for trial in trials if trial.role == role]
        if chosen:
            numbers, scores = [trial.number for trial in chosen], [factor * _get_score(trial) for trial in chosen]
            face = colour if filled else "white"
            area = size * min(1.0, MANY / len(chosen))
            axes.scatter(
                numbers,
                scores,
                s=area,
                marker=marker,
                facecolors=face,
                edgecolors=colour,
                lw=0.9,
                zorder=4,
                label=label,
            )
            label = "_"


def _decorate(axes: Axes, trials: Sequence[Trial], score: str) -> None:
    protocol = find_protocol(score)
    selected_by = f"\nselection protocol: {protocol}" if protocol else ""
    axes.set_ylabel(f"{name_score(score)}{selected_by}", fontsize=style.SMALL_SIZE)
    axes.set_xlabel("trial")
    axes.set_xlim(trials[0].number - 0.7, trials[-1].number + 0.7)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if not any(trial.score is not None for trial in trials):
        axes.set_ylim(0, Unit.of(score).factor)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)


def _name_references(axes: Axes, trials: Sequence[Trial], factor: float) -> None:
    """Draw a line across at the score of each reference trial, and write its name and status beside the axes."""
    references = [trial for trial in trials if trial.role in REFERENCES]
    low, high = axes.get_ylim()
    levels = [low if _is_crossed(trial) else factor * _get_score(trial) for trial in references]
    places = style.move_apart([(level - low) / (high - low) for level in levels], 0.13)
    for trial, level, place in zip(references, levels, places, strict=True):
        colour = MARKS[trial.role][1]
        if level != low:
            axes.axhline(level, color=colour, lw=0.8, ls=(0, (4, 2)), zorder=1)
        status = "" if trial.run.status == "finished" else f"\n({trial.run.status}, epoch {trial.epoch})"
        axes.annotate(
            name_role(trial.role) + status,
            xy=(1, level),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.03, place),
            textcoords="axes fraction",
            va="center",
            fontsize=style.SMALL_SIZE,
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": style.GREY, "lw": 0.5, "shrinkA": 0, "shrinkB": 0},
        )


def write_search_figures(
    runs: Iterable[TrackedRun],
    *,
    score: str,
    names: Sequence[str],
    title: str,
    folder: Place,
    logarithmic: Collection[str] = (),
) -> list[Place]:
    """Write a search's figures into ``folder``, and return the files.

    The folder is made if it does not exist, and files of an earlier call are replaced.

    Args:
        runs: the trials, with the history of ``score``.
        score: the metric that the search maximises.
        names: the searched settings, in the order in which they are shown.
        title: stands above each figure.
        folder: to write to.
        logarithmic: the settings that are searched logarithmically.
    """
    runs = list(runs)
    folder.make_folder("train.output")
    found = estimate_importance(runs, score, names)
    figures = {
        "optimisation_history.png": draw_optimisation_history(runs, score),
        "parameter_importance.png": draw_importance(found),
        "parallel_coordinates.png": draw_parallel_coordinates(runs, score, names, logarithmic=logarithmic),
    }
    for name, figure in figures.items():
        style.set_title(figure, title)
        with (folder / name).open_replacement() as file:
            figure.savefig(file, format="png")
    texts = {
        "parameter_importance.json": json.dumps({"score": score, **dataclasses.asdict(found)}, indent=2) + "\n",
        "parallel_coordinates.html": write_parallel_coordinates(
            runs, score, names, title=title, logarithmic=logarithmic
        ),
    }
    for name, text in texts.items():
        (folder / name).write(make_printable(text).encode())
    return [folder / name for name in (*figures, *texts)]
