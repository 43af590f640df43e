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

from csg.commands.passed_over import print_not_used
from csg.commands.prediction import COLUMNS, FoundImages, Predictor, complain_of_bad, find_images
from csg.config.flags import read_options
from csg.config.settings import Count
from csg.data.fault import BadImageError
from csg.data.reading.decoding import read_whole
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.progress import CountProgress, show_image_progress
from csg.messages.wording import is_or_are, pluralize
from csg.storage.files import check_file, make_folder, open_replacement
from csg.storage.layout import place_to_read
from csg.training.selected import load_selected


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
    dense = selected.config.data.task == "segmentation"
    found = find_images(options.folder, selected.config, max_megapixels=options.max_megapixels)
    output = options.output or Path("predictions" if dense else "predictions.csv")
    if dense and output.resolve().is_relative_to(options.folder.resolve()):
        raise UserError(f"--output: expected a folder outside {options.folder}, which is read; found {output}")
    make_folder(output, "--output") if dense else check_file(output, "--output")
    left = f"the maps so far are in {output}" if dense else "nothing was written"
    predictor = Predictor.of(selected, options.device)
    torch.set_num_threads(predictor.config.train.threads)
    with show_image_progress(console, "classifying", "classified", left=left) as progress:
        write = _write_maps if dense else _write_table
        bad, several_frames = write(output, found, predictor, progress)
    count = len(found.files)
    console.print(f"{count - len(bad):,} of {pluralize(count, 'image')} {is_or_are(count)} classified: {output}")
    print_not_used(found.passed_over, several_frames, console)
    complain_of_bad(bad)
    return 1 if bad else 0


def _write_table(
    output: Path, found: FoundImages, predictor: Predictor, progress: CountProgress
) -> tuple[list[BadImageError], int]:
    """Write a row for every image that can be read, in the order of their names.

    Returns:
        The errors of the others, and the number of images with several frames or pages, of which the first counts.
    """
    bad: list[BadImageError] = []
    several_frames = done = 0
    with open_replacement(output) as file:
        table = csv.writer(codecs.getwriter("utf-8")(file, "surrogateescape"), lineterminator="\n")
        table.writerow(COLUMNS)
        for answered in predictor.classify_files(found):
            table.writerows((name, of, f"{chance:.6f}") for name, of, chance in answered.rows)
            bad += answered.bad
            several_frames += answered.several_frames
            done += len(answered.rows) + len(answered.bad)
            progress(done, len(found.files))
    return bad, several_frames


def _write_maps(
    output: Path, found: FoundImages, predictor: Predictor, progress: CountProgress
) -> tuple[list[BadImageError], int]:
    """Write NAME.png for every image NAME. It is grey; a pixel's value is its class.

    A map has the size of its image, turned upright by the EXIF orientation. The model sees the image in windows, as in
    an evaluation. Existing maps are replaced.

    Returns:
        The errors of images that could not be read and have no map, and the number of images with several frames or
        pages, of which the first counts.
    """
    bad: list[BadImageError] = []
    of_several = 0
    names = [found.files.name(index) for index in range(len(found.files))]
    for done, name in enumerate(names, start=1):
        try:
            picture, several_frames = read_whole(found.folder / name, found.limit)
        except BadImageError as error:
            bad.append(error)
        else:
            of_several += several_frames
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
            (classes,) = predictor.predict(pixels.unsqueeze(0))
            path = make_folder((output / name).parent, "--output") / f"{Path(name).name}.png"
            with open_replacement(path) as file:
                Image.fromarray(classes.astype(np.uint8)).save(file, format="PNG")
        progress(done, len(names))
    return bad, of_several
