"""``csg predict`` for segmentation: a class map beside every image of a folder."""

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
    """Write ``output``/NAME.png for every image NAME below ``folder``: grey, of its size, a pixel's class its value.

    Images are seen at full size, upright by their EXIF orientation, in windows as an evaluation sees them; maps that
    are there are replaced.

    Returns:
        Why images could not be read, which have no map; and of how many more frames or pages follow the one that
        counts.
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
