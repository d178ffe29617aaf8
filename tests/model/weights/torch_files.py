"""Writes files as `torch.save` does, without torch: its names are stood in for while pickling.

Reference: torch/serialization.py, `_save` and `_legacy_save`; torch/_tensor.py, `__reduce_ex__`.
"""

import contextlib
import io
import pickle
import struct
import sys
import types
import zipfile
from collections import OrderedDict

import numpy as np

TYPES = {
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "BFloat16Storage": "<u2",
}


class Storage:
    """A run of numbers; `kind` is its class in torch."""

    def __init__(self, kind, numbers):
        self.kind, self.numbers = kind, np.asarray(numbers, TYPES[kind])


class Tensor:
    """A window on a storage."""

    def __init__(self, storage, offset, sizes, strides):
        self.arguments = (storage, offset, sizes, strides, False, OrderedDict())

    def __reduce__(self):
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.arguments


def tensor(array, kind="FloatStorage"):
    """A contiguous tensor of its own storage."""
    array = np.array(array, order="C")
    strides = tuple(step // array.itemsize for step in array.strides)
    return Tensor(Storage(kind, array.ravel()), 0, array.shape, strides)


def save_zip(path, value):
    """Today's format."""
    with _stand_ins() as torch:
        content, storages = _pickled(torch, value, ())
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        archive.writestr("archive/byteorder", b"little")
        for key, storage in storages.items():
            archive.writestr(f"archive/data/{key}", storage.numbers.tobytes())


def save_legacy(path, value):
    """The format before torch 1.6, which many published files have."""
    with _stand_ins() as torch:
        content, storages = _pickled(torch, value, (None,))
    with open(path, "wb") as stream:
        for head in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
            pickle.dump(head, stream, protocol=2)
        stream.write(content)
        pickle.dump(list(storages), stream, protocol=2)
        for storage in storages.values():
            stream.write(struct.pack("<q", len(storage.numbers)) + storage.numbers.tobytes())


def _pickled(torch, value, rest):
    storages, stream = {}, io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, Storage):
                return None
            key = next((k for k, s in storages.items() if s is value), str(len(storages)))
            storages[key] = value
            size = len(value.numbers)
            return ("storage", getattr(torch, value.kind), key, "cpu", size, *rest)

    Pickler(stream, protocol=2).dump(value)
    return stream.getvalue(), storages


@contextlib.contextmanager
def _stand_ins():
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    torch._utils = utils

    def _rebuild_tensor_v2(*arguments):
        raise AssertionError("only its name is pickled")

    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
        "torch._utils",
        ("_rebuild_tensor_v2"),
    )
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2
    for name in TYPES:
        setattr(torch, name, type(name, (), {"__module__": "torch", "__qualname__": name}))
    saved = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules.update({"torch": torch, "torch._utils": utils})
    try:
        yield torch
    finally:
        for name, module in saved.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
