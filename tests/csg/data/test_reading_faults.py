"""What a machine lacks while it reads is told as that: no file counts as bad or absent, and no setting is to blame."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from csg.config import DataConfig
from csg.data import load_pair
from csg.data.fault import BadImageError
from csg.data.maps.files import read_png_size
from csg.data.maps.label_maps import BadMapError, read_ids
from csg.data.reading.contents import ABSENT, NO_FILE, NOT_READ, read_stamps
from csg.data.reading.decoding import decode
from csg.data.reading.image_files import ImageFiles
from csg.data.reading.listing import CLOSED, list_files, list_image_files
from csg.messages.errors import UserError
from csg.messages.faults import find_outside_fault
from csg.models.weights_file import read_state_dicts
from csg.parsing import build_config, read_yaml
from csg.storage import files as storage
from csg.storage.disk import DiskPlace
from csg.training import identity
from csg.training.checkpoint import load_state, save_state
from csg.training.identity import compute_config_id
from tests.published_trees import write_visda17

SHORTAGES = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)
"""Of what any other file would be read with too."""
ABSENCES = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EACCES)
Raising = Callable[..., Any]


def lacking(number: int) -> OSError:
    return OSError(number, os.strerror(number), "/there/file")


def raising(error: Exception) -> Raising:
    def refuse(*_: object, **__: object) -> None:
        raise error

    return refuse


@pytest.fixture
def image(tmp_path: Path) -> Path:
    Image.new("L", (40, 40), 7).save(tmp_path / "a.png")
    return tmp_path / "a.png"


@pytest.mark.parametrize("number", [*SHORTAGES, *ABSENCES])
def test_a_file_that_cannot_be_looked_up_is_absent_only_where_it_is(
    number: int, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lack:
        lack.setattr(os, "stat", raising(lacking(number)))
        if number in SHORTAGES:
            with pytest.raises(OSError, match=os.strerror(number)):
                read_stamps(str(image.parent), [b"a.png"])
        else:
            assert (read_stamps(str(image.parent), [b"a.png"]) == ABSENT).all()


@pytest.mark.parametrize("number", [*SHORTAGES, *ABSENCES, errno.EIO])
def test_a_file_that_cannot_be_opened_has_no_other_content_for_that(
    number: int, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = ImageFiles.of(str(image.parent), {"a.png": 0})
    whole = ImageFiles.of(str(image.parent), {"a.png": 0}).fingerprint
    with monkeypatch.context() as lack:
        lack.setattr(storage, "open", raising(lacking(number)), raising=False)
        if number in SHORTAGES:
            with pytest.raises(OSError, match=os.strerror(number)):
                files.fingerprint  # noqa: B018
        else:
            assert files.digests.tobytes() == (NO_FILE if number == errno.ENOENT else NOT_READ)
            return
    assert files.fingerprint == whole


@pytest.mark.parametrize("number", [*SHORTAGES, errno.EACCES])
def test_a_folder_that_cannot_be_listed_for_a_lack_is_not_closed(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as lack:
        lack.setattr(os, "scandir", raising(OSError(number, os.strerror(number), str(tmp_path / "closed"))))
        if number in SHORTAGES:
            with pytest.raises(OSError, match=os.strerror(number)):
                list(list_files(tmp_path))
        else:
            assert [one.reason for one in list_files(tmp_path)] == [CLOSED]
            with pytest.raises(UserError, match="expected a folder that can be listed"):
                list_image_files(tmp_path)


def test_a_header_that_cannot_be_read_for_a_lack_is_no_header(image: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_png_size(image) == (40, 40)
    os.mkfifo(image.parent / "pipe.png")
    assert read_png_size(image.parent / "pipe.png") == read_png_size(image.parent / "none.png") == (0, 0)
    monkeypatch.setattr(Path, "open", raising(lacking(errno.EMFILE)))
    with pytest.raises(OSError, match="Too many open files"):
        read_png_size(image)


@pytest.mark.parametrize(("error", "kind"), [(MemoryError(), MemoryError), (ValueError("broken"), BadImageError)])
def test_memory_that_runs_out_makes_no_image_bad(
    error: Exception, kind: type[Exception], image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = image.read_bytes()
    with monkeypatch.context() as lack:
        lack.setattr(np, "asarray", raising(error))
        with pytest.raises(BadMapError if kind is BadImageError else kind):
            read_ids(image, content)
    monkeypatch.setattr(Image.Image, "convert", raising(error))
    with pytest.raises(kind):
        decode(image, 32)


def test_a_list_that_cannot_be_read_for_a_lack_is_no_bad_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = DataConfig(name="visda17", root=str(write_visda17(tmp_path, per_class=1)))
    for number, kind in ((errno.EMFILE, OSError), (errno.EIO, OSError), (errno.EACCES, UserError)):
        with monkeypatch.context() as lack:
            lack.setattr(Path, "read_bytes", raising(lacking(number)))
            with pytest.raises(kind, match=os.strerror(number)):
                load_pair(config)
    (tmp_path / "train" / "image_list.txt").unlink()
    os.mkfifo(tmp_path / "train" / "image_list.txt")
    with pytest.raises(UserError, match=r"expected a list of lines .*, found a folder, a pipe or a device at .*txt"):
        load_pair(config)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_that_cannot_be_read_for_a_lack_are_no_bad_file(
    suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import safetensors.torch

    cases = [(lacking(errno.EMFILE), OSError), (lacking(errno.EIO), OSError), (lacking(errno.EACCES), UserError)]
    cases += [(MemoryError(), MemoryError)]  # type: ignore[list-item]
    for number, (error, kind) in enumerate(cases):
        monkeypatch.setattr(torch, "load", raising(error))
        monkeypatch.setattr(safetensors.torch, "load_file", raising(error))
        with pytest.raises(kind) as raised:
            list(read_state_dicts(tmp_path / f"x{suffix}", "model.weights", f"{suffix} {number}"))
        assert raised.value is error or raised.value.__cause__ is error


def test_memory_that_runs_out_makes_no_checkpoint_bad(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_state(DiskPlace(tmp_path / "checkpoint.pt"), {"a": 1})
    monkeypatch.setattr(torch, "load", raising(MemoryError()))
    with pytest.raises(MemoryError):
        load_state(DiskPlace(tmp_path / "checkpoint.pt"))


def test_a_file_of_a_setting_that_cannot_be_read_for_a_lack_is_no_bad_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.pth").write_bytes(b"weights")
    config = build_config({"model.weights": str(tmp_path / "w.pth")})
    monkeypatch.setattr(identity, "digest_file", raising(lacking(errno.ESTALE)))
    with pytest.raises(OSError, match="Stale file handle"):
        compute_config_id(config)
    monkeypatch.setattr(identity, "digest_file", raising(lacking(errno.EACCES)))
    with pytest.raises(UserError, match=r"^model\.weights: cannot read /there/file \(Permission denied\)$") as raised:
        compute_config_id(config)
    assert find_outside_fault(raised.value) is not None, "in the middle of a search, the cause is looked through"


def test_settings_that_cannot_be_read_for_a_lack_are_no_bad_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, kind in ((errno.EMFILE, OSError), (errno.EACCES, UserError)):
        monkeypatch.setattr(DiskPlace, "open", raising(lacking(number)))
        with pytest.raises(kind, match=os.strerror(number)):
            read_yaml(DiskPlace(tmp_path / "a.yaml"))


def test_a_folder_of_a_setting_is_looked_through_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("RGB", (40, 40)).save(tmp_path / "a.png")
    walked: list[object] = []

    def counting(folder: Path) -> list[Path]:
        walked.append(folder)
        return list_image_files(folder)

    monkeypatch.setattr(identity, "list_image_files", counting)
    settings = {"method.name": "drpc", "method.style_images": str(tmp_path), "data.cache": str(tmp_path / "cache")}
    rates = (0.1, 0.2, 0.3)
    found = {compute_config_id(build_config(settings | {"optim.lr": rate})) for rate in rates}
    assert len(found) == 3 and len(walked) == 1


def test_the_line_that_names_the_systems_error_is_the_one_that_is_quoted() -> None:
    text = "Caught RuntimeError 0.\nTraceback:\n  cannot write </torch_1>: No space left on device (28)\nend"
    found = find_outside_fault(RuntimeError(text))
    assert str(found).startswith("cannot write </torch_1>: No space left on device (28); ")
