"""Only arrays come out of a pickle, and what it asks for besides is not called."""

import os
import pickle
from argparse import Namespace
from collections import Counter, OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest

from ground.errors import ModelError
from model.weights.arrays_only import read_pickle, read_torch
from tests.model.weights.torch_files import Storage, Tensor, save_legacy, save_zip, tensor

ARRAY = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
SAVES = [save_zip, save_legacy]


class Command:
    """Pickles as a call of os.system, which leaves a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("save", SAVES)
@pytest.mark.parametrize("name", [None, "model", "state_dict"])
def test_reads_a_state_dict(tmp_path, save, name):
    state = OrderedDict(w=tensor(ARRAY), n=tensor(np.array(7), "LongStorage"))
    state._metadata = OrderedDict(version=1)  # as torch's state_dict() has
    save(tmp_path / "a.pth", {name: state, "epoch": 3} if name else state)
    read = read_torch(tmp_path / "a.pth")
    assert list(read) == ["w", "n"]
    np.testing.assert_array_equal(read["w"], ARRAY)
    assert read["n"] == 7 and read["n"].shape == ()


def training_checkpoint(**states):
    """Returns what torchvision's references/detection/train.py hands to torch.save."""
    slots = {0: {"momentum_buffer": tensor(ARRAY)}}
    return {
        **states,
        "optimizer": {"state": slots, "param_groups": [{"lr": 0.02, "params": [0]}]},
        "lr_scheduler": {
            "milestones": Counter({16: 1, 22: 1}),
            "_step_count": 3,
            "_last_lr": [0.1],
        },
        "args": Namespace(
            data_path="/coco", lr_steps=[16, 22], seen={1, 2}, extra=defaultdict(list)
        ),
        "epoch": 25,
        "scaler": {"scale": 65536.0},
    }


@pytest.mark.parametrize("save", SAVES)
def test_reads_a_training_checkpoint_of_torchvision(tmp_path, save):
    state = OrderedDict(w=tensor(ARRAY))
    save(tmp_path / "a.pth", training_checkpoint(model=state))
    assert list(read_torch(tmp_path / "a.pth")) == ["w"]


def test_takes_the_average_and_no_wrappers_names(tmp_path):
    plain = OrderedDict({"module.w": tensor(ARRAY)})
    average = OrderedDict(
        {"n_averaged": tensor(np.array(9), "LongStorage"), "module.w": tensor(ARRAY + 1)}
    )
    save_zip(tmp_path / "a.pth", training_checkpoint(model=plain, model_ema=average))
    read = read_torch(tmp_path / "a.pth")
    assert list(read) == ["w"]
    np.testing.assert_array_equal(read["w"], ARRAY + 1)
    save_zip(tmp_path / "b.pth", training_checkpoint(model=plain))
    np.testing.assert_array_equal(read_torch(tmp_path / "b.pth")["w"], ARRAY)


def test_what_lies_beside_is_not_called(tmp_path):
    state = training_checkpoint(model=OrderedDict(w=tensor(ARRAY)))
    state["args"].hidden = Command(tmp_path / "harm")
    save_zip(tmp_path / "a.pth", state)
    with pytest.raises(ModelError, match=r"a\.pth: asks for posix\.system"):
        read_torch(tmp_path / "a.pth")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("save", SAVES)
def test_windows_share_a_storage(tmp_path, save):
    shared = Storage("FloatStorage", np.arange(12))
    state = {"a": Tensor(shared, 2, (2, 2), (4, 1)), "b": Tensor(shared, 0, (3, 4), (1, 3))}
    save(tmp_path / "a.pth", state)
    read = read_torch(tmp_path / "a.pth")
    assert read["a"].tolist() == [[2, 3], [6, 7]]
    np.testing.assert_array_equal(read["b"], np.arange(12).reshape(4, 3).T)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path):
    # 1.0 is 0x3F800000, -2.5 is 0xC0200000.
    storage = Storage("BFloat16Storage", [0x3F80, 0xC020])
    save_zip(tmp_path / "a.pth", {"w": Tensor(storage, 0, (2,), (1,))})
    assert read_torch(tmp_path / "a.pth")["w"].tolist() == [1.0, -2.5]


@pytest.mark.parametrize(
    ("offset", "sizes", "strides"),
    [(0, (13,), (1,)), (1, (3, 4), (4, 1)), (0, (4, 4), (0, 4)), (-1, (2,), (1,)), (0, (2,), ())],
)
def test_a_window_beyond_its_storage_is_refused(tmp_path, offset, sizes, strides):
    storage = Storage("FloatStorage", np.arange(12))
    save_zip(tmp_path / "a.pth", {"w": Tensor(storage, offset, sizes, strides)})
    with pytest.raises(ModelError, match=r"a\.pth"):
        read_torch(tmp_path / "a.pth")


@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2", "<i8"])
def test_reads_numpy_arrays_of_every_protocol(tmp_path, protocol, dtype):
    array = np.asfortranarray(ARRAY[0].astype(dtype))
    value = {"model": {"w": array, "v": ARRAY}, "__author__": "a"}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value, protocol))
    read = read_pickle(tmp_path / "a.pkl")
    np.testing.assert_array_equal(read["w"], array)
    np.testing.assert_array_equal(read["v"], ARRAY)


def test_anything_else_is_refused_by_name_and_not_called(tmp_path):
    mark = tmp_path / "called"
    value = {"w": ARRAY, "x": Command(mark)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(ModelError, match=r"a\.pkl: asks for posix\.system"):
        read_pickle(tmp_path / "a.pkl")
    for save in SAVES:
        save(tmp_path / "a.pth", {"w": tensor(ARRAY), "x": Command(mark)})
        with pytest.raises(ModelError, match=r"a\.pth: asks for posix\.system"):
            read_torch(tmp_path / "a.pth")
    (tmp_path / "b.pkl").write_bytes(pickle.dumps({"x": Path}))
    with pytest.raises(ModelError, match=r"asks for pathlib\.(_local\.)?Path"):
        read_pickle(tmp_path / "b.pkl")
    assert not mark.exists()


@pytest.mark.parametrize(
    "value", [[ARRAY], {"a": 1}, {"a": np.array([None])}, {"a": np.array("x")}]
)
def test_what_holds_no_arrays_is_refused(tmp_path, value):
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(ModelError, match=r"a\.pkl"):
        read_pickle(tmp_path / "a.pkl")


@pytest.mark.parametrize("save", SAVES)
def test_a_damaged_file_is_refused(tmp_path, save):
    save(tmp_path / "a.pth", {"w": tensor(ARRAY)})
    whole = (tmp_path / "a.pth").read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 30):
        (tmp_path / "a.pth").write_bytes(whole[:length])
        with pytest.raises(ModelError, match=r"a\.pth"):
            read_torch(tmp_path / "a.pth")
