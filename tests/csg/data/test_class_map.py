"""Classes whose names differ between the sides: the file that says so, and what is proposed for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from csg import cli
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check
from csg.data.labelled_set import load_labelled_set
from csg.data.pair import TARGET_TEST, TARGET_VAL, LabelledImages
from csg.messages.errors import UserError
from tests.checked_data import forget
from tests.csg.commands.test_cli import run as run_command
from tests.made_up_pair import labelled
from tests.published_trees import write_folders

LINES = "automobile: car\nvan: car\nsign: street sign\ncat: null\n"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A source of three classes, and a target with other names for two of them and one that the source lacks."""
    forget()
    write_folders(tmp_path)
    write_folders(tmp_path / "other", ("automobile", "sign", "vélo", "van", "cat"))
    (tmp_path / "other" / "photographs").rename(tmp_path / "target")
    return tmp_path


def settings(root: Path, lines: str | None) -> DataConfig:
    path = root / "classes.yaml"
    if lines is not None:
        path.write_text(lines, encoding="utf-8")
    source, target, cache = (str(root / name) for name in ("renders", "target", "cache"))
    given = None if lines is None else str(path)
    return DataConfig(name="folders", source=source, target=target, cache=cache, image_size=32, class_map=given)


def test_folders_of_the_target_get_the_names_of_the_source(root: Path) -> None:
    pair = load_pair(settings(root, LINES))
    assert pair.classes == ("car", "street sign", "vélo")
    labels = [label for name in (TARGET_VAL, TARGET_TEST) for label in labelled(pair, name).labels.tolist()]
    assert [labels.count(label) for label in range(3)] == [10, 5, 5]


def test_what_is_left_out_is_no_fault(root: Path) -> None:
    report = check(settings(root, LINES))
    assert report.usable and not report.faults
    assert report.domains["target"]["images"] == 20


def test_without_a_map_the_check_proposes_one_that_works(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "target" / "sign").rename(root / "target" / "streetsigns")
    folders = [*("--data.source", str(root / "renders")), *("--data.target", str(root / "target"))]
    argv = ["data", "check", "--data.name", "folders", *folders]
    code = cli.main(argv)
    said = capsys.readouterr().out
    assert code == 1 and "Only the target has these names" in said
    proposed = [line.strip() for line in said.splitlines() if line.startswith("  ") and ": " in line]
    assert "streetsigns: street sign" in proposed and "automobile: null" in proposed
    lines = [line.replace("automobile: null", "automobile: car") for line in proposed if line.count(":") == 1]
    assert load_pair(settings(root, "\n".join(lines))).classes == ("car", "street sign", "vélo")


def test_another_labelled_set_may_have_a_map_too(root: Path) -> None:
    stream = load_labelled_set(settings(root, LINES), ("street sign", "vélo", "car", "bus"), side=32)
    assert isinstance(stream, LabelledImages)
    assert [stream.labels.tolist().count(label) for label in range(4)] == [5, 5, 10, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("automobil: car", "expected names of sub-folders of the target .*, found 'automobil' in .*'automobile'"),
        ("automobile: cars", "expected names of classes of the source .*, found 'cars' in .*; the nearest is 'car'"),
        ("- automobile", "found list in"),
        ("", "found nothing in"),
        ("automobile: 3", "found 3 in .*; put a name that is not read as text into quotation marks"),
        ("yes: car", "found True in"),
        ("automobile: [", r"cannot read .* as YAML"),
        ("automobile: car\nautomobile: vélo", "automobile is set twice"),
    ],
)
def test_a_map_that_names_nothing_is_refused(root: Path, lines: str, message: str) -> None:
    with pytest.raises(UserError, match=rf"data\.class_map: .*{message}"):
        load_pair(settings(root, lines))


def test_a_map_needs_a_file_and_a_target(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (root / "classes.yaml").write_text(LINES)
    folders = ["--data.name", "folders", "--data.source", str(root / "renders")]
    for argv, message in (
        (["--data.class-map", str(root / "classes.yaml")], "data.class_map: expected data.target"),
        (["--data.class-map", "nowhere", "--data.target", str(root / "target")], "cannot read"),
    ):
        code, said = run_command(cli.main, ["data", "check", *folders, *argv], capsys)
        assert code == 2 and message in said
