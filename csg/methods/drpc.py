"""Domain randomisation and pyramid consistency (DRPC; Yue et al., ICCV 2019, arXiv:1909.00889, section 3).

Two halves, each of which works alone:

1. Randomisation: an image is trained on in other images' styles, its labels being what they were.
2. Consistency: the maps F(x_k) of K copies of an image in different styles agree. With P_l the average over each of
   l x l cells,

       L = CE + weight * mean over l, k and all entries of | P_l F(x_k) - (1/K) sum_j P_l F(x_j) |

   (:mod:`csg.losses.pyramid_consistency`). F is the trained encoder's last stage.

Departures: the paper translates its images with CycleGANs, trained ahead for styles of ImageNet's classes. Here a style
is the low-frequency Fourier amplitude of an image (FDA; :mod:`csg.data.views.fourier_style`): of one of
``style_images``, or without them of another synthetic image of the same batch, so that not even unlabelled real images
are used. Its second consistency, within an image, and its consistency of shallower layers are left out. Among the K
copies is the one that is trained on, which without randomisation is the image as it is. The paper is on segmentation;
nothing here depends on the task.
"""

from __future__ import annotations

import dataclasses
import logging
from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated

import torch
from pydantic import Field
from pydantic.dataclasses import dataclass as settings_dataclass
from torch import Tensor

from csg.collective import gather_rows
from csg.config import MethodConfig
from csg.config.settings import NOT_IDENTITY, STRICT, Count, Flat, Place, flatten
from csg.data.reading.decoding import PixelLimit, decode
from csg.data.reading.listing import OF_SYSTEM, choose_images, count_passed_over, describe_passed_over, list_files
from csg.data.views.fourier_style import compute_low_amplitudes, with_low_amplitudes
from csg.losses.pyramid_consistency import pyramid_consistency
from csg.messages.errors import UserError
from csg.methods.method import Batch, Method, Term
from csg.models.encoder import Encoder
from csg.models.model import Model, Output
from csg.randomness import make_generator

REMEMBERED = 1024
"""Style images whose amplitudes are kept in memory."""


@settings_dataclass(frozen=True, config=STRICT)
class DrpcConfig(MethodConfig):
    """Settings of DRPC's two halves."""

    name: str = "drpc"
    randomisation: bool = True
    """Whether the view that is trained on is in another image's style."""
    style_images: Annotated[str | None, Place("read")] = None
    """Folder of images that styles are taken from (unset: the other synthetic images of the batch)."""
    style_megapixels: Annotated[Count, NOT_IDENTITY] = 256
    """Pixels that a style image may have, in millions; a larger one ends the run."""
    style_window: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """Largest radius of the low frequencies that are replaced, as a share of the image's side; every copy of an image
    draws its own between 0 and this."""
    consistency_weight: Annotated[float, Field(ge=0, le=1000)] = 1.0
    """Weight of the pyramid consistency; 0 switches it off."""
    copies: Annotated[int, Field(ge=2, le=16)] = 2
    """Copies of an image that are held to their mean, the view that is trained on among them."""

    def __post_init__(self) -> None:
        if self.consistency_weight == 0 and not self.randomisation:
            raise UserError(
                "method.consistency_weight: expected above 0, or method.randomisation=True; with neither half this is "
                "source_only"
            )

    @property
    def summary(self) -> str:
        """The halves that are on."""
        halves = [f"randomisation<{self.style_window:.3g}"] if self.randomisation else []
        return " ".join(["drpc", *halves, *([self._consistency] if self.consistency_weight else [])])

    @property
    def _consistency(self) -> str:
        return f"consistency*{self.consistency_weight:.3g} of {self.copies}"

    @property
    def compared(self) -> int:
        """Copies of an image that there are: one where none are compared."""
        return self.copies if self.consistency_weight else 1

    def get_active(self) -> Flat:
        """Without consistency there is one copy."""
        unused = () if self.consistency_weight else ("copies",)
        return {name: value for name, value in flatten(self).items() if name not in unused}


@dataclass(frozen=True)
class StyledBatch(Batch):
    """A batch with further copies of its images."""

    copies: tuple[Tensor, ...]
    """Each like ``query``, in other styles."""


class Drpc(Method):
    """Trains on stylised images, and holds the encoder's last maps of several stylised copies together."""

    Config = DrpcConfig

    def __init__(self, config: DrpcConfig, model: Model, *, teacher: Encoder, seed: int) -> None:
        super().__init__(config, model, teacher=teacher, seed=seed)
        self.config: DrpcConfig = config
        self._seed = seed
        self._mean, self._std = model.encoder.mean, model.encoder.std
        folder = config.style_images
        self._folder = None if folder is None else FolderStyles(folder, config)

    @torch.no_grad()
    def prepare(self, batch: Batch) -> StyledBatch:
        """Return the batch in other styles, with the copies that are compared.

        Which styles an image's copies get is a function of the seed, the epoch and its place in the data; without style
        images also of which images the batch holds, on all workers together.
        """
        mean, std = (batch.query.new_tensor(values).reshape(1, 3, 1, 1) for values in (self._mean, self._std))
        pixels = (batch.query * std + mean).clamp(0, 255)
        styles = self._folder or BatchStyles(batch, pixels, window=self.config.style_window)
        side = min(pixels.shape[-2:])
        draws = [self._draw(batch.epoch, index, styles.available) for index in batch.indices.tolist()]
        copies = []
        for copy in range(0 if self.config.randomisation else 1, self.config.compared):  # number 0 is trained on
            radii = torch.tensor([_compute_radius(windows[copy], side) for windows, _ in draws])
            amplitudes = [styles.find_amplitudes(place, chosen[copy], side) for place, (_, chosen) in enumerate(draws)]
            styled = with_low_amplitudes(pixels, torch.stack(amplitudes).to(pixels), radii)
            # In the query's memory format, on which the speed of convolutions depends.
            copies.append(torch.empty_like(batch.query).copy_((styled - mean) / std))
        fields = {field.name: getattr(batch, field.name) for field in dataclasses.fields(Batch)}
        if self.config.randomisation:
            fields["query"] = copies.pop(0)
            fields["key"] = fields["query"] if batch.key is batch.query else batch.key
        return StyledBatch(**fields, copies=tuple(copies))

    def compute_terms(self, batch: Batch, output: Output, model: Model) -> list[Term]:
        """One term: the consistency, where it is on."""
        if not self.config.consistency_weight:
            return []
        assert isinstance(batch, StyledBatch)
        trained = output.maps[-1]
        others = model.encoder(torch.cat(batch.copies))[-1]
        # In the weights' precision: of the small difference of two maps bfloat16 would leave two or three digits.
        with torch.autocast(batch.query.device.type, enabled=False):
            maps = torch.cat([trained, others]).to(next(model.parameters()).dtype)
            value = pyramid_consistency(maps.reshape(-1, *trained.shape))
        return [Term("consistency", value, self.config.consistency_weight, rows=len(trained))]

    def _draw(self, epoch: int, index: int, available: int) -> tuple[list[float], list[int]]:
        """Draw a window and a style for each copy of an image; styles all differ where there are enough."""
        rng = make_generator(self._seed, "style", epoch, index)
        copies = self.config.compared
        windows = rng.uniform(0, self.config.style_window, size=copies).tolist()
        chosen = rng.choice(available, size=min(copies, available), replace=False).tolist()
        return windows, [chosen[copy % len(chosen)] for copy in range(copies)]


class BatchStyles:
    """The styles of the images in one batch, of all workers."""

    def __init__(self, batch: Batch, pixels: Tensor, *, window: float) -> None:
        """Take this worker's images, as they are in ``batch`` and on the scale of 0 to 255."""
        everyone = gather_rows(batch.indices).tolist()
        self._places = [everyone.index(index) for index in batch.indices.tolist()]
        self._amplitudes = gather_rows(compute_low_amplitudes(pixels, _compute_radius(window, min(pixels.shape[-2:]))))
        self.available = max(len(everyone) - 1, 1)

    def find_amplitudes(self, place: int, number: int, side: int) -> Tensor:
        """Return those of the ``number``-th image after this worker's ``place``-th; its own where it is alone."""
        return self._amplitudes[(self._places[place] + 1 + number) % len(self._amplitudes)]


class FolderStyles:
    """The styles of the images below a folder."""

    def __init__(self, folder: str, config: DrpcConfig) -> None:
        """List the images.

        Raises:
            UserError: there are none.
        """
        found = list(list_files(folder))
        self._files = choose_images(found)
        passed_over = describe_passed_over(count_passed_over((one for one in found if one.reason != OF_SYSTEM), folder))
        if not self._files:
            raise UserError(
                f"method.style_images: expected a folder with images, found none in {folder}"
                + (passed_over and f" ({passed_over})")
            )
        if passed_over:
            logging.getLogger(__name__).warning("method.style_images: %s", passed_over)
        self._window = config.style_window
        self._limit = PixelLimit(config.style_megapixels, "method.style_megapixels")
        self._read = lru_cache(maxsize=REMEMBERED)(self._read_amplitudes)
        self.available = len(self._files)

    def find_amplitudes(self, place: int, number: int, side: int) -> Tensor:
        """Return those of the ``number``-th image's middle square, resized to ``side``.

        Raises:
            BadImageError: it cannot be read.
        """
        return self._read(number, side)

    def _read_amplitudes(self, number: int, side: int) -> Tensor:
        picture = decode(self._files[number], side, self._limit)[None].float()
        return compute_low_amplitudes(picture, _compute_radius(self._window, side))[0]


def _compute_radius(window: float, side: int) -> int:
    """Turn a share of an image's side into whole periods an image."""
    return int(window * side)
