"""What differs between the libraries of the two lanes (docs/lanes.md): each difference by name.

Python 3.12 and later have TensorFlow 2.21, protobuf 6 and kfp 2.16 (modern); Python 3.10 has
TensorFlow 2.16, protobuf 3.20 and kfp 2.5 (legacy).
"""

import sys
from typing import Any

LANE = "modern" if sys.version_info >= (3, 12) else "legacy"


def message_class(descriptor: Any, pool: Any) -> Any:
    """Returns the class of a protocol buffer message that `pool` describes."""
    from google.protobuf import message_factory

    if hasattr(message_factory, "GetMessageClass"):  # protobuf 4.22 and later
        return message_factory.GetMessageClass(descriptor)
    return message_factory.MessageFactory(pool).GetPrototype(descriptor)
