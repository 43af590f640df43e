"""A path is what its user means by it, and an address of it leads back to it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from sqlalchemy import make_url

from analysis.paper_tables import TableOptions
from csg.config.external import resolve_place
from csg.config.flags import read_options
from csg.messages.errors import UserError
from csg.parsing import Flags, parse_flags
from csg.storage.address import get_sqlite_path, get_sqlite_query, make_sqlite_address
from csg.storage.disk import DiskPlace
from csg.storage.layout import place_at, place_to_read
from csg.tracking import get_default_tracking_uri
from csg.tracking.store import resolve_uri
from tune_spaces.search.options import SearchOptions

ODD = ["runs?q", "runs#x", "100%", "a b", "it's", "%41", "Tür", 'q"q', "a;b", "a:b@c", "a+b", "x?a=b", "[x]"]


def parsed(*argv: str) -> Flags[SearchOptions]:
    return parse_flags(SearchOptions, argv, prog="test", description="")


@pytest.mark.parametrize("name", ODD)
def test_a_stores_address_is_read_as_the_path_that_it_was_made_of(name: str, tmp_path: Path) -> None:
    path = tmp_path / name / "mlflow.db"
    address = make_sqlite_address(path)
    assert make_url(address).database == str(path)
    assert get_sqlite_path(address) == path
    assert get_default_tracking_uri(str(path.parent)) == address == resolve_uri(address)


def test_an_address_by_hand_means_what_it_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert make_sqlite_address(tmp_path / "m.db") == f"sqlite:///{tmp_path}/m.db"
    for relative in ("sqlite:///m.db", "sqlite:///~/m.db", "m.db", "~/m.db"):
        assert resolve_uri(relative) == f"sqlite:///{tmp_path}/m.db"
    assert get_sqlite_path("sqlite:///runs?q/m.db") == tmp_path / "runs?q" / "m.db"
    assert get_sqlite_query("sqlite:///m.db?timeout=5") == "?timeout=5"
    assert resolve_uri("sqlite:///m.db?timeout=5") == f"sqlite:///{tmp_path}/m.db?timeout=5"
    for other in ("http://127.0.0.1:5000", "postgresql://u@h/d", "databricks", "databricks://x"):
        assert resolve_uri(other) == other and get_sqlite_path(other) is None


def test_a_tilde_is_home_in_every_flag(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "c.yaml").write_text("train.output: ~/t\nmodel.weights: ~/w.pt\ndata.source: ~/s\n")
    config = parsed("--config=~/c.yaml", "--data.target=~/r").config
    assert config.train.output == str(tmp_path / "t") and config.data.cache == str(tmp_path / "t" / "cache")
    assert config.model.weights == str(tmp_path / "w.pt")
    assert (config.data.source, config.data.target) == (str(tmp_path / "s"), str(tmp_path / "r"))
    assert resolve_place("~/m.py:X") == f"{tmp_path}/m.py:X"
    assert place_to_read("~/w.pt", "--checkpoint") == DiskPlace(tmp_path / "w.pt")
    options = read_options(TableOptions, ["--out=~/t", "--runs=~/r"], prog="x", description="")
    assert (options.out, options.runs) == (tmp_path / "t", tmp_path / "r")


def test_a_tilde_that_is_nobodys_home_is_a_name() -> None:
    assert parsed("--train.output", "~nobody-of-this-name/x").config.train.output.endswith("/~nobody-of-this-name/x")


def test_what_can_be_no_path_is_refused_by_its_setting(tmp_path: Path) -> None:
    for text in ("a\0b", "a\ud800b"):
        file = tmp_path / "c.yaml"
        file.write_text(yaml.safe_dump({"data.source": text}))
        with pytest.raises(UserError, match=r"data\.source: expected a path"):
            parsed("--config", str(file))
    with pytest.raises(UserError, match=r"train\.output: expected a path in UTF-8, found '.*stra\\udcdfe'"):
        parsed("--train.output", "stra\udcdfe")
    assert parsed("--data.source", "stra\udcdfe").config.data.source == str(Path("stra\udcdfe").absolute())


@pytest.mark.parametrize("address", ["s3://b/\udcff", "s3://b\udcff/a", "s3://[b/a"])
def test_what_can_be_no_address_is_refused_by_its_setting(address: str) -> None:
    for flag in ("--train.output", "--config"):
        with pytest.raises(UserError, match=f"{flag[2:]}: expected an address"):
            parsed(flag, address)
    with pytest.raises(UserError, match="--checkpoint: expected an address"):
        place_to_read(address, "--checkpoint")


@pytest.mark.parametrize(
    "uri", ["a\udcff?b/m.db", "sqlite:///a\udcff?b/m.db", "sqlite:////a\udcff/m.db", "http://h/\udcff"]
)
def test_a_store_whose_address_is_no_text_is_refused(uri: str) -> None:
    with pytest.raises(UserError, match=r"--tracking-uri: expected an address in UTF-8, found '.*\\udcff"):
        resolve_uri(uri)


def test_addresses_of_object_stores_stay() -> None:
    assert parsed("--train.output", "s3://bucket/a%20b?region=x").config.train.output == "s3://bucket/a%20b?region=x"
    assert place_at("runs?q") == DiskPlace(Path("runs?q"))
