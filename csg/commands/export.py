"""``csg export``: the network of a finished run as one file that does not need this package."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import torch
from torch import Tensor

from csg.config import Config
from csg.config.flags import read_options
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.models.deployable import Deployable
from csg.storage.files import check_file, open_replacement
from csg.storage.layout import place_to_read
from csg.training.selected import Selected, load_selected

TOLERANCE: Final = 1e-3
"""Largest accepted difference between a probability of the written file and of the model.

Rounding alone reaches a tenth of it in a ResNet-101 with a steep head. A wrong padding exceeds it by far.
"""
CHECKED_BATCHES: Final = (1, 5)
"""Sizes of the batches that test the written file. It is made with a batch of two."""
ONNX_PACKAGES: Final = ("onnx", "onnxruntime", "onnxscript")
METADATA_FILE: Final = "csg.json"
"""Name of the metadata in a .pt2 file."""
Metadata = Mapping[str, Any]
Answer = Callable[[Tensor], Tensor]
"""(N, 3, S, S) float32 images of 0 to 255 -> (N, classes) or (N, classes, S, S) probabilities."""


class MismatchError(ArithmeticError):
    """The probabilities of a written file differ from those of the model."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Flags of ``csg export``."""

    checkpoint: str
    """Selected weights of a finished run (selected.pt; csg train prints where they are)."""
    output: Path
    """File to write: .pt2 (torch.export) or .onnx."""


@dataclasses.dataclass(frozen=True)
class Format:
    """A file format."""

    write: Callable[[Deployable, int, Metadata, BinaryIO], None]
    """Takes the model, the side of its images in pixels, the metadata and the open file."""
    read: Callable[[Path], Answer]
    """Loads a file as its users do."""
    packages: tuple[str, ...] = ()
    """Packages that it needs besides torch."""


def export(argv: Sequence[str], console: Console) -> int:
    """Write the network of a finished run to one file, and compare the file with the network.

    Returns:
        0; 1 when their probabilities differ, and the file was not kept.
    """
    options = read_options(
        ExportOptions,
        argv,
        prog="csg export",
        description="Write the network of a finished run to one file: images in, probabilities out.",
    )
    kind = _choose_format(options.output)
    selected = load_selected(place_to_read(options.checkpoint, "--checkpoint"))
    check_file(options.output, "--output")
    try:
        difference = export_to(options.output, kind, selected)
    except MismatchError as error:
        Console(stderr=True).complain(error)
        return 1
    about = make_metadata(selected)
    console.print(
        f"{options.output}: {about['input']} -> {about['output']}; {options.output.stat().st_size / 1e6:.1f} MB; "
        f"read back, its probabilities differ from the model's by {difference:.1e} at most",
    )
    return 0


def export_to(path: Path, kind: Format, selected: Selected) -> float:
    """Write a file, read it back, and keep it if its probabilities are those of the model.

    Returns:
        The largest difference of a probability.

    Raises:
        MismatchError: the difference exceeds ``TOLERANCE``. ``path`` is left as it was.
        UserError: the weights do not fit, or give no probabilities.
    """
    model = Deployable(selected.build_model(selected.configure_for("cpu")))
    side = get_side(selected.config)
    with open_replacement(path) as file, _silence_exporters():
        kind.write(model, side, make_metadata(selected), file)
        file.flush()
        answer = kind.read(Path(file.name))
        difference = max(_measure_difference(answer, model, images, selected) for images in _draw_images(side))
        if not difference <= TOLERANCE:
            raise MismatchError(
                f"{path} was not written: read back, its probabilities differ from the model's by {difference:.1e}, "
                f"where at most {TOLERANCE} is accepted; the other format ({_list_others(path)}) may do"
            )
    return difference


def get_side(config: Config) -> int:
    """Return the side in pixels of the square images that the model sees in an evaluation."""
    return config.data.window_side if config.data.task == "segmentation" else config.data.image_size


def make_metadata(selected: Selected) -> Metadata:
    """Describe the file to users who have nothing else."""
    config, side = selected.config, get_side(selected.config)
    dense = config.data.task == "segmentation"
    if dense:
        seen = (
            f"Take windows of {side}x{side} pixels out of the image; average their probabilities where they overlap. "
        )
    else:
        seen = (
            "Turn the image upright by its EXIF orientation; make it RGB (transparency over black); resize its shorter "
            f"side to {side} pixels, bilinear with antialiasing as Pillow does it; cut out the middle {side}x{side}. "
        )
    return {
        "classes": list(selected.classes),
        "image_size": side,
        "input": f"images (N, 3, {side}, {side}) float32, RGB, 0 to 255",
        "output": (
            f"probabilities (N, {len(selected.classes)}{f', {side}, {side}' if dense else ''}) float32, in the order "
            "of classes"
        ),
        **({"window_stride": config.data.window_stride} if dense else {}),
        "preparation": seen + "Do not normalise: the model does.",
        "flip_averaging": config.data.flip_averaging if selected.flip_averaging else "none",
        "encoder": config.model.name,
        "method": config.method.name,
        "seed": config.train.seed,
    }


def write_pt2(model: Deployable, side: int, about: Metadata, file: BinaryIO) -> None:
    """Write a .pt2 file, for :func:`torch.export.load`."""
    program = torch.export.export(model, (_make_example(side),), dynamic_shapes=_DYNAMIC)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # it names folders of this machine
    torch.export.save(program, file, extra_files={METADATA_FILE: json.dumps(about, indent=1)})


def read_pt2(path: Path) -> Answer:
    """Load a .pt2 file."""
    with path.open("rb") as file:
        module = torch.export.load(file).module()
    return torch.no_grad()(module)


def write_onnx(model: Deployable, side: int, about: Metadata, file: BinaryIO) -> None:
    """Write an ONNX model with its weights inside. Metadata that is not text is JSON."""
    program = torch.onnx.export(
        model,
        (_make_example(side),),
        input_names=["images"],
        output_names=["probabilities"],
        dynamic_shapes=_DYNAMIC,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    for node in program.model.graph.all_nodes():
        node.metadata_props.clear()  # it names folders of this machine
    program.model.metadata_props.update(
        {name: value if isinstance(value, str) else json.dumps(value) for name, value in about.items()}
    )
    file.write(program.model_proto.SerializeToString())


def read_onnx(path: Path) -> Answer:
    """Load an ONNX file in ONNX Runtime."""
    from onnxruntime import InferenceSession

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: torch.from_numpy(session.run(["probabilities"], {"images": images.numpy()})[0])


FORMATS: Final = {
    ".pt2": Format(write_pt2, read_pt2),
    ".onnx": Format(write_onnx, read_onnx, ONNX_PACKAGES),
}
_DYNAMIC: Final = {"images": {0: torch.export.Dim("N", min=1)}}


def _choose_format(path: Path) -> Format:
    kind = FORMATS.get(path.suffix.lower())
    if kind is None:
        found = f"found {path.suffix}" if path.suffix else "found no extension"
        raise UserError(f"--output: expected a name that ends in {' or '.join(FORMATS)}, {found} ({path})")
    missing = [package for package in kind.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise UserError(
            f"--output: a {path.suffix} file needs {', '.join(missing)}, which are not installed; install them from "
            f"the project's folder: pip install -c constraints.txt -e '.[export]' (or write {_list_others(path)})"
        )
    return kind


def _list_others(path: Path) -> str:
    return ", ".join(name for name in FORMATS if name != path.suffix.lower())


def _make_example(side: int) -> Tensor:
    return torch.zeros(2, 3, side, side)


def _draw_images(side: int) -> Iterator[Tensor]:
    """Yield batches of noise. Each image has a contrast of its own."""
    draw = torch.Generator().manual_seed(0)
    for count in CHECKED_BATCHES:
        noise = torch.rand(count, 3, side, side, generator=draw)
        yield 255 * noise * torch.rand(count, 1, 1, 1, generator=draw)


@torch.no_grad()
def _measure_difference(answer: Answer, model: Deployable, images: Tensor, selected: Selected) -> float:
    expected = model(images)
    if not torch.isfinite(expected).all():
        raise UserError(f"{selected.place}: expected weights that give probabilities, found some that give NaN")
    difference = (answer(images) - expected).abs().max()
    return float(difference.nan_to_num(nan=float("inf")))


@contextmanager
def _silence_exporters() -> Iterator[None]:
    """Hide the warnings of the exporters, which are about optional packages and about parts of torch."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
