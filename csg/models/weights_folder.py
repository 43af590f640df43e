"""Folders of weights as transformers keeps them: where they are, what of them counts, how images are prepared.

Nothing here imports transformers, so that a folder can be found, digested and described without it.
"""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from csg.messages.errors import UserError
from csg.models.encoder import IMAGENET_MEAN, IMAGENET_STD
from csg.storage.files import digest_file

T = TypeVar("T")
CONFIG: Final = "config.json"
PREPARATION: Final = ("preprocessor_config.json", "processor_config.json")
"""Files that may say how images are prepared; the first that does counts."""
OF_TIMM: Final = "pretrained_cfg"
"""What of a network's settings only timm writes."""
WEIGHTS: Final = ("*.safetensors", "*.safetensors.index.json", "pytorch_model*.bin", "pytorch_model.bin.index.json")
HUB_NAME: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
HUB_SECONDS: Final = 20.0
"""How long the hub may take to say that it knows a name."""


@dataclass(frozen=True)
class Preparation:
    """How a network's images are normalised, on the scale of 0 to 255, and how large it knows them."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    side: int | None
    """Of its square images in pixels; None where nothing says so."""


def find_folder(weights: str, setting: str) -> Path:
    """Return the folder of a local path, or of a name on the Hugging Face hub, from its cache or downloaded into it.

    Raises:
        UserError: there is no such folder, or it is none of weights; or the name is not in the cache and the hub cannot
            be reached, does not know it or does not give it. That takes HUB_SECONDS at most.
    """
    path = Path(weights)
    if path.is_dir():
        return _check_folder(path.absolute(), setting)
    if path.exists() or not HUB_NAME.fullmatch(weights):
        raise UserError(
            f"{setting}: expected a folder as transformers saves models (config.json and its weights), or a name on "
            f"the Hugging Face hub such as facebook/dinov2-small, found {'a file' if path.exists() else 'nothing'} at "
            f"{weights}"
        )
    return _check_folder(_find_on_hub(weights, setting), setting)


def _check_folder(folder: Path, setting: str) -> Path:
    if not (folder / CONFIG).is_file():
        raise UserError(f"{setting}: expected a folder as transformers saves models, found no {CONFIG} in {folder}")
    return folder


def _find_on_hub(name: str, setting: str) -> Path:
    try:
        from huggingface_hub import model_info, snapshot_download
    except ImportError:
        raise UserError(describe_missing(setting)) from None
    patterns = [CONFIG, *PREPARATION, *WEIGHTS]
    try:
        cached = Path(snapshot_download(name, local_files_only=True, allow_patterns=patterns))
        if list_files(cached, weights=True):
            return cached
    except Exception:  # noqa: S110 (it is not there, or not whole: ask the hub)
        pass
    try:
        files = [
            file.rfilename for file in _call_within(HUB_SECONDS, lambda: model_info(name, timeout=10)).siblings or ()
        ]
        if any(file.endswith(".safetensors") for file in files):
            patterns = [pattern for pattern in patterns if ".bin" not in pattern]
        return Path(snapshot_download(name, allow_patterns=patterns))
    except Exception as error:  # the hub's own, of the network, of a proxy
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{setting}: {name} is neither a folder nor in this machine's cache of the Hugging Face hub, and cannot be "
            f"fetched ({reason}); download it where there is a network and give its folder"
        ) from None


def _call_within(seconds: float, ask: Callable[[], T]) -> T:
    """Call a function that may hang, and wait for it no longer than that."""
    answers: list[T] = []
    errors: list[Exception] = []

    def call() -> None:
        try:
            answers.append(ask())
        except Exception as error:  # raised where it is waited for
            errors.append(error)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return answers[0]


def describe_missing(setting: str) -> str:
    """Say that transformers is needed, and how it is installed."""
    return (
        f"{setting}: encoders of transformers need that package, which is not installed; install it from the project's "
        "folder: pip install -c constraints.txt -e '.[encoders]'"
    )


def list_files(folder: Path, *, weights: bool = False) -> list[Path]:
    """List the files that an encoder is made of, sorted by name; only those with ``weights`` if asked.

    Where there are safetensors, other files of weights do not count.
    """
    found = sorted({path for pattern in WEIGHTS for path in folder.glob(pattern) if path.is_file()})
    safe = [path for path in found if ".safetensors" in path.name]
    found = safe or found
    if weights:
        return [path for path in found if path.suffix != ".json"]
    return sorted([*found, *(folder / name for name in (CONFIG, *PREPARATION) if (folder / name).is_file())])


def digest_folder(folder: Path) -> str:
    """Digest the names and contents of the files that an encoder is made of."""
    digest = hashlib.sha256()
    for path in list_files(folder):
        digest.update(f"{path.name}\0{digest_file(str(path))}\0".encode())
    return digest.hexdigest()


def is_of_timm(folder: Path) -> bool:
    """Whether the network in a folder is one of timm, as timm or transformers saves it."""
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        return OF_TIMM in settings or settings.get("model_type") == "timm_wrapper"
    except (OSError, ValueError, TypeError, AttributeError):  # whoever reads it says what is wrong
        return False


def read_preparation(folder: Path, setting: str) -> Preparation:
    """Read how images are prepared for the network in a folder: as for ImageNet where it does not say.

    Raises:
        UserError: the file that says so is damaged.
    """
    for name in (*PREPARATION, *((CONFIG,) if is_of_timm(folder) else ())):
        path = folder / name
        if not path.is_file():
            continue
        try:
            loaded = json.loads(path.read_text(encoding="utf-8"))
            about = loaded.get("image_processor", loaded)
            if name == CONFIG:
                about = _translate_timm(loaded.get(OF_TIMM, {}))
            if "image_mean" in about or "size" in about:
                return _parse_preparation(about)
        except (ValueError, TypeError, AttributeError, KeyError, ZeroDivisionError) as error:
            raise UserError(
                f"{setting}: cannot read how images are prepared in {path} ({type(error).__name__}: {error})"
            ) from None
    return Preparation(IMAGENET_MEAN, IMAGENET_STD, None)


def _translate_timm(about: dict[str, Any]) -> dict[str, Any]:
    """Say in transformers' words what timm says of a network's images."""
    names = {"mean": "image_mean", "std": "image_std"}
    said = {names[name]: list(about[name]) for name in names if name in about}
    return said | ({"size": about["input_size"][-1]} if "input_size" in about else {})


def _parse_preparation(about: dict[str, Any]) -> Preparation:
    scale = 1 / about.get("rescale_factor", 1 / 255) if about.get("do_rescale", True) else 1.0
    normalises = about.get("do_normalize", True) and "image_mean" in about
    mean = _parse_channels(about["image_mean"] if normalises else 0.0, scale)
    std = _parse_channels(about["image_std"] if normalises else 1.0, scale)
    if min(std) <= 0:
        raise ValueError(f"expected deviations above 0, found {std}")
    size = about.get("crop_size") if about.get("do_center_crop") else None
    return Preparation(mean, std, _parse_side(size or about.get("size")))


def _parse_channels(values: Any, scale: float) -> tuple[float, float, float]:
    red, green, blue = values if isinstance(values, list) else [values] * 3
    return scale * red, scale * green, scale * blue


def _parse_side(size: Any) -> int | None:
    """Read a side of square images: a number, a shortest edge, or a height."""
    found = size.get("shortest_edge", size.get("height")) if isinstance(size, dict) else size
    return found if isinstance(found, int) else None
