"""Writes a COCO set with WebDataset's `ShardWriter`: each picture's file and its objects as JSON.

    PYTHON benchmarks/data_webdataset.py SET OUT SHARDS PROCESSES

Run by `benchmarks.data` with the interpreter of an environment that has `webdataset`. Nothing is
looked at: no picture is decoded, no mask drawn, no object checked.
"""

import collections
import json
import multiprocessing
import sys
from pathlib import Path

import webdataset


def main() -> None:
    """Writes the shards."""
    folder, out, shards, processes = Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:])
    content = json.loads((folder / "instances.json").read_bytes())
    by_image = collections.defaultdict(list)
    for annotation in content["annotations"]:
        by_image[annotation["image_id"]].append(annotation)
    out.mkdir()
    work = [
        (
            folder / "pictures",
            out / f"train-{n:05d}.tar",
            [(image, by_image[image["id"]]) for image in content["images"][n::shards]],
        )
        for n in range(shards)
    ]
    if processes == 1:
        for one in work:
            write(*one)
    else:
        with multiprocessing.Pool(processes) as pool:
            pool.starmap(write, work, chunksize=1)


def write(pictures: Path, path: Path, samples: list) -> None:
    """Writes a shard."""
    with webdataset.TarWriter(str(path)) as writer:
        for image, annotations in samples:
            writer.write(
                {
                    "__key__": f"{image['id']:012d}",
                    "jpg": (pictures / image["file_name"]).read_bytes(),
                    "json": {**image, "annotations": annotations},
                }
            )


if __name__ == "__main__":
    main()
