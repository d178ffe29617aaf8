"""What the readers of other tools' annotations give, and what they share."""

import itertools
import math
import os
import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from ground.errors import DatasetError
from model.coco.edges import marked_encoding
from model.coco.names import is_called_masks
from model.encoded import exif
from model.encoded.files import shown
from model.encoded.flaw import PictureFlaw
from model.encoded.head import size_in_head
from model.foreign.coco_file import is_as_written

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png")
# What annotation tools open and no detector of ours learns from.
OTHER_ENDINGS = {
    ".bmp": "BMP", ".gif": "GIF", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP",
    ".heic": "HEIC", ".avif": "AVIF",
}  # fmt: skip
LARGEST_TEXT_BYTES = 256 << 20

Ring = list[float]
Losses = Counter[str]


class ForeignObject(NamedTuple):
    """An object.

    Attributes:
        name: its class.
        rings: its outline, [x, y, x, y, ...] in pixels; none where there is a box alone.
        box: (xmin, ymin, xmax, ymax) in pixels; None where the rings say it.
    """

    name: str
    rings: Sequence[Ring] = ()
    box: tuple[float, float, float, float] | None = None


class ForeignPicture(NamedTuple):
    """A picture.

    Attributes:
        file_name: below the data folder.
        height: pixels, upright.
        width: pixels, upright.
        objects: what is on it.
        split: `train`, `eval`, `test`, or None where nothing says it.
    """

    file_name: str
    height: int
    width: int
    objects: Sequence[ForeignObject]
    split: str | None


class Folder:
    """The files below a data folder, each seen once; what leads out of it is not followed.

    Args:
        root: the data folder.
        names: files below it.
    """

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names
        self._pictures = self.ending(*PICTURE_ENDINGS)
        stems = {os.path.splitext(name)[0] for name in self._pictures}
        others = self.ending(*OTHER_ENDINGS)
        self._others = [name for name in others if os.path.splitext(name)[0] not in stems]
        # Where all pictures lie in folders called so, none of these is of masks.
        has_masks = not all(is_called_masks(os.path.dirname(n)) for n in (*self._pictures, *others))
        self._found_by = tuple(_Names(n, has_masks) for n in (self._pictures, self._others))

    @property
    def pictures(self) -> Sequence[str]:
        """All pictures that can be learnt from, by their endings."""
        return self._pictures

    @property
    def others(self) -> Sequence[str]:
        """Pictures that must be converted first, without those that lie beside their conversion."""
        return self._others

    def ending(self, *endings: str) -> list[str]:
        """Returns the files that end so, in any case of letters."""
        return [name for name in self.names if name.lower().endswith(endings)]

    def picture(self, named: str, beside: str) -> str | None:
        """Returns the picture that an annotation names, or the one of its own name; else None.

        One of `others` where there is none of `pictures`; `size` counts it.

        Args:
            named: what the annotation says; "" where it names none.
            beside: the annotation's file.
        """
        return self._first((named,), beside)

    def own_picture(self, named: str, beside: str) -> str | None:
        """Returns the picture of an annotations' file that has one alone; else None.

        Who renames pictures renames such a file with them, and leaves what is in it: a picture of
        the file's own name counts before one of another name.

        Args:
            named: what the annotation says.
            beside: the annotation's file.
        """
        places = (named, "")
        if _stem(named) != _stem(beside):
            places = ("", named)
        return self._first(places, beside)

    def _first(self, places: Iterable[str], beside: str) -> str | None:
        found = (names.picture(place, beside) for names in self._found_by for place in places)
        return next(filter(None, found), None)

    def size(self, picture: str, losses: Losses) -> tuple[int, int] | None:
        """Returns (height, width) of a picture, upright; None, counted, for one of no use."""
        form = OTHER_ENDINGS.get(os.path.splitext(picture)[1].lower())
        size = None if form else picture_size(self.root / picture)
        if size is None:
            why = f"are {form} (convert them to JPEG or PNG)" if form else "cannot be read"
            losses[f"pictures that {why}"] += 1
        return size


class _Names:
    """Files by their paths and by the names in them.

    Args:
        names: the files.
        has_masks: whether a folder called so may have masks.
    """

    def __init__(self, names: Sequence[str], has_masks: bool) -> None:
        self._has_masks = has_masks
        self._known = {_composed(name): name for name in names}
        self._by_base: dict[str, list[str]] = {}
        self._by_stem: dict[str, list[str]] = {}
        for name in names:
            base = _composed(os.path.basename(name))
            self._by_base.setdefault(base, []).append(name)
            self._by_stem.setdefault(os.path.splitext(base)[0], []).append(name)

    def picture(self, named: str, beside: str) -> str | None:
        """Returns what `Folder.picture` does, of these files."""
        named = _composed(named.replace("\\", "/"))
        near = _composed(os.path.dirname(beside))
        for place in (os.path.join(near, named), named):
            if known := self._known.get(os.path.normpath(place)):
                return known
        base = os.path.basename(named)
        stem = os.path.splitext(base or _composed(os.path.basename(beside)))[0]
        if nearest := _nearest(self._by_base.get(base, []), named, beside):
            return nearest
        alike = [name for name in self._by_stem.get(stem, []) if not self._is_mask(name, beside)]
        return _nearest(alike, named, beside)

    def _is_mask(self, name: str, beside: str) -> bool:
        """Returns whether a file may be the mask of a picture that is missing, or of another kind.

        What the folders of the annotations are called says nothing.
        """
        if not self._has_masks or not name.lower().endswith(".png"):
            return False
        way = os.path.relpath(os.path.dirname(name) or ".", os.path.dirname(beside) or ".")
        return is_called_masks(way)


def _stem(path: str) -> str:
    return os.path.splitext(_composed(path.replace("\\", "/")).rpartition("/")[2])[0]


def _composed(name: str) -> str:
    """Returns a name in the one of its Unicode forms that names are compared in."""
    return unicodedata.normalize("NFC", name)


def _nearest(found: Sequence[str], named: str, beside: str) -> str | None:
    """Returns the one picture that is meant more than the others; None where two are as much.

    The folders in front of the name that was given say more than those of the annotation's file.
    """

    def closeness(name: str) -> tuple[int, int]:
        return _end_shared(_composed(name), named), _parts_shared(name, beside)

    if len(found) == 1:
        return found[0]
    nearest = sorted(found, key=closeness, reverse=True)[:2]
    return nearest[0] if nearest and closeness(nearest[0]) > closeness(nearest[1]) else None


def _end_shared(first: str, second: str) -> int:
    """Returns how many folders two paths share, counted from their ends.

    >>> _end_shared("images/cam1/a.jpg", "cam1/a.jpg"), _end_shared("cam1/x/a.jpg", "cam1/a.jpg")
    (1, 0)
    """
    pairs = zip(first.split("/")[-2::-1], second.split("/")[-2::-1], strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _parts_shared(first: str, second: str) -> int:
    """Returns how many words for splits and folders two paths share."""
    return len(set(first.split("/")[:-1]) & set(second.split("/")[:-1]))


Reader = Callable[[Folder, Losses], Iterator[ForeignPicture]]


def picture_size(path: Path) -> tuple[int, int] | None:
    """Returns (height, width) of a picture, upright, from its header; None where it has none."""
    try:
        size, orientation = size_in_head(path, sys.maxsize, "")
    except PictureFlaw as flaw:
        return _size_in_other_format(path) if flaw.code == "picture_format_unsupported" else None
    return exif.turned_size(*size, orientation) if min(size) else None


def _size_in_other_format(path: Path) -> tuple[int, int] | None:
    """Returns (height, width) of a GIF, WebP and so on, which CocoExampleGen refuses by name."""
    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    # Pillow's header readers raise whatever a damaged field leads to.
    except Exception:
        return None


def stated_size(width: Any, height: Any, real: tuple[int, int]) -> tuple[int, int]:
    """Returns the (height, width) whose pixels boxes count, as their file says it, else the file's.

    A run judges by it: boxes of a picture as stored are turned with it, and a picture that was
    resized alone is not learnt with boxes of another scale.

    >>> stated_size("640", 480, (240, 320)), stated_size(0, None, (240, 320))
    ((480, 640), (240, 320))
    """
    sides = [number(side) or 0.0 for side in (height, width)]
    if min(sides) < 1 or not all(side.is_integer() for side in sides):
        return real
    return int(sides[0]), int(sides[1])


def bounds(rings: Sequence[Ring]) -> tuple[float, float, float, float]:
    """Returns (xmin, ymin, xmax, ymax) of rings."""
    xs = [x for ring in rings for x in ring[0::2]]
    ys = [y for ring in rings for y in ring[1::2]]
    return min(xs), min(ys), max(xs), max(ys)


def number(value: Any) -> float | None:
    """Returns a finite number, also one that is written as text; else None."""
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if abs(found) < 1e9 else None


def read_text(path: Path) -> str:
    """Returns a text file.

    Raises:
        DatasetError: it is none, or larger than any annotations are.
    """
    if path.stat().st_size > LARGEST_TEXT_BYTES:
        raise DatasetError(f"{path}: has more than {LARGEST_TEXT_BYTES >> 20} MB")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: is no text in UTF-8 ({error.reason})") from None


def said_encoding(path: Path) -> str:
    """Returns the encoding of a text's byte order mark; UTF-8 where it has none."""
    with open(path, "rb") as stream:
        return marked_encoding(stream.read(4)) or "utf-8"


def encoding_of(path: Path, losses: Losses) -> str:
    """Returns the encoding of a text: of its byte order mark, UTF-8, or, counted, Windows' own."""
    encoding = said_encoding(path)
    try:
        with open(path, encoding=encoding) as text:
            while text.read(1 << 20):
                continue
    except UnicodeDecodeError:
        losses[f"texts taken for Windows-1252, as they are no UTF-8 (`{shown(path.name)}`)"] += 1
        return "cp1252"
    return encoding


def has_key(path: Path, *keys: str) -> bool:
    """Returns whether a file has one of these words in quotes, however far in, by blocks."""
    quoted = [f'"{key}"'.encode() for key in keys]
    overlap = max(map(len, quoted)) - 1
    with open(path, "rb") as stream:
        end = b""
        while block := stream.read(1 << 20):
            seen = end + block
            if any(key in seen for key in quoted):
                return True
            end = seen[-overlap:]
    return False


def count_other(path: Path, losses: Losses) -> None:
    """Counts a file that a reader leaves out for its form; a COCO file of ours is none."""
    if not is_as_written(path):
        losses[f"{path.suffix[1:].upper()} files of another form"] += 1


def ellipse(x: float, y: float, radius_x: float, radius_y: float) -> Ring:
    """Returns a ring along an ellipse, of 32 corners."""
    turns = [2 * math.pi * corner / 32 for corner in range(32)]
    return [v for t in turns for v in (x + radius_x * math.cos(t), y + radius_y * math.sin(t))]


_SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "eval", "valid": "eval", "validation": "eval",
    "eval": "eval", "dev": "eval", "test": "test", "testing": "test",
}  # fmt: skip
_WORDS_BESIDE = {"image", "images", "img", "imgs", "jpegimages", "pictures", "data", "set", "split"}


def split_of_word(name: str) -> str | None:
    """Returns the split that a folder is called by, perhaps beside a word for its content.

    >>> split_of_word("train2017"), split_of_word("Val_Images"), split_of_word("train station")
    ('train', 'eval', None)
    """
    words = set(words_of(name)) - _WORDS_BESIDE
    return _SPLIT_WORDS.get(words.pop()) if len(words) == 1 else None


def words_of(path: str) -> list[str]:
    """Returns the words in a path, in lower case.

    >>> words_of("Images/train_2/a.jpg")
    ['images', 'train', 'a', 'jpg']
    """
    return re.findall(r"[a-z]+", path.lower())
