"""Arrays out of pickles, and nothing else: Detectron2's .pkl and PyTorch's .pth files.

A pickle is a program that can call anything, so a weights file from elsewhere must not be
unpickled. The reader here resolves each name that a pickle asks for to a function of its own, which
only notes down sizes and bytes; any other name ends the reading with an error that says which.

PyTorch writes either a zip with `data.pkl` beside one member a storage, or (before 1.6) a row of
pickles with the storages' bytes behind. A storage is a flat run of numbers; a tensor is a window on
it (offset, sizes, strides), which is checked to lie within.

A training checkpoint has more beside the weights: options, states of optimiser and scheduler. What
they are commonly made of (argparse.Namespace, counters, sets) gets a stand-in that keeps nothing.
"""

import collections
import io
import math
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from ground.errors import ModelError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_BFLOAT16 = "bfloat16"  # NumPy has no such type
_MODULE, _EMA_COUNTER = "module.", "n_averaged"  # of torch.nn.parallel and torch.optim.swa_utils
_STORAGES = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


class _Storage(NamedTuple):
    """Which run of numbers a tensor lies in."""

    key: str
    dtype: str


class _Tensor(NamedTuple):
    """A window on a storage; its numbers are read at the end."""

    storage: _Storage
    offset: int
    sizes: tuple[int, ...]
    strides: tuple[int, ...]


class _Dtype:
    """What a pickled `numpy.dtype` says of itself; only plain numbers are admitted."""

    def __init__(self, text: Any, *_: Any) -> None:
        self.text = text.decode("ascii") if isinstance(text, bytes) else str(text)
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else str(order)

    def numpy(self) -> np.dtype:
        dtype = np.dtype(self.text).newbyteorder(">" if self.order == ">" else "<")
        if dtype.kind not in "fiub":
            raise ModelError(f"an array of {dtype} is no array of numbers")
        return dtype


class _Array:
    """What a pickled `numpy.ndarray` says of itself."""

    def __init__(self, *_: Any) -> None:
        self.array = np.zeros(0, np.float32)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, sizes, dtype, is_fortran, content = state
        self.array = _from_bytes(content, dtype, sizes, "F" if is_fortran else "C")


def _from_bytes(content: Any, dtype: Any, sizes: Any, order: Any) -> np.ndarray:
    """Returns the array [*sizes] whose bytes a pickle holds, as text where Python 2 wrote it."""
    if not isinstance(dtype, _Dtype) or order not in ("C", "F"):
        raise ModelError("an array without type")
    content = content.encode("latin1") if isinstance(content, str) else content
    return np.frombuffer(content, dtype.numpy()).reshape(sizes, order=order)


def _frombuffer(content: Any, dtype: Any, sizes: Any, order: Any) -> _Array:
    array = _Array()
    array.array = _from_bytes(content, dtype, sizes, order)
    return array


def _scalar(dtype: Any, content: Any) -> float:
    return float(_from_bytes(content, dtype, (), "C"))


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1", "ascii"):
        raise ModelError(f"a text in the encoding {encoding!r}")
    return text.encode("latin1")


def _rebuild_tensor(storage: Any, offset: Any, sizes: Any, strides: Any, *_: Any) -> _Tensor:
    """Returns the window on a storage; offset and strides count numbers, not bytes."""
    numbers = [offset, *sizes, *strides]
    if not isinstance(storage, _Storage) or not all(isinstance(n, int) and n >= 0 for n in numbers):
        raise ModelError("a tensor whose place in the file makes no sense")
    if len(sizes) != len(strides):
        raise ModelError("a tensor with unlike numbers of sizes and strides")
    return _Tensor(storage, offset, tuple(sizes), tuple(strides))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _StorageType(NamedTuple):
    dtype: str


class _Beside:
    """Stands for a value that lies beside the weights of a checkpoint; keeps nothing of it."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Takes an entry of a list."""

    def extend(self, values: Any) -> None:
        """Takes entries of a list."""

    def add(self, value: Any) -> None:
        """Takes a member of a set."""


# What training checkpoints have beside their weights, by torchvision's and others' scripts.
_FOUND_BESIDE = (
    ("argparse", "Namespace"),
    ("collections", "Counter"),
    ("collections", "defaultdict"),
    ("torch", "Size"),
    ("torch", "device"),
    *(("torch", name) for name in ("float16", "bfloat16", "float32", "float64", "int64")),
    *((module, name) for module in ("__builtin__", "builtins") for name in ("set", "frozenset")),
    *((module, name) for module in ("__builtin__", "builtins") for name in ("int", "list", "dict")),
)


# What a pickle may ask for -> what it gets. NumPy 2 renamed numpy.core.
_ADMITTED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _encode,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{("torch", name): _StorageType(dtype) for name, dtype in _STORAGES.items()},
    **dict.fromkeys(_FOUND_BESIDE, _Beside),
}
for _core in ("numpy.core", "numpy._core"):
    _ADMITTED[f"{_core}.multiarray", "_reconstruct"] = _Array
    _ADMITTED[f"{_core}.multiarray", "scalar"] = _scalar
    _ADMITTED[f"{_core}.numeric", "_frombuffer"] = _frombuffer


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that knows the names in `_ADMITTED` and no other.

    Attributes:
        storages: dtype by key, of the storages that the pickle refers to.
    """

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream, encoding="latin1")
        self.storages: dict[str, str] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Returns what stands for a name that the pickle asks for, by which it would be called."""
        if (module, name) not in _ADMITTED:
            raise ModelError(f"asks for {module}.{name}, which is no array; it was not called")
        return _ADMITTED[module, name]

    def persistent_load(self, pid: Any) -> _Storage:
        """Returns the storage that PyTorch's tuple (kind, type, key, device, size) refers to."""
        kind, storage_type, key = pid[:3]
        if kind not in ("storage", b"storage") or not isinstance(storage_type, _StorageType):
            raise ModelError("a storage of an unknown type")
        if len(pid) > 5 and pid[5] is not None:
            raise ModelError("a storage that is a view of another one")
        self.storages[str(key)] = storage_type.dtype
        return _Storage(str(key), storage_type.dtype)


def read_pickle(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a pickled dict, or of its entry `model`, as Detectron2's zoo has them.

    Raises:
        ModelError: the pickle holds or asks for something else; nothing was called.
    """
    with path.open("rb") as stream:
        loaded, _ = _load(stream, path)
    return _arrays(loaded, path, {})


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of a state dict that `torch.save` wrote, in today's or the old format.

    The state dict may be the entry `model_ema` (the average that torchvision's scripts keep and
    evaluate), `model` or `state_dict` of a training checkpoint; a `module.` that all its names
    begin with (torch.nn.parallel) is taken off. bfloat16 becomes float32.

    Raises:
        ModelError: what `read_pickle` raises.
    """
    if zipfile.is_zipfile(path):
        return _read_zip(path)
    return _read_legacy(path)


def _read_zip(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of today's format: a zip of one pickle and a file for each storage."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [name for name in names if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise ModelError(f"{path}: a zip without PyTorch's data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ModelError(f"{path}: was written with the big end first")
        loaded, _ = _load(io.BytesIO(archive.read(pickles[0])), path)
        prefix = f"{folder}data/"
        storages = {
            name.removeprefix(prefix): archive.read(name)
            for name in names
            if name.startswith(prefix)
        }
    return _arrays(loaded, path, storages)


def _read_legacy(path: Path) -> dict[str, np.ndarray]:
    """Returns the tensors of the old format: five pickles in a row, then the storages."""
    with path.open("rb") as stream:
        head = [_load(stream, path)[0] for _ in range(2)]
        if head != [_LEGACY_MAGIC, _LEGACY_PROTOCOL]:
            raise ModelError(f"{path}: not a file of torch.save")
        _load(stream, path)  # the writing machine: byte order and sizes of types
        loaded, dtypes = _load(stream, path)
        keys, _ = _load(stream, path)
        storages = {str(key): _read_storage(stream, path, dtypes.get(str(key))) for key in keys}
    return _arrays(loaded, path, storages)


def _read_storage(stream: BinaryIO, path: Path, dtype: str | None) -> bytes:
    """Returns the bytes of the storage that comes next in the old format."""
    length = stream.read(8)
    if dtype is None or len(length) < 8:
        raise ModelError(f"{path}: ends early, or has a storage that nothing refers to")
    [count] = struct.unpack("<q", length)
    return stream.read(count * (2 if dtype == _BFLOAT16 else np.dtype(dtype).itemsize))


def _load(stream: BinaryIO, path: Path) -> tuple[Any, dict[str, str]]:
    """Returns what the next pickle holds, and the dtypes of the storages it refers to."""
    unpickler = _ArraysOnly(stream)
    try:
        return unpickler.load(), unpickler.storages
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from None
    except Exception as error:  # a damaged pickle fails in whatever way
        raise ModelError(f"{path}: not a whole pickle ({type(error).__name__}: {error})") from None


def _state(loaded: Any) -> dict[Any, Any]:
    """Returns the dict with the weights: the pickled one, or its entry of a known name."""
    for name in ("model_ema", "model", "state_dict", "blobs"):
        if isinstance(loaded, dict) and isinstance(dict(loaded).get(name), dict):
            return _without_module(dict(dict(loaded)[name]))
    if not isinstance(loaded, dict):
        raise ModelError(f"holds a {type(loaded).__name__} instead of a dict of arrays")
    return _without_module(dict(loaded))


def _without_module(state: dict[Any, Any]) -> dict[Any, Any]:
    """Returns a state dict without the `module.` that wrappers of PyTorch put before each name."""
    own = {name: value for name, value in state.items() if name != _EMA_COUNTER}
    if not own or not all(str(name).startswith(_MODULE) for name in own):
        return state
    return {str(name).removeprefix(_MODULE): value for name, value in own.items()}


def _arrays(loaded: Any, path: Path, storages: Mapping[str, bytes]) -> dict[str, np.ndarray]:
    """Returns the arrays and tensors of the state; what else it holds (a version) is left out."""
    arrays: dict[str, np.ndarray] = {}
    try:
        for name, value in _state(loaded).items():
            if isinstance(value, _Tensor):
                arrays[str(name)] = _window(value, storages)
            elif isinstance(value, _Array):
                arrays[str(name)] = value.array
    except (ModelError, ValueError, KeyError) as error:
        raise ModelError(f"{path}: {error}") from None
    if not arrays:
        raise ModelError(f"{path}: holds no arrays")
    return arrays


def _window(tensor: _Tensor, storages: Mapping[str, bytes]) -> np.ndarray:
    """Returns a copy of the numbers that a tensor sees in its storage, none beyond its end."""
    key, dtype = tensor.storage
    if key not in storages:
        raise ModelError(f"the bytes of storage {key} are missing")
    numbers = _numbers(storages[key], dtype)
    if 0 in tensor.sizes:
        return np.zeros(tensor.sizes, numbers.dtype)
    reach = sum((n - 1) * step for n, step in zip(tensor.sizes, tensor.strides, strict=True))
    if tensor.offset + reach >= len(numbers) or math.prod(tensor.sizes) > len(numbers):
        raise ModelError(f"a tensor reaches beyond the end of storage {key}")
    strides = [stride * numbers.itemsize for stride in tensor.strides]
    window = np.lib.stride_tricks.as_strided(numbers[tensor.offset :], tensor.sizes, strides)
    return np.array(window, order="C")


def _numbers(content: bytes, dtype: str) -> np.ndarray:
    """Returns all numbers of a storage [n]; bfloat16 as float32."""
    if dtype == _BFLOAT16:  # the upper half of a float32
        return (np.frombuffer(content, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(content, dtype)


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".pkl": read_pickle,
    ".pth": read_torch,
    ".pt": read_torch,
}
