"""Masks in any of COCO's forms."""

import json
import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from model.coco.masks import compressed_rle, decode_counts, is_no_mask, read_mask


@given(st.data())
def test_all_forms_of_a_mask_become_the_same_code(data):
    height, width = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = np.asfortranarray(np.array(bits, np.uint8).reshape(height, width))
    expected = coco_mask.encode(mask)["counts"].decode()
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.ravel("F")]), append=-1))
    counts = np.diff(np.concatenate([[0], edges])).tolist()
    for form in (expected, counts):
        rle = compressed_rle({"size": [height, width], "counts": form}, height, width)
        assert rle == {"size": [height, width], "counts": expected}
    assert decode_counts(expected).tolist() == counts


@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=12))
def test_no_compressed_code_brings_pycocotools_down(counts):
    try:
        rle = compressed_rle({"size": [4, 5], "counts": counts}, 4, 5)
    except ValueError:
        return
    assert coco_mask.decode(rle).shape == (4, 5)


SQUARE = [2, 2, 12, 2, 12, 12, 2, 12]
PAIRS = [[2, 2], [12, 2], [12, 12], [2, 12]]
CODE = coco_mask.frPyObjects([SQUARE], 20, 30)[0]["counts"].decode()
RUNS = decode_counts(CODE).tolist()


@pytest.mark.parametrize(
    ("written", "odd"),
    [
        ([SQUARE], False),
        ([[*SQUARE, 2, 2]], False),  # closed
        (SQUARE, True),
        (json.dumps([SQUARE]), True),
        (", ".join(map(str, SQUARE)), True),
        (json.dumps({"size": [20, 30], "counts": CODE}), True),
        ({"size": [20, 30], "counts": CODE + "\n"}, True),
        ({"size": [20, 30], "counts": str((CODE + "\n").encode())}, True),
        ([[SQUARE]], True),
        ([[[SQUARE]]], True),
        (PAIRS, True),
        ([PAIRS], True),
        ([[PAIRS]], True),
        ([{"x": x, "y": y} for x, y in PAIRS], True),
        ([[{"x": x, "y": y} for x, y in PAIRS]], True),
        ({"size": [20, 30], "counts": CODE}, False),
        ({"size": [20, 30], "counts": RUNS}, False),
        ({"size": [20.0, 30.0], "counts": RUNS}, False),
        ({"size": ["20", "30"], "counts": RUNS}, True),
        ({"size": [20, 30], "counts": [float(run) for run in RUNS]}, True),
        ({"size": [20, 30], "counts": [str(run) for run in RUNS]}, True),
        ({"size": [20, 30], "counts": [RUNS]}, True),
        ({"size": [20, 30], "counts": repr(CODE.encode())}, True),
        ({"size": [20, 30], "counts": 'b"' + CODE + '"'}, True),
        ({"counts": RUNS}, True),
        ([{"size": [20, 30], "counts": CODE}], True),
        ([[{"size": [20, 30], "counts": CODE}]], True),
    ],
)
def test_plainly_meant_forms_are_the_same_mask(written, odd):
    mask = read_mask(written, 20, 30)
    assert mask.rle == {"size": [20, 30], "counts": CODE}
    assert bool(mask.odd_form) == odd
    assert mask.box == (2, 2, 10, 10)
    assert not mask.bad_rings
    assert not mask.text_numbers


@pytest.mark.parametrize("empty", [None, "", [], {}, [[]], [[], []], [[[]]], "[[]]"])
def test_nothing_in_any_brackets_is_no_mask(empty):
    assert read_mask(empty, 20, 30) is None


@pytest.mark.parametrize("broken", [[None], [{}], [[], [1]], [""], [[0, 0, 0, 0]], 0, False])
def test_what_holds_anything_is_a_mask_or_broken(broken):
    assert not is_no_mask(broken)
    with pytest.raises(ValueError, match=r"expected|a polygon of"):
        read_mask(broken, 20, 30)


def test_numbers_as_text_and_a_bad_ring_among_good_ones_are_told():
    mask = read_mask([[str(number) for number in SQUARE], [1, 2, 3, 4], [math.nan] * 6], 20, 30)
    assert mask.rle["counts"] == CODE
    assert mask.text_numbers
    assert "a polygon of 4 numbers" in mask.bad_rings
    assert "far outside" in mask.bad_rings


BACKSLASHES = coco_mask.encode(
    np.asfortranarray(np.random.default_rng(0).random((60, 70)) < 0.2, np.uint8)
)["counts"].decode()


def test_the_text_of_bytes_doubles_backslashes():
    assert "\\" in BACKSLASHES
    written = {"size": [60, 70], "counts": str(BACKSLASHES.encode())}
    assert read_mask(written, 60, 70).rle["counts"] == BACKSLASHES


@pytest.mark.parametrize(
    "written",
    [
        {"size": [20, 30], "counts": [100, 1000000000]},
        {"size": [20, 30], "counts": [100, -50, 550]},
        {"size": [20, 30], "counts": [2**70, 600 - 2**70]},
        {"size": [20, 30], "counts": "0n"},
        {"size": [20, 30], "counts": "PPPPPPPPPPPPPPPPPPPP0"},
        {"size": [20, 30], "counts": "é" * 5},
        {"size": [20, 30], "counts": "b'é'"},
        {"size": [20, 30], "counts": "b'\\xff'"},
        {"size": [20, 30], "counts": "b'\\x'"},
        {"size": [20, 30], "counts": "any text at all"},
        {"size": [20, 30], "counts": {"0": 600}},
        {"size": [20, 30], "counts": [[[600]]]},
        "any text at all",
        "[" * 5000,
        "[" * 40 + "]" * 40,
        "[[1, 2",
        {"size": [20, 30], "counts": [True] * 600},
        {"size": [30, 20], "counts": [600]},
        {"size": [20, 30, 1], "counts": [600]},
        {"size": "20x30", "counts": [600]},
        {"size": [20, 30]},
        [[math.inf, 0, 5, 5, 0, 5]],
        [[0, 0, 1e9, 0, 0, 1e9]],
        [[-1e308, 0, 1e308, 0, 0, 5]],
        [[1, 2, 3, 4, 5, None]],
        [[1, 2, 3, 4, 5, "x"]],
        [None],
        [[True, False, True, True, False, True]],
        "polygon",
        7,
        True,
    ],
)
def test_what_is_no_mask_is_refused_before_c_code_sees_it(written):
    with pytest.raises(ValueError, match=r"\w") as error:
        read_mask(written, 20, 30)
    assert len(str(error.value)) < 200


@pytest.mark.parametrize(
    "written",
    [
        [[0, 0, 600, 400] * 500_000],
        [[0, 0, 5, 0, 5, 5]] * 20_000,
        [[-6000, -6000, 6000, 6000] * 1000],
        {"size": [480, 640], "counts": [1] * 2_000_000},
        {"size": [480, 640], "counts": "0" * 5_000_000 + "n"},
    ],
)
def test_effort_is_bounded(written):
    start = time.process_time()
    with pytest.raises(ValueError, match=r"too|pixels|middle"):
        read_mask(written, 480, 640)
    assert time.process_time() - start < 5


def test_many_rings_are_united_as_pycocotools_does():
    rings = [[x, y, x + 3, y, x + 3, y + 3] for x in range(0, 60, 4) for y in range(0, 40, 5)]
    expected = coco_mask.merge(coco_mask.frPyObjects(rings, 50, 70))["counts"].decode()
    assert len(rings) > 64
    assert read_mask(rings, 50, 70).rle["counts"] == expected


def test_masks_of_a_picture_beyond_the_c_codes_numbers_are_refused():
    with pytest.raises(ValueError, match="too large for masks"):
        read_mask([SQUARE], 100_000, 100_000)
