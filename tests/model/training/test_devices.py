import pytest
import tensorflow as tf

from model.training.devices import resolve_jit


@pytest.mark.parametrize(
    ("setting", "gpus", "obstacle", "compiled"),
    [
        ("auto", ["GPU:0"], None, True),
        ("auto", ["GPU:0"], "adaptive sampling", False),
        ("auto", [], None, False),
        ("on", [], None, True),
        ("off", ["GPU:0"], None, False),
    ],
)
def test_auto_compiles_on_gpus_what_can_be_compiled(monkeypatch, setting, gpus, obstacle, compiled):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: gpus)
    assert resolve_jit(setting, obstacle) is compiled
