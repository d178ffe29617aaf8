"""Draws a picture, writes it as JPEG and PNG and decodes both as training does; prints JSON."""

import io
import json

_HEIGHT, _WIDTH = 24, 32
_FORMATS = ("JPEG", "PNG")


def main() -> None:
    """Prints what was decoded; fails where a picture is not what was drawn."""
    import numpy as np
    import tensorflow as tf
    from PIL import Image

    from model.input.resize import decode_picture

    rows, columns = np.mgrid[:_HEIGHT, :_WIDTH]
    drawn = np.stack([rows * 8, columns * 8, rows + columns], axis=-1).astype(np.uint8)
    for name in _FORMATS:
        file = io.BytesIO()
        Image.fromarray(drawn).save(file, name, quality=95)
        decoded = decode_picture(tf.constant(file.getvalue())).numpy()
        off = (
            np.abs(decoded.astype(np.float64) - drawn).mean()
            if decoded.shape == drawn.shape
            else 255
        )
        if off > 8.0:
            raise SystemExit(
                f"a {name} picture is decoded to another: {decoded.shape}, {off:.1f} off"
            )
    print(json.dumps({"formats": list(_FORMATS), "tensorflow": tf.__version__}))


if __name__ == "__main__":
    main()
