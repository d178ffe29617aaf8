"""Has pycocotools count the pixels of a mask and compare two boxes; prints JSON."""

import importlib.metadata
import json


def main() -> None:
    """Prints the version; fails where a number is wrong."""
    import numpy as np
    from pycocotools import mask

    pixels = np.zeros([4, 6], np.uint8, order="F")
    pixels[1:3, 2:5] = 1
    area = int(mask.area(mask.encode(pixels)))
    iou = float(mask.iou(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 2, 2]]), [0])[0, 0])
    if area != 6 or abs(iou - 1 / 3) > 1e-9:
        raise SystemExit(f"pycocotools counts an area of {area} for 6 and an IoU of {iou} for 1/3")
    print(json.dumps({"version": importlib.metadata.version("pycocotools")}))


if __name__ == "__main__":
    main()
