"""``csg predict``: the class of every image in a folder, or of every pixel, by the weights of a finished run."""

from __future__ import annotations

import codecs
import csv
import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import torch
import tyro
from PIL import Image
from torch import Tensor

from csg.commands.passed_over import print_not_used
from csg.commands.progress import CountProgress, show_image_progress
from csg.config import Config
from csg.config.flags import read_options
from csg.config.settings import Count
from csg.data.fault import BadImageError
from csg.data.reading.decoding import PixelLimit, read_whole
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
from csg.tasks import find_task
from csg.tasks.classification import class_scores
from csg.tasks.measurement import Inference
from csg.training.selected import Selected, load_selected

COLUMNS = ("file", "class", "probability")


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Flags of ``csg predict``."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="DIR")]
    """Folder with images, at any depth; of classification also with shards (.tar as WebDataset writes them)."""
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
class Work:
    """What is predicted, by what, and where the answers go."""

    folder: Path
    files: ImageFiles
    """The images below it."""
    output: Path
    selected: Selected
    config: Config
    """The run's, on the device to compute on."""
    inference: Inference
    limit: PixelLimit
    progress: CountProgress


def predict(argv: Sequence[str], console: Console) -> int:
    """Write the class of every image below a folder to a CSV file, or its class map to a folder.

    Returns:
        0; 1 when images could not be read and are missing.
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
    left = f"the maps so far are in {output}" if dense else "nothing was written"
    config = selected.on(options.device)
    torch.set_num_threads(config.train.threads)
    inference = Inference(selected.model(config), config)
    with show_image_progress(console, "classifying", "classified", left=left) as progress:
        work = Work(options.folder, files, output, selected, config, inference, limit, progress)
        bad, several_frames = _write_maps(work) if dense else _write_table(work)
    images = f"{pluralize(len(files), 'image')} {is_or_are(len(files))}"
    console.print(f"{len(files) - len(bad):,} of {images} classified: {output}")
    print_not_used(passed_over, several_frames, console)
    if bad:
        errors = Console(stderr=True)
        errors.complain(f"{pluralize(len(bad), 'image')} cannot be read and {is_or_are(len(bad))} left out:")
        for error in bad:
            errors.print(f"  {make_one_line(str(error))}")
    return 1 if bad else 0


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


def _write_table(work: Work) -> tuple[list[BadImageError], int]:
    """Write a row for every image that can be read, in the order of their names.

    Returns:
        The errors of the others, and the number of images with several frames or pages, of which the first counts.
    """
    bad: list[BadImageError] = []
    several_frames = done = 0
    files = work.files
    stream = FileStream(files, work.config.data.image_size)
    batches = torch.split(torch.arange(len(stream)), work.config.train.evaluation_batch_size)
    numbers, workers = range(len(batches)), work.config.data.workers
    with replacing(work.output) as file:
        table = csv.writer(codecs.getwriter("utf-8")(file, "surrogateescape"), lineterminator="\n")
        table.writerow(COLUMNS)
        for reading in map_in_order(lambda n: stream.read(batches[n]), numbers, workers=workers):
            names = [files.name(index) for index in reading.indices.tolist()]
            if names:
                table.writerows(zip(names, *_classify(reading.views[0], work), strict=True))
            bad += reading.bad
            several_frames += reading.several_frames
            done += len(names) + len(reading.bad)
            work.progress(done, len(stream))
    return bad, several_frames


def _classify(images: Tensor, work: Work) -> tuple[list[str], list[str]]:
    """Return the class of each of (N, 3, H, W) images, as an evaluation finds it, and its probability.

    The probability is averaged over the image and its mirror image if the evaluation of the run does so. With
    ``data.flip_averaging=sigmoid``, probabilities do not sum to one.
    """
    averaging = work.config.data.flip_averaging if work.selected.flip_averaging else "none"
    scores, _ = class_scores(work.inference, work.inference.input(images), averaging)
    probabilities = scores.softmax(dim=1) if averaging == "none" else scores
    predicted = scores.argmax(dim=1, keepdim=True)
    chances = probabilities.gather(1, predicted).flatten().tolist()
    names = [work.selected.classes[label] for label in predicted.flatten().tolist()]
    return names, [f"{chance:.6f}" for chance in chances]


def _write_maps(work: Work) -> tuple[list[BadImageError], int]:
    """Write NAME.png for every image NAME. It is grey; a pixel's value is its class.

    A map has the size of its image, turned upright by the EXIF orientation. The model sees the image in windows, as in
    an evaluation. Existing maps are replaced.

    Returns:
        The errors of images that could not be read and have no map, and the number of images with several frames or
        pages, of which the first counts.
    """
    bad: list[BadImageError] = []
    of_several = 0
    names = [work.files.name(index) for index in range(len(work.files))]
    for done, name in enumerate(names, start=1):
        try:
            picture, several_frames = read_whole(work.folder / name, work.limit)
        except BadImageError as error:
            bad.append(error)
        else:
            of_several += several_frames
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
            (classes,) = find_task(work.config.data).predict(work.inference, work.config, pixels.unsqueeze(0))
            path = make_folder((work.output / name).parent, "--output") / f"{Path(name).name}.png"
            with replacing(path) as file:
                Image.fromarray(classes.numpy().astype(np.uint8)).save(file, format="PNG")
        work.progress(done, len(names))
    return bad, of_several
