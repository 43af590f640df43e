"""The runs of an experiment, read from the tracking store or from the folder that it was exported to."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.runs.metrics import get_task_name
from csg.messages.errors import UserError
from csg.storage.layout import OUTPUTS, PICTURES
from csg.tracking import TrackedRun, list_artifact_places, make_frame, read_artifact, read_experiment
from csg.tracking.tags import Tag, make_long_tag, read_long_tag

RUNS: Final = "runs.jsonl"
PARENTS: Final = ("ablation", "search")
"""Kinds of runs that train nothing themselves; they are the parents of those that do."""


@dataclass(frozen=True)
class Outputs:
    """A finished run's answers on target/test, image by image."""

    features: npt.NDArray[np.float32]
    """(M, C): those of a seeded subsample of the images, not normalised."""
    labels: npt.NDArray[np.int64] | None = None
    """(N,) class indices; None if each pixel has a label, like the next two."""
    predicted: npt.NDArray[np.int64] | None = None
    """(N,) class indices."""
    feature_labels: npt.NDArray[np.int64] | None = None
    """(M,) class indices of the features' images."""
    confusions: npt.NDArray[np.int64] | None = None
    """(N, classes, classes) pixels of each image, by true and by predicted class; None if each image has a label."""


@dataclass(frozen=True)
class AblationRuns:
    """The runs of one ablation."""

    parent: TrackedRun
    runs: tuple[TrackedRun, ...]
    """Of all cells and seeds, the oldest first."""

    @property
    def key(self) -> str:
        """The ablation's name: that of its design, and a digest of the design, of data and program."""
        return self.parent.tags[Tag.ABLATION]

    @property
    def design(self) -> str:
        """The design's name."""
        return str(self.parent.params.get("design", ""))

    @property
    def title(self) -> str:
        """What is compared."""
        return self.parent.tags.get(Tag.TITLE, self.design)

    @property
    def comparisons(self) -> dict[str, str]:
        """Each cell, in order, with the cell that it is compared with. The base is compared with itself."""
        loaded: dict[str, str] = json.loads(read_long_tag(self.parent.tags, Tag.CELLS))
        return loaded

    def compare_with(self, cell: str) -> AblationRuns:
        """Return the ablation with all cells compared with ``cell``; as it is if it has no such cell."""
        if cell not in self.comparisons:
            return self
        others = {name: text for name, text in self.parent.tags.items() if not name.startswith(f"{Tag.CELLS}.")}
        tags = others | make_long_tag(Tag.CELLS, json.dumps(dict.fromkeys(self.comparisons, cell)))
        return dataclasses.replace(self, parent=dataclasses.replace(self.parent, tags=tags))

    def get_cell(self, name: str) -> list[TrackedRun]:
        """Return the runs of one cell."""
        return [run for run in self.runs if run.tags.get(Tag.CELL) == name]

    @property
    def has_several_bases(self) -> bool:
        """Whether cells are compared with different cells."""
        return len(set(self.comparisons.values())) > 1

    @cached_property
    def finished_cells(self) -> dict[str, list[TrackedRun]]:
        """The finished runs of each cell, in the order of the design."""
        return {name: [run for run in self.get_cell(name) if run.status == "finished"] for name in self.comparisons}

    @property
    def finished(self) -> list[TrackedRun]:
        """The finished runs of all cells."""
        return [run for run in self.runs if run.status == "finished"]

    @property
    def complete(self) -> bool:
        """Whether every run has finished, and each cell has one."""
        cells = {run.tags.get(Tag.CELL) for run in self.runs}
        return len(self.finished) == len(self.runs) and cells >= set(self.comparisons)


@dataclass(frozen=True)
class SearchRuns:
    """The trials of one search."""

    parent: TrackedRun
    runs: tuple[TrackedRun, ...]

    @property
    def key(self) -> str:
        """The search's name."""
        return self.parent.tags[Tag.SEARCH]

    @property
    def score(self) -> str:
        """The metric that the search maximises."""
        return self.parent.tags[Tag.SCORE]

    @property
    def names(self) -> tuple[str, ...]:
        """The searched settings."""
        return tuple(json.loads(self.parent.tags[Tag.SPACE]))

    @property
    def logarithmic(self) -> tuple[str, ...]:
        """Those of them that are searched logarithmically; none if the search did not say."""
        return tuple(json.loads(self.parent.tags.get(Tag.LOGARITHMIC, "[]")))

    @property
    def verdict(self) -> list[str]:
        """What fresh seeds say of the best trial, in sentences; none if it was not trained again."""
        return self.parent.tags.get(Tag.VERDICT, "").splitlines()

    @property
    def protocol(self) -> str:
        """The selection protocol."""
        return str(self.parent.params.get("selection.protocol", ""))


@dataclass(frozen=True)
class RunTable:
    """All runs of an experiment."""

    place: str
    """The store's address or the folder that they were read from."""
    experiment: str
    runs: tuple[TrackedRun, ...]

    def to_frame(self) -> pd.DataFrame:
        """Return the runs as a DataFrame, the oldest first; see :func:`csg.tracking.make_frame`."""
        return make_frame(self.runs)

    def list_ablations(self) -> list[AblationRuns]:
        """Return the ablations, the oldest first."""
        return [AblationRuns(parent, children) for parent, children in self._group("ablation")]

    def list_searches(self) -> list[SearchRuns]:
        """Return the searches, the oldest first."""
        return [SearchRuns(parent, children) for parent, children in self._group("search")]

    def _group(self, kind: str) -> list[tuple[TrackedRun, tuple[TrackedRun, ...]]]:
        children: dict[str, list[TrackedRun]] = {}
        for run in self.runs:
            if Tag.PARENT in run.tags:
                children.setdefault(run.tags[Tag.PARENT], []).append(run)
        return [(run, tuple(children.get(run.run_id, ()))) for run in self.runs if run.tags.get(Tag.KIND) == kind]

    def keep_commit(self, prefix: str) -> RunTable:
        """Return a table of the runs whose commit starts with ``prefix``, and their parents.

        Raises:
            UserError: there are none.
        """
        trained = [run for run in self.runs if run.tags.get(Tag.KIND) not in PARENTS]
        kept = [run for run in trained if run.tags.get(Tag.COMMIT, "").startswith(prefix)]
        if not kept:
            found = sorted({run.tags.get(Tag.COMMIT, "") for run in trained} - {""})
            raise UserError(
                f"--commit: expected the start of one of {', '.join(found) or 'none yet'}, found {prefix!r}"
            )
        ids = {run_id for run in kept for run_id in (run.run_id, run.tags.get(Tag.PARENT))}
        return dataclasses.replace(self, runs=tuple(run for run in self.runs if run.run_id in ids))

    def read_outputs(self, run: TrackedRun) -> Outputs | None:
        """Return a run's answers, or None if it stored none."""
        arrays = self._load(run, OUTPUTS)
        names = {field.name for field in dataclasses.fields(Outputs)}
        return None if arrays is None else Outputs(**{name: arrays[name] for name in arrays if name in names})

    def read_pictures(self, run: TrackedRun) -> dict[str, npt.NDArray[Any]] | None:
        """Return the pictures of :func:`csg.training.pictures.save_pictures` by name, or None if there are none."""
        return self._load(run, PICTURES)

    def describe_places(self, runs: Sequence[TrackedRun]) -> str:
        """Return a sentence on where files of runs were looked for; empty if the runs' folders exist."""
        if Path(self.place).is_dir() or not runs:
            return ""
        places = list_artifact_places(self.place, runs[0].run_id)
        return "" if any(Path(place).exists() for place in places) else f" Looked in {' and '.join(places)}."

    def divide_by_task(self) -> dict[str, RunTable]:
        """Return a table for each task, with the runs of that task and their parents.

        Parents without runs are in every table.
        """
        tasks = list(dict.fromkeys(filter(None, map(get_task_name, self.runs))))
        if len(tasks) < 2:
            return dict.fromkeys(tasks or ["classification"], self)
        families: dict[str, set[str]] = {}
        for run in self.runs:
            families.setdefault(run.tags.get(Tag.PARENT, ""), set()).add(get_task_name(run))
        return {
            task: dataclasses.replace(
                self,
                runs=tuple(
                    run
                    for run in self.runs
                    if task in ({get_task_name(run)} - {""} or families.get(run.run_id, {task}))
                ),
            )
            for task in tasks
        }

    def _load(self, run: TrackedRun, name: str) -> dict[str, npt.NDArray[Any]] | None:
        exported = Path(self.place, run.run_id, name)
        path = exported if Path(self.place).is_dir() else read_artifact(self.place, run.run_id, name)
        if path is None or not path.exists():
            return None
        with np.load(path, allow_pickle=False) as file:
            return {array: file[array] for array in file.files}


def read_runs(*, experiment: str, tracking_uri: str, exported: Path | None = None) -> RunTable:
    """Read an experiment from the tracking store, or from the folder ``exported``.

    Raises:
        UserError: there is no such store, experiment or folder, or it has no runs.
    """
    if exported is None:
        table = RunTable(tracking_uri, experiment, tuple(read_experiment(tracking_uri, experiment)))
    else:
        table = RunTable(str(exported), experiment, tuple(_read_exported(exported, experiment)))
    if not table.runs:
        raise UserError(f"--experiment: expected runs in {experiment!r}, found none; run a search or an ablation first")
    return table


def _read_exported(folder: Path, experiment: str) -> list[TrackedRun]:
    try:
        lines = [json.loads(line) for line in (folder / RUNS).read_text().splitlines()]
    except OSError as error:
        raise UserError(f"--runs: expected a folder with {RUNS}, cannot read {folder} ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"--runs: {folder / RUNS} is damaged ({error})") from None
    names = {line.pop("experiment") for line in lines}
    if names - {experiment}:
        raise UserError(f"--experiment: expected one of {', '.join(sorted(names))} in {folder}, found {experiment!r}")
    return [TrackedRun(**{**line, "history": _restore_epochs(line.get("history", {}))}) for line in lines]


def _restore_epochs(history: Mapping[str, Mapping[str, float]]) -> dict[str, dict[int, float]]:
    """Turn epochs, which are text in JSON, back into numbers."""
    return {name: {int(epoch): value for epoch, value in values.items()} for name, values in history.items()}
