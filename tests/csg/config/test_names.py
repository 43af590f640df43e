"""Names that are made safe stay different, and safe ones stay as they are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from csg.config.names import make_folder_name, make_metric_name
from csg.messages.errors import UserError
from csg.tracking import Tracker, read_experiment
from csg.tracking.classes import make_class_tags, read_classes

BYTES = st.binary(min_size=1, max_size=60).map(os.fsdecode)
PREFIX = "target/test/class_accuracy/"


@pytest.mark.parametrize("name", ["E0_mhe", "class_accuracy/traffic light", "class_iou/Tür", "class_iou/car-2.b:c"])
def test_a_name_that_mlflow_takes_stays(name: str) -> None:
    assert make_metric_name(f"target/test/{name}") == f"target/test/{name}"


def test_classes_that_differ_in_one_sign_have_metrics_of_their_own() -> None:
    made = {make_metric_name(PREFIX + name) for name in ("a,b", "a;b", "a_b", "a[b", "stra\udcdfe", "stra\udcdee")}
    assert len(made) == 6
    assert make_metric_name(PREFIX + "car (old), R&B").startswith(PREFIX + "car _old__ R_B:")
    assert make_metric_name(make_metric_name(PREFIX + "a,b")) != make_metric_name(PREFIX + "a,b"), (
        "nobody can take another's name"
    )


@given(BYTES, BYTES)
def test_metrics_are_safe_and_different(one: str, other: str) -> None:
    made = make_metric_name(PREFIX + one)
    assert len(made) <= 250
    made.encode()
    assert (made == make_metric_name(PREFIX + other)) == (one == other)


@pytest.mark.parametrize("name", ["glyphs", "glyph_scenes", "visda17", "a.b-c_1"])
def test_a_plain_experiment_has_a_folder_of_its_name(name: str) -> None:
    assert make_folder_name(name) == name


@pytest.mark.parametrize(
    "name",
    ["/team/me/exp", "..", ".", "a/b", "", "x" * 400, "ü" * 200, "Exp", "exp.", "exp ", " ", "~", "-rf", "a\0b"],
)
def test_any_other_experiment_has_a_folder_in_its_place(name: str, tmp_path: Path) -> None:
    path = tmp_path / make_folder_name(name)
    path.mkdir()
    assert path.resolve().parent == tmp_path.resolve()


@given(BYTES, BYTES)
def test_two_experiments_share_no_folder_even_where_case_is_ignored(one: str, other: str) -> None:
    assert (make_folder_name(one).casefold() == make_folder_name(other).casefold()) == (one == other)
    assert make_folder_name("Exp").casefold() != make_folder_name("exp").casefold()
    assert make_folder_name(make_folder_name("/exp")) != make_folder_name("/exp")


def test_an_experiment_whose_name_is_no_text_is_refused(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/m.db"
    for act in (Tracker, read_experiment):
        with pytest.raises(UserError, match=r"--experiment: expected a name in UTF-8, found 'stra\\udcdfe'"):
            act(uri, "stra\udcdfe")
    assert not list(tmp_path.iterdir())


def test_class_names_of_any_length_come_back_from_tags() -> None:
    classes = ("a,b", "a;b", "stra\udcdfe", "x\ny", *(f"class {number:04}" for number in range(1000)))
    tags = make_class_tags(classes)
    assert read_classes(tags) == classes and read_classes({}) == ()
    assert len(tags) > 1 and all(len(value) <= 4000 for value in tags.values())
    assert make_class_tags("ab").keys() == {"csg.classes"}
