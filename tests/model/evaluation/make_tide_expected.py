"""Writes tide_expected.json: what tidecv says of the shared evaluator cases.

In an environment with tidecv 1.0.1 (it needs numpy below 2, and setuptools below 80):

    python tests/model/evaluation/make_tide_expected.py ../shared/data
"""

import json
import sys
from pathlib import Path

CASES = {
    f"{name}_{kind}": (truth, f"evaluator/{found.format(kind)}_results.json", kind)
    for name, truth, found in (
        (
            "fake",
            "evaluator/instances_val2014_100.json",
            "instances_val2014_fake{}100",
        ),
        ("awkward", "coco_tiny/annotations/instances_val2017.json", "awkward_{}"),
    )
    for kind in ("bbox", "segm")
}


def with_different_scores(detections):
    """Returns detections in the same order by score, none equal to another's.

    tidecv puts what is wrong before what is right where scores are equal, but only when it mends.
    """
    order = sorted(range(len(detections)), key=lambda n: -detections[n]["score"])
    places = {n: place for place, n in enumerate(order)}
    count = len(detections)
    return [d | {"score": 1 - places[n] / count} for n, d in enumerate(detections)]


def expected(folder, truth_file, found_file, kind):
    from tidecv import TIDE, Data
    from tidecv.functions import toRLE

    content = json.loads((folder / truth_file).read_text())
    truth, found = Data("truth", max_dets=10**6), Data("found", max_dets=10**6)
    sizes = {image["id"]: (image["width"], image["height"]) for image in content["images"]}
    for image in sorted(content["images"], key=lambda image: image["id"]):
        truth.add_image(image["id"], image["file_name"])
    for a in content["annotations"]:
        add = truth.add_ignore_region if a["iscrowd"] else truth.add_ground_truth
        mask = toRLE(a["segmentation"], *sizes[a["image_id"]])
        add(a["image_id"], a["category_id"], a["bbox"], mask)
    for d in with_different_scores(json.loads((folder / found_file).read_text())):
        found.add_detection(
            d["image_id"], d["category_id"], d["score"], d.get("bbox"), d.get("segmentation")
        )
    run = TIDE(mode=TIDE.BOX if kind == "bbox" else TIDE.MASK).evaluate(truth, found)
    with_objects = [k for k, one in run.ap_data.objs.items() if one.num_gt_positives]
    mended = {
        error.short_name: run.fix_errors(lambda one, error=error: isinstance(one, error))
        for error in TIDE._error_types
    }
    return {
        "ap": {str(k): run.ap_data.objs[k].get_ap() / 100 for k in with_objects},
        "counts": {error.short_name: n for error, n in run.count_errors().items()},
        # None where nothing is left to be found.
        "mended": {
            name: {
                str(k): one.objs[k].get_ap() / 100 if one.objs[k].num_gt_positives else None
                for k in with_objects
            }
            for name, one in mended.items()
        },
    }


if __name__ == "__main__":
    result = {name: expected(Path(sys.argv[1]), *case) for name, case in CASES.items()}
    for case in result.values():
        for values in (case["ap"], *case["mended"].values()):
            values.update({k: v if v is None else round(v, 12) for k, v in values.items()})
    target = Path(__file__).with_name("tide_expected.json")
    target.write_text(json.dumps(result, separators=(",", ":")) + "\n")
