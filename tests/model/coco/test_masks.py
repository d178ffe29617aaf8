"""Masks in any of COCO's forms."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from model.coco.masks import compressed_rle, decode_counts


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
    assert decode_counts(expected) == counts


@given(st.text(alphabet=[chr(c) for c in range(40, 120)], max_size=12))
def test_no_compressed_code_brings_pycocotools_down(counts):
    try:
        rle = compressed_rle({"size": [4, 5], "counts": counts}, 4, 5)
    except ValueError:
        return
    assert coco_mask.decode(rle).shape == (4, 5)
