"""Whatever is wrong with a command line or a file of settings, it is one sentence and exit code 2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from analysis import export_runs, paper_figures, paper_tables, report, trace
from analysis import motivating_example as drawn_example
from csg import cli
from csg.config.words import parse_value
from csg.messages.errors import UserError
from csg.parsing import build_config, parse_flags
from tests.csg.commands.test_cli import Main, train
from tune_spaces import gta5_search, motivating_example, visda_ablation, visda_search
from tune_spaces.search.options import SearchOptions

ALL: dict[str, Main] = {
    "train": train,
    "evaluate": lambda argv: cli.main(["evaluate", *argv]),
    "check": lambda argv: cli.main(["data", "check", *argv]),
    "search": visda_search.main,
    "gta5_search": gta5_search.main,
    "ablation": visda_ablation.main,
    "example": motivating_example.main,
}
SCRIPTS: dict[str, Main] = {
    "tables": paper_tables.main,
    "figures": paper_figures.main,
    "report": report.main,
    "drawn example": drawn_example.main,
    "export_runs": export_runs.main,
    "trace": trace.main,
    "predict": lambda argv: cli.main(["predict", *argv]),
    "export": lambda argv: cli.main(["export", *argv]),
}


@pytest.fixture
def refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[Main, list[str]], str]:
    """Run a command that has to be refused, and return the sentence."""
    monkeypatch.chdir(tmp_path)

    def refused(main: Main, argv: list[str]) -> str:
        assert main(argv) == 2
        said = capsys.readouterr()
        (line,) = said.err.splitlines()
        assert line.startswith("error: ") and "pydantic" not in line and said.out == ""
        return line.removeprefix("error: ")

    return refused


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (
            ["--train.batch-size", "7", "--train.workers", "2"],
            "train.workers: expected a divisor of train.batch_size (7)",
        ),
        (["--train.batch-size=-1"], "train.batch_size: expected at least 1, found -1"),
        (["--nope", "1"], "--nope: unrecognized flag"),
    ],
)
def test_every_command_refuses_settings_in_one_sentence(
    name: str, argv: list[str], message: str, refusal: Callable[[Main, list[str]], str]
) -> None:
    assert message in refusal(ALL[name], argv)


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_refuses_its_flags_in_one_sentence(name: str, refusal: Callable[[Main, list[str]], str]) -> None:
    assert "--nope: unrecognized flag; --help lists all" in refusal(SCRIPTS[name], ["--nope"])


@pytest.mark.parametrize("name", [*ALL, *SCRIPTS])
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        (ALL | SCRIPTS)[name](["--config", "none.yaml", "--help"] if name in ALL else ["--help"])
    assert left.value.code == 0
    assert "usage:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--train.epochs"], "--train.epochs: expected a value, found none"),
        (["--train.epochs", "--optim.lr", "1"], "--train.epochs: expected a value, found none"),
        (["--train.epochs", ""], "--train.epochs: expected a value, found an empty text"),
        (["--train.epochs="], "--train.epochs: expected a value, found an empty text"),
        (["--train.epochs", "1.5"], "--train.epochs: expected a whole number, found '1.5'"),
        (["--train.epochs", "1", "2"], "2: expected a flag (--name), found this word after --train.epochs"),
        (["--train.seed", "9" * 30], "--train.seed: expected a whole number of at most 18 digits"),
        (["--train.epochs", "9" * 5000], "--train.epochs: expected a whole number of at most 18 digits"),
        (["--method.queue-size", "9" * 18], "method.queue_size: expected at least 1 and less than 2,147,483,648"),
        (["--optim.lr", "nan"], "--optim.lr: expected a number, found 'nan'"),
        (["--optim.lr", "1e400"], "--optim.lr: expected a number, found '1e400'"),
        (["--optim.name", "adam"], "--optim.name: expected one of sgd, adamw, found 'adam'"),
        (["--model.frozen-statistics"], "--model.frozen-statistics: expected a value, found none"),
        (["--model.frozen-statistics", "1"], "--model.frozen-statistics: expected True or False, found '1'"),
        (["--dry-run=yes"], "--dry-run: expected no value, found 'yes'"),
        (["--dry-run", "yes"], "yes: expected a flag (--name), found this word after --dry-run"),
        (["--data.root", ""], "--data.root: expected a value, found an empty text"),
        (["--tracking-uri", ""], "--tracking-uri: expected a value, found an empty text"),
        (["--config", ""], "--config: expected a value, found an empty text"),
        (["--config", "."], "--config: cannot read . (Is a directory)"),
        (["stray"], "stray: expected a flag (--name), found this word"),
        (["-x"], "-x: expected a flag (--name), found this word"),
        (["--"], "--: unrecognized flag"),
        (["--method.name", "source_only", "--method.temperature", "1"], "--method.temperature: unrecognized flag"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_refused_in_one_sentence(
    argv: list[str], message: str, refusal: Callable[[Main, list[str]], str]
) -> None:
    assert message in refusal(train, argv)


@pytest.mark.parametrize(
    ("main", "argv", "message"),
    [
        (cli.main, [], "csg: expected a command (train, evaluate, predict, export, data, pretrain), found none"),
        (cli.main, ["trian"], "found 'trian'; the nearest is train"),
        (cli.main, ["data", "chek"], "csg data: expected a command (check), found 'chek'; the nearest is check"),
        (ALL["evaluate"], ["--streams"], "--streams: expected at least one value, found none"),
        (SCRIPTS["predict"], ["--checkpoint", "x"], "DIR: expected a word without a flag, found none"),
        (SCRIPTS["predict"], ["a", "b", "--checkpoint", "x"], "b: expected a flag (--name), found this word"),
        (SCRIPTS["predict"], ["a"], "--checkpoint: expected this flag, found none"),
        (SCRIPTS["tables"], ["--mix", "commit", "x"], "--mix: expected one of commit, program, data, protocol, found"),
        (ALL["search"], ["--time-budget", "nan"], "--time-budget: expected a number, found 'nan'"),
        (ALL["ablation"], ["--seeds", "0"], "--seeds: expected at least 1, found 0"),
    ],
)
def test_a_commands_own_flags_are_refused_in_one_sentence(
    main: Main, argv: list[str], message: str, refusal: Callable[[Main, list[str]], str]
) -> None:
    assert message in refusal(main, argv)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train.epochs: 1\ntrain.epochs: 2\n", "line 2, column 1: train.epochs is set twice"),
        ("train.epochs: 1\ntrain: {epochs: 2}\n", "expected train.epochs once in c.yaml, found it 2 times"),
        ("train.epochs: [1, 2]\n", "train.epochs: expected a valid integer, found [1, 2]"),
        ("train.epochs: '3'\n", "train.epochs: expected a valid integer, found '3'"),
        ("train.epochs: true\n", "train.epochs: expected a valid integer, found True"),
        ("train.epochs: x\ntrain.batch_size: y\n", "found 'x'; train.batch_size: expected a valid integer, found 'y'"),
        (f"train.epochs: {'9' * 5000}\n", "--config: c.yaml has a value that cannot be read"),
        (f"train.epochs: {'9' * 30}\n", "train.epochs: expected a number of at most 18 digits"),
        ("data.name: [a]\n", "data.name: expected a valid string, found ['a']"),
        ("method.name: [a]\n", "method.name: expected a text, found ['a']"),
        ("method.path: 5\n", "method.path: expected a text, found 5"),
        ("data.root: 2020-13-45\n", "--config: c.yaml has a value that cannot be read (month must be in 1..12)"),
        ("data.root: ''\n", "data.root: expected a path, found ''"),
        ('data.root: "a\\0b"\n', "data.root: expected a path, found 'a\\x00b'"),
        ("a: [\nb: c\n", "--config: cannot read c.yaml as YAML: line 3, column 1: expected ',' or ']'"),
        ("a: !!python/object:os.system x\n", "could not determine a constructor for the tag"),
        ("? [a]\n: b\n", "found unhashable key"),
        ("a: &a\n  b: *a\n", "found one within itself"),
        ("a: 1\n---\nb: 2\n", "but found another document"),
        ("train:\n", "train: no such setting; the nearest valid name is train.seed"),
        ("\0\1", "--config: cannot read c.yaml as YAML"),
        ("train.batch_size: 7\ntrain.workers: 2\n", "train.workers: expected a divisor of train.batch_size (7)"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(
    text: str, message: str, refusal: Callable[[Main, list[str]], str]
) -> None:
    Path("c.yaml").write_text(text)
    assert message in refusal(train, ["--config", "c.yaml"])


@pytest.mark.slow
def test_a_file_that_flags_make_right_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "c.yaml").write_text("train.batch_size: 7\ntrain.workers: 2\n")
    assert train(["--config", "c.yaml", "--train.workers=1", "--dry-run", "--data.source-images", "40"]) == 0


def test_a_file_changes_what_a_script_begins_with_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text("train.epochs: 5\nmethod.temperature: 0.2\n")
    base = {"data.name": "glyph_scenes", "train.threads": 2, "train.epochs": 3}
    argv = ["--config", str(tmp_path / "c.yaml"), "--optim.lr", "0.1"]
    flags = parse_flags(SearchOptions, argv, prog="search", description="", base=base)
    assert (flags.config.data.name, flags.config.train.threads, flags.config.train.epochs) == ("glyph_scenes", 2, 5)
    assert flags.stated == {"train.epochs", "method.temperature", "optim.lr"}
    other = parse_flags(SearchOptions, [*argv, "--method.name", "asg"], prog="search", description="", base=base)
    assert other.stated == {"train.epochs", "optim.lr", "method.name"}, "the file's temperature is another method's"


def test_a_flag_given_again_counts_as_last_given() -> None:
    again = ["--train.epochs", "1", "--train.epochs=2", "--method.name", "csg", "--method.name", "asg"]
    config = parse_flags(SearchOptions, again, prog="search", description="").config
    assert (config.train.epochs, config.method.name) == (2, "asg")


def test_a_word_is_a_value_of_its_type() -> None:
    assert parse_value("-3", int) == -3 and parse_value("1_000", int) == 1000
    assert parse_value("None", str | None) is None and parse_value("None", str) == "None"
    assert parse_value("1e-4", float | None) == 1e-4
    assert parse_value("{a: 1e-4}", dict[str, float]) == {"a": 1e-4}
    assert parse_value("0" * 5000 + "7", int) == 7 and parse_value("-" + "9" * 18, int) == 1 - 10**18


@pytest.mark.parametrize("word", ["2020-13-45", "{a: 1, a: 2}", "[", "[" * 3000])
def test_a_word_that_is_no_value_of_a_strangers_type_is_refused(word: str) -> None:
    with pytest.raises(ValueError, match=r"^a value as in YAML$"):
        parse_value(word, dict[str, float])


@pytest.mark.parametrize("number", [10**18, -(10**18), 10**40])
def test_a_whole_number_has_18_digits_at_most_wherever_it_stands(number: int) -> None:
    with pytest.raises(ValueError, match="at most 18 digits"):
        parse_value(str(number), int)
    with pytest.raises(UserError, match="at most 18 digits"):
        build_config({"train.seed": number})


def test_flags_are_written_with_hyphens(refusal: Callable[[Main, list[str]], str]) -> None:
    assert "the nearest is --train.batch-size;" in refusal(train, ["--train.batchsize", "1"])
    assert refusal(SCRIPTS["export"], ["--output", "a"]).startswith("--checkpoint: expected this flag")
