"""`tf.train.Example` without TensorFlow, whose import takes longer than a small conversion."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf import descriptor_pb2, descriptor_pool

from model.lanes import message_class

_FIELD = descriptor_pb2.FieldDescriptorProto
_PACKAGE = "tensorflow"


def encode_example(
    *,
    bytes_lists: Mapping[str, Sequence[bytes]],
    float_lists: Mapping[str, Sequence[float] | npt.NDArray[np.float64]],
    int64_lists: Mapping[str, Sequence[int]],
) -> bytes:
    """Returns a serialized example; the same features give the same bytes.

    Args:
        bytes_lists: features of byte strings by key.
        float_lists: features that are stored as float32.
        int64_lists: features of integers.
    """
    example = _Example()
    features = example.features.feature
    for key, strings in bytes_lists.items():
        features[key].bytes_list.value.extend(strings)
    for key, floats in float_lists.items():
        features[key].float_list.value.extend(floats)
    for key, integers in int64_lists.items():
        features[key].int64_list.value.extend(integers)
    for key in (*bytes_lists, *float_lists, *int64_lists):
        if features[key].WhichOneof("kind") is None:  # an empty list is a list all the same
            _set_empty(features[key], key in bytes_lists, key in float_lists)
    serialized: bytes = example.SerializeToString(deterministic=True)
    return serialized


def decode_example(serialized: bytes) -> dict[str, list[Any]]:
    """Returns the features of an example by key: lists of bytes, float or int.

    Raises:
        ValueError: the bytes are no example.
    """
    try:
        features = _Example.FromString(serialized).features.feature
    except Exception as error:  # protobuf's DecodeError differs between its implementations
        raise ValueError(f"not a tf.train.Example: {error}") from None
    return {
        key: list(getattr(feature, kind).value) if (kind := feature.WhichOneof("kind")) else []
        for key, feature in features.items()
    }


def _set_empty(feature: Any, is_bytes: bool, is_float: bool) -> None:
    lists = feature.bytes_list if is_bytes else feature.float_list if is_float else None
    (feature.int64_list if lists is None else lists).SetInParent()


def _example_class() -> Any:
    """Returns the message class, from the description in tensorflow/core/example/*.proto.

    It lives in a pool of its own, so that TensorFlow can register the same names.
    """
    file = descriptor_pb2.FileDescriptorProto(
        name="example.proto", package=_PACKAGE, syntax="proto3"
    )
    for name, kind in (
        ("BytesList", _FIELD.TYPE_BYTES),
        ("FloatList", _FIELD.TYPE_FLOAT),
        ("Int64List", _FIELD.TYPE_INT64),
    ):
        _add_field(file.message_type.add(name=name), "value", 1, kind, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, name in enumerate(("BytesList", "FloatList", "Int64List"), 1):
        field = _add_field(feature, f"{name[:-4].lower()}_list", number, message=name)
        field.oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, _FIELD.TYPE_STRING)
    _add_field(entry, "value", 2, message="Feature")
    _add_field(features, "feature", 1, message="Features.FeatureEntry", repeated=True)
    _add_field(file.message_type.add(name="Example"), "features", 1, message="Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    descriptor = pool.FindMessageTypeByName(f"{_PACKAGE}.Example")
    return message_class(descriptor, pool)


def _add_field(
    owner: Any,
    name: str,
    number: int,
    kind: Any = _FIELD.TYPE_MESSAGE,
    *,
    message: str = "",
    repeated: bool = False,
) -> Any:
    return owner.field.add(
        name=name,
        number=number,
        type=kind,
        label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
        type_name=f".{_PACKAGE}.{message}" if message else None,
    )


_Example = _example_class()
