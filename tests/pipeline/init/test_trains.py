"""What `tfx-rcnn init` writes trains without an edit, on folders that it has never seen."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.pipeline.init.folders import draw, numbered, write

REPO = Path(__file__).parents[3]


def photographs(root: Path) -> None:
    """One class with the id 7, spaces and umlauts, the file beside large pictures."""
    write(root / "Fotos ü.json", draw(root, numbered(20, "DSC "), size=(3000, 2000), first_id=7))


def mess(root: Path) -> None:
    """Names without their folders, pictures without objects, broken and missing ones."""
    coco = draw(root / "flat", numbered(60), size=(160, 120), objects=3, masks=True)
    for place, image in enumerate(coco["images"]):
        folder = root / f"day {place % 4}"
        folder.mkdir(exist_ok=True)
        (root / "flat" / image["file_name"]).rename(folder / image["file_name"])
    (root / "day 1" / "img0001.jpg").write_bytes(b"oops")
    (root / "day 2" / "img0002.jpg").unlink()
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] % 5]
    coco["annotations"][3]["bbox"][2] = 0
    write(root / "labels.json", coco)


def many_classes(root: Path) -> None:
    """Two hundred classes on the frames of twelve videos."""
    names = [f"video{place % 12}_{place // 12:04d}.jpg" for place in range(96)]
    write(root / "c.json", draw(root / "images", names, size=(200, 160), classes=200, objects=6))


@pytest.mark.slow
@pytest.mark.e2e
@pytest.mark.parametrize("make", [photographs, mess, many_classes])
def test_a_run_takes_it_as_it_is(tmp_path, make):
    root = tmp_path / "my data"
    root.mkdir()
    make(root)

    def call(*arguments):
        command = [sys.executable, str(REPO / "tfx_rcnn.py"), *map(str, arguments)]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    call("init", root)
    config = root / "tfx-rcnn.yaml"
    # Shorter, and changed in nothing else.
    short = ("--set", "train.max_steps=2", "--set", "train.validate_every_epochs=0")
    call("run", "--config", config, "--data-dir", root, "--root", tmp_path / "R", *short)
    summary = json.loads((tmp_path / "R" / "summary.json").read_text())
    assert summary["records"]["train"]["written"] > summary["records"]["eval"]["written"] > 0
    assert summary["metrics"]["box"]["AP"] >= 0
