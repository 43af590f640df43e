"""The top of the report says what was asked, the verdict as it was stored, the best configuration, and how sure."""

from __future__ import annotations

import dataclasses
import html
import re
from pathlib import Path

import pytest

from analysis.page.origins import name_run, write_origins
from analysis.page.summary import NO_VERDICT, NO_VERDICT_UNLABELLED, write_summary
from analysis.page.tables import name_anchor, write_table
from analysis.runs.run_table import RunTable
from analysis.tables.table import Entry, Table, arrange_cells
from csg.tracking import TrackedRun
from tests.analysis.figure_reading import retagged
from tests.analysis.made_up_experiment import CSG, SOURCE_ONLY, ablation, search, write_experiment

SAID = (
    "Under 3 fresh seeds the best configuration has a real accuracy of 79.9 %.\nIt cannot be told from <source only>."
)


def read(page: str) -> str:
    """The words of a page."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page)).split())


@pytest.fixture
def searched(tmp_path: Path) -> RunTable:
    return write_experiment(search("s-1"), tmp_path / "s", features=False)


def link(run_id: str) -> str:
    return f"#run-{run_id}"


def test_a_search_without_fresh_seeds_has_no_verdict_and_says_how_to_get_one(searched: RunTable) -> None:
    said = read(write_summary(searched, link))
    assert "Which settings of CSG are best on real images?" in said and "26 trials" in said
    assert "temperature, stage 3 weight, stage 4 weight and learning rate" in said
    assert NO_VERDICT in said and "One seed a trial" in said and "--method.temperature" in said


def test_the_verdict_is_the_one_that_the_search_stored(tmp_path: Path) -> None:
    fresh = ablation("confirm-s-1", {"source only": SOURCE_ONLY, "003 csg": CSG}, seeds=3, lifts=(0.0, 0.1))
    runs = [retagged(run, csg_verdict=SAID) if run.run_id == "s-1-parent" else run for run in search("s-1")]
    page = write_summary(write_experiment([*runs, *fresh], tmp_path / "r", features=False), link)
    said = read(page)
    assert said.index("79.9 %") < said.index("It cannot be told from <source only>.") and NO_VERDICT not in said
    assert "fresh seeds" in said and "003 csg 6" in said, "the figures that it rests on"
    assert "#ablation_confirm-s-1" in page, "their tests are in a table"
    assert "79.9&nbsp;%" in page, "no line ends between a number and its unit"


MEASURED = ("target/test/", "selected/target/")


def without_labels(run: TrackedRun, *, real: bool) -> TrackedRun:
    """A run on data without labelled real images: with images of no label, or with none."""
    kept = {name: value for name, value in run.metrics.items() if not name.startswith(MEASURED)}
    if "selection/score" in kept:
        kept["selected/source/val/accuracy"] = kept["selection/score"]
    return dataclasses.replace(
        run, metrics=kept, tags=run.tags | ({"data.fingerprint.target/val": "d"} if real else {})
    )


@pytest.mark.parametrize(
    ("real", "asked", "known"),
    [
        (True, "are best on real images?", "the real images have no labels to test with"),
        (False, "are best?", "the data have no real images"),
    ],
)
def test_without_labelled_real_images_no_accuracy_on_them_is_promised(
    tmp_path: Path, real: bool, asked: str, known: str
) -> None:
    runs = [without_labels(run, real=real) for run in search("s-1")]
    said = read(write_summary(write_experiment(runs, tmp_path / "r", features=False), link))
    assert asked in said and known in said and NO_VERDICT_UNLABELLED in said and NO_VERDICT not in said
    assert "no search sees" not in said and "test images" not in said and "has the best score" in said
    cells = {"source only": SOURCE_ONLY, "003 csg": CSG}
    fresh = [without_labels(run, real=real) for run in ablation("confirm-s-1", cells, seeds=3, lifts=(0.0, 0.1))]
    own = [without_labels(run, real=real) for run in ablation("three", cells, seeds=3, lifts=(0.0, 0.1))]
    said = read(write_summary(write_experiment([*runs, *fresh, *own], tmp_path / "f", features=False), link))
    assert "mean class accuracy on held-out synthetic images % seed by seed" in said, "the score under fresh seeds"
    assert "These seeds had no part in the choice" in said
    assert "is best, with a source accuracy of" in said, "an ablation is summed up all the same"


def test_an_ablation_is_summed_up_by_its_best_cell_and_what_cannot_be_told_from_it(tmp_path: Path) -> None:
    cells = {"source only": SOURCE_ONLY, "near": CSG, "best": CSG}
    runs = ablation("three", cells, seeds=5, lifts=(0.0, 0.099, 0.1))
    said = read(write_summary(write_experiment(runs, tmp_path / "r", features=False), link))
    assert "3 configurations under 5 seeds each, 15 of 15 runs finished" in said
    assert re.search(r"“(near|best)” is best, with a real accuracy of 6\d\.\d ± ", said)
    assert re.search(r"“(near|best)” cannot be told from it by these seeds", said)


def test_without_runs_there_is_nothing_to_sum_up(searched: RunTable) -> None:
    assert "has finished a run yet" in write_summary(dataclasses.replace(searched, runs=()), link)


def test_a_run_that_was_not_recorded_whole_is_left_out(tmp_path: Path) -> None:
    """A kill between a run's start and its settings leaves one without any."""
    runs = ablation("components", {"source only": SOURCE_ONLY, "csg": CSG}, seeds=2, lifts=(0.0, 0.1))
    begun = dataclasses.replace(runs[-1], run_id="begun", status="running", params={}, metrics={})
    table = write_experiment([*runs, begun], tmp_path / "r", features=False)
    whole = write_experiment(runs, tmp_path / "w", features=False)
    said = read(write_summary(table, link))
    assert "4 of 5 runs finished" in said
    assert said.replace("4 of 5 runs", "4 of 4 runs") == read(write_summary(whole, link))
    page = write_origins(table, {"begun"}, lambda _: "")
    assert name_run(runs[-1].run_id) in page and name_run("begun") not in page
    alone = write_origins(write_experiment([runs[0], begun], tmp_path / "a", features=False), set(), lambda _: "")
    assert "Ablation components" in alone and "seed" not in alone


def test_a_command_is_broken_between_flags_and_not_within_one(searched: RunTable) -> None:
    page = write_summary(searched, link)
    assert re.search(r"<pre>csg train <span>--method\.name</span> csg ", page)


def test_a_table_is_turned_where_its_columns_would_not_fit() -> None:
    row = [Entry(f"{number} ± 0.1", "", "m", {"r": 1.0}) for number in range(20)]
    table = Table("wide one", "Wide", arrange_cells(["cell", *map(str, range(20))], {"a": row, "b": row}), "Why.")
    page = write_table(table, link)
    assert page.count("<tr>") == 21 and "<th scope='col'>b</th>" in page and page.count("<figcaption>") == 1
    assert '<td data-heading=\'b\'><div><a href="#run-r" title="m of 1 run: r">19 <span>± 0.1</span></a></div>' in page
    assert name_anchor("wide one") == "wide-one" and "id='wide-one'" in page
