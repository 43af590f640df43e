"""The runs that tables and figures are made of: an experiment of the tracking store, or a folder it was exported to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.runs.task_figures import task_name
from csg.messages.errors import UserError
from csg.tracking import TrackedRun, list_artifact_places, read_artifact, read_experiment
from csg.tracking.tags import (
    ABLATION_TAG,
    CELL_TAG,
    CELLS_TAG,
    COMMIT_TAG,
    KIND_TAG,
    PARENT_TAG,
    SCORE_TAG,
    SEARCH_TAG,
    SPACE_TAG,
    TITLE_TAG,
)
from csg.training.outputs import OUTPUTS
from csg.training.pictures import PICTURES

RUNS = "runs.jsonl"
FAMILIES = ("ablation", "search")
"""Kinds of runs that train nothing themselves: others belong to them."""


@dataclass(frozen=True)
class Outputs:
    """A finished run's answers on target/test, image by image."""

    features: npt.NDArray[np.float32]
    """(M, C): those of a seeded subsample of the images, not normalised."""
    labels: npt.NDArray[np.int64] | None = None
    """(N,) class indices; like the next two, None where a label is of a pixel."""
    predicted: npt.NDArray[np.int64] | None = None
    """(N,) class indices."""
    feature_labels: npt.NDArray[np.int64] | None = None
    """(M,) class indices of the features' images."""
    confusions: npt.NDArray[np.int64] | None = None
    """(N, classes, classes) pixels of each image, by true and by predicted class; None where a label is of an image."""


@dataclass(frozen=True)
class AblationRuns:
    """The runs of one ablation."""

    parent: TrackedRun
    runs: tuple[TrackedRun, ...]
    """Of all cells and seeds, the oldest first."""

    @property
    def key(self) -> str:
        """Names the ablation: its design, and a digest of cells, data and program."""
        return self.parent.tags[ABLATION_TAG]

    @property
    def design(self) -> str:
        """Name of the design."""
        return str(self.parent.params.get("design", ""))

    @property
    def title(self) -> str:
        """What is compared."""
        return self.parent.tags.get(TITLE_TAG, self.design)

    @property
    def comparisons(self) -> dict[str, str]:
        """Each cell, in order, with the cell that it is compared with; the base with itself."""
        loaded: dict[str, str] = json.loads(self.parent.tags[CELLS_TAG])
        return loaded

    def cell(self, name: str) -> list[TrackedRun]:
        """Return the runs of one cell."""
        return [run for run in self.runs if run.tags.get(CELL_TAG) == name]

    @property
    def finished(self) -> list[TrackedRun]:
        """The finished runs of all cells."""
        return [run for run in self.runs if run.status == "finished"]

    @property
    def complete(self) -> bool:
        """Whether every run has finished, and each cell has one."""
        cells = {run.tags.get(CELL_TAG) for run in self.runs}
        return len(self.finished) == len(self.runs) and cells >= set(self.comparisons)


@dataclass(frozen=True)
class SearchRuns:
    """The trials of one search."""

    parent: TrackedRun
    runs: tuple[TrackedRun, ...]

    @property
    def key(self) -> str:
        """Names the search."""
        return self.parent.tags[SEARCH_TAG]

    @property
    def score(self) -> str:
        """The metric that the search looked at."""
        return self.parent.tags[SCORE_TAG]

    @property
    def names(self) -> tuple[str, ...]:
        """The searched settings."""
        return tuple(json.loads(self.parent.tags[SPACE_TAG]))

    @property
    def protocol(self) -> str:
        """The selection protocol."""
        return str(self.parent.params.get("selection.protocol", ""))


@dataclass(frozen=True)
class RunTable:
    """All runs of an experiment."""

    place: str
    """Where they were read: a store's address, or a folder."""
    experiment: str
    runs: tuple[TrackedRun, ...]

    def ablations(self) -> list[AblationRuns]:
        """Return the ablations, the oldest first."""
        return [AblationRuns(parent, children) for parent, children in self._families("ablation")]

    def searches(self) -> list[SearchRuns]:
        """Return the searches, the oldest first."""
        return [SearchRuns(parent, children) for parent, children in self._families("search")]

    def _families(self, kind: str) -> list[tuple[TrackedRun, tuple[TrackedRun, ...]]]:
        children: dict[str, list[TrackedRun]] = {}
        for run in self.runs:
            if PARENT_TAG in run.tags:
                children.setdefault(run.tags[PARENT_TAG], []).append(run)
        return [(run, tuple(children.get(run.run_id, ()))) for run in self.runs if run.tags.get(KIND_TAG) == kind]

    def of_commit(self, prefix: str) -> RunTable:
        """Return the table with only those runs whose commit starts with ``prefix``, and the parents of these.

        Raises:
            UserError: there are none.
        """
        trained = [run for run in self.runs if run.tags.get(KIND_TAG) not in FAMILIES]
        kept = [run for run in trained if run.tags.get(COMMIT_TAG, "").startswith(prefix)]
        if not kept:
            found = sorted({run.tags.get(COMMIT_TAG, "") for run in trained} - {""})
            raise UserError(
                f"--commit: expected the start of one of {', '.join(found) or 'none yet'}, found {prefix!r}"
            )
        ids = {run_id for run in kept for run_id in (run.run_id, run.tags.get(PARENT_TAG))}
        return dataclasses.replace(self, runs=tuple(run for run in self.runs if run.run_id in ids))

    def outputs(self, run: TrackedRun) -> Outputs | None:
        """Return what a run answered, or None where it stored nothing."""
        path = self._file(run, OUTPUTS)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as file:
            names = {field.name for field in dataclasses.fields(Outputs)}
            return Outputs(**{name: file[name] for name in file.files if name in names})

    def pictures(self, run: TrackedRun) -> dict[str, npt.NDArray[Any]] | None:
        """Return a finished run's pictures by name, as :func:`csg.training.pictures.save_pictures` writes them.

        None where it stored none.
        """
        path = self._file(run, PICTURES)
        if path is None:
            return None
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}

    def looked_in(self, runs: Sequence[TrackedRun]) -> str:
        """Say where the files of runs that seem to have none were looked for; nothing where the runs' folders exist."""
        if Path(self.place).is_dir() or not runs:
            return ""
        places = list_artifact_places(self.place, runs[0].run_id)
        return "" if any(Path(place).exists() for place in places) else f" Looked in {' and '.join(places)}."

    def by_task(self) -> dict[str, RunTable]:
        """Divide the table by task: a part holds the runs of one task, and the parents of these.

        Parents without runs are in every part.
        """
        tasks = list(dict.fromkeys(filter(None, map(task_name, self.runs))))
        if len(tasks) < 2:
            return dict.fromkeys(tasks or ["classification"], self)
        families: dict[str, set[str]] = {}
        for run in self.runs:
            families.setdefault(run.tags.get(PARENT_TAG, ""), set()).add(task_name(run))
        return {
            task: dataclasses.replace(
                self,
                runs=tuple(
                    run for run in self.runs if task in ({task_name(run)} - {""} or families.get(run.run_id, {task}))
                ),
            )
            for task in tasks
        }

    def _file(self, run: TrackedRun, name: str) -> Path | None:
        folder = Path(self.place)
        if not folder.is_dir():
            return read_artifact(self.place, run.run_id, name)
        path = folder / run.run_id / name
        return path if path.exists() else None


def read_runs(*, experiment: str, tracking_uri: str, exported: Path | None = None) -> RunTable:
    """Read an experiment from the tracking store, or from the folder ``exported``.

    Raises:
        UserError: there is no such store, experiment or folder, or it has no runs.
    """
    if exported is None:
        table = RunTable(tracking_uri, experiment, tuple(read_experiment(tracking_uri, experiment)))
    else:
        table = RunTable(str(exported), experiment, tuple(_exported(exported, experiment)))
    if not table.runs:
        raise UserError(f"--experiment: expected runs in {experiment!r}, found none; run a search or an ablation first")
    return table


def _exported(folder: Path, experiment: str) -> list[TrackedRun]:
    try:
        lines = [json.loads(line) for line in (folder / RUNS).read_text().splitlines()]
    except OSError as error:
        raise UserError(f"--runs: expected a folder with {RUNS}, cannot read {folder} ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"--runs: {folder / RUNS} is damaged ({error})") from None
    names = {line.pop("experiment") for line in lines}
    if names - {experiment}:
        raise UserError(f"--experiment: expected one of {', '.join(sorted(names))} in {folder}, found {experiment!r}")
    return [TrackedRun(**{**line, "history": _by_epoch(line.get("history", {}))}) for line in lines]


def _by_epoch(history: Mapping[str, Mapping[str, float]]) -> dict[str, dict[int, float]]:
    """Turn the epochs back into numbers, which JSON has as text."""
    return {name: {int(epoch): value for epoch, value in values.items()} for name, values in history.items()}
