"""A finished run's model that answers: for images in memory, or for those below a folder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from csg.commands.passed_over import print_not_used
from csg.config import Config
from csg.data.fault import BadImageError
from csg.data.reading.decoding import PixelLimit
from csg.data.reading.image_files import FileStream, ImageFiles
from csg.data.reading.listing import (
    USUAL,
    PassedOver,
    choose_images,
    count_passed_over,
    describe_passed_over,
    list_files,
)
from csg.data.reading.loading import map_in_order
from csg.data.reading.shard_files import find_shard_files
from csg.data.reading.shard_index import find_shards, list_shards
from csg.messages.console import Console
from csg.messages.errors import UserError
from csg.messages.text import make_one_line
from csg.messages.wording import is_or_are, pluralize
from csg.tasks import find_task
from csg.tasks.classification import FlipAveraging, compute_class_scores
from csg.tasks.measurement import Inference
from csg.training.selected import Selected

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("file", "class", "probability")


@dataclass(frozen=True)
class FoundImages:
    """The images below a folder."""

    folder: Path
    files: ImageFiles
    passed_over: tuple[PassedOver, ...]
    """Files that are no images by name."""
    limit: PixelLimit


@dataclass(frozen=True)
class Answers:
    """The answers to some images of a folder."""

    rows: list[tuple[str, str, float]]
    """Of each image that could be read its file below the folder, its class, and the probability of that class."""
    bad: tuple[BadImageError, ...]
    """One for every image that could not."""
    several_frames: int
    """Images with several frames or pages, of which the first counts."""


@dataclass(frozen=True)
class Predictor:
    """A finished run's model, as it was measured on target/test."""

    selected: Selected
    config: Config
    """The run's, on the device to compute on."""
    inference: Inference

    @classmethod
    def of(cls, selected: Selected, device: str | None = None) -> Predictor:
        """Build the model of a run's weights on a device.

        Raises:
            UserError: see ``configure_for`` and ``build_model`` of :class:`~csg.training.selected.Selected`.
        """
        config = selected.configure_for(device)
        return cls(selected, config, Inference(selected.build_model(config), config))

    def __repr__(self) -> str:
        return f"Predictor({self.config.summary}; {pluralize(len(self.classes), 'class')}; {self.selected.place})"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names, in the order of their indices."""
        return self.selected.classes

    def predict(self, images: Tensor | npt.NDArray[np.uint8]) -> npt.NDArray[np.int64]:
        """Return the class index of each of (N, 3, H, W) RGB images, (N,), or of each of their pixels, (N, H, W).

        Args:
            images: uint8; of a classification squares as large as those that the run was trained on.

        Raises:
            UserError: they are of another type or shape.
        """
        given = torch.as_tensor(images)
        if given.ndim != 4 or given.shape[1] != 3 or given.dtype != torch.uint8:
            raise UserError(
                f"images: expected uint8 of shape (N, 3, H, W), found {str(given.dtype).removeprefix('torch.')} of "
                f"shape {tuple(given.shape)}"
            )
        data, batches = self.config.data, torch.split(given, self.config.train.evaluation_batch_size)
        if data.task == "segmentation":
            task = find_task(data)
            return torch.cat([task.predict(self.inference, self.config, some) for some in batches]).numpy()
        side = data.image_size
        if tuple(given.shape[2:]) != (side, side):
            raise UserError(
                f"images: expected {side}x{side} pixels, as the run was trained on, found {given.shape[2]}x"
                f"{given.shape[3]}; resize them, or let classify_folder prepare them as an evaluation does"
            )
        return torch.cat([self._score(some).argmax(dim=1) for some in batches]).cpu().numpy()

    def classify_folder(self, folder: str | Path, *, max_megapixels: int | None = None) -> pd.DataFrame:
        """Return the class of every image below a folder: ``file`` (below it), ``class``, ``probability``.

        What ``csg predict`` writes. Images that cannot be read are named on standard error and left out.

        Raises:
            UserError: there is no such folder, it has no images, or the run's task is segmentation.
        """
        if self.config.data.task == "segmentation":
            raise UserError("classify_folder: expected a run of classification, found segmentation; use csg predict")
        found = find_images(Path(folder), self.config, max_megapixels=max_megapixels)
        answers = list(self.classify_files(found))
        print_not_used(found.passed_over, sum(each.several_frames for each in answers), Console())
        complain_of_bad([error for each in answers for error in each.bad])
        import pandas as pd  # the command does without it, and starts sooner

        return pd.DataFrame([row for each in answers for row in each.rows], columns=list(COLUMNS))

    def classify_files(self, found: FoundImages) -> Iterator[Answers]:
        """Yield the answers to the images below a folder, in the order of their names."""
        files = found.files
        stream = FileStream(files, self.config.data.image_size)
        batches = torch.split(torch.arange(len(stream)), self.config.train.evaluation_batch_size)
        numbers, workers = range(len(batches)), self.config.data.workers
        for reading in map_in_order(lambda n: stream.read(batches[n]), numbers, workers=workers):
            names = [files.name(index) for index in reading.indices.tolist()]
            rows = list(zip(names, *self._classify(reading.views[0]), strict=True)) if names else []
            yield Answers(rows, reading.bad, reading.several_frames)

    @property
    def _averaging(self) -> FlipAveraging:
        """How an evaluation averages an image and its mirror image."""
        return self.config.data.flip_averaging if self.selected.flip_averaging else "none"

    def _score(self, images: Tensor) -> Tensor:
        """Return the (N, classes) scores of (N, 3, S, S) images, as an evaluation finds them."""
        return compute_class_scores(self.inference, self.inference.prepare_input(images), self._averaging)[0]

    def _classify(self, images: Tensor) -> tuple[list[str], list[float]]:
        """Return the class of each of (N, 3, H, W) images, as an evaluation finds it, and its probability.

        The probability is averaged over the image and its mirror image if the evaluation of the run does so. With
        ``data.flip_averaging=sigmoid``, probabilities do not sum to one.
        """
        scores = self._score(images)
        probabilities = scores.softmax(dim=1) if self._averaging == "none" else scores
        predicted = scores.argmax(dim=1, keepdim=True)
        names = [self.classes[label] for label in predicted.flatten().tolist()]
        return names, probabilities.gather(1, predicted).flatten().tolist()


def find_images(folder: Path, config: Config, *, max_megapixels: int | None = None) -> FoundImages:
    """Find the images below a folder; for a classification also those in its shards.

    Args:
        folder: where to look.
        config: the run's.
        max_megapixels: pixels that an image may have, in millions; None takes the run's ``data.max_megapixels``.

    Raises:
        UserError: there is no such folder, it has no images, or a shard is cut short.
    """
    data = config.data
    limit = PixelLimit(max_megapixels or data.max_megapixels, "--max-megapixels", data.grey_bits)
    shards = None if data.task == "segmentation" or not folder.is_dir() else _list_shards(folder, limit)
    if shards is not None:
        return FoundImages(folder, shards, (), limit)
    names, passed_over = _list_names(folder)
    return FoundImages(folder, ImageFiles.of(str(folder), dict.fromkeys(names, 0), limit=limit), passed_over, limit)


def _list_shards(folder: Path, limit: PixelLimit) -> ImageFiles | None:
    """Return the images in the shards of a folder; None where it has none.

    Raises:
        UserError: a shard is cut short, or there are no images in them.
    """
    if not find_shards(folder):
        return None
    shards = list_shards(folder, cache=None)
    files = find_shard_files(shards, dict.fromkeys((None, *shards.names), 0), cache=None, limit=limit)
    if not len(files):
        raise UserError(f"{folder}: expected images in the shards, found none")
    return files


def _list_names(folder: Path) -> tuple[list[str], tuple[PassedOver, ...]]:
    """List the image files below ``folder`` as relative paths, and count the files that are not images by name.

    Raises:
        UserError: there is no such folder, or it has no images.
    """
    found = list(list_files(folder))
    names = [path.relative_to(folder).as_posix() for path in choose_images(found)]
    passed_over = count_passed_over(found, folder)
    if not names:
        instead = f"; {describe_passed_over(passed_over)}" if passed_over else ""
        raise UserError(
            f"{folder}: expected images ({', '.join(USUAL)} and other formats that Pillow reads) in it or below it, "
            f"found none{instead}"
        )
    return names, passed_over


def complain_of_bad(bad: Sequence[BadImageError]) -> None:
    """Name the images that could not be read on standard error; nothing where there are none."""
    if bad:
        errors = Console(stderr=True)
        errors.complain(f"{pluralize(len(bad), 'image')} cannot be read and {is_or_are(len(bad))} left out:")
        for error in bad:
            errors.print(f"  {make_one_line(str(error))}")
