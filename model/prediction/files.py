"""The files that tell what was found: COCO's results as JSON, and a table."""

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ground.output_record import SUMMARY_FILE

DETECTIONS_FILE = "detections.json"
TABLE_FILE = "detections.csv"
FILES = (DETECTIONS_FILE, TABLE_FILE, SUMMARY_FILE)
_COLUMNS = (
    "file_name", "image_id", "category_id", "category", "score", "x", "y", "width", "height"
)  # fmt: skip


def write_detections(
    folder: Path, results: Iterable[dict[str, Any]], category_names: dict[int, str]
) -> int:
    """Writes what was found, one detection a line, without holding it; returns how many.

    Args:
        folder: gets `detections.json` and `detections.csv`.
        results: detections in COCO's results form, with `file_name`.
        category_names: by COCO id.

    Raises:
        ValueError: a number is not finite.
    """
    count = 0
    # What is no Unicode in a file's name goes out as it came in.
    text: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape"}
    with (
        open(folder / DETECTIONS_FILE, "w", encoding="utf-8") as stream,
        open(folder / TABLE_FILE, "w", newline="", **text) as table,
    ):
        rows = csv.writer(table, lineterminator="\n")
        quoted = csv.writer(table, lineterminator="\n", quoting=csv.QUOTE_ALL)
        rows.writerow(_COLUMNS)
        for result in results:
            stream.write(",\n" if count else "[\n")
            stream.write(json.dumps(result, allow_nan=False))
            row = [
                result["file_name"],
                result["image_id"],
                result["category_id"],
                category_names[result["category_id"]],
                result["score"],
                *result["bbox"],
            ]
            # Python before 3.13 does not quote a carriage return, which ends a row for readers.
            has_return = any("\r" in value for value in row if isinstance(value, str))
            (quoted if has_return else rows).writerow(row)
            count += 1
        stream.write("\n]\n" if count else "[]\n")
    return count
