"""Small folders in other tools' forms, and what they become, for the tests of `model.foreign`."""

import json
from pathlib import Path

from PIL import Image

from model.foreign.convert import convert, find_form, folder_of

SIZE = (100, 80)  # width, height


def picture(path: Path, size=SIZE, **more) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, "grey").save(path, **more)
    return path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def converted(root: Path, form: str):
    names = [p.relative_to(root).as_posix() for p in sorted(root.rglob("*")) if p.is_file()]
    folder = folder_of(root, names)
    found = find_form(folder)
    assert found is not None and found[0] == form
    done = convert(folder, *found, root, "tfx-rcnn")
    return done, {split: json.loads(path.read_text()) for split, path in done.files.items()}


def boxes(coco):
    names = {c["id"]: c["name"] for c in coco["categories"]}
    files = {i["id"]: i["file_name"] for i in coco["images"]}
    return sorted(
        (files[a["image_id"]], names[a["category_id"]], *a["bbox"]) for a in coco["annotations"]
    )


def voc(name, objects, database="mine"):
    rows = "".join(
        f"<object><name>{label}</name><difficult>{int(hard)}</difficult><bndbox><xmin>{a}</xmin>"
        f"<ymin>{b}</ymin><xmax>{c}</xmax><ymax>{d}</ymax></bndbox>{more}</object>"
        for label, a, b, c, d, hard, more in objects
    )
    source = f"<source><database>{database}</database></source>"
    return f"<annotation><filename>{name}</filename>{source}{rows}</annotation>"
