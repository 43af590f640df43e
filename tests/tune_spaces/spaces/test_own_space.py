"""A search space of one's own: its defaults are the ones that count, and what cannot be searched is refused."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from csg.config.settings import flatten
from csg.messages.errors import UserError
from csg.parsing import build_config, parse_flags
from csg.storage.disk import DiskPlace
from tests.tune_spaces.search.simulated_search import searcher
from tune_spaces import visda_search
from tune_spaces.search.journal import Journal
from tune_spaces.search.options import SearchOptions
from tune_spaces.spaces.narrowing import check_space, narrow_space
from tune_spaces.spaces.shipped import SPACES, find_space
from tune_spaces.spaces.space import Choice, Float, Space

FILE = """
from tune_spaces.spaces.space import Choice, Float, Space
SPACE = Space({parameters})
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Write a space to a file, and return what ``--space`` takes."""
    monkeypatch.chdir(tmp_path)

    def write(parameters: str) -> str:
        (tmp_path / "own.py").write_text(FILE.format(parameters=parameters))
        return "own.py:SPACE"

    return write


def started(place: str, *argv: str) -> dict[str, Any]:
    """Return the default trial of a search of this space."""
    flags = parse_flags(SearchOptions, ["--space", place, *argv], prog="search", description="")
    declared = find_space(place, method=flags.config.method.name, data=flags.config.data)
    space = narrow_space(declared, flags.config, flags.given, flags.stated)
    return space.make_point(flatten(flags.config))


def test_the_default_trial_is_the_spaces_own_unless_a_file_or_a_flag_says_otherwise(
    written: Callable[[str], str], tmp_path: Path
) -> None:
    place = written('(Float("method.temperature", 2, 1, 5), Choice("method.queue_size", 64, (64, 256)))')
    assert started(place) == {"method.temperature": 2.0, "method.queue_size": 64}
    (tmp_path / "c.yaml").write_text("method.temperature: 3.0\nmethod.stage3.weight: null\n")
    assert started(place, "--config", "c.yaml") == {"method.temperature": 3.0, "method.queue_size": 64}
    assert started(place, "--method.queue-size", "1024") == {"method.temperature": 2.0}
    (tmp_path / "c.yaml").write_text("method.temperature: 0.1\n")
    with pytest.raises(UserError, match=r"method\.temperature: the space searches 1 to 5, found 0\.1"):
        started(place, "--config", "c.yaml")


def test_what_a_file_says_of_every_stage_is_where_a_stage_starts(written: Callable[[str], str], tmp_path: Path) -> None:
    place = written('(Float("method.stage3.weight", 1, 0.1, 5), Float("method.stage4.weight", 1, 0.1, 5))')
    (tmp_path / "c.yaml").write_text("method: {weight: 0.5, stage4: {weight: 2.0}}\n")
    assert started(place) == {"method.stage3.weight": 1.0, "method.stage4.weight": 1.0}
    assert started(place, "--config", "c.yaml") == {"method.stage3.weight": 0.5, "method.stage4.weight": 2.0}


def test_shipped_spaces_start_at_what_is_the_pairs_own() -> None:
    config = build_config({"data.name": "glyph_scenes"})
    point = narrow_space(SPACES["learning_rates"], config, given={}).make_point({})
    assert point["optim.lr"] == config.optim.lr != build_config({"data.name": "gta5_cityscapes"}).optim.lr
    assert all(space.follows for space in SPACES.values())


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ('(Float("a.b", default=2, low=0.1, high=1.0),)', "a.b: expected a default that is searched (0.1 to 1), found"),
        (
            '(Float("a.b", 2, 0.1, 1.0, when=lambda point: False),)',
            "a.b: expected a default that is searched (0.1 to 1), found 2.0",
        ),
        ('(Float("a.b", 0.5, 0, 1, log=True),)', "a.b: expected low to be more than 0 with log=True, found 0"),
        ('(Float("a.b", 0.5, 1, 0),)', "a.b: expected low to be at most high, found 1 and 0"),
        ('(Float("a.b", "hot", 0, 1),)', "a.b: expected a finite number as default, found 'hot'"),
        ('(Float("a.b", 1, 0, float("inf")),)', "a.b: expected a finite number as high, found inf"),
        ('(Float("a.b", 1, True, 2),)', "a.b: expected a finite number as low, found True"),
        ('(Float("a.b", 0, -1, 1, relative=True),)', "a.b: expected a default above 0 with relative=True, found 0"),
        ('(Float("a.b", 1, 0, 2, when="always"),)', "a.b: expected a function of the point as when, found 'always'"),
        ("(Float(3, 1, 0, 2),)", "a space: expected a setting's dotted name, found 3"),
        ('(Choice("a.b", 3, (1, 2)),)', "a.b: expected a default that is searched (1, 2), found 3"),
        ('(Choice("a.b", True, (1, 2)),)', "a.b: expected a default that is searched (1, 2), found True"),
        ('(Choice("a.b", 1, ()),)', "a.b: expected at least one option, in a tuple, found ()"),
        ('(Choice("a.b", "x", "xyz"),)', "a.b: expected at least one option, in a tuple, found 'xyz'"),
        ('(Choice("a.b", 1, (1, 1)),)', "a.b: expected options that differ, found 1 twice"),
        ('(Choice("a.b", 1, (1, [2])),)', "a.b: expected texts, numbers, True, False or None, found [2]"),
        ('(Float("a.b", 1, 0, 2), Float("a.b", 1, 0, 2))', "a.b: expected one parameter of this name in the space"),
        ('("a.b",)', "a space: expected parameters (Float or Choice), found 'a.b'"),
        ('Float("a.b", 1, 0, 2)', "a space: expected a tuple of parameters, found Float("),
        ("()", "expected a space with at least one parameter, found none in own.py:SPACE"),
        ('(Float("method.temprature", 1, 0.5, 2),)', "method.temprature: no such setting; the nearest valid name is"),
        ('(Float("train.epochs", 1, 1, 3),)', "train.epochs: expected a valid integer, found 1.0"),
        ('(Float("method.pooling", 1, 1, 3),)', "method.pooling: expected 'apool' or 'average', found 1.0"),
        ('(Float("method.temperature", 1, 0.5, 20),)', "method.temperature: expected more than 0 and at most 10"),
        ('(Choice("method.pooling", "apool", ("apool", "max")),)', "method.pooling: expected 'apool' or 'average'"),
        (
            '(Float("method.temprature", 1, 0.5, 2, when=lambda point: False),)',
            "method.temprature: no such setting; the nearest valid name is method.temperature",
        ),
        (
            '(Float("optim.lr", 1, 0.5, 2, when=lambda p: p["method.temp"] > 1),)',
            "optim.lr: expected its condition to answer True or False, found KeyError: 'method.temp'",
        ),
    ],
)
def test_a_space_that_cannot_be_searched_is_refused_in_one_line(
    parameters: str, message: str, written: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert visda_search.main(["--space", written(parameters)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: --space: ") and message in line


def test_conditions_are_asked_at_combinations_of_options_too() -> None:
    stages, pooling = Choice("method.stages", "3", ("3", "4")), Choice("method.pooling", "apool", ("apool", "average"))

    def late(point: Any) -> bool:
        return bool(point["method.stages"] == "3") or bool(point["method.pooling"] == "apool" or point["method.none"])

    config = build_config({})
    space = Space((stages, pooling, Float("optim.lr", 0.1, 0.01, 1, when=late)))
    base = {name: value for name, value in flatten(config).items() if name not in space.names}
    with pytest.raises(UserError, match=r"optim\.lr: expected its condition to answer"):
        check_space(space, base, config)


def test_what_a_condition_is_made_of_does_not_matter_to_tune(tmp_path: Path) -> None:
    space = Space((Float("optim.lr", 0.1, 0.01, 1, when=lambda point: True),))
    search = searcher(Journal(DiskPlace(tmp_path / "journal.jsonl")), space=space)
    search.save(str(tmp_path / "searcher.pkl"))
    assert (tmp_path / "searcher.pkl").exists()


CONDITIONS = {
    "a function": "Condition = lambda: lambda point: point['optim.lr'] > {bound}",
    "a dataclass": """
from dataclasses import dataclass
@dataclass(frozen=True)
class Condition:
    name: str = "optim.lr"
    def __call__(self, point):
        return point[self.name] > {bound}
""",
    "a partial": """
from functools import partial
from operator import lt
Condition = lambda: partial(lt, {bound})
""",
}
"""What makes a condition, with a bound in its text or its arguments."""


@pytest.mark.parametrize("made", CONDITIONS.values(), ids=CONDITIONS)
def test_a_condition_of_another_text_makes_another_search(
    made: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    described = []
    for bound in ("0.01", "0.025", "0.01"):  # of another length, or a compiled file would stand for it
        monkeypatch.delitem(sys.modules, "own_space", raising=False)
        parameters = '(Float("optim.lr", 0.1, 0.01, 1), Float("method.temperature", 1, 1, 2, when=Condition()))'
        (tmp_path / "own_space.py").write_text(made.format(bound=bound) + FILE.format(parameters=parameters))
        importlib.invalidate_caches()
        described.append(find_space("own_space:SPACE", method="csg", data=build_config({}).data).describe())
    assert described[0] != described[1] and described[0] == described[2]
