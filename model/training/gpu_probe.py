"""Prints which GPUs TensorFlow opens, as one line of JSON (model/training/gpus.py asks)."""

import json


def main() -> None:
    """Prints `gpus`, their number, and `has_cuda`, whether this TensorFlow is built for them."""
    import tensorflow as tf

    opened = len(tf.config.list_physical_devices("GPU"))
    print(json.dumps({"gpus": opened, "has_cuda": bool(tf.test.is_built_with_cuda())}))


if __name__ == "__main__":
    main()
