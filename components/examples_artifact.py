"""What an Examples artifact says of itself, so that TFX's own components can read it."""

from collections.abc import Sequence

from tfx import types
from tfx.components.util import examples_utils
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

# TFX's only name for files of TFRecords; they are read by their names, which do not end in .gz.
_FILE_FORMAT = "tfrecords_gzip"


def describe_examples(examples: types.Artifact, split_names: Sequence[str]) -> None:
    """Sets the split names, and that the files are TFRecords of tf.train.Example.

    Args:
        examples: artifact of type Examples.
        split_names: names of the folders `Split-<name>` below its uri.
    """
    examples.split_names = artifact_utils.encode_split_names(list(split_names))
    examples_utils.set_payload_format(examples, example_gen_pb2.PayloadFormat.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, _FILE_FORMAT)
