"""The settings that `tfx-rcnn init` chooses for sizes of pictures."""

import numpy as np
import pytest

from configs.schema import LARGEST_SIDE_PX
from pipeline.init.choices import Sizes, choose_sizes
from pipeline.init.facts import read_facts
from pipeline.init.machine import Machine
from tests.pipeline.init.folders import write

CPU = Machine(0, 2, 16.0)


def sizes_of(tmp_path, pictures: list[tuple[int, int]]) -> Sizes:
    """Returns what is chosen for pictures of (width, height) with an object of 30 x 22 each."""
    coco = {
        "images": [
            {"id": n, "file_name": f"{n}.jpg", "width": width, "height": height}
            for n, (width, height) in enumerate(pictures)
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 1, "bbox": [0, 0, 30, 22]}
            for n in range(len(pictures))
        ],
        "categories": [{"id": 1, "name": "cell"}],
    }
    return choose_sizes(read_facts(write(tmp_path / "l.json", coco)), CPU)


@pytest.mark.parametrize(
    ("size", "short_px", "long_px", "factor"),
    [
        ((4000, 200), 100, 2016, 0.5),
        ((200, 4000), 100, 2016, 0.5),
        ((1242, 375), 256, 864, 256 / 375),  # 0.656 by the area that a CPU has, in steps of 32 px
        ((640, 480), 384, 512, 0.8),
        # 0.5 makes 10 px of the short side, and 32 is the least: the long one, padded, decides.
        ((40_000, 20), 32, 20_064, 0.5),
    ],
)
def test_pictures_that_are_all_long_fill_the_area_that_there_is(
    tmp_path, size, short_px, long_px, factor
):
    sizes = sizes_of(tmp_path, [size] * 5)
    assert (sizes.short_px, sizes.long_px) == (short_px, long_px)
    np.testing.assert_allclose(sizes.factors, factor, rtol=0.005)  # sides are rounded down


def test_a_long_picture_beside_others_is_made_small(tmp_path):
    sizes = sizes_of(tmp_path, [(640, 480)] * 9 + [(4000, 200)])
    assert (sizes.short_px, sizes.long_px) == (384, 768)
    np.testing.assert_allclose(sizes.factors[[0, -1]], [0.8, 38 / 200])  # 38.4 px


def test_no_side_is_longer_than_a_config_takes(tmp_path):
    assert sizes_of(tmp_path, [(100_000, 4)] * 5).long_px == LARGEST_SIDE_PX
