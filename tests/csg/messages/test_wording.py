"""Numbers stand with the noun that fits, and messages never with an empty list."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from analysis import paper_tables, report, trace
from analysis.export_runs import ExportOptions
from analysis.figures.pictures import Shown
from analysis.motivating_example import ExampleOptions
from analysis.paper_figures import FigureOptions
from analysis.paper_tables import TableOptions
from analysis.report import ReportOptions
from csg.config import TrainConfig
from csg.data.fault import KINDS_IN_WORDS, Kind
from csg.messages.wording import format_numbers, is_or_are, pluralize
from csg.tracking import TrackedRun
from csg.training.selection import PROTOCOLS
from tests.analysis.tables.test_tables import GOLDEN
from tune_spaces.search.options import SearchOptions

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (0, "run", "0 runs"),
        (1, "image", "1 image"),
        (1204, "image", "1,204 images"),
        (1, "class", "1 class"),
        (2, "class", "2 classes"),
        (3, "epoch", "3 epochs"),
        (1.0, "CPU", "1 CPU"),
        (8.0, "CPU", "8 CPUs"),
        (0.5, "GPU", "0.5 GPUs"),
    ],
)
def test_a_noun_follows_its_number(count: float, noun: str, text: str) -> None:
    assert pluralize(count, noun) == text


def test_irregular_nouns_and_verbs_too() -> None:
    assert pluralize(1, "target query", "target queries") == "1 target query"
    assert pluralize(3, "search", "searches") == "3 searches"
    assert pluralize(0, "target query", "target queries") == "0 target queries"
    assert (is_or_are(0), is_or_are(1), is_or_are(2)) == ("are", "is", "are")


def test_things_are_named_once_and_in_order() -> None:
    assert format_numbers("seed", [0, 0]) == "seed 0"
    assert format_numbers("seed", [1, 0, 1]) == "seeds 0, 1"
    assert format_numbers("seed", [4, 3, 2, 1, 0]) == "seeds 0 to 4"
    assert format_numbers("seed", [0, 2, 5]) == "seeds 0, 2, 5"


def test_every_kind_of_fault_has_a_singular_and_a_plural() -> None:
    assert set(KINDS_IN_WORDS) == set(get_args(Kind))
    assert pluralize(2, *KINDS_IN_WORDS["class without images"]) == "2 classes without images"
    assert pluralize(1, *KINDS_IN_WORDS["class without images"]) == "1 class without images"
    assert pluralize(3, *KINDS_IN_WORDS["listed but absent"]) == "3 images listed but absent"


def test_a_search_offers_the_protocols_that_it_takes() -> None:
    offered, _ = get_args(get_type_hints(SearchOptions)["protocol"])
    assert get_args(offered) == PROTOCOLS == ("source", "shifted", "held_out_source", "unlabelled", "oracle")


@pytest.mark.parametrize(("name", "said"), [("+ A-pool seed 0", "+ A-pool seed 0"), ("003 csg", "003 csg, seed 0")])
def test_a_caption_names_a_seed_once(name: str, said: str) -> None:
    run = TrackedRun("id", name, "finished", {"train.seed": 0}, {}, {})
    assert Shown("CSG", run, {}).text == f"CSG: {said}"


@pytest.mark.parametrize(
    ("cell", "message"),
    [
        (
            "features",
            "--figures: expected a folder that analysis/paper_figures.py wrote, found no folder figures; run ",
        ),
        (
            "a:b:c",
            "--tables: expected a folder that analysis/paper_tables.py wrote, found no folder tables; run python ",
        ),
    ],
)
def test_without_a_folder_a_trace_says_what_to_run_first(
    cell: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert trace.main([cell]) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    (tmp_path / "tables").mkdir()
    (tmp_path / "figures").mkdir()
    assert trace.main([cell]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert message.replace("no folder", "none of its files in") in said and "first" in said


def test_a_table_alone_is_asked_for_a_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert paper_tables.main(["--runs", str(GOLDEN)]) == 0
    assert trace.main(["ablation_components"]) == 2
    said = capsys.readouterr().err
    assert "is a table; expected a cell of it, such as 'ablation_components:source only:real accuracy %'" in said


@pytest.mark.parametrize(
    ("out", "file"), [("new", "new/report.html"), ("page.html", "page.html"), ("new/page.HTML", "new/page.HTML")]
)
def test_a_report_goes_into_a_folder_or_is_the_page_that_is_named(
    out: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "write_page", lambda _table, _options: "<html></html>")
    assert report.main(["--runs", str(GOLDEN), "--out", str(tmp_path / out)]) == 0
    assert (tmp_path / file).read_text() == "<html></html>"
    assert capsys.readouterr().out.strip() == str(tmp_path / file)


def test_what_scripts_write_by_default_is_ignored_in_a_clone() -> None:
    options = (TableOptions(), ReportOptions(), ExportOptions(), FigureOptions(), ExampleOptions())
    own = [*(str(each.out) for each in options), TrainConfig().output]
    written = list(dict.fromkeys([*own, "predictions/a.png", "predictions.csv", "m.onnx"]))
    folders = [name if "." in name or "/" in name else f"{name}/file" for name in written]
    found = subprocess.run(
        ["git", "check-ignore", "--no-index", *folders],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if found.returncode == 128:
        pytest.skip("not a clone")
    assert found.stdout.split() == folders
