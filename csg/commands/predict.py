"""``csg predict``: the class of every image in a folder, or of every pixel, by the weights of a finished run."""

from __future__ import annotations

import codecs
import csv
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from csg.commands.passed_over import print_not_used
from csg.commands.predict_maps import write_maps
from csg.commands.progress import CountProgress, show_image_progress
from csg.config.flags import read_options
from csg.config.settings import Count
from csg.data.fault import BadImageError
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.image_files import FileStream, ImageFiles
from csg.data.reading.listing import (
    USUAL,
    PassedOver,
    count_passed_over,
    describe_passed_over,
    images_among,
    list_files,
)
from csg.data.reading.loading import map_in_order
from csg.data.reading.shards import find_shards, list_shards
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_one_line
from csg.messages.wording import is_or_are, pluralize
from csg.storage.files import check_file, make_folder, replacing
from csg.storage.layout import place_to_read
from csg.tasks.classification import class_scores
from csg.tasks.measurement import Inference
from csg.training.selected import Selected, load_selected

COLUMNS = ("file", "class", "probability")


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Flags of ``csg predict``."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder with images, at any depth, or with shards (.tar as WebDataset writes them)."""
    checkpoint: str
    """Selected weights of a finished run (selected.pt; csg train prints where they are)."""
    output: Path | None = None
    """CSV file to write: file (below DIR), class, probability (default: predictions.csv). Of a segmentation, the folder
    for its class maps (default: predictions)."""
    device: Literal["cpu", "cuda"] | None = None
    """Where to compute (default: where the run was trained, or the CPU where there is no CUDA device)."""
    max_megapixels: Count | None = None
    """Pixels that an image may have, in millions; a larger one is left out (default: the run's data.max_megapixels)."""


@dataclasses.dataclass(frozen=True)
class Answers:
    """The predictions for one batch."""

    rows: list[tuple[str, str, str]]
    """File, class and probability of each image that could be read."""
    bad: tuple[BadImageError, ...]
    """Errors of the other images."""
    several_frames: int
    """Number of images with more frames or pages than the first, which counts."""


def predict(argv: Sequence[str], console: Console) -> int:
    """Write the class of every image below a folder to a CSV file, or its class map to a folder.

    Returns:
        0; 1 when images could not be read and are missing; 130 when interrupted.
    """
    options = read_options(
        PredictOptions,
        argv,
        prog="csg predict",
        description="Write the class of every image in a folder to a CSV file, or of its every pixel to an image.",
    )
    selected = load_selected(place_to_read(options.checkpoint, "--checkpoint"))
    data = selected.config.data
    limit = PixelLimit(options.max_megapixels or data.max_megapixels, "--max-megapixels", data.grey_bits)
    dense = selected.config.data.task == "segmentation"
    shards = None if dense or not options.folder.is_dir() else _list_shards(options.folder, limit)
    names, passed_over = _list_names(options.folder) if shards is None else ([], ())
    files = shards or ImageFiles.of(str(options.folder), dict.fromkeys(names, 0), limit=limit)
    output = options.output or Path("predictions" if dense else "predictions.csv")
    if dense and output.resolve().is_relative_to(options.folder.resolve()):
        raise UserError(f"--output: expected a folder outside {options.folder}, which is read; found {output}")
    make_folder(output, "--output") if dense else check_file(output, "--output")
    try:
        with show_image_progress(console, "classifying", "classified") as progress:
            if dense:
                config = selected.on(options.device)
                torch.set_num_threads(config.train.threads)
                inference = Inference(selected.model(config), config)
                bad, several_frames = write_maps(
                    options.folder, names, output, inference=inference, config=config, limit=limit, progress=progress
                )
            else:
                bad, several_frames = _write_table(output, options, files, selected, progress=progress)
    except KeyboardInterrupt:
        console.print(f"Interrupted; {'the maps so far are in ' + str(output) if dense else 'nothing was written'}.")
        return 130
    images = f"{pluralize(len(files), 'image')} {is_or_are(len(files))}"
    console.print(f"{len(files) - len(bad):,} of {images} classified: {output}")
    print_not_used(passed_over, several_frames, console)
    if bad:
        errors = Console(stderr=True)
        errors.complain(f"{pluralize(len(bad), 'image')} cannot be read and {is_or_are(len(bad))} left out:")
        for error in bad:
            errors.print(f"  {make_one_line(str(error))}")
    return 1 if bad else 0


def _write_table(
    path: Path,
    options: PredictOptions,
    files: ImageFiles,
    selected: Selected,
    *,
    progress: CountProgress,
) -> tuple[list[BadImageError], int]:
    """Write a row for every image that can be read.

    Returns:
        The errors of the others, and the number of images with several frames or pages, of which the first counts.
    """
    bad: list[BadImageError] = []
    several_frames = 0
    with replacing(path) as file:
        table = csv.writer(codecs.getwriter("utf-8")(file, "surrogateescape"), lineterminator="\n")
        table.writerow(COLUMNS)
        done = 0
        for answers in classify(files, selected, device=options.device):
            table.writerows(answers.rows)
            bad += answers.bad
            several_frames += answers.several_frames
            done += len(answers.rows) + len(answers.bad)
            progress(done, len(files))
    return bad, several_frames


def _list_shards(folder: Path, limit: PixelLimit) -> ImageFiles | None:
    """Return the images in the shards of a folder; None where it has none.

    Raises:
        UserError: a shard is cut short, or there are no images in them.
    """
    if not find_shards(folder):
        return None
    shards = list_shards(folder, cache=None)
    files = shards.make_files(dict.fromkeys((None, *shards.names), 0), cache=None, limit=limit)
    if not len(files):
        raise UserError(f"{folder}: expected images in the shards, found none")
    return files


def _list_names(folder: Path) -> tuple[list[str], tuple[PassedOver, ...]]:
    """List the image files below ``folder`` as relative paths, and count the files that are not images by name.

    Raises:
        UserError: there is no such folder, or it has no images.
    """
    found = list(list_files(folder))
    names = [path.relative_to(folder).as_posix() for path in images_among(found)]
    passed_over = count_passed_over(found, folder)
    if not names:
        instead = f"; {describe_passed_over(passed_over)}" if passed_over else ""
        raise UserError(
            f"{folder}: expected images ({', '.join(USUAL)} and other formats that Pillow reads) in it or below it, "
            f"found none{instead}"
        )
    return names, passed_over


@torch.no_grad()
def classify(files: ImageFiles, selected: Selected, *, device: Literal["cpu", "cuda"] | None) -> Iterator[Answers]:
    """Classify images as an evaluation does, batch by batch, in their order.

    The probability is that of the predicted class. It is averaged over the image and its mirror image if the
    evaluation of the run does so. With ``data.flip_averaging=sigmoid``, probabilities do not sum to one.

    Raises:
        UserError: the weights do not fit, or there is no such device.
    """
    config = selected.on(device)
    torch.set_num_threads(config.train.threads)
    inference = Inference(selected.model(config), config)
    averaging = config.data.flip_averaging if selected.flip_averaging else "none"
    stream = FileStream(files, config.data.image_size)
    batches = torch.split(torch.arange(len(files)), config.train.evaluation_batch_size)
    for reading in map_in_order(lambda n: stream.read(batches[n]), range(len(batches)), workers=config.data.workers):
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
        yield Answers(rows, reading.bad, reading.several_frames)
