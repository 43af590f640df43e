"""A method from outside the package: the README's example, and what happens where it cannot be used."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from csg import cli
from csg.identity import config_id
from csg.methods import find_method
from csg.methods.method import Method
from csg.parsing import config_from_flat
from csg.settings import ConfigError
from tests.few_images import few_images

README = (Path(__file__).parents[1] / "README.md").read_text()
EXAMPLE = next(block for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL) if "(Method)" in block)
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
    assert config_from_flat(flat).method.name == "confidence_penalty"
    with pytest.raises(ConfigError, match=r"method\.wieght: no such setting; the nearest valid name is method\.weight"):
        config_from_flat({"method.path": f"{example}:ConfidencePenalty", "method.wieght": 0.5})


def test_its_source_is_part_of_what_is_computed_and_its_place_is_not(example: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    copy, edited = tmp_path / "elsewhere" / "copy.py", tmp_path / "edited.py"
    copy.write_text(EXAMPLE)
    edited.write_text(EXAMPLE + "# another line\n")
    here, there, other = (
        config_id(config_from_flat({"method.path": f"{path}:ConfidencePenalty"})) for path in (example, copy, edited)
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
        ids.add(config_id(config_from_flat({"method.path": f"{mine}:Mine"})))
    assert len(ids) == 2


def test_a_subclass_of_a_shipped_method_is_another_computation(tmp_path: Path) -> None:
    mine = tmp_path / "mine.py"
    mine.write_text("from csg.methods.csg import Csg\n\nclass Mine(Csg):\n    two_views = False\n")
    assert config_id(config_from_flat({"method.path": f"{mine}:Mine"})) != config_id(config_from_flat({}))


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
    with pytest.raises(ConfigError, match=message):
        config_from_flat({"method.name": "mine"})


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("ConfidencePenalty", "expected module:NAME or path/to/file.py:NAME"),
        ("nowhere.py:ConfidencePenalty", "expected a Python file, found nothing at"),
        ("no_such_module:ConfidencePenalty", r"cannot import no_such_module \(ModuleNotFoundError"),
        ("confidence_penalty.py:Penalty", "has no Penalty"),
        ("confidence_penalty.py:ConfidencePenaltyConfig", "expected a subclass of csg.methods.method.Method"),
        ("broken.py:X", r"cannot import .*broken\.py \(SyntaxError"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(example: Path, path: str, message: str) -> None:
    (example.parent / "broken.py").write_text("def (")
    with pytest.raises(ConfigError, match=f"method.path: .*{message}"):
        config_from_flat({"method.path": path})


def test_a_name_that_contradicts_the_path_is_refused(example: Path) -> None:
    with pytest.raises(ConfigError, match=r"method\.name: expected 'confidence_penalty'"):
        config_from_flat({"method.path": f"{example}:ConfidencePenalty", "method.name": "csg"})
