"""Hypothesis strategies for what the model computes with."""

import numpy as np
from hypothesis import strategies as st

# Eighths of a pixel: exact in float32, also after a few sums, and equal numbers are likely.
_eighths = st.integers(min_value=0, max_value=8 * 64).map(lambda n: n / 8)


@st.composite
def boxes(draw, min_count=1, max_count=12, points=True):
    """[n, 4] float32 yxyx within 64 x 64 pixels; with `points`, sides may be 0."""
    count = draw(st.integers(min_count, max_count))
    rows = []
    for _ in range(count):
        ys = sorted([draw(_eighths), draw(_eighths)])
        xs = sorted([draw(_eighths), draw(_eighths)])
        rows.append([ys[0], xs[0], ys[1] + (not points), xs[1] + (not points)])
    return np.array(rows, np.float32).reshape(count, 4)


def scores(count):
    """[count] float32, all different, in falling order."""
    numbers = st.sets(st.integers(1, 10_000), min_size=count, max_size=count)
    return numbers.map(lambda n: np.array(sorted(n, reverse=True), np.float32) / 10_000)
