"""The settings of a run's data: the source, the target, and the processing of their images."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field
from pydantic.dataclasses import dataclass

from csg.config.pairs import BUNDLED, BUNDLED_SOURCE_IMAGES, DEFAULT_PAIR, IDLE, get_pair_task
from csg.config.settings import NOT_IDENTITY, STRICT, Count, Flat, Place, Section, flatten

Ids = Literal["by_name", "label_ids", "train_ids"]
"""Meaning of the pixels in label files of Cityscapes and GTA5."""


def _take_several(value: object) -> object:
    """Return several values of a file as a tuple, and one as itself."""
    if not isinstance(value, (list, tuple)):
        return value
    return value[0] if len(value) == 1 else tuple(value) or None


Several = BeforeValidator(_take_several)
FOLDER_OR_ADDRESS: Final = Place("read", in_buckets=True)
"""Marks a folder that may lie in a bucket, as shards."""


@dataclass(frozen=True, config=STRICT)
class DataConfig(Section):
    """The synthetic source, the real target, and the processing of their images."""

    name: str = DEFAULT_PAIR
    """The source/target pair: glyphs (bundled), visda17 or folders; glyph_scenes (bundled) or gta5_cityscapes, which
    have a class for every pixel."""
    root: Annotated[str | None, Place("read"), NOT_IDENTITY] = None
    """visda17: folder that holds train/ and validation/ or test/, each with its image_list.txt."""
    source: Annotated[str | tuple[str, ...] | None, Several, FOLDER_OR_ADDRESS, NOT_IDENTITY] = None
    """folders: folder of synthetic images, one sub-folder a class, or of shards (.tar as WebDataset writes them), be it
    in a bucket (s3://bucket/prefix); gta5_cityscapes: folder with GTA5's images/ and labels/. Or several such folders,
    one a source."""
    target: Annotated[str | None, FOLDER_OR_ADDRESS, NOT_IDENTITY] = None
    """folders: folder of real images, one sub-folder a class; where no sub-folder has the name of a class, all images
    below it are photographs without labels; unset, there are no real images. gta5_cityscapes: folder with Cityscapes'
    leftImg8bit/ and gtFine/."""
    target_unlabelled: Annotated[str | None, FOLDER_OR_ADDRESS, NOT_IDENTITY] = None
    """folders, gta5_cityscapes: folder of photographs without labels, at any depth; they join target/val, for whatever
    needs none."""
    class_map: Annotated[str | None, Place("read"), NOT_IDENTITY] = None
    """folders: YAML file that gives sub-folders of the target the source's names (name in the target: name in the
    source, or null to leave it out)."""
    target_split: Literal["validation", "test"] = "validation"
    """visda17: the real images: validation (the paper's) or test."""
    source_ids: Ids = "by_name"
    """gta5_cityscapes: what GTA5's label files hold: label_ids, train_ids (0 to 18 and 255), or what their names say,
    which is train_ids where they end in _labelTrainIds.png and label_ids elsewhere."""
    target_ids: Ids = "by_name"
    """gta5_cityscapes: the same of Cityscapes' label files; train_ids prefers *_labelTrainIds.png where both exist."""
    cache: Annotated[str | None, Place("written"), NOT_IDENTITY] = "runs/cache"
    """Folder for rendered images, resized ones, copies of shards in buckets, results of checks and what is known of
    files; None for one in each machine's home."""
    resized_gigabytes: Annotated[int, Field(ge=0, le=1_000_000), NOT_IDENTITY] = 0
    """folders, visda17: gigabytes of data.cache for images as they are once resized, from which later epochs and runs
    read instead of decoding; 0 keeps none. The images are the same."""
    image_size: Annotated[int, Field(ge=32, le=2048)] = 64
    """Side of the square input, in pixels."""
    source_images: Annotated[int, Field(ge=10)] | None = None
    """Synthetic training images: 1,024 glyphs or 1,280 scenes of them unless given; of a pair on disk all, or a seeded
    part with every class in proportion."""
    trained_on: Literal["source", "target"] = "source"
    """Images that are trained on: the synthetic ones, or for comparison the real ones of target/val."""
    balance: Literal["by_size", "equally"] = "by_size"
    """Several sources (of glyphs: families of fonts): by_size lets every image come once an epoch, equally lets every
    source give an epoch as many images as the others."""
    held_out: str | None = None
    """Several sources: the name of one that is left out of source/train and source/val. What source/val would have of
    it (of glyphs: what source/train would have) is measured as held_out."""
    source_val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Share of the synthetic images on disk that form source/val (glyphs and glyph_scenes hold out fonts instead)."""
    target_val_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of the real images that form target/val; the rest is target/test. gta5_cityscapes: of Cityscapes' train,
    for target/test is its val. glyph_scenes: of the handwritten digits that scenes are composed of."""
    augmentation: Literal["randaugment", "pasta", "colour_jitter", "none"] = "randaugment"
    """randaugment: drawn separately for the two views (not with a class for each pixel); pasta: noise on the amplitudes
    of frequencies, drawn separately too; colour_jitter: of the key view alone; with "none" both views are the same
    image."""
    augmentation_ops: Count = 1
    """RandAugment operations per image and view."""
    augmentation_magnitude: Annotated[int, Field(ge=0, le=30)] = 6
    """RandAugment magnitude, of 30."""
    pasta_alpha: Annotated[float, Field(ge=0, le=100)] = 3.0
    """PASTA: the highest frequency's noise has a spread of pasta_alpha^pasta_k more than the mean colour's."""
    pasta_k: Annotated[float, Field(gt=0, le=10)] = 2.0
    """PASTA: how fast the spread grows with the frequency."""
    pasta_beta: Annotated[float, Field(ge=0, le=10)] = 0.25
    """PASTA: spread of the noise that all frequencies have, relative to their amplitudes."""
    jitter: Annotated[float, Field(ge=0, le=0.5)] = 0.4
    """Strength of colour jitter: of brightness, contrast and saturation a factor, of the hue a part of the circle."""
    window: Annotated[int, Field(ge=32)] | None = None
    """Segmentation: side of the windows that an image is evaluated in, in pixels (unset: data.image_size)."""
    window_stride: Annotated[float, Field(gt=0, le=1)] = 5 / 6
    """Segmentation: from one window to the next, as a share of its side."""
    flip_averaging: Literal["softmax", "sigmoid", "none"] = "softmax"
    """How evaluation averages an image and its mirror image, on pairs that allow it (sigmoid in the authors' code)."""
    allow_missing_classes: bool = False
    """Accept a pair on disk one side of which has no images of some class."""
    on_bad_image: Literal["error", "skip"] = "error"
    """What a damaged or absent image does: end the run with the file's name, or be left out and counted."""
    max_megapixels: Count = 256
    """Pixels that an image on disk may have, in millions; a larger one counts as one that cannot be used."""
    grey_bits: Annotated[int, Field(ge=9, le=16)] = 16
    """Bits that 16-bit grey images on disk use: of 12, a value of 4,095 is white, and a larger one cannot be used."""
    workers: Annotated[int, Field(ge=0, le=4096), NOT_IDENTITY] = 0
    """Processes that decode and augment; 0 does it in the training process. The batches are the same."""

    @property
    def names_target(self) -> bool:
        """Whether the settings name real images, or the pair brings its own."""
        named = (self.root, self.target, self.target_unlabelled)
        return self.name in BUNDLED or any(place is not None for place in named)

    @property
    def task(self) -> Literal["classification", "segmentation"]:
        """Whether a label is a class for an image or for a pixel."""
        return get_pair_task(self.name)

    @property
    def sources(self) -> tuple[str, ...]:
        """The folders of synthetic images."""
        if self.source is None:
            return ()
        return (self.source,) if isinstance(self.source, str) else self.source

    @property
    def source_images_asked(self) -> int | None:
        """Number of synthetic training images with the default resolved; None for all images of a pair on disk."""
        return BUNDLED_SOURCE_IMAGES.get(self.name) if self.source_images is None else self.source_images

    @property
    def window_side(self) -> int:
        """Side of the windows of evaluation, with the default resolved."""
        return self.window or self.image_size

    def get_active(self) -> Flat:
        """Leave out the settings of other augmentations, tasks and pairs."""
        flat = flatten(self) | {"source_images": self.source_images_asked, "window": self.window_side}
        unused = ["source_images"] if self.trained_on == "target" else []
        unused += ["balance"] if self.name not in BUNDLED and len(self.sources) < 2 else []
        unused += ["held_out"] if self.held_out is None else []
        unused += [] if self.on_bad_image == "skip" else ["max_megapixels"]  # an image is refused, not left out
        unused += [] if self.augmentation == "randaugment" else ["augmentation_ops", "augmentation_magnitude"]
        unused += [] if self.augmentation == "pasta" else ["pasta_alpha", "pasta_k", "pasta_beta"]
        unused += [] if self.augmentation == "colour_jitter" else ["jitter"]
        unused += ["flip_averaging"] if self.task == "segmentation" else ["window", "window_stride"]
        return {name: value for name, value in flat.items() if name not in (*unused, *IDLE.get(self.name, ()))}
