"""README's lines for Python do what they say, and load no TFX."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.test_layering import REPO

# What README's names stand for, small: eight drawn pictures, a detector of the demo's.
PREPARE = """
import numpy as np
from configs.loader import load_config
from model.detector import build_detector
from model.import_weights import write_weights
from pipeline.shapes import CATEGORIES, generate_shapes

generate_shapes("D", 8, 2, 0, 96)
config = load_config("configs/demo.yaml")
write_weights("W.npz", build_detector(config.model, num_classes=4, seed=5).export_weights(), "ours")
categories = [
    {"id": i, "name": name, "label": n} for n, (i, name) in enumerate(CATEGORIES.items(), 1)
]
pictures = np.zeros((2, 100, 120, 3), np.uint8)
"""
CHECK = """
import sys
assert not [name for name in ("tfx", "ml_metadata", "kfp") if name in sys.modules]
assert model.categories == categories and found.scores.shape[0] == found.boxes_norm.shape[0]
assert len(LoadedModel("M0").detect_pixels(pictures)) == 2
print("done")
"""


def readme_lines() -> str:
    (block,) = re.findall(r"^```python\n(.+?)^```", (REPO / "README.md").read_text(), re.M | re.S)
    return block.replace("=W", "=W.npz").replace(
        '"train.epochs=1"', '"train.epochs=1", "train.batch=1x4"'
    )


def test_the_lines_are_ten_after_the_imports() -> None:
    lines = [line for line in readme_lines().splitlines() if line and "import" not in line]
    assert len(lines) <= 10


def test_the_names_that_are_imported_are_there() -> None:
    for node in ast.walk(ast.parse(readme_lines())):
        if isinstance(node, ast.ImportFrom):
            source = (REPO / f"{str(node.module).replace('.', '/')}.py").read_text()
            defined = {getattr(each, "name", None) for each in ast.parse(source).body}
            assert {alias.name for alias in node.names} <= defined


@pytest.mark.slow
def test_readmes_lines_build_load_train_and_predict(tmp_path: Path) -> None:
    (tmp_path / "configs").symlink_to(REPO / "configs")
    code = f"import sys; sys.path.insert(0, {str(REPO)!r})\n{PREPARE}\n{readme_lines()}\n{CHECK}"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "done"
