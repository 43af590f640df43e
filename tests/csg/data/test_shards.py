"""Shards hold what files hold: the same images in the same classes, and clear words for what is broken."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
import torch

from csg import cli
from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check
from csg.data.domain import Domain
from csg.data.fault import BadImageError
from csg.data.labelled_set import load_labelled_set
from csg.data.pair import IGNORED, SOURCE_TRAIN, TARGET_TEST, TARGET_VAL, LabelledImages
from csg.data.pairs import folders
from csg.data.reading.contents import Contents
from csg.data.reading.shard_index import _list_members, list_shards
from csg.messages import waiting
from csg.messages.errors import UserError
from csg.training.loop import Training
from csg.training.run import Run
from tests.checked_data import forget, starts
from tests.csg.commands.test_predict import evaluated, rows
from tests.csg.data.test_sources import without_pair
from tests.csg.training.test_training import Killed, assert_equal_outcomes, outcome, tiny
from tests.made_up_pair import labelled
from tests.published_trees import write_folders, write_photographs, write_shards

CLASSES = ("car", "street sign", "vélo")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Both sides as folders, and the same images as shards."""
    forget()
    source, target = write_folders(tmp_path)
    write_shards(tmp_path / "source shards", source)
    write_shards(tmp_path / "target shards", target, labels="json")
    return tmp_path


def settings(
    root: Path, source: str = "source shards", target: str | None = "target shards", **more: object
) -> DataConfig:
    sides = {"source": str(root / source), "target": None if target is None else str(root / target)}
    given = {"image_size": 32, "cache": str(root / "cache"), **sides, **more}
    return DataConfig(name="folders", **given)  # type: ignore[arg-type]


def read_all(domain: Domain) -> list[tuple[bytes, int]]:
    files = domain.files
    return sorted((files.read(place), label) for place, label in enumerate(files.labels.tolist()))


def test_shards_hold_the_images_and_classes_of_the_folders(root: Path) -> None:
    shards, plain = folders.read(settings(root)), folders.read(settings(root, "renders", "photographs"))
    assert shards[0].classes == plain[0].classes == CLASSES
    for one, other in zip(shards, plain, strict=True):
        assert read_all(one) == read_all(other) and len(one.files) == 15
    assert shards[0].files.name(7) == "shard-000001.tar/00000007.png"


def test_a_pair_of_shards_is_checked_and_split_as_any_other(root: Path) -> None:
    config = settings(root)
    pair = load_pair(config)
    assert starts(config) and len(pair.streams[SOURCE_TRAIN]) == 12
    report = check(config)
    assert not report.faults and not report.not_used
    assert report.domains["source"]["images_per_class"] == dict.fromkeys(CLASSES, 5)
    assert report.domains["source"]["bytes"] == sum(path.stat().st_size for path in (root / "renders").rglob("*.png"))


def test_batches_are_the_same_with_and_without_decoding_processes(root: Path) -> None:
    pair = load_pair(settings(root))
    batches = [list(Training(without_pair({"data.workers": workers}), pair).load_batches()) for workers in (0, 2)]
    assert len(batches[0]) == 1
    assert all(torch.equal(one.query, other.query) for one, other in zip(*batches, strict=True))


def test_a_shard_is_read_through_once_and_the_waiting_is_told(
    root: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = root / "cache"
    first = list_shards(root / "source shards", cache=cache)
    monkeypatch.setattr("csg.data.reading.shard_index._list_members", lambda path: pytest.fail(f"{path} is read again"))
    assert list_shards(root / "source shards", cache=cache) == first
    monkeypatch.setattr("csg.data.reading.shard_index._list_members", _list_members)
    (root / "source shards" / "shard-000001.tar").write_bytes(
        (root / "target shards" / "shard-000001.tar").read_bytes()
    )
    monkeypatch.setattr(waiting, "SECONDS", 0.0)
    assert list_shards(root / "source shards", cache=cache) != first
    assert [record.getMessage() for record in caplog.records] == [
        f"listed {done} of {len(first.shards)} shards in {root / 'source shards'}"
        for done in range(1, len(first.shards) + 1)
    ]


def test_what_images_hold_is_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(root)
    fingerprint = load_pair(config).fingerprint
    forget()
    assert [domain.count_unknown() for domain in folders.read(config)] == [0, 0]
    monkeypatch.setattr(Contents, "_read", lambda *_: pytest.fail("it is read again"))
    assert load_pair(config).fingerprint == fingerprint
    shard = root / "source shards" / "shard-000000.tar"
    content = shard.read_bytes()
    at = content.index(b"IDAT") + 8
    shard.write_bytes(content[:at] + bytes([content[at] ^ 255]) + content[at + 1 :])
    forget()
    monkeypatch.undo()
    assert load_pair(config).fingerprint != fingerprint
    (fault,) = check(config).faults
    assert fault.kind == "bad image" and "shard-000000.tar/" in fault.place


def test_photographs_in_shards_need_no_labels(root: Path) -> None:
    write_shards(root / "camera shards", write_photographs(root / "camera"), labels="")
    pair = load_pair(settings(root, target="camera shards"))
    assert set(labelled(pair, TARGET_VAL).labels.tolist()) == {IGNORED} and TARGET_TEST not in pair.streams
    mixed = load_pair(settings(root, target_unlabelled=str(root / "camera shards")))
    assert labelled(mixed, TARGET_VAL).labels.tolist().count(IGNORED) == 9


def test_another_labelled_set_may_lie_in_shards(root: Path) -> None:
    stream = load_labelled_set(settings(root), ("vélo", "car", "bus", "street sign"), side=32)
    assert isinstance(stream, LabelledImages)
    assert [stream.labels.tolist().count(label) for label in range(4)] == [5, 5, 0, 5]


def test_a_run_on_shards_is_killed_goes_on_and_predicts(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sides = {"data__source": str(root / "source shards"), "data__target": str(root / "target shards")}
    given = {
        "data__name": "folders",
        **sides,
        "data__source_images": None,
        "data__cache": str(root / "cache"),
        "train__batch_size": 4,
    }
    whole = tiny(root / "whole", **given)
    undisturbed = outcome(Run(whole, pair := load_pair(whole.data)))
    config = tiny(root / "cut", data__workers=2, train__checkpoint_minutes=0.0, **given)

    def kill(done: int, total: int) -> None:
        assert total == 6
        if done == 2:
            raise Killed

    with pytest.raises(Killed):
        for _ in Run(config, pair).train(kill):
            pass
    forget()
    assert_equal_outcomes(outcome(run := Run(config, load_pair(config.data))), undisturbed)
    folder = str(root / "target shards")
    assert cli.main(["predict", folder, "--checkpoint", str(run.selected), "--output", "predicted.csv"]) == 0
    predicted = {row["file"]: row["class"] for row in rows("predicted.csv")}
    files = pair.streams[TARGET_TEST].files  # type: ignore[attr-defined]
    confusion = torch.zeros(3, 3, dtype=torch.int64)
    for place, label in enumerate(files.labels.tolist()):
        confusion[label, CLASSES.index(predicted[files.name(place)])] += 1
    assert len(predicted) == 15 and torch.equal(confusion, evaluated(run, pair).long())


def _cut(folder: Path) -> None:
    path = folder / "shard-000001.tar"
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _replace(folder: Path) -> None:
    (folder / "shard-000001.tar").write_bytes(b"<html>404 not found</html>" * 100)


def _empty(folder: Path) -> None:
    (folder / "shard-000001.tar").write_bytes(b"")


def _forget_names(folder: Path) -> None:
    (folder / "classes.txt").write_text("car\n")


def _lose_labels(folder: Path) -> None:
    _write(folder / "shard-000001.tar", {"1.png": b"x"})


def _write_a_bad_label(folder: Path) -> None:
    _write(folder / "shard-000001.tar", {"1.png": b"x", "1.json": b'{"label": [1]}'})


def _write(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as shard:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_cut, r"shard-000001\.tar: expected a whole \.tar file, .*, found one that is cut short .*; copy it again"),
        (_replace, r"shard-000001\.tar: expected a whole \.tar file, .*, found something else"),
        (_empty, r"shard-000001\.tar: expected a whole \.tar file, .*, found something else"),
        (_forget_names, r"classes\.txt: expected a line for every class, found 1 and the class 1 of"),
        (_lose_labels, r"expected a label .* beside every image .*, found one for .* and none for 1\.png"),
        (_write_a_bad_label, r"expected a number or a name as label or class or cls in every \.json, found \[1\]"),
    ],
)
def test_broken_shards_are_named_before_anything_is_trained(root: Path, spoil: object, message: str) -> None:
    assert callable(spoil)
    spoil(root / "source shards")
    with pytest.raises(UserError, match=message):
        load_pair(settings(root))


def test_a_shard_that_shrinks_while_it_is_read_is_a_bad_image(root: Path) -> None:
    files = folders.read(settings(root))[0].files
    _cut(root / "source shards")
    last = max(place for place in range(len(files)) if files.name(place).startswith("shard-000001"))
    with pytest.raises(BadImageError, match="found a shard that is shorter than when it was listed"):
        files.read(last)


def test_a_source_of_shards_needs_labels(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_shards(root / "camera shards", root / "photographs", labels="")
    argv = ["data", "check", "--data.name", "folders", "--data.source", str(root / "camera shards")]
    assert cli.main(argv) == 2
    assert "expected .cls or .json beside the images of the shards, found none" in capsys.readouterr().err
