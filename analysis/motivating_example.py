"""Draw the paper's motivating example (section 2): ``python analysis/motivating_example.py --experiment glyphs``.

The features of the same real test images in three models, which ``python tune_spaces/motivating_example.py`` trains:
ImageNet weights as they are; trained on real images; trained on as many synthetic ones.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal

from analysis.figures.feature_panels import E0_METRIC, density_of, finished_cells
from analysis.figures.figure_style import write_figure
from analysis.runs.cells import by_seed, whole
from analysis.runs.comparable import NoDataError
from analysis.runs.newest import Newest, newest
from analysis.runs.run_table import AblationRuns, RunTable
from analysis.runs.source import SourceOptions, options_of
from analysis.statistics.inference import mean_interval
from analysis.tables.published import published
from csg.commands.script import run_script
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.tracking import TrackedRun

DESIGN: Final = "motivating_example"
PUBLISHED: Final = "CSG Figure 2"
CELLS: Final = {
    "imagenet_weights": "ImageNet weights",
    "trained_on_real": "trained on real",
    "trained_on_synthetic": "trained on synthetic",
}
"""The cells of the design, by the method of the published figure."""
PAPER: Final = {"data.target_split": "test", "model.name": "resnet101"}
"""What the paper's figures were measured on and with."""


@dataclasses.dataclass(frozen=True)
class ExampleOptions(SourceOptions):
    """Flags of the script."""

    out: Path = Path("figures")
    """Folder to write to."""
    mix: tuple[Literal["commit", "program", "data", "protocol"], ...] = ()
    """In what the runs may differ; the caption then says so."""


def newest_example(table: RunTable) -> Newest:
    """Choose the newest ablation of the design that has a finished run, or the newest where none has.

    Raises:
        NoDataError: there is none.
    """
    found = [ablation for ablation in table.ablations() if ablation.design == DESIGN]
    if not found:
        raise NoDataError(
            f"--experiment: expected an ablation of the design {DESIGN} in {table.experiment!r}, found none; train it "
            "with python tune_spaces/motivating_example.py"
        )
    return newest(found)


def energy_lines(ablation: AblationRuns) -> list[str]:
    """Say what E_0 (mhe) each cell has: of one seed, or the mean and sample standard deviation over several.

    The published figure follows each where the data are those of the paper; otherwise the last line says that they are
    not comparable.
    """
    cells = finished_cells(ablation)
    runs = [run for each in cells.values() for run in each]
    same_data = bool(runs) and all(run.params.get("data.name") == "visda17" for run in runs)
    figures = {CELLS[row["method"]]: row["value"] for row in published() if row["where"] == PUBLISHED}
    lines = []
    for name in ablation.comparisons:
        energies = by_seed(cells.get(name, []), E0_METRIC)
        line = f"{name}: E_0 (mhe) {_summed_up(energies)}"
        lines.append(f"{line}, published {figures[name]}" if same_data and name in figures else line)
    return [*lines, _comparability(runs, same_data=same_data)]


def _summed_up(energies: dict[int, float]) -> str:
    if not whole(energies):
        return "- (no finished run with a finite figure)" if not energies else "- (a run has no finite figure)"
    found = mean_interval(list(energies.values()))
    if found.sd is None:
        return f"{found.mean:.4f} (seed {next(iter(energies))})"
    return f"{found.mean:.4f} ± {found.sd:.4f} ({found.n} seeds)"


def _comparability(runs: Sequence[TrackedRun], *, same_data: bool) -> str:
    if not same_data:
        found = ", ".join(sorted({str(run.params.get("data.name")) for run in runs})) or "none yet"
        return f"The published figures are of VisDA-17 and not comparable with these data ({found})."
    departures = [
        f"{name} {found} here, {value} there"
        for name, value in PAPER.items()
        for found in sorted({str(run.params.get(name)) for run in runs} - {value})
    ]
    return f"Published: {PUBLISHED}" + (f"; it differs in {', '.join(departures)}." if departures else ".")


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the example.

    Returns:
        An exit code; see :func:`~csg.commands.script.run_script`.
    """

    def body(console: Console) -> bool:
        options = options_of(ExampleOptions, argv, script=__file__, description=__doc__)
        table = options.read()
        chosen = newest_example(table)
        for line in filter(None, [*energy_lines(chosen.ablation), chosen.note]):
            console.print(line)
        try:
            paths = write_figure(density_of(table, chosen.ablation, mix=options.mix), options.out, DESIGN)
        except NoDataError as error:
            raise UserError(f"the figure cannot be drawn: {error}") from None
        console.print(str(paths[0]))
        return True

    return run_script(body)


if __name__ == "__main__":
    sys.exit(main())
