"""From the ids in a label file to classes: the table of Cityscapes, which GTA5 shares.

Of the ids that Cityscapes defines, 19 are the classes of its benchmark; the others are void, which neither trains nor
counts. An id that it does not define is an error: the file then follows another table.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from csg.data.fault import BadImageError
from csg.data.reading.decoding import USUAL_LIMIT, PixelLimit, open_image, refuse_broken

Bytes = npt.NDArray[np.uint8]

CLASSES: Final = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
"""In the order of Cityscapes' ``trainId``."""
CLASS_IDS: Final = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""Cityscapes' ``labelIds`` of the classes, in their order."""
COLOURS: Final[Bytes] = np.array(
    [
        *((128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153)),
        *((250, 170, 30), (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0)),
        *((0, 0, 142), (0, 0, 70), (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32)),
    ],
    dtype=np.uint8,
)
"""(classes, 3) red, green and blue in which Cityscapes and GTA5 show them."""
DEFINED_IDS: Final = (*range(35), 255)
"""Cityscapes' ``labelIds`` as bytes. The licence plate's is -1, which as a byte is 255; in GTA5's files it is 34."""
VOID: Final = 255
"""Of no class, in a map of bytes."""
_UNKNOWN: Final = 254
_OFTEN_VOID: Final = tuple(range(1, 7))
"""Void ``labelIds`` of which every street scene has some, but for 0."""
SELDOM_VOID: Final = (9, 10, 14, 15, 16, 18)
"""Void ``labelIds`` that few scenes show: parking, rails, guard rails, bridges, tunnels and pole groups."""


class BadMapError(BadImageError):
    """A file that should be a label map and cannot be used as one."""

    wanted = "a label map"


class UnknownIdError(BadMapError):
    """A label map with an id that its table does not have."""

    kind = "unknown label id"


class OtherIdsError(BadMapError):
    """A label map whose palette shows that its ids do not mean what its table says."""

    kind = "palette against ids"


def _make_table(classes: dict[int, int]) -> Bytes:
    table = np.full(256, _UNKNOWN, dtype=np.uint8)
    for found, label in classes.items():
        table[found] = label
    return table


LABEL_IDS: Final[Bytes] = _make_table(dict.fromkeys(DEFINED_IDS, VOID) | {one: i for i, one in enumerate(CLASS_IDS)})
"""(256,) classes by ``labelIds``."""
TRAIN_IDS: Final[Bytes] = _make_table({VOID: VOID} | {label: label for label in range(len(CLASSES))})
"""(256,) classes by ``labelTrainIds``, which are the classes themselves and 255 for void."""


@dataclass(frozen=True)
class IdMap:
    """What a label file holds."""

    path: Path | str
    """Names the file in errors."""
    ids: Bytes
    """(H, W) ids of its pixels."""
    palette: Bytes | None
    """(n, 3) colours that the file gives the first ids; None where its pixels are grey."""

    @property
    def shown(self) -> npt.NDArray[np.bool_]:
        """(256,) whether a pixel has the id."""
        shown: npt.NDArray[np.bool_] = np.bincount(self.ids.ravel(), minlength=256) > 0
        return shown

    def look_up_classes(self, table: Bytes, *, trusted: bool = False) -> Bytes:
        """Return (H, W) classes, :data:`VOID` where there is none.

        Args:
            table: :data:`LABEL_IDS` or :data:`TRAIN_IDS`.
            trusted: the ids mean what the table says, whatever the palette shows.

        Raises:
            OtherIdsError: the palette shows that the ids mean something else.
            UnknownIdError: an id is not in the table.
        """
        if self.palette is not None and not trusted and may_contradict(self.palette, table):
            reason = explain_contradiction(self.palette, self.shown, table)
            if reason is not None:
                raise OtherIdsError(self.path, reason)
        classes: Bytes = table[self.ids]
        unknown = np.unique(self.ids[classes == _UNKNOWN]).tolist()
        if unknown:
            which = "labelTrainIds" if table is TRAIN_IDS else "labelIds"
            ids_found = ", ".join(map(str, unknown[:8])) + (" and more" if len(unknown) > 8 else "")
            raise UnknownIdError(self.path, f"found ids that Cityscapes' {which} do not have: {ids_found}")
        return classes


def read_ids(path: Path | str, content: bytes, limit: PixelLimit = USUAL_LIMIT) -> IdMap:
    """Decode a label file: PNG, its pixels ids of one byte each, grey or with a palette.

    Raises:
        BadImageError: the file is damaged, or its pixels are no ids; errors name it ``path``.
    """
    image = open_image(path, content, limit)
    if image.mode not in ("L", "P"):
        raise BadMapError(path, f"found pixels of mode {image.mode}, not ids of one byte (grey or with a palette)")
    with refuse_broken(path, BadMapError):
        ids: Bytes = np.asarray(image)
    palette = image.getpalette("RGB") if image.mode == "P" else None
    return IdMap(path, ids, None if palette is None else np.array(palette, dtype=np.uint8).reshape(-1, 3))


def may_contradict(palette: Bytes, table: Bytes) -> bool:
    """Whether the palette gives some id, be it shown or not, the colour of another class than the table's."""
    by_colour, differ = _compare_colours(palette, table)
    return bool((differ & (by_colour != VOID)).any())


def explain_contradiction(palette: Bytes, shown: npt.NDArray[np.bool_], table: Bytes) -> str | None:
    """Say how a palette shows that ids do not mean what a table says; None where it does not.

    A palette counts that gives at least half of the ids that are shown the colours of Cityscapes' classes: others are
    made up, and say nothing.
    """
    by_colour, differ = _compare_colours(palette, table)
    shown = shown[: len(palette)]
    coloured = shown & (by_colour != VOID)
    if not (coloured & differ).any() or 2 * coloured.sum() < shown.sum():
        return None
    one = int(np.flatnonzero(coloured & differ)[0])
    meaning = CLASSES[table[one]] if table[one] < len(CLASSES) else "no class"
    which = "labelTrainIds" if table is TRAIN_IDS else "labelIds"
    order = "another order"
    for other, name in ((LABEL_IDS, "labelIds"), (TRAIN_IDS, "labelTrainIds")):
        if not (coloured & _compare_colours(palette, other)[1]).any():
            order = f"the order of {name}"
    return (
        f"found ids that its palette gives the colours of Cityscapes in {order}: {one} has the colour of "
        f"{CLASSES[by_colour[one]]!r} and as one of {which} means {meaning!r}; save the ids that are meant, or say "
        "what they are with data.source_ids or data.target_ids (label_ids or train_ids)"
    )


def _compare_colours(palette: Bytes, table: Bytes) -> tuple[Bytes, npt.NDArray[np.bool_]]:
    """Return (n,) the class whose colour each id has, VOID where it is no class's; and whether the table's differs.

    The pole groups and licence plates of labelIds are void in the colours of poles and cars.
    """
    same = (palette[:, None] == COLOURS).all(axis=2)
    by_colour = np.where(same.any(axis=1), same.argmax(axis=1), VOID).astype(np.uint8)
    differ = by_colour != table[: len(palette)]
    if table is LABEL_IDS:
        for one, name in ((18, "pole"), (34, "car"), (255, "car")):
            if one < len(palette) and by_colour[one] == CLASSES.index(name):
                differ[one] = False
    return by_colour, differ


def fit_train_ids(shown: npt.NDArray[np.bool_]) -> bool:
    """Whether the ids that one or several label maps show fit labelTrainIds better than labelIds.

    None is beyond 18 but 255, although as labelIds vegetation, sky and all that moves would be; and of the others more
    are void as labelIds than classes. (Bridges, tunnels and their like count twice, since they are rare; 0, which
    labelIds have for what is unlabelled, does not.)

    Args:
        shown: (256,) whether an id is shown.
    """
    beyond = shown[len(CLASSES) : VOID].any()
    void = int(shown[list(_OFTEN_VOID)].sum()) + 2 * int(shown[list(SELDOM_VOID)].sum())
    return not beyond and void > int(shown[[one for one in CLASS_IDS if one < len(CLASSES)]].sum())
