"""Write an experiment's runs to a folder: ``python analysis/export_runs.py --experiment glyphs --out DIR``.

The other scripts read the folder with ``--runs DIR``, so that tables can be made again on machines without the store.
"""

from __future__ import annotations

import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from analysis.runs.run_table import RUNS, RunTable
from analysis.runs.source import SourceOptions, make_main
from csg.config import DataConfig, TrainConfig
from csg.config.settings import Place, find_marks
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.wording import pluralize
from csg.storage.files import make_folder, open_replacement
from csg.storage.layout import OUTPUTS, PICTURES
from csg.tracking import TrackedRun, add_histories
from csg.tracking.tags import Tag

PLACES = {*find_marks(DataConfig(), Place, "data."), *find_marks(TrainConfig(), Place, "train.")}
"""Settings whose last folder may be a person's name."""
ABSOLUTE = re.compile(r"""(?<=["'])(?:\w+:/)?/[^"'\n]+|(?<![\w.:/])(?:\w+:/)?/[^\s"'(),;]+""")
"""An absolute path or an address within a text. In quotes it may contain blanks."""
HOMES = ("/home", "/Users")


@dataclasses.dataclass(frozen=True)
class ExportOptions(SourceOptions):
    """Flags of the script."""

    out: Path = Path("exported")
    """Folder to write to."""
    features: bool = False
    """Write features too, which the figures of feature density need."""
    pictures: bool = False
    """Write pictures too: images of the data, with the models' predictions. Without this flag those that an earlier
    export has left in the folder go."""


def export_runs(table: RunTable, folder: Path, *, features: bool = False, pictures: bool = False) -> Path:
    """Write runs, with their metrics by epoch and their answers, into a folder that all scripts read.

    Args:
        table: the runs.
        folder: to write to.
        features: whether to write features, by far the largest part of the answers.
        pictures: whether to write pictures.

    Raises:
        UserError: the folder cannot be written to, or is the one that is read.
    """
    make_folder(folder, "--out")
    if folder.resolve() == Path(table.place).resolve():
        raise UserError(
            f"--out: expected another folder than --runs, whose arrays would be lost; found {folder} for both"
        )
    lines = []
    runs = table.runs if Path(table.place).is_dir() else add_histories(table.place, table.runs)
    for run in runs:
        lines.append(json.dumps({"experiment": table.experiment, **_anonymise(run)}, sort_keys=True))
        if run.status != "finished":
            continue
        outputs = table.read_outputs(run)
        if outputs is not None:
            kept = {name: array for name, array in vars(outputs).items() if array is not None}
            for name in () if features else ("features", "feature_labels"):
                if name in kept:
                    kept[name] = kept[name][:0]
            _write(folder / run.run_id / OUTPUTS, kept)
        shown = table.read_pictures(run) if pictures else None
        if shown is not None:
            _write(folder / run.run_id / PICTURES, shown)
        elif not pictures:
            (folder / run.run_id / PICTURES).unlink(missing_ok=True)
    with open_replacement(folder / RUNS) as file:
        file.write("".join(line + "\n" for line in lines).encode())
    return folder / RUNS


def _write(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    make_folder(path.parent, "--out")
    with open_replacement(path) as file:
        np.savez_compressed(file, allow_pickle=False, **dict(arrays))


def _anonymise(run: TrackedRun) -> Mapping[str, Any]:
    """Return a run without names of machines and people: paths keep the file's name, errors their first line."""
    left_out = ("experiment_id", *(() if run.history else ("history",)))
    named = {field.name: getattr(run, field.name) for field in dataclasses.fields(run) if field.name not in left_out}
    named["name"] = _cut_folders(run.name)
    named["tags"] = {
        name: _cut_folders(value.partition("\n")[0] if name == Tag.ERROR else value)
        for name, value in run.tags.items()
        if name != Tag.FOLDER and (name == Tag.PARENT or not name.startswith("mlflow."))
    }
    named["params"] = {
        name: _cut_folders(f"'{value}'")[1:-1] if isinstance(value, str) else value
        for name, value in run.params.items()
        if name not in PLACES
    }
    return named


def _cut_folders(text: str) -> str:
    """Cut each absolute path or address in ``text`` down to the name of its file."""

    def get_name(found: re.Match[str]) -> str:
        scheme, _, path = found[0].rpartition("://")
        folder, _, name = path.rpartition("/")
        if folder in HOMES or (scheme and not folder):
            return ""
        return name if folder else found[0]

    return ABSOLUTE.sub(get_name, text)


@make_main(ExportOptions, __file__, __doc__)
def main(options: ExportOptions, console: Console) -> None:
    """Export runs."""
    table = options.read()
    path = export_runs(table, options.out, features=options.features, pictures=options.pictures)
    console.print(f"{pluralize(len(table.runs), 'run')}: {path}")


if __name__ == "__main__":
    sys.exit(main())
