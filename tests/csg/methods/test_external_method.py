"""A method from outside the package: the page's example, and what happens where it cannot be used."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from csg import cli
from csg.config.external import resolve_place
from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.methods import find_method
from csg.methods.method import Method
from csg.parsing import build_config, parse_flags
from csg.tracking import Tracker, get_default_tracking_uri
from csg.tracking.tags import Tag
from csg.training.identity import compute_config_id
from tests import warm
from tests.few_images import SMALL_ENCODER, few_images
from tests.finished_run import write_images
from tests.made_up_pair import made_up_pair
from tune_spaces.search.options import SearchOptions

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "methods.md").read_text()
EXAMPLE = next(block for block in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "(Method)" in block)
SMALL = ["--data.source-images", "40", "--train.epochs", "1", "--train.batch-size", "8", "--tracking-uri", "none"]


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "confidence_penalty.py"
    path.write_text(EXAMPLE)
    return path


def test_the_readmes_example_trains(example: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["train", "--method.path", "confidence_penalty.py:ConfidencePenalty", "--method.weight", "0.5", *SMALL]
    assert cli.main([*command, *few_images()]) == 0
    assert "confidence_penalty on synthetic images" in capsys.readouterr().out


def test_the_readmes_example_has_settings_like_any_other(example: Path) -> None:
    flat = {"method.path": f"{example}:ConfidencePenalty", "method.weight": 0.5}
    assert build_config(flat).method.name == "confidence_penalty"
    with pytest.raises(UserError, match=r"method\.wieght: no such setting; the nearest valid name is method\.weight"):
        build_config({"method.path": f"{example}:ConfidencePenalty", "method.wieght": 0.5})


def test_its_source_is_part_of_what_is_computed_and_its_place_is_not(example: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy, edited = tmp_path / "elsewhere" / "copy.py", tmp_path / "edited.py"
    copy.write_text(EXAMPLE)
    edited.write_text(EXAMPLE + "# another line\n")
    here, there, other = (
        compute_config_id(build_config({"method.path": f"{path}:ConfidencePenalty"}))
        for path in (example, copy, edited)
    )
    assert here == there != other


def test_the_file_of_a_base_class_is_part_of_what_is_computed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    ids = set()
    for number, line in enumerate(("two_views = False", "two_views = True")):
        base = f"base_{number}"
        (tmp_path / f"{base}.py").write_text(f"from csg.methods.csg import Csg\n\nclass Base(Csg):\n    {line}\n")
        mine = tmp_path / f"{base}_mine.py"
        mine.write_text("import sys\n\nBase = sys.modules[__file__[-14:-8]].Base\n\nclass Mine(Base):\n    pass\n")
        importlib.import_module(base)
        ids.add(compute_config_id(build_config({"method.path": f"{mine}:Mine"})))
    assert len(ids) == 2


def test_a_subclass_of_a_shipped_method_is_another_computation(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("from csg.methods.csg import Csg\n\nclass Mine(Csg):\n    two_views = False\n")
    assert compute_config_id(build_config({"method.path": f"{mine}:Mine"})) != compute_config_id(build_config({}))


def offer(folder: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a package that offers a method."""
    package = folder / "somebodys-1.0.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: somebodys\nVersion: 1.0\n")
    (package / "entry_points.txt").write_text(f"[csg.methods]\n{line}\n")
    monkeypatch.syspath_prepend(folder)


def test_an_installed_package_offers_methods_by_entry_point(
    example: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    offer(tmp_path, "confidence_penalty = confidence_penalty:ConfidencePenalty", monkeypatch)
    method = find_method({"method.name": "confidence_penalty"})
    assert issubclass(method, Method) and method.__name__ == "ConfidencePenalty"
    command = ["train", "--method.name", "confidence_penalty", "--method.weight", "1", *few_images(), *SMALL]
    assert cli.main(command) == 0
    assert "train/loss_negative_entropy" in next(tmp_path.rglob("record.json")).read_text()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mine = mine:Mine", r"mine = mine:Mine calls itself 'csg'; expected its Config"),
        ("mine = mine:NOTHING", r"should be a subclass of csg\.methods\.method\.Method, found 3"),
        ("mine = no_such_module:Mine", r"cannot be imported \(ModuleNotFoundError"),
    ],
)
def test_an_entry_point_that_offers_no_method_of_its_name_is_refused(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("from csg.methods.csg import Csg\n\nNOTHING = 3\nclass Mine(Csg): pass\n")
    offer(tmp_path, line, monkeypatch)
    with pytest.raises(UserError, match=message):
        build_config({"method.name": "mine"})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ConfidencePenalty", "expected module:NAME or path/to/file.py:NAME"),
        ("nowhere.py:ConfidencePenalty", "expected a Python file, found nothing at"),
        ("no_such_module:ConfidencePenalty", r"cannot import no_such_module \(ModuleNotFoundError"),
        ("confidence_penalty.py:Penalty", "has no Penalty"),
        ("confidence_penalty.py:ConfidencePenaltyConfig", "expected a subclass of csg.methods.method.Method"),
        ("leaves.py:X", r"cannot import leaves\.py \(SystemExit: 3"),
        ("reads.py:X", r"cannot import reads\.py \(FileNotFoundError"),
        ("nameless.py:X", "to have a Config, a subclass of csg.config.MethodConfig"),
        ("broken.py:X", r"cannot import .*broken\.py \(SyntaxError"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(example: Path, path: str, message: str) -> None:
    (example.parent / "broken.py").write_text("def (")
    (example.parent / "leaves.py").write_text("raise SystemExit(3)")
    (example.parent / "reads.py").write_text("open('nowhere.txt')")
    (example.parent / "nameless.py").write_text("from csg.methods.method import Method as X")
    with pytest.raises(UserError, match=f"method.path: .*{message}"):
        build_config({"method.path": path})


def test_a_name_that_contradicts_the_path_is_refused(example: Path) -> None:
    with pytest.raises(UserError, match=r"method\.name: expected 'confidence_penalty'"):
        build_config({"method.path": f"{example}:ConfidencePenalty", "method.name": "csg"})


def test_a_file_imports_what_lies_beside_it_now_and_later(tmp_path: Path) -> None:
    (tmp_path / "beside_one.py").write_text("VIEWS = False\n")
    (tmp_path / "beside_two.py").write_text("NAME = 'later'\n")
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from beside_one import VIEWS\nfrom csg.methods.csg import Csg\n\nclass Mine(Csg):\n    two_views = VIEWS\n\n"
        "    @staticmethod\n    def later():\n        import beside_two\n        return beside_two.NAME\n"
    )
    found: Any = find_method({"method.path": f"{mine}:Mine"})
    assert found.two_views is False and found.later() == "later"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["mine_here", "space"]
)  # tune_spaces/spaces/space.py is on the path of a script beside it
def test_a_module_in_the_current_folder_is_found_and_other_processes_are_told_its_file(
    name: str, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "tune_spaces")
    example.rename(example.with_name(f"{name}.py"))
    flags = parse_flags(SearchOptions, ["--method.path", f"{name}:ConfidencePenalty"], prog="search", description="")
    assert flags.config.method.name == "confidence_penalty"
    assert flags.config.method.path == f"{example.parent / name}.py:ConfidencePenalty"
    ask = "import json, sys; from csg.parsing import build_config as made; "
    ask += "print(made(json.load(sys.stdin)).method)"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", ask],
        input=json.dumps(flatten(flags.config)),
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert "name='confidence_penalty'" in done.stdout, done.stderr


def test_a_module_that_is_on_the_path_stays_as_it_is(example: Path) -> None:
    assert resolve_place("csg.methods.csg:Csg") == "csg.methods.csg:Csg"
    assert resolve_place("nowhere:Csg") == "nowhere:Csg"


@pytest.mark.slow
def test_an_ablation_and_a_search_whose_winners_are_confirmed_train_a_method_from_a_file_in_their_workers(
    in_cluster: None, example: Path, tmp_path: Path
) -> None:
    (tmp_path / "beside.py").write_text("WEIGHTS = (0.1, 0.5)\n")
    (tmp_path / "mine.py").write_text(
        "from beside import WEIGHTS\nfrom tune_spaces.designs.design import Cell, Design\n"
        "from tune_spaces.spaces.space import Float, Space\n"
        "DESIGN = Design('Weights', tuple(Cell(f'{w}', {'method.weight': w}) for w in WEIGHTS), '0.1')\n"
        "SPACE = Space((Float('method.weight', 0.2, 0.1, 1, when=lambda point: point['optim.lr'] > 0),))\n"
    )
    pair = made_up_pair()
    write_images(tmp_path / "renders", pair, "source/train")
    write_images(tmp_path / "photographs", pair, "target/test")
    flags = [
        *("--data.name", "folders", "--data.source", "renders", "--data.target", "photographs"),
        *("--data.image-size", "32", "--train.epochs", "1", "--train.batch-size", "8", "--concurrency", "1"),
        *("--method.path", "confidence_penalty:ConfidencePenalty", *SMALL_ENCODER),
    ]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for script, own in (
        ("visda_ablation.py", ["--design", "mine:DESIGN", "--seeds", "1"]),
        ("visda_search.py", ["--space", "mine.py:SPACE", "--num-samples", "2", "--confirm-top", "1", "--seeds", "1"]),
    ):
        command = [sys.executable, str(ROOT / "tune_spaces" / script), *flags, *own]
        done = warm.run(command, cwd=tmp_path, env=environment)
        assert done.returncode == 0, done.stdout + done.stderr
        assert " failed  " not in done.stdout and "Traceback" not in done.stderr
    tracker = Tracker(get_default_tracking_uri(str(tmp_path / "runs")), "folders")
    runs = tracker.client.search_runs([tracker.experiment_id])
    assert len(runs) == 3 + 2 + 2 + 2 and {run.info.status for run in runs} == {"FINISHED"}
    [verdict] = [run.data.tags[Tag.VERDICT] for run in runs if Tag.VERDICT in run.data.tags]
    assert verdict.splitlines() == done.stdout.partition("Verdict\n")[2].split("\n\n")[0].strip().splitlines()
