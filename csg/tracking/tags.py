"""Tags in an MLflow store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PIECE: Final = 4000
"""Characters of one tag. MLflow accepts 8,000."""


class Tag:
    """Names of the tags of runs, and of experiments."""

    KIND: Final = "csg.kind"
    """What a run is: "run", "child" (a run below a parent), "search" or "ablation" (parents, which train nothing)."""
    RUN: Final = "csg.run"
    """Name of the run's identity."""
    FOLDER: Final = "csg.folder"
    """Folder of a search or an ablation."""
    SEARCH: Final = "csg.search"
    """Key of a search, on its parent run."""
    SCORE: Final = "csg.score"
    """Metric that a search maximises."""
    SPACE: Final = "csg.space"
    """Settings that a search varies, as JSON."""
    LOGARITHMIC: Final = "csg.logarithmic"
    """Those of them that are drawn log-uniformly, as JSON."""
    VERDICT: Final = "csg.verdict"
    """What fresh seeds say of a search's best trial, on its parent run: a line for each sentence."""
    TRIAL: Final = "csg.trial"
    """Number of a trial."""
    ROLE: Final = "csg.role"
    """Role of a trial: "suggested", "default" or "source_only"."""
    ABLATION: Final = "csg.ablation"
    """Key of an ablation, on its parent run."""
    TITLE: Final = "csg.title"
    """What an ablation compares, in words."""
    CELLS: Final = "csg.cells"
    """Cells of an ablation with the cells they are compared with, as JSON; see :func:`make_long_tag`."""
    CELL: Final = "csg.cell"
    """Cell that a run belongs to."""
    WITHOUT: Final = "csg.without"
    """Of a mean over trainings without each source: the names of their runs, by source, as JSON."""
    CLASSES: Final = "csg.classes"
    """Names of the classes, as JSON; see :func:`make_long_tag`."""
    EVALUATED: Final = "csg.evaluated"
    """Other labelled sets that a run was measured on, with their fingerprints, as JSON."""
    CONFIG_ID: Final = "config_id"
    SEED: Final = "seed"
    DATA: Final = "data.fingerprint"
    PROGRAM: Final = "source_digest"
    COMMIT: Final = "commit"
    STATUS: Final = "status"
    ERROR: Final = "error"
    BEST: Final = "best"
    """On the best run of a search, with the value "yes"."""
    PARENT: Final = "mlflow.parentRunId"
    NAME: Final = "mlflow.runName"
    NOTE: Final = "mlflow.note.content"
    """Description of a run, in Markdown."""
    VIEW: Final = "mlflow.sharedViewState."
    """Beginning of the name of an experiment's tag that holds a shared view."""


PARENT_KEYS: Final = {"search": Tag.SEARCH, "ablation": Tag.ABLATION}
"""Tag that holds a parent's key, by its kind."""


def make_long_tag(name: str, text: str) -> dict[str, str]:
    """Return one tag with a text, or several if it is long: ``name``, ``name.1`` and so on."""
    pieces = [text[start : start + PIECE] for start in range(0, len(text), PIECE)]
    return {f"{name}.{number}" if number else name: piece for number, piece in enumerate(pieces)}


def read_long_tag(tags: Mapping[str, str], name: str) -> str:
    """Return the text of :func:`make_long_tag`; empty where there are no such tags."""
    pieces = [tags[name]] if name in tags else []
    while f"{name}.{len(pieces)}" in tags:
        pieces.append(tags[f"{name}.{len(pieces)}"])
    return "".join(pieces)
