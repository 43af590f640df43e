"""``csg predict`` for segmentation: a class map for every image of a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from csg.config import Config
from csg.data.fault import BadImageError
from csg.data.reading.decoding import PixelLimit, read_whole
from csg.storage.files import make_folder, replacing
from csg.tasks import find_task
from csg.tasks.measurement import Inference


def write_maps(
    folder: Path,
    names: Sequence[str],
    output: Path,
    *,
    inference: Inference,
    config: Config,
    limit: PixelLimit,
    progress: Callable[[int, int], None],
) -> tuple[list[BadImageError], int]:
    """Write ``output``/NAME.png for every image NAME below ``folder``. It is grey; a pixel's value is its class.

    A map has the size of its image, turned upright by the EXIF orientation. The model sees the image in windows, as in
    an evaluation. Existing maps are replaced.

    Returns:
        The errors of images that could not be read and have no map, and the number of images with several frames or
        pages, of which the first counts.
    """
    bad: list[BadImageError] = []
    of_several = 0
    for done, name in enumerate(names, start=1):
        try:
            picture, several_frames = read_whole(folder / name, limit)
        except BadImageError as error:
            bad.append(error)
        else:
            of_several += several_frames
            pixels = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
            (classes,) = find_task(config.data).predict(inference, config, pixels.unsqueeze(0))
            path = make_folder((output / name).parent, "--output") / f"{Path(name).name}.png"
            with replacing(path) as file:
                Image.fromarray(classes.numpy().astype(np.uint8)).save(file, format="PNG")
        progress(done, len(names))
    return bad, of_several
