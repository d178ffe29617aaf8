import pytest
import tensorflow as tf

from model.training.devices import resolve_jit


@pytest.mark.parametrize(
    ("setting", "gpus", "sampling_ratio", "compiled"),
    [
        ("auto", ["GPU:0"], 2, True),
        ("auto", ["GPU:0"], 0, False),  # adaptive sampling has no static shapes
        ("auto", [], 2, False),
        ("on", [], 2, True),
        ("off", ["GPU:0"], 2, False),
    ],
)
def test_auto_compiles_on_gpus_what_can_be_compiled(
    monkeypatch, setting, gpus, sampling_ratio, compiled
):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    assert resolve_jit(setting, sampling_ratio) is compiled
