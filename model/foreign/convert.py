"""Finds in which form a folder's annotations are, and writes them as COCO instances files."""

import json
import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from configs.data_schema import SPLIT_NAMES
from ground.errors import DatasetError
from model.coco.boxes import yxyx_to_xywh
from model.coco.values import is_text
from model.foreign.coco_file import write_coco
from model.foreign.cvat import is_cvat, read_cvat
from model.foreign.form import (
    Folder,
    ForeignObject,
    ForeignPicture,
    Losses,
    Reader,
    bounds,
    split_of_word,
)
from model.foreign.label_studio import is_label_studio, read_label_studio
from model.foreign.labelme import is_labelme, read_labelme
from model.foreign.table import is_table, read_table
from model.foreign.voc import read_voc
from model.foreign.yolo import label_files, read_yolo

_LOOKED_AT = 50  # files of an ending that are looked into


class Conversion(NamedTuple):
    """What was written.

    Attributes:
        form: what the annotations were.
        files: COCO file by split (`train`, `eval`, `test`), or one as `all`.
        lost: what was lost, counted by words.
    """

    form: str
    files: dict[str, Path]
    lost: Losses


def is_upright(form: str) -> bool:
    """Returns whether boxes of a form are always of pictures as EXIF turns them.

    Its tools show pictures so, and its files state no size, which could tell another turn.
    """
    return form in ("Label Studio", "YOLO")


def find_form(folder: Folder) -> tuple[str, Reader] | None:
    """Returns the form of the annotations below a folder and its reader; None where there is none.

    Of several the one with the most pictures' worth of files counts, a file for many first.
    """
    for ending, is_it, form, reader in (
        (".xml", is_cvat, "CVAT for images", read_cvat),
        (".json", is_label_studio, "Label Studio", read_label_studio),
        (".json", is_labelme, "LabelMe", read_labelme),
    ):
        files = folder.ending(ending)[:_LOOKED_AT]
        if any(is_it(folder.root / name) for name in files):
            return form, reader
    if any(_is_voc(folder.root / name) for name in folder.ending(".xml")[:_LOOKED_AT]):
        return "Pascal VOC", read_voc
    if label_files(folder, folder.pictures):
        return "YOLO", read_yolo
    if any(is_table(folder.root / name) for name in folder.ending(".csv")[:_LOOKED_AT]):
        return "a table of boxes (CSV)", read_table
    return ("YOLO", read_yolo) if label_files(folder, folder.others) else None


def _is_voc(path: Path) -> bool:
    with open(path, "rb") as stream:
        return b"<annotation" in stream.read(4096)


def convert(folder: Folder, form: str, reader: Reader, out: Path, stem: str) -> Conversion:
    """Writes what a reader gives as a COCO file a split, or one where nothing says splits.

    Args:
        folder: the data folder.
        form: for messages.
        reader: what reads that form.
        out: folder of the written files, `<stem>.coco.json` or `<stem>.<split>.coco.json`.
        stem: beginning of their names.

    Raises:
        DatasetError: no picture with an object came out.
        OutputError: a file of such a name is there and is not as we wrote it.
    """
    lost: Losses = Counter()
    with tempfile.TemporaryDirectory(prefix="tfx-rcnn-") as spool:
        spools = _Spools(Path(spool))
        try:
            for picture in reader(folder, lost):
                if not spools.add(picture):
                    lost["further annotations of one picture"] += 1
        finally:
            spools.close()
        if not spools.classes:
            most = ", ".join(f"{n} {what}" for what, n in (+lost).most_common(3))
            said = f" ({most})" if most else ""
            raise DatasetError(
                f"{folder.root}: its annotations look like {form}, but no object of a picture "
                f"comes out of them{said}"
            )
        has_splits = set(SPLIT_NAMES) <= spools.pictures.keys()
        parts = {"all": sorted(spools.pictures)}
        if not has_splits and spools.pictures.keys() - {"test"}:
            parts = {"all": sorted(spools.pictures.keys() - {"test"})}
            if "test" in spools.pictures:
                parts["test"] = ["test"]
                lost["pictures to test on (left alone)"] += spools.pictures["test"]
        if has_splits:
            parts = {name: [name] for name in sorted(spools.pictures) if name != "none"}
            lost["pictures of no split"] += spools.pictures["none"]
        files = {}
        for part, members in parts.items():
            path = out / (f"{stem}.coco.json" if part == "all" else f"{stem}.{part}.coco.json")
            write_coco(path, f"converted from {form}", spools.lists(members))
            files[part] = path
    return Conversion(form, files, +lost)


class _Spools:
    """Keeps entries of pictures and objects by split on the disk, a line each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.classes: dict[str, int] = {}
        self.pictures: Counter[str] = Counter()
        self._objects = 0
        self._seen: set[str] = set()
        self._streams: dict[tuple[str, str], IO[str]] = {}

    def add(self, picture: ForeignPicture) -> bool:
        """Takes a picture with its objects, unless it came before; returns whether it did.

        What a name's words say is its split otherwise.
        """
        if picture.file_name in self._seen:
            return False
        self._seen.add(picture.file_name)
        split = picture.split or _split_of(picture.file_name) or "none"
        self.pictures[split] += 1
        id_ = self.pictures.total()
        entry = {
            "id": id_,
            "file_name": picture.file_name,
            "height": picture.height,
            "width": picture.width,
        }
        self._write(split, "images", entry)
        for found in picture.objects:
            self._objects += 1
            self._write(split, "annotations", self._object(found, id_))
        return True

    def _object(self, found: ForeignObject, image_id: int) -> dict[str, object]:
        name = found.name.encode("utf-8", "replace").decode()  # JSON may hold halves of characters
        class_id = self.classes.setdefault(name, len(self.classes) + 1)
        xmin, ymin, xmax, ymax = found.box or bounds(found.rings)
        bbox = [round(side, 4) for side in yxyx_to_xywh((ymin, xmin, ymax, xmax))]
        return {
            "id": self._objects,
            "image_id": image_id,
            "category_id": class_id,
            "bbox": bbox,
            "area": round(max(bbox[2], 0.0) * max(bbox[3], 0.0), 4),
            "iscrowd": 0,
            "segmentation": [[round(v, 4) for v in ring] for ring in found.rings],
        }

    def _write(self, split: str, kind: str, entry: dict[str, object]) -> None:
        stream = self._streams.get((split, kind))
        if stream is None:
            stream = open(
                self.folder / f"{split}.{kind}", "w", encoding="utf-8", errors="surrogatepass"
            )
            self._streams[split, kind] = stream
        stream.write(json.dumps(entry, ensure_ascii=False, separators=(",", ":")) + "\n")

    def close(self) -> None:
        """Closes the files."""
        for stream in self._streams.values():
            stream.close()

    def lists(self, members: Sequence[str]) -> Iterator[tuple[str, Iterator[str]]]:
        """Yields the lists of a COCO file of some splits."""
        rows = ({"id": id_, "name": name} for name, id_ in self.classes.items())
        yield "categories", (json.dumps(row, ensure_ascii=False) for row in rows)
        for kind in ("images", "annotations"):
            yield kind, (line for member in members for line in self._lines(member, kind))

    def _lines(self, split: str, kind: str) -> Iterator[str]:
        path = self.folder / f"{split}.{kind}"
        if path.exists():
            with open(path, encoding="utf-8", errors="surrogatepass") as stream:
                yield from (line.rstrip("\n") for line in stream)


def _split_of(file_name: str) -> str | None:
    """Returns the split that the folders of a picture speak of."""
    found = map(split_of_word, reversed(file_name.split("/")[:-1]))
    return next(filter(None, found), None)


def folder_of(root: Path, names: list[str]) -> Folder:
    """Returns a folder's files, those alone that are in it when their links are followed.

    What has a name that a COCO file cannot hold is not among them.
    """
    real = os.path.realpath(root)
    inside = [
        name
        for name in names
        if is_text(name) and os.path.realpath(root / name).startswith(os.path.join(real, ""))
    ]
    return Folder(root, inside)
