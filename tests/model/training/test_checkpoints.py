from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.schema import Config
from ground.errors import TrainingError
from model.training.checkpoints import CheckpointStore, checkpoint_key, read_metadata
from model.training_settings import TrainingSettings

ARRAYS = {
    "weights/conv/kernel": np.asarray([[1.5, -0.0], [np.pi, 1e-38]], np.float32),
    "state/updates": np.asarray(12, np.int64),
}


def config(**train) -> TrainingSettings:
    return TrainingSettings.of(Config.model_validate({"name": "a", "train": train}))


@pytest.fixture(params=["disk", "remote"])
def place(request, tmp_path) -> str:
    """A folder on the disk, and one of TensorFlow's file systems."""
    return str(tmp_path) if request.param == "disk" else f"ram://{tmp_path}"


def test_what_is_saved_comes_back_bit_for_bit(place):
    store = CheckpointStore(place, "k" * 64, keep=3)
    path = store.save(12, ARRAYS, {"seconds": 1.25})
    arrays, history = store.load(12)
    assert history == {"seconds": 1.25}
    assert path == f"{place}/{'k' * 16}/step-00000012.safetensors"
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in ARRAYS.items()
    }


def test_only_the_newest_stay(place):
    store = CheckpointStore(place, "k" * 64, keep=2)
    assert store.steps() == []
    for step in (5, 10, 15):
        store.save(step, ARRAYS, {})
    assert store.steps() == [10, 15]


class Killed(BaseException):
    """A kill of the process that writes."""


class DyingFileSystem:
    """TensorFlow's file systems, until a number of changes is made: the next is cut in its middle.

    Args:
        patch: puts it in place of `tf.io.gfile`'s functions.
        changes: how many are made before the cut.
    """

    def __init__(self, patch: pytest.MonkeyPatch, changes: int) -> None:
        self.left = changes
        self._copy, self._remove, self._open = (
            tf.io.gfile.copy,
            tf.io.gfile.remove,
            tf.io.gfile.GFile,
        )
        patch.setattr(tf.io.gfile, "copy", self.copy)
        patch.setattr(tf.io.gfile, "remove", self.remove)
        patch.setattr(tf.io.gfile, "GFile", self.open)

    def is_cut(self) -> bool:
        self.left -= 1
        return self.left < 0

    def copy(self, source: str, target: str, overwrite: bool = False) -> None:
        if self.is_cut():
            with self._open(target, "wb") as stream:
                stream.write(Path(source).read_bytes()[:50])
            raise Killed
        self._copy(source, target, overwrite)

    def remove(self, path: str) -> None:
        if self.is_cut():
            raise Killed
        self._remove(path)

    def open(self, path: str, mode: str):
        if self.is_cut():
            raise Killed
        return self._open(path, mode)


def test_the_only_checkpoint_outlives_a_kill_at_any_moment_of_its_replacement(tmp_path):
    key = "k" * 64
    # Copy, marker, and of the old object both again; the fifth is never reached.
    for changes, expected in enumerate(["before", "before", "after", "after", "after"]):
        place = f"ram://{tmp_path}/{changes}"
        CheckpointStore(place, key, keep=1).save(12, ARRAYS, {"validation": "before"})
        with pytest.MonkeyPatch.context() as patch:
            file_system = DyingFileSystem(patch, changes)
            try:
                CheckpointStore(place, key, keep=1).save(12, ARRAYS, {"validation": "after"})
            except Killed:
                pass
        assert (file_system.left < 0) == (changes < 4)

        store = CheckpointStore(place, key, keep=1)
        store.remove_partial_files()
        assert store.steps() == [12]
        arrays, history = store.load(12)
        assert history == {"validation": expected}
        np.testing.assert_array_equal(arrays["weights/conv/kernel"], ARRAYS["weights/conv/kernel"])
        assert len(tf.io.gfile.listdir(f"{place}/{key[:16]}")) == 2

        store.save(12, ARRAYS, {"validation": "again"})  # as the run that goes on does
        assert store.load(12)[1] == {"validation": "again"}
        store.save(15, ARRAYS, {})
        assert store.steps() == [15]
        assert len(tf.io.gfile.listdir(f"{place}/{key[:16]}")) == 2


def test_another_run_has_another_folder(place):
    CheckpointStore(place, "a" * 64, keep=2).save(5, ARRAYS, {})
    assert CheckpointStore(place, "b" * 64, keep=2).steps() == []


def test_a_file_of_another_run_is_refused(tmp_path):
    store = CheckpointStore(tmp_path, "a" * 64, keep=2)
    mine = Path(store.save(5, ARRAYS, {}))
    other = Path(CheckpointStore(tmp_path, "b" * 64, keep=2).save(5, ARRAYS, {}))
    other.rename(mine)
    with pytest.raises(TrainingError, match="belongs to another run"):
        store.load(5)


@pytest.mark.parametrize("bytes_left", [0, 5, 100, -1])
def test_a_cut_file_is_refused_by_name(tmp_path, bytes_left):
    store = CheckpointStore(tmp_path, "k" * 64, keep=2)
    path = Path(store.save(5, ARRAYS, {}))
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(TrainingError, match=r"step-00000005\.safetensors: not a whole checkpoint"):
        store.load(5)


def test_metadata_is_read_without_the_arrays(tmp_path):
    path = CheckpointStore(tmp_path, "k" * 64, keep=2).save(5, ARRAYS, {})
    assert '"step": 5' in read_metadata(path)["run"]


@pytest.mark.parametrize(
    "change", [{"batch": "2x2"}, {"seed": 1}, {"epochs": 3}, {"optimizer": {"learning_rate": 0.1}}]
)
def test_key_changes_with_what_changes_the_weights(change):
    assert checkpoint_key(config(), "e") != checkpoint_key(config(**change), "e")


def test_key_changes_with_examples_and_source():
    keys = {checkpoint_key(config(), e, s) for e in ("e", "f") for s in ("", "s")}
    assert len(keys) == 4


def test_key_stays_where_only_the_watching_changes():
    changed = config(log_every_steps=1, checkpoint_every_steps=7, max_non_finite_steps=5)
    assert checkpoint_key(config(), "e") == checkpoint_key(changed, "e")


def test_key_knows_the_content_of_the_initial_weights(tmp_path):
    weights = tmp_path / "w.npz"
    keys = set()
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        settings = {"name": "a", "model": {"weights": str(weights)}}
        keys.add(checkpoint_key(TrainingSettings.of(Config.model_validate(settings)), "e"))
    assert len(keys) == 2
