"""Draw the paper's motivating example (section 2): ``python analysis/motivating_example.py --experiment glyphs``.

The figure shows the features of the same real test images in three models: the starting weights as they are,
trained on real images, and trained on as many synthetic ones. ``python tune_spaces/motivating_example.py`` trains them.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from analysis.figures.feature_panels import draw_features
from analysis.figures.style import write_figure
from analysis.inference.t_tests import estimate_mean
from analysis.runs.comparable import NoDataError, collect_by_seed, is_complete
from analysis.runs.metrics import E0_METRIC
from analysis.runs.newest import Newest, choose_newest
from analysis.runs.run_table import AblationRuns, RunTable
from analysis.runs.source import ComparisonOptions, make_main
from analysis.tables.published import read_published
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
"""The design's cells, by the method of the published figure."""
PAPER: Final = {"data.target_split": "test", "model.name": "resnet101"}
"""The settings of the paper's figures."""


@dataclasses.dataclass(frozen=True)
class ExampleOptions(ComparisonOptions):
    """Flags of the script."""

    out: Path = Path("figures")
    """Folder to write to."""


def choose_example(table: RunTable) -> Newest:
    """Choose the newest ablation of the design that has a finished run, or the newest of all if none has.

    Raises:
        NoDataError: there is none.
    """
    found = [ablation for ablation in table.list_ablations() if ablation.design == DESIGN]
    if not found:
        raise NoDataError(
            f"--experiment: expected an ablation of the design {DESIGN} in {table.experiment!r}, found none; train it "
            "with python tune_spaces/motivating_example.py"
        )
    return choose_newest(found)


def describe_energies(ablation: AblationRuns) -> list[str]:
    """Return a line with the E_0 (mhe) of each cell: of one seed, or mean and sample standard deviation over several.

    If the data are those of the paper, the published figure follows on the same line. Otherwise the last line says that
    the published figures are not comparable.
    """
    runs = ablation.finished
    same_data = bool(runs) and all(run.params.get("data.name") == "visda17" for run in runs)
    published = read_published().query("where == @PUBLISHED").set_index("method")["value"].rename(CELLS)
    lines = []
    for name in ablation.comparisons:
        line = f"{name}: E_0 (mhe) {_format_energies(collect_by_seed(ablation.finished_cells[name], E0_METRIC))}"
        lines.append(f"{line}, published {published[name]}" if same_data and name in published else line)
    return [*lines, _describe_comparability(runs, same_data=same_data)]


def _format_energies(energies: dict[int, float]) -> str:
    if not is_complete(energies):
        return "- (no finished run with a finite figure)" if not energies else "- (a run has no finite figure)"
    found = estimate_mean(list(energies.values()))
    if found.sd is None:
        return f"{found.mean:.4f} (seed {next(iter(energies))})"
    return f"{found.mean:.4f} ± {found.sd:.4f} ({found.n} seeds)"


def _describe_comparability(runs: Sequence[TrackedRun], *, same_data: bool) -> str:
    if not same_data:
        found = ", ".join(sorted({str(run.params.get("data.name")) for run in runs})) or "none yet"
        return f"The published figures are of VisDA-17 and not comparable with these data ({found})."
    departures = [
        f"{name} {found} here, {value} there"
        for name, value in PAPER.items()
        for found in sorted({str(run.params.get(name)) for run in runs} - {value})
    ]
    return f"Published: {PUBLISHED}" + (f"; it differs in {', '.join(departures)}." if departures else ".")


@make_main(ExampleOptions, __file__, __doc__)
def main(options: ExampleOptions, console: Console) -> None:
    """Draw the example."""
    table = options.read()
    chosen = choose_example(table)
    for line in filter(None, [*describe_energies(chosen.ablation), chosen.note]):
        console.print(line)
    try:
        paths = write_figure(draw_features(table, chosen.ablation, mix=options.mix), options.out, DESIGN)
    except NoDataError as error:
        raise UserError(f"the figure cannot be drawn: {error}") from None
    console.print(str(paths[0]))


if __name__ == "__main__":
    sys.exit(main())
