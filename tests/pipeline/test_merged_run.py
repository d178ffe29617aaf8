"""A whole run of two data sets that become one, split by a group over both."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ground.source_digest import SOURCE_ROOT
from model.coco.merge import SOURCE_STRIDE
from model.examples import split_names
from model.input.index import read_index
from pipeline.shapes import generate_shapes

pytestmark = pytest.mark.e2e

GROUP = r"/0*(\d+?)\d\.jpg$"  # ten pictures in a row, of either set


def test_two_sources_are_merged_split_by_group_trained_and_measured(tmp_path: Path) -> None:
    data = tmp_path / "data"
    for number, name in enumerate(("day", "night")):
        generate_shapes(data / name, train=24, val=2, size=96, seed=number)
    sources = ", ".join(
        f"{{annotations: {name}/annotations/instances_train2017.json, pictures: {name}/train2017}}"
        for name in ("day", "night")
    )
    command = [sys.executable, "-m", "pipeline", "run", "--config", "configs/tiny.yaml"]
    command += ["--data-dir", str(data), "--root", str(tmp_path / "run")]
    split = f"{{train: 0.6, eval: 0.4, seed: 1, group: '{GROUP}'}}"
    for setting in (f"data.sources=[{sources}]", f"data.split={split}", "data.train_shards=2"):
        command += ["--set", setting]
    done = subprocess.run(command, cwd=SOURCE_ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert set(summary["sources"]["train"]) == {
        f"{name}/annotations/instances_train2017.json" for name in ("day", "night")
    }
    total = sum(of["pictures"] for split in summary["sources"].values() for of in split.values())
    assert total == 48
    assert summary["metrics"]["box"]
    assert "of day/annotations/instances_train2017.json: " in done.stdout
    [examples] = {
        path.parent
        for path in (tmp_path / "run").rglob("index")
        if (path.parent / "counts.json").exists()
    }
    names = split_names(examples)
    assert names == ["train", "eval"]
    ids = {
        name: {
            int(id_)
            for path in (examples / "index").glob(f"{name}-*")
            for id_ in read_index(path).image_id
        }
        for name in names
    }
    groups = {
        name: {re.sub(r"\d$", "", str(id_ % SOURCE_STRIDE)) for id_ in found}
        for name, found in ids.items()
    }
    assert not groups["train"] & groups["eval"]
    page = Path(summary["data_report"]).read_text()
    assert "of night/annotations/instances_train2017.json: " in page
