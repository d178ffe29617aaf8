import pytest

from ground.errors import ConfigError
from model.training.freezing import unfrozen
from tests.model.training.tiny_run import TinyDetector


@pytest.mark.parametrize(
    ("patterns", "left"),
    [
        ((), ["conv/kernel", "conv/bias", "head/kernel", "head/bias"]),
        (("conv/*",), ["head/kernel", "head/bias"]),
        (("*/bias", "head/kernel"), ["conv/kernel"]),
    ],
)
def test_patterns_leave_the_rest(patterns, left):
    assert [variable.path for variable in unfrozen(TinyDetector(), patterns)] == left


def test_a_pattern_without_a_match_names_the_nearest_path():
    with pytest.raises(ConfigError, match=r"'conv/kernal' matches no weight.* 'conv/kernel'"):
        unfrozen(TinyDetector(), ("conv/kernal",))


def test_something_must_be_left():
    with pytest.raises(ConfigError, match="leave no weight to train"):
        unfrozen(TinyDetector(), ("*",))
