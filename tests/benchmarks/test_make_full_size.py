"""The made set has COCO's counts, sound objects and pictures of their own; costs are of all."""

import hashlib
import json
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from pycocotools import mask as coco_mask

from benchmarks.make_full_size import OBJECTS, PICTURES, main, objects_of_pictures, size_of
from benchmarks.process_tree import cost_of

_TREE = """
import subprocess, sys
held = bytearray(50_000_000)
subprocess.run([sys.executable, "-c", "import time; held = bytearray(50_000_000); time.sleep(1)"])
"""


@pytest.mark.parametrize("times", [1, 10])
def test_counts_are_cocos(times):
    counts = objects_of_pictures(size_of(times, 1.0))
    assert (len(counts), counts.sum()) == (times * PICTURES, times * OBJECTS)
    assert 80 < counts.max() <= 93
    assert 0.006 < (counts == 0).mean() < 0.012


def test_each_mask_has_pixels_and_each_file_is_its_own(tmp_path):
    done = CliRunner().invoke(main, [str(tmp_path), "--fraction", "0.002"])
    assert done.exit_code == 0, done.output
    content = json.loads((tmp_path / "instances.json").read_text())
    assert (len(content["images"]), len(content["annotations"])) == (237, 1720)
    crowds = 0
    for annotation in content["annotations"]:
        rle = coco_mask.frPyObjects(annotation["segmentation"], 48, 64)
        crowds += annotation["iscrowd"]
        assert np.any(coco_mask.decode(rle))
    assert 5 < crowds < 50
    digests = {
        hashlib.sha256((tmp_path / "pictures" / image["file_name"]).read_bytes()).digest()
        for image in content["images"]
    }
    assert len(digests) == 237


def test_costs_are_those_of_all_processes():
    cost = cost_of([sys.executable, "-c", _TREE])
    assert 1 < cost.seconds < 60
    assert cost.rss_mb > 100 > 50 < cost.largest_mb < cost.rss_mb
    with pytest.raises(RuntimeError, match="status 3"):
        cost_of([sys.executable, "-c", "raise SystemExit(3)"])
