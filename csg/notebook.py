"""What ``import csg`` offers to notebooks and scripts: the same configurations and runs as the command line's.

A setting has one name everywhere, and a run that is on record is never trained again, whoever asked for it first.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from csg.commands.opening import open_run
from csg.commands.prediction import Predictor
from csg.commands.tracked_training import check_store, make_unrecorded_error, open_tracker, train_to_end
from csg.config import Config
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.parsing import ConfigOptions, read_keywords
from csg.storage.layout import place_to_read
from csg.training.run import Run
from csg.training.selected import load_selected

__all__ = ["Config", "FinishedRun", "Predictor", "UserError", "configure", "load", "read_runs", "train"]

warnings.filterwarnings("ignore", "IProgress not found")  # tqdm's, of a bar that nobody would see


def configure(config: str | os.PathLike[str] | None = None, /, **settings: Any) -> Config:
    """Make a configuration of a file or a recipe, and of settings that override it.

    What the flags of ``csg train`` make: ``configure("visda17_csg", train={"epochs": 2})`` is
    ``--config visda17_csg --train.epochs 2``.

    Args:
        config: a YAML file, or the name of a recipe of this package; without it the defaults hold.
        settings: by section (``method={"temperature": 0.1}``) or by dotted name
            (``**{"method.temperature": 0.1}``). Paths may be texts or path objects.

    Raises:
        UserError: a setting is unknown (the message names the nearest one), of a wrong type or out of range, or the
            file cannot be used.
    """
    return read_keywords(ConfigOptions, {"config": config, **settings}).config


@dataclass(frozen=True)
class FinishedRun:
    """A run that is trained and measured."""

    run: Run

    def __repr__(self) -> str:
        return f"FinishedRun({self.run.config.summary}, seed {self.run.config.train.seed}; {self.run.folder})"

    @property
    def config(self) -> Config:
        """Its configuration."""
        return self.run.config

    @property
    def epochs(self) -> pd.DataFrame:
        """The figures of each epoch: a row an epoch, from 1, and a column a metric, such as ``source/val/accuracy``."""
        records = self.run.record.epochs
        return pd.DataFrame(records, index=pd.RangeIndex(1, len(records) + 1, name="epoch"))

    @property
    def final(self) -> pd.Series[float]:
        """The figures at the end, by metric: those of target/test, and the selected epoch's."""
        return pd.Series(self.run.record.final, name=self.run.identity.name, dtype=float)

    @property
    def pictures(self) -> dict[str, npt.NDArray[Any]]:
        """A few images of target/test with the model's answers; see :func:`csg.training.pictures.save_pictures`.

        Empty where there is no target/test.
        """
        if not self.run.pictures.exists():
            return {}
        with self.run.pictures.open() as file, np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}

    @property
    def weights(self) -> str:
        """The file of the weights that were measured, for :func:`load` and ``csg predict --checkpoint``."""
        return str(self.run.selected)


def train(config: Config, *, tracking_uri: str | None = None, experiment: str = "") -> FinishedRun:
    """Train a configuration with progress, go on with an interrupted run, or find a finished one on record.

    What ``csg train`` does.

    Args:
        config: see :func:`configure`.
        tracking_uri: MLflow store or server; None for the SQLite file below ``train.output``, "none" for no store.
        experiment: name of the MLflow experiment; an empty one takes the data set's.

    Raises:
        UserError: the data, the weights, the output folder or the store cannot be used.
        NonFiniteLossError: the loss became infinite, or no number.
        OutsideFaultError: something outside ended it, such as a full disk; the same call goes on.
    """
    console = Console()
    check_store(config, uri=tracking_uri, experiment=experiment)
    run = open_run(config, console)
    track = open_tracker(run, uri=tracking_uri, experiment=experiment)
    if not train_to_end(run, track, console):
        raise make_unrecorded_error(track)
    return FinishedRun(run)


def load(weights: str | os.PathLike[str], *, device: str | None = None) -> Predictor:
    """Load the model of a finished run from its ``selected.pt``. Neither its data nor its starting weights are needed.

    Args:
        weights: the file, as :attr:`FinishedRun.weights` names it.
        device: "cpu" or "cuda"; None for the run's where it is there, else the CPU.

    Raises:
        UserError: the file is missing or something else.
    """
    return Predictor.of(load_selected(place_to_read(os.fspath(weights), "weights")), device)


def read_runs(experiment: str = "glyphs", *, tracking_uri: str | None = None) -> pd.DataFrame:
    """Read all runs of an MLflow experiment, those of searches and ablations among them, the oldest first.

    Args:
        experiment: its name, which is the data set's unless somebody chose another.
        tracking_uri: MLflow store or server; None for the SQLite file below ``runs/``.

    Returns:
        See :func:`csg.tracking.make_frame`.

    Raises:
        UserError: there is no such store or experiment.
    """
    from csg.tracking import get_default_tracking_uri, make_frame, read_experiment  # takes seconds to import

    return make_frame(read_experiment(tracking_uri or get_default_tracking_uri("runs"), experiment))
