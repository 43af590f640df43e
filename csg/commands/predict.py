"""``csg predict``: the class of every image in a folder, by a finished run's weights."""

from __future__ import annotations

import codecs
import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro
from rich.console import Console

from csg.commands.verification import ImageProgress
from csg.data.decoding import EXTENSIONS, BadImageError, image_files
from csg.data.files import FileStream, ImageFiles
from csg.data.loading import in_order
from csg.object_store import file_of
from csg.settings import ConfigError
from csg.storage import check_file, replacing
from csg.tasks.classification import class_scores
from csg.tasks.measurement import Inference
from csg.training.selected import Selected, load_selected

COLUMNS = ("file", "class", "probability")


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Flags of ``csg predict``."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder with images, at any depth."""
    checkpoint: str
    """Selected weights of a finished run (selected.pt; csg train prints where they are)."""
    output: Path = Path("predictions.csv")
    """CSV file to write: file (below DIR), class, probability."""
    device: Literal["cpu", "cuda"] | None = None
    """Where to compute (default: where the run was trained, or the CPU where there is no CUDA device)."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """What came of one batch."""

    rows: list[tuple[str, str, str]]
    """File, class and probability of the images that could be read."""
    bad: tuple[BadImageError, ...]
    """The others."""


def predict(argv: Sequence[str], console: Console) -> int:
    """Write the class of every image below a folder to a CSV file.

    Returns:
        0; 1 when images could not be read, whose rows are then missing; 130 when interrupted.
    """
    options = tyro.cli(
        PredictOptions,
        args=list(argv),
        prog="csg predict",
        description="Write the class of every image in a folder to a CSV file.",
        use_underscores=True,
    )
    selected = load_selected(file_of(options.checkpoint))
    names = _names(options.folder)
    check_file(options.output, "--output")
    bad: list[BadImageError] = []
    try:
        with replacing(options.output) as file, ImageProgress(console, "classifying", "classified") as progress:
            table = csv.writer(codecs.getwriter("utf-8")(file, "surrogateescape"), lineterminator="\n")
            table.writerow(COLUMNS)
            done = 0
            for answers in classified(options.folder, names, selected, device=options.device):
                table.writerows(answers.rows)
                bad += answers.bad
                done += len(answers.rows) + len(answers.bad)
                progress(done, len(names))
    except KeyboardInterrupt:
        console.print("Interrupted; nothing was written.")
        return 130
    written = f"{len(names) - len(bad):,} of {len(names):,} images are classified: {options.output}"
    console.print(written, highlight=False, markup=False, soft_wrap=True)
    if bad:
        errors = Console(stderr=True)
        errors.print(f"[red]error:[/] {len(bad):,} images cannot be read and have no row:", highlight=False)
        for error in bad:
            errors.print(f"  {error}", highlight=False, markup=False, soft_wrap=True)
    return 1 if bad else 0


def _names(folder: Path) -> list[str]:
    """List the image files below ``folder``, as paths below it.

    Raises:
        ConfigError: it is no folder, or has no images.
    """
    found = [path.relative_to(folder).as_posix() for path in image_files(folder)]
    if not found:
        raise ConfigError(f"{folder}: expected images ({', '.join(EXTENSIONS)}) in it or below it, found none")
    return found


@torch.no_grad()
def classified(
    folder: Path, names: Sequence[str], selected: Selected, *, device: Literal["cpu", "cuda"] | None = None
) -> Iterator[Answers]:
    """Classify images as an evaluation does, batch by batch, in the order of their names.

    The probability is that of the predicted class, averaged over the image and its mirror image where the run's
    evaluation does so. (With ``data.flip_averaging=sigmoid``, the authors', the classes' do not sum to one.)

    Raises:
        ConfigError: the weights do not fit, or there is no such device.
    """
    config = selected.on(device)
    torch.set_num_threads(config.train.threads)
    inference = Inference(selected.model(config), config)
    averaging = config.data.flip_averaging if selected.flip_averaging else "none"
    files = ImageFiles.of(str(folder), dict.fromkeys(names, 0))  # a stream has labels; these are not looked at
    stream = FileStream(files, config.data.image_size)
    batches = torch.split(torch.arange(len(files)), config.train.evaluation_batch_size)
    for reading in in_order(lambda n: stream.read(batches[n]), range(len(batches)), workers=config.data.workers):
        rows: list[tuple[str, str, str]] = []
        if len(reading.indices) > 0:
            scores, _ = class_scores(inference, inference.input(reading.views[0]), averaging)
            probabilities = scores.softmax(dim=1) if averaging == "none" else scores
            predicted = scores.argmax(dim=1, keepdim=True)
            chances = probabilities.gather(1, predicted).flatten().tolist()
            rows = [
                (files.name(index), selected.classes[label], f"{chance:.6f}")
                for index, label, chance in zip(
                    reading.indices.tolist(), predicted.flatten().tolist(), chances, strict=True
                )
            ]
        yield Answers(rows, reading.bad)
