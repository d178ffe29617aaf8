import numpy as np

from model.input.hashing import hashes, uniforms


def test_first_value_is_splitmix64s():
    # splitmix64.c with state 0 gives e220a8397b1dcdaf first.
    assert hashes(0).tolist() == [0xE220A8397B1DCDAF]


def test_keys_broadcast_and_do_not_commute():
    ids = np.arange(5)
    assert hashes(1, 2, ids).shape == (5,)
    assert hashes(1, 2, ids)[3] == hashes(1, 2, 3)[0]
    assert hashes(1, 2)[0] != hashes(2, 1)[0]


def test_uniforms_fill_the_unit_interval():
    values = uniforms(7, np.arange(20_000))
    assert values.min() >= 0
    assert values.max() < 1
    # Standard error of the mean is 0.289 / sqrt(20000) = 0.002.
    assert abs(values.mean() - 0.5) < 0.01
    assert np.histogram(values, 10, (0, 1))[0].min() > 1800
