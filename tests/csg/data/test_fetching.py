"""Shards in a bucket are what the same shards on a disk are."""

from __future__ import annotations

import logging
import shutil
import time
from pathlib import Path

import pytest
from pyarrow import fs

from csg.config import DataConfig
from csg.data import load_pair
from csg.data.check import check
from csg.data.labelled_set import load_labelled_set
from csg.messages.errors import UserError
from csg.parsing import build_config, with_absolute_paths
from csg.storage import bucket as storage_bucket
from csg.storage import copying
from csg.storage.bucket import BucketGoneError, BucketPlace
from csg.storage.layout import place_at, reach_addresses
from csg.workers.cluster import find_missing
from tests.checked_data import forget
from tests.published_trees import write_folders, write_photographs, write_shards

CLASSES = ("car", "street sign", "vélo")

pytestmark = pytest.mark.usefixtures("first_machine")


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """A folder with shards of both sides, and of photographs without labels."""
    source, target = write_folders(tmp_path)
    write_shards(tmp_path / "shards" / "renders", source)
    write_shards(tmp_path / "shards" / "photographs", target, labels="json")
    write_shards(tmp_path / "shards" / "camera", write_photographs(tmp_path / "camera"), labels="")
    return tmp_path / "shards"


@pytest.fixture(params=["s3", "file"])
def address(request: pytest.FixtureRequest, bucket: str, shards: Path) -> str:
    """The same in a bucket; ``{}`` stands for the folder's name."""
    if request.param == "file":
        shutil.copytree(shards, shards.parent / "store")
        return f"file://{shards.parent}/store/{{}}"
    filesystem, _ = fs.FileSystem.from_uri(f"s3://bucket/{bucket}")
    prefix = f"bucket/{shards.parent.name}"
    fs.copy_files(str(shards), prefix, fs.LocalFileSystem(), filesystem)
    return f"s3://{prefix}/{{}}{bucket}"


def settings(root: Path, where: str, **more: object) -> DataConfig:
    forget()
    sides = {"source": where.format("renders"), "target": where.format("photographs")}
    return DataConfig(name="folders", image_size=32, cache=str(root / "cache"), **sides | more)  # type: ignore[arg-type]


def test_a_pair_in_a_bucket_is_the_pair_on_the_disk(address: str, shards: Path) -> None:
    on_disk, config = settings(shards.parent, f"{shards}/{{}}"), settings(shards.parent, address)
    pair = load_pair(config)
    assert pair.fingerprint == load_pair(on_disk).fingerprint
    assert pair.description == load_pair(on_disk).description
    report = check(config)
    assert report.usable and not report.faults and not report.not_used
    assert load_labelled_set(config, CLASSES, side=32).fingerprint
    renders, photographs, camera = map(address.format, ("renders", "photographs", "camera"))
    several = {"source": (renders, photographs), "target": None, "target_unlabelled": camera}
    pair = load_pair(settings(shards.parent, address, **several))
    assert pair.sources == ("renders", "photographs") and not pair.streams["target/val"].has_labels


def test_shards_are_copied_once_and_again_when_one_changes(
    address: str, shards: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger=copying.__name__)

    def load() -> tuple[str, int]:
        caplog.clear()
        fingerprint = load_pair(settings(shards.parent, address)).fingerprint
        return fingerprint, sum(int(record.getMessage().split()[1]) for record in caplog.records)

    first, copied = load()
    assert copied == 7 and load() == (first, 0)
    place = place_at(address.format("renders"))
    assert isinstance(place, BucketPlace)
    changed = (shards / "photographs" / "shard-000001.tar").read_bytes()
    (place / "shard-000002.tar").write(changed + bytes(10240))
    second, copied = load()
    assert copied == len(place.list_entries()) and second != first
    time.sleep(1.1)  # a store's times are whole seconds
    (place / "shard-000002.tar").write(changed + bytes(10240))
    assert load() == (second, copied), "of the same size, at a later time"
    (place / "shard-000002.tar").remove()
    third, copied = load()
    assert copied == len(place.list_entries()) and third not in (first, second)


def test_what_is_no_shard_is_refused(address: str, shards: Path) -> None:
    nothing = address.format("nothing")
    with pytest.raises(UserError, match=r"data\.source: expected shards \(\.tar\) at .*, found none; of a bucket noth"):
        load_pair(settings(shards.parent, nothing))
    with pytest.raises(UserError, match=r"data\.target: expected shards"):
        load_pair(settings(shards.parent, address, target=nothing))
    with pytest.raises(UserError, match=r"data\.target: expected shards .*, found the folder camera, beside which"):
        load_pair(settings(shards.parent, address, target=address.format("")))
    one = address.format("renders/shard-000000.tar")
    with pytest.raises(UserError, match=r"data\.source: expected shards .*, found none"):
        load_pair(settings(shards.parent, one))
    maps = DataConfig(name="gta5_cityscapes", source=address.format("renders"), cache=str(shards.parent / "cache"))
    with pytest.raises(UserError, match=r"data\.source: expected a path with data\.name=gta5_cityscapes, .*; mount it"):
        load_pair(maps)


def test_nodes_that_reach_the_bucket_lack_nothing(address: str, shards: Path) -> None:
    config = with_absolute_paths(build_config({"data.name": "folders", "data.source": address.format("renders")}))
    output = place_at(str(shards))
    assert isinstance(config.data.source, str)
    deaf = "s3://bucket/renders?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    probe = output / "renders" / "classes.txt"
    assert find_missing({"data.source": config.data.source}, output, probe) == []
    assert find_missing({"data.source": deaf}, output, probe) == ["data.source"]


def test_a_bucket_that_is_away_is_no_fault_of_the_settings(shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage_bucket, "PATIENCE_SECONDS", -1.0)
    deaf = "s3://bucket/{}?endpoint_override=127.0.0.1:9&scheme=http&region=us-east-1"
    with pytest.raises(BucketGoneError, match=r"s3://bucket/renders.* does not answer any more"):
        load_pair(settings(shards.parent, deaf))
    with pytest.raises(UserError, match=r"data\.source: cannot read from s3://bucket/renders"):
        reach_addresses({"data.source": deaf.format("renders"), "data.target": str(shards)})
