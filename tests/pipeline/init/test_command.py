"""`tfx-rcnn init` on folders of many kinds: what it writes loads, fits, and names what is there."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from configs.loader import load_config
from configs.schema import Config
from model.coco.splits import read_division
from pipeline.__main__ import main as tfx_rcnn
from pipeline.data_folder import check_data_folder, read_by_a_run
from pipeline.init import command
from pipeline.init.machine import Machine
from pipeline.local.run_folder import RunFolder
from tests.pipeline.init.folders import draw, numbered, write

REPO = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """Two cores, no GPU, an empty cache."""
    monkeypatch.setenv("TFX_RCNN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipeline.init.machine.this_machine", lambda warn: Machine(0, 2, 16.0))


def init(*arguments, status=0):
    done = CliRunner().invoke(tfx_rcnn, ["init", *map(str, arguments)], prog_name="tfx-rcnn")
    assert "--debug" not in done.output and "Traceback" not in done.output, done.output
    assert done.exit_code == status, done.output
    if status:
        assert done.output.rstrip().splitlines()[-1].startswith("error: ")
    return done.output


def written(folder: Path, name=command.CONFIG_FILE) -> Config:
    """Returns the config that was written, which a run would take for the folder."""
    config = load_config(folder / name)
    check_data_folder(config.data, folder)
    return config


def test_one_file_is_split_and_the_next_command_is_said(tmp_path):
    root = tmp_path / "Meine Bilder ü"
    write(root / "labels.json", draw(root / "images", numbered(30), first_id=7))
    output = init(root)
    config = written(root)
    assert config.name == "meine-bilder-u"
    assert (config.data.annotations, config.data.pictures) == ("labels.json", "images")
    assert config.data.split is not None and config.data.split.train == 0.8
    next_ = output.splitlines()[-1]
    words = shlex.split(next_.removeprefix("next"))
    assert words == [
        "tfx-rcnn",
        "run",
        "--config",
        str(root / "tfx-rcnn.yaml"),
        "--data-dir",
        str(root),
    ]
    assert "30 pictures in images, 60 objects, no masks, 1 class" in output
    assert "all sound" in output
    assert config.model.weights is None and config.model.backbone.frozen_stages == 0
    assert config.model.backbone.norm == "group_norm" and config.model.mask_head is None
    for key in ("split", "picture size", "anchors", "training", "gate", "start", "machine"):
        assert f"\n{key}" in output


@pytest.mark.parametrize(
    ("pictures", "here", "root"),
    [
        (".", ".", "../runs/my-data"),
        (".", "deep/er", "../../../runs/my-data"),
        (".", "..", None),
        ("images", ".", None),
        ("images", "images", "../runs/my-data"),
    ],
)
def test_the_next_command_writes_outside_what_it_reads(tmp_path, monkeypatch, pictures, here, root):
    data = tmp_path / "my data"
    write(data / "labels.json", draw(data / pictures, numbered(6)))
    (data / here).mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(data / here)
    output = init(os.path.relpath(data))
    words = shlex.split(output.splitlines()[-1].removeprefix("next"))
    assert words[6:] == ([] if root is None else ["--root", root])
    config = written(data)
    read = read_by_a_run(config, Path(words[5]))
    RunFolder(Path(root or f"runs/{config.name}")).check(read)  # which `run` calls


def test_splits_of_two_files_are_used_as_they_are(tmp_path):
    for split in ("train", "valid"):
        write(tmp_path / split / "_annotations.coco.json", draw(tmp_path / split, numbered(6)))
    init(tmp_path)
    data = written(tmp_path).data
    assert data.split is None and data.annotations is None
    assert (data.train_annotations, data.train_pictures) == (
        "train/_annotations.coco.json",
        "train",
    )
    assert (data.eval_annotations, data.eval_pictures) == ("valid/_annotations.coco.json", "valid")


def test_segmentations_that_hold_nothing_are_no_masks(tmp_path):
    coco = draw(tmp_path, numbered(20))
    for n, entry in enumerate(coco["annotations"]):
        entry["segmentation"] = ([[]], [[], []], {})[n % 3]
    write(tmp_path / "c.json", coco)
    assert "40 objects, no masks" in init(tmp_path)
    assert written(tmp_path).model.mask_head is None


def test_masks_get_a_head_and_rectangles_do_not(tmp_path):
    write(tmp_path / "a" / "c.json", draw(tmp_path / "a", numbered(20), masks=True))
    init(tmp_path / "a")
    config = written(tmp_path / "a")
    assert config.model.mask_head is not None
    assert [t.metric for t in config.evaluate.thresholds] == ["box/AP50", "mask/AP50"]
    coco = draw(tmp_path / "b", numbered(20))
    for entry in coco["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    write(tmp_path / "b" / "c.json", coco)
    assert "no mask head" in init(tmp_path / "b")
    assert written(tmp_path / "b").model.mask_head is None


def test_frames_of_one_video_stay_together(tmp_path):
    names = [f"cam{video}_{frame:04d}.jpg" for video in range(8) for frame in range(5)]
    write(tmp_path / "c.json", draw(tmp_path / "images", names))
    assert "frames of one video" in init(tmp_path)
    split = written(tmp_path).data.split
    assert split is not None and split.group == r"^(.*[^0-9/])[0-9]+\.[A-Za-z]+$"


def test_few_groups_are_split_near_the_share(tmp_path):
    names = [f"day {day}/{frame:04d}.jpg" for day in range(5) for frame in range(12)]
    write(tmp_path / "c.json", draw(tmp_path / "images", names, classes=40, objects=3))
    init(tmp_path)
    config = written(tmp_path)
    assert config.data.split is not None and config.data.split.group is not None
    division = read_division(tmp_path / "c.json", config.data.split)
    assert dict(division.pictures) == {"train": 48, "eval": 12}


def test_pictures_in_folders_without_them_in_their_names_are_found(tmp_path):
    coco = draw(tmp_path / "all", numbered(12))
    for place, image in enumerate(coco["images"]):
        folder = tmp_path / "pictures" / f"day {place % 3}"
        folder.mkdir(parents=True, exist_ok=True)
        (tmp_path / "all" / image["file_name"]).rename(folder / image["file_name"])
        if place < 2:
            del image["width"]
    write(tmp_path / "labels.json", coco)
    output = init(tmp_path)
    assert "12 file names that got their folder, 2 sizes that were missing" in output
    data = written(tmp_path).data
    copy = json.loads((tmp_path / str(data.annotations)).read_text())
    assert copy["images"][0]["file_name"] == "pictures/day 0/img0000.jpg"
    assert copy["images"][0]["width"] == 64
    assert copy["annotations"] == coco["annotations"]
    init(tmp_path)  # once more, over what is ours


def test_a_prefix_that_no_folder_has_is_taken_off(tmp_path):
    coco = draw(tmp_path / "images", numbered(12))
    for image in coco["images"]:
        image["file_name"] = f"upload/3/{image['file_name']}"
    write(tmp_path / "c.json", coco)
    init(tmp_path)
    data = written(tmp_path).data
    assert (data.picture_prefix, data.pictures) == ("upload/3/", "images")


def test_broken_pictures_and_objects_raise_the_limits_by_what_was_found(tmp_path):
    coco = draw(tmp_path, numbered(40), objects=4)
    (tmp_path / "img0001.jpg").write_bytes(b"no picture")
    (tmp_path / "img0002.jpg").unlink()
    whole = (tmp_path / "img0003.jpg").read_bytes()
    (tmp_path / "img0003.jpg").write_bytes(whole[: len(whole) // 2])
    for entry in coco["annotations"][20:40]:
        entry["bbox"][2] = 0
    write(tmp_path / "c.json", coco)
    output = init(tmp_path)
    assert "picture_format_unsupported 1" in output and "box_without_area 20" in output
    data = written(tmp_path).data
    assert 3 / 40 < data.max_rejected_fraction < 0.6
    assert 20 / 160 < data.max_lost_objects_fraction < 0.25


def test_pictures_without_objects_and_files_without_entries_are_no_flaw(tmp_path):
    coco = draw(tmp_path, numbered(20))
    coco["annotations"] = [a for a in coco["annotations"] if a["image_id"] > 8]
    coco["images"] = coco["images"][:18]
    write(tmp_path / "c.json", coco)
    assert "8 without objects" in init(tmp_path)
    assert written(tmp_path).data.max_rejected_fraction == 0.01


def test_another_form_of_boxes_is_seen(tmp_path):
    coco = draw(tmp_path, numbered(20))
    for entry in coco["annotations"]:
        x, y, w, h = entry["bbox"]
        entry["bbox"] = [x, y, x + w, y + h]
        entry["segmentation"] = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    write(tmp_path / "c.json", coco)
    init(tmp_path)
    config = written(tmp_path)
    assert config.data.box_format == "xyxy"


def test_odd_values_and_links_that_lead_back_do_no_harm(tmp_path):
    coco = draw(tmp_path / "pictures", numbered(40), objects=3)
    odd = [5, {"counts": 3}, "x", [[1, "a"]], [5], None]
    for entry, value in zip(coco["annotations"], odd, strict=False):
        entry["segmentation"] = value
    coco["annotations"] += [7, {"image_id": "x"}, {"bbox": [1e400, 0, 1, 1], "image_id": 1}]
    coco["images"] += ["x", {"id": 99}]
    coco["categories"].append("y")
    write(tmp_path / "c.json", coco)
    os.symlink(tmp_path, tmp_path / "pictures" / "loop")
    assert "category 1 has no integer" in init(tmp_path, status=1)
    coco["categories"].pop()
    write(tmp_path / "c.json", coco)
    assert "bad_segmentation 5" in init(tmp_path)
    assert written(tmp_path).model.mask_head is None


def test_large_pictures_are_made_smaller_and_small_ones_larger(tmp_path):
    write(tmp_path / "a" / "c.json", draw(tmp_path / "a", numbered(5), size=(1800, 1200)))
    init(tmp_path / "a")
    large = written(tmp_path / "a").input
    assert large.short_side_px * large.long_side_px < 220_000
    assert large.long_side_px / large.short_side_px == pytest.approx(1.5, abs=0.15)
    write(tmp_path / "b" / "c.json", draw(tmp_path / "b", numbered(8), size=(64, 48)))
    init(tmp_path / "b")
    assert written(tmp_path / "b").input.short_side_px == 96


def test_many_classes_and_crowded_pictures_get_room(tmp_path):
    coco = draw(tmp_path, numbered(6), classes=200, objects=150, size=(320, 240))
    write(tmp_path / "c.json", coco)
    assert "200 classes" in init(tmp_path)
    config = written(tmp_path)
    assert config.input.max_objects == 256 and config.model.roi.samples_per_picture == 128
    for entry in coco["annotations"]:
        entry["category_id"] = 1
    write(tmp_path / "c.json", coco)
    init(tmp_path)
    config = written(tmp_path)
    assert config.model.detections.max_detections == config.evaluate.max_detections == 200


@pytest.mark.parametrize("cached", [None, "maskrcnn_resnet50_fpn_coco-bf2d0c1e.pth", "R-50.pkl"])
def test_gpus_get_the_published_network_and_the_weights_that_are_there(
    tmp_path, monkeypatch, cached
):
    monkeypatch.setattr("pipeline.init.machine.this_machine", lambda warn: Machine(4, 32, 200.0))
    if cached:
        path = tmp_path / "cache" / "weights" / cached
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    root = tmp_path / "data"
    write(root / "c.json", draw(root, numbered(40), size=(640, 480), masks=True))
    output = init(root)
    config = written(root)
    assert config.train.batch.startswith("4x") and config.model.fpn.channels == 256
    assert config.model.backbone.name == "resnet50" and "min of training" not in output
    if cached is None:
        assert config.model.weights is None and config.model.backbone.norm == "group_norm"
        assert "--weights coco/torchvision-mask-rcnn-r50-fpn" in output
    elif cached.startswith("maskrcnn"):
        assert config.model.weights == "coco/torchvision-mask-rcnn-r50-fpn"
        assert config.model.preset == "torchvision"
        assert config.model.anchors.sizes_px == (32, 64, 128, 256, 512)  # those of the weights
    else:
        assert config.model.weights == "imagenet/detectron2-msra-r50"
        assert config.model.preset == "detectron2" and config.model.roi.sampling_ratio == 2
        assert config.model.anchors.sizes_px != (32, 64, 128, 256, 512)


def test_weights_that_are_given_are_recognised(tmp_path):
    root = tmp_path / "data"
    write(root / "c.json", draw(root, numbered(10)))
    stem = np.zeros((64, 3, 7, 7), np.float32)
    blocks = {f"layer3.{n}.conv{c}.weight": stem[:1] for n in range(23) for c in (1, 2, 3)}
    np.savez(tmp_path / "mine.npz", **{"conv1.weight": stem, **blocks})
    init(root, "--weights", tmp_path / "mine.npz")
    model = written(root).model
    assert (model.backbone.name, model.preset) == ("resnet101", "torchvision")
    assert model.weights == str(tmp_path / "mine.npz")
    np.savez(tmp_path / "odd.npz", a=stem)
    version_2 = {f"rpn.head.conv.{n}.0.weight": stem for n in (0, 1)}
    version_2 |= {"rpn.head.cls_logits.weight": stem, "roi_heads.box_head.0.0.weight": stem}
    version_2 |= {"roi_heads.box_head.0.1.running_mean": stem, "roi_heads.box_head.2.weight": stem}
    version_2 |= {"roi_heads.mask_head.0.1.running_mean": stem}  # there are no masks here
    body = {f"backbone.body.{name}": array for name, array in blocks.items()}
    np.savez(tmp_path / "v2.npz", **{"backbone.body.conv1.weight": stem, **body, **version_2})
    init(root, "--weights", tmp_path / "v2.npz")
    model = written(root).model
    assert (model.backbone.name, model.rpn.convolutions, model.mask_head) == ("resnet101", 2, None)
    head = model.box_head
    assert (head.convolutions, head.norm, head.fully_connected) == (1, "batch_norm", 1)
    said = init(root, "--weights", tmp_path / "odd.npz", status=1)
    assert "cannot tell which network" in said
    assert "there is no file" in init(root, "--weights", tmp_path / "absent.npz", status=1)
    assert "none named" in init(root, "--weights", "coco/nothing", status=1)


def test_yolo_is_converted_and_what_was_lost_is_said(tmp_path):
    coco = draw(tmp_path / "images", numbered(12))
    for image in coco["images"]:
        rows = [a["bbox"] for a in coco["annotations"] if a["image_id"] == image["id"]]
        lines = [
            f"0 {(x + w / 2) / 64} {(y + h / 2) / 48} {w / 64} {h / 48}" for x, y, w, h in rows
        ]
        path = tmp_path / "labels" / image["file_name"].replace(".jpg", ".txt")
        path.parent.mkdir(exist_ok=True)
        path.write_text("\n".join([*lines, "0 0.5"]))
    output = init(tmp_path, "--out", tmp_path / "deeper" / "mine.yaml")
    assert "YOLO, converted into mine.coco.json" in output
    assert "lost: 12 lines that are no object" in output
    config = written(tmp_path, "deeper/mine.yaml")
    assert config.data.annotations == "deeper/mine.coco.json"


def test_several_files_ask_for_annotations(tmp_path):
    coco = draw(tmp_path / "images", numbered(6))
    for name in ("a.json", "b.json"):
        write(tmp_path / name, coco)
    assert "several COCO files could be meant (a.json, b.json)" in init(tmp_path, status=1)
    init(tmp_path, "--annotations", "b.json")
    assert written(tmp_path).data.annotations == "b.json"
    init(tmp_path, "--annotations", "b.json", "--annotations", tmp_path / "a.json")
    assert written(tmp_path).data.eval_annotations == "a.json"


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda root: (root / "c.json").unlink(), "no annotations that are known"),
        (lambda root: (root / "c.json").unlink(), "name it by --annotations FILE"),
        (lambda root: (root / "c.json").write_text('{"images": [{"id": 1'), "cut off or not JSON"),
        (lambda root: [p.unlink() for p in root.glob("*.jpg")], "none of its pictures"),
        (lambda root: [p.write_bytes(b"x") for p in root.glob("*.jpg")], "cannot be used"),
        (lambda root: write(root / "c.json", draw(root, ["a.jpg"], objects=0)), "nothing to learn"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_ends_in_one_line(tmp_path, harm, said):
    root = tmp_path / "data"
    write(root / "c.json", draw(root, numbered(6)))
    harm(root)
    output = init(root, status=1)
    assert said in output and "--debug" not in output
    assert not (root / "tfx-rcnn.yaml").exists()


def test_a_users_file_is_never_written_over(tmp_path):
    write(tmp_path / "c.json", draw(tmp_path, numbered(6)))
    target = tmp_path / "tfx-rcnn.yaml"
    target.write_text("name: mine\n")
    assert "not as we wrote it" in init(tmp_path, status=2)
    target.unlink()
    init(tmp_path)
    init(tmp_path)
    target.write_text(target.read_text().replace("epochs:", "epochs: 3 #"))
    assert "not as we wrote it" in init(tmp_path, status=2)
    assert "epochs: 3 #" in target.read_text()
    assert "no such folder" in init(tmp_path / "absent", status=1)
    assert "no such file" in init(tmp_path, "--annotations", "x.json", "--out", "y.yaml", status=1)


def test_the_config_is_short_and_has_its_reasons(tmp_path):
    write(tmp_path / "c.json", draw(tmp_path, numbered(30), masks=True))
    init(tmp_path)
    lines = (tmp_path / "tfx-rcnn.yaml").read_text().splitlines()
    assert len(lines) < 90 and max(map(len, lines[3:])) <= 100
    assert sum(line.lstrip().startswith("#") for line in lines) >= 10


def test_it_starts_without_tensorflow(tmp_path):
    write(tmp_path / "c.json", draw(tmp_path, numbered(6)))
    code = (
        "import sys\nfrom pipeline.__main__ import main\n"
        f"main(['init', {str(tmp_path)!r}, '--quiet'], standalone_mode=False)\n"
        "print(*[n for n in ('tensorflow', 'keras', 'apache_beam', 'tfx') if n in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
