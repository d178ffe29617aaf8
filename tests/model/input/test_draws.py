import numpy as np
import pytest

from configs.augmentation_schema import ColorJitterConfig
from model.input.draws import Draws

IDS = np.arange(100, 2100)
RECORDS = np.arange(2000)
JITTER = ColorJitterConfig(probability=0.5)


def of(draws, epoch=0, records=RECORDS):
    return draws.color_maps(JITTER, epoch, records), draws.turns(10.0, epoch, records)


def test_draws_are_functions_of_seed_epoch_and_image_id():
    draws, turned = Draws(IDS, 0), Draws(IDS[::-1], 0)
    for one, other in zip(of(draws, 3), of(turned, 3), strict=True):
        assert (one == other[::-1]).all()
    for one, part in zip(of(draws, 3), of(draws, 3, RECORDS[7:9]), strict=True):
        assert (one[7:9] == part).all()
    for other in (of(draws, 4), of(Draws(IDS, 1), 3)):
        assert all((a != b).any() for a, b in zip(of(draws, 3), other, strict=True))


def test_angles_are_uniform_both_ways():
    cos, sin = of(Draws(IDS, 0))[1].T
    np.testing.assert_allclose(cos**2 + sin**2, 1, rtol=1e-6)
    degrees = np.rad2deg(np.arctan2(sin, cos))
    assert np.abs(degrees).max() == pytest.approx(10, abs=0.1)
    # Standard error of the mean: 10 / sqrt(3 * 2000) = 0.13.
    assert degrees.mean() == pytest.approx(0, abs=0.5)
    assert (np.abs(degrees) < 5).mean() == pytest.approx(0.5, abs=0.05)


def test_as_many_pictures_change_their_colours_as_the_settings_say():
    maps = of(Draws(IDS, 0))[0]
    same = (maps == np.eye(3, 4, dtype=np.float32)).all(axis=(1, 2))
    assert same.mean() == pytest.approx(0.5, abs=0.05)
    # A grey's factor: brightness, of which contrast gives a part to the mean.
    brightness = maps[~same][:, 0].sum(axis=1)
    assert brightness.min() == pytest.approx(0.875, abs=0.01)
    assert brightness.max() == pytest.approx(1.125, abs=0.01)
