"""COCO's [x, y, width, height] is turned from and into our boxes in one place."""

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.coco.boxes import xywh_to_yxyx, yxyx_to_xywh

REPO = Path(__file__).parents[3]
HOME = "model/coco/boxes.py"
EXEMPT = {
    HOME,
    # The rectangle of a mask in whole pixels, straight from pycocotools.
    "components/coco_transform/bitmap.py",
    # Other tools' forms: shares of a side, by a corner or the middle.
    "model/foreign/label_studio.py",
    "model/foreign/yolo.py",
}
sides = st.integers(-(10**6), 10**6)


@given(st.tuples(sides, sides, sides, sides))
def test_one_undoes_the_other(box):
    assert xywh_to_yxyx(yxyx_to_xywh(box)) == box
    assert yxyx_to_xywh(xywh_to_yxyx(box)) == box


def conversions(source: str) -> list[int]:
    """Returns the lines that take such a box apart, or make one of corners."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
            names = [getattr(element, "id", "") for element in node.targets[0].elts]
            if len(names) == 4 and names[0].startswith("x") and "w" in names[2]:
                lines.append(node.lineno)
        if isinstance(node, ast.List | ast.Tuple) and len(node.elts) == 4:
            if all(isinstance(e, ast.BinOp) and isinstance(e.op, ast.Sub) for e in node.elts[2:]):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize(
    "source",
    ["x, y, width, height = box", "x0, y0, w, h = f()", "b = [a, b, c - a, d - b]"],
)
def test_a_conversion_is_seen(source):
    assert conversions(source) == [1]


def test_no_other_file_converts():
    found = []
    for layer in ("model", "components", "pipeline"):
        for path in sorted((REPO / layer).rglob("*.py")):
            name = path.relative_to(REPO).as_posix()
            if name not in EXEMPT:
                found += [f"{name}:{line}" for line in conversions(path.read_text("utf-8"))]
    assert found == []
    assert conversions((REPO / HOME).read_text("utf-8"))
