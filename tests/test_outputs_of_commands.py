"""No command writes over its inputs, or over what is not ours; each says so in a line at once."""

import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.coco_evaluator.__main__ import main as evaluate
from components.coco_example_gen.__main__ import main as example_gen
from components.coco_transform.__main__ import main as transform
from components.model_pusher.__main__ import main as push
from components.model_pusher.registry import push as push_model
from ground.output_record import RECORD_FILE
from ground.outputs import MARK, growing_folder, output_folder
from model.commands.curves import main as curves
from model.commands.import_weights import main as import_weights
from model.commands.predict import main as predict
from model.commands.train import main as train
from model.commands.tune import main as tune
from model.examples import write_manifest
from model.model_folder import CATEGORIES_FILE, CONFIG_FILE, MODEL_ID_FILE, files_digest
from pipeline.__main__ import main as pipeline
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

MODEL_ID = "0" * 64


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A user's folder: a data set, photos, a config, a model, and examples of ours."""
    images = [image(n, height=120, width=160) for n in range(4)]
    write_dataset(tmp_path / "D", images, [annotation(n, n) for n in range(4)])
    for name in ("examples", "rejects", "serving", "artifacts"):
        (tmp_path / "D" / name).mkdir()
        (tmp_path / "D" / name / "mine.txt").write_text("mine")
    shutil.copytree(tmp_path / "D" / "pictures", tmp_path / "photos")
    for name in ("detections.json", "summary.json", "metrics.json", "shapes.json", "mine.txt"):
        (tmp_path / "photos" / name).write_text("mine")
    (tmp_path / "c.yaml").write_text("name: x\n")
    write_model(tmp_path / "M" / "model")
    (tmp_path / "M" / "run" / "tensorboard").mkdir(parents=True)
    with output_folder(tmp_path / "O", "components.coco_example_gen", ["examples"], []) as new:
        (new / "examples").mkdir()
        write_manifest(new / "examples", {}, [{"id": 1, "name": "a", "label": 1}])
    (tmp_path / "w.safetensors").write_bytes(MARK.encode())
    (tmp_path / "decision.json").write_text(json.dumps({"model_id": MODEL_ID, "blessed": True}))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write_model(folder):
    for name in ("saved_model.pb", CONFIG_FILE, CATEGORIES_FILE, MODEL_ID_FILE):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        content = {"model_id": MODEL_ID, "input": {}, "model": {}}
        (folder / name).write_text(json.dumps(content))


def state(folder):
    """Every file's content and number, and every folder."""
    return {
        str(path.relative_to(folder)): (path.stat().st_ino, path.is_file() and path.read_bytes())
        for path in sorted(folder.rglob("*"))
    }


GEN = [example_gen, "--data-dir", "D", "--split", "train=instances.json:pictures", "--out"]
TRANSFORM = [transform, "--examples", "O/examples", "--config", "c.yaml", "--out"]
PREDICT = [predict, "--model", "M/model", "photos", "--out"]
EVALUATE = [evaluate, "--model", "M", "--annotations", "D/instances.json", "--pictures", "photos"]
EVALUATE += ["--out"]
TRAIN = [train, "--examples", "O/examples", "--config", "c.yaml", "--out"]
KEEP = [*EVALUATE, "E", "--detections-dir"]
DATA = [
    f"--set=data.{split}_{what}={name}"
    for split in ("train", "eval")
    for what, name in (("annotations", "instances.json"), ("pictures", "pictures"))
]
RUN = [pipeline, "run", "--config", "c.yaml", "--data-dir", "D", *DATA, "--root"]
PUSH_THERE = [pipeline, "run", "--config", "c.yaml", "--data-dir", "D", *DATA, "--root", "R"]
DEMO = [pipeline, "demo", "--root", "R", "--data-dir"]
PUSH = [push, "--model", "M/model", "--decision", "decision.json", "--name", "x", "--folder"]
LOOK = [pipeline, "look", "D", "--out"]
SHAPES = [pipeline, "shapes", "--train", "1", "--val", "1", "--out"]
TUNE = [tune, "--config", "c.yaml", "--examples", "O/examples", "--out"]
CURVES = [curves, "M/run", "--out"]
IMPORT = [import_weights, "--from", "ours", "w.safetensors", "--config", "c.yaml"]
IMPORT += ["--num-classes", "1", "--out"]
COMPILE = [pipeline, "compile", "--config", "c.yaml", "--image", "i:1"]
COMPILE += ["--pipeline-root", "s3://runs", "-o"]

CASES = [
    # Over what is read.
    ([*PREDICT, "photos"], "which is read"),
    ([*PREDICT, "photos/drawn"], "which is read"),
    ([*PREDICT, "M/model"], "which is read"),
    ([*PREDICT, "link"], "which is read"),
    ([*GEN, "D/pictures"], "which is read"),
    ([*GEN, "D/pictures/new"], "which is read"),
    ([*TRANSFORM, "O"], "is read"),
    ([*TRANSFORM, "./D/../O/"], "is read"),
    ([*TRANSFORM, "O/examples"], "which is read"),
    ([*TRANSFORM, "O/examples/Split-train"], "which is read"),
    ([*EVALUATE, "M/model"], "which is read"),
    ([*EVALUATE, "photos"], "which is read"),
    ([*EVALUATE, "photos/E"], "which is read"),
    ([*KEEP, "photos"], "which is read"),
    ([*KEEP, "M/model/kept"], "which is read"),
    ([*TRAIN, "O/examples"], "which is read"),
    ([*TRAIN, "O/examples/M"], "which is read"),
    ([*RUN, "D/pictures"], "which is read"),
    ([*RUN, "D/pictures/run"], "which is read"),
    ([*PUSH_THERE, "--set=push.folder=D/pictures"], "which is read"),
    ([*LOOK, "D/pictures"], "which is read"),
    ([*LOOK, "D/page"], "which is read"),
    ([*PUSH, "M/model"], "which is read"),
    ([*CURVES, "M/run/c.png"], "which is read"),
    ([*IMPORT, "w.safetensors"], "is read"),
    ([*IMPORT, "./D/../w.safetensors"], "is read"),
    # Over what is not ours.
    ([*PREDICT, "D"], "not of ours"),
    ([*PREDICT, "."], "not of ours"),
    ([*GEN, "D"], "not of ours"),
    ([*GEN, "photos"], "not of ours"),
    ([*TRANSFORM, "D"], "not of ours"),
    ([*EVALUATE, "D"], "not of ours"),
    ([*KEEP, "D"], "not of ours"),
    ([*TRAIN, "photos"], "not of ours"),
    ([*TRAIN, "T", "--checkpoints", "D"], "not of ours"),
    ([*RUN, "D"], "not of ours"),
    ([*RUN, "photos"], "not of ours"),
    ([*RUN, "."], "not of ours"),
    ([*DEMO, "D"], "not of ours"),
    ([*SHAPES, "D"], "not of ours"),
    ([*SHAPES, "photos"], "not of ours"),
    ([*PUSH, "served"], "not of ours"),
    ([*LOOK, "photos"], "not of ours"),
    ([*PUSH_THERE, "--set=push.folder=served"], "not of ours"),
    ([*TUNE, "mine.yaml"], "not as we wrote it"),
    ([*CURVES, "mine.png"], "not as we wrote it"),
    ([*IMPORT, "mine.npz"], "not as we wrote it"),
    ([*COMPILE, "mine.yaml"], "not as we wrote it"),
    ([*COMPILE, "c.yaml"], "is read"),
    ([*TUNE, "c.yaml"], "is read"),
]


@pytest.mark.parametrize(("command", "message"), CASES)
def test_nothing_of_the_users_is_touched(folder, command, message):
    (folder / "link").symlink_to(folder / "photos")
    (folder / "served" / "x").mkdir(parents=True)
    for path in ("served/x/mine.txt", "mine.yaml", "mine.png", "mine.npz"):
        (folder / path).write_text("mine")
    before = state(folder)
    main, *arguments = command
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    assert state(folder) == before


def test_users_summary_beside_pushed_versions_is_left_alone(folder):
    (folder / "served" / "x" / "3").mkdir(parents=True)
    (folder / "served" / "x" / "summary.json").write_text("mine")
    before = state(folder)
    result = CliRunner().invoke(push, [*PUSH[1:], "served"])
    assert (result.exit_code, state(folder)) == (2, before)
    assert "summary.json: is not of ours" in result.output


def test_model_is_pushed_beside_versions_of_others(folder):
    (folder / "served" / "x" / "3").mkdir(parents=True)
    push_model("M/model", "served", "x", files_digest(folder / "M" / "model"))
    assert (folder / "served" / "x" / "4" / "saved_model.pb").is_file()


@pytest.mark.parametrize("name", ["notes.txt", "assets/notes.txt", "variables/mine"])
def test_model_folder_with_a_file_of_the_users_is_not_replaced(folder, name):
    for out in ("M", "M2"):
        growing_folder(out, "model.train", ["model", "run", "summary.json"], [], is_earlier=bool)
    write_model(folder / "M2" / "model")
    path = folder / "M2" / "model" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("mine")
    from ground.errors import OutputError
    from model.model_folder import check_model_place

    check_model_place("M/model", [])
    with pytest.raises(OutputError, match="not of ours"):
        check_model_place("M2/model", [])


# What an earlier version wrote ----------------------------------------------------------------


def write_earlier_root(root):
    (root / "logs").mkdir(parents=True)
    (root / "logs" / "pipeline.log").touch()
    with sqlite3.connect(root / "metadata.sqlite") as database:
        database.execute("CREATE TABLE Type (name TEXT)")
        database.execute("INSERT INTO Type VALUES ('components.x.CocoExampleGen')")
    database.close()


def test_root_of_an_earlier_version_is_known(tmp_path):
    from pipeline.local.run_folder import RunFolder

    write_earlier_root(tmp_path / "R")
    with RunFolder(tmp_path / "R").locked():
        assert (tmp_path / "R" / RECORD_FILE).is_file()


def test_another_programs_metadata_is_not_taken_for_ours(tmp_path):
    from ground.errors import OutputError
    from pipeline.local.run_folder import RunFolder

    write_earlier_root(tmp_path / "R")
    (tmp_path / "R" / "metadata.sqlite").unlink()
    with sqlite3.connect(tmp_path / "R" / "metadata.sqlite") as database:
        database.execute("CREATE TABLE Type (name TEXT)")
    database.close()
    for _ in range(2):
        with pytest.raises(OutputError, match="not of ours"):
            RunFolder(tmp_path / "R").check([])
        (tmp_path / "R" / "metadata.sqlite").write_text("no database")


def test_places_of_an_earlier_training_are_known(tmp_path):
    from model.launch.places import claim_output, claim_places, places_of

    run = tmp_path / "M" / "run"
    run.mkdir(parents=True)
    (run / "throughput.json").write_text('{"images_per_second": 1.0}')
    (tmp_path / "C" / ("0" * 16)).mkdir(parents=True)
    (tmp_path / "C" / ("0" * 16) / "job.json").write_text('{"examples_dir": "T"}')
    claim_output(tmp_path / "M", None, [])
    places = places_of(tmp_path / "C", run, "0" * 64)
    claim_places(places, str(tmp_path / "M" / "model"), [])
    assert (run / RECORD_FILE).is_file()
    assert (tmp_path / "C" / RECORD_FILE).is_file()


# Paths that are patterns -----------------------------------------------------------------------


@pytest.mark.parametrize("command", [RUN, TRAIN, PUSH, [*PUSH_THERE, "--set"], PREDICT])
@pytest.mark.parametrize("path", ["runs/try [2]", "runs/c*d", "what?", "a\\b", "a\nb"])
def test_path_that_a_library_takes_for_a_pattern_is_refused_at_once(folder, command, path):
    arguments = [*command[1:], path]
    if "--set" in command:
        arguments[-1] = f"push.folder={json.dumps(path)}"
    elif command is PREDICT:
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / "M" / "model").rename(folder / path)
        arguments = ["--model", path, "photos", "--out", "P"]
    before = state(folder)
    result = CliRunner().invoke(command[0], arguments)
    assert result.exit_code == 2
    assert "for a pattern" in result.output
    assert result.output.count("\n") == 1
    assert state(folder) == before


@pytest.mark.parametrize("name", ["try [2] c*d? {a,b} ü\n \\", "-x"])
def test_stand_alone_commands_take_any_name(folder, name):
    neighbour = folder / "c" / "keep"
    neighbour.mkdir(parents=True)
    (folder / "D").rename(folder / name)
    out = f"./{name}-out"
    arguments = ["--data-dir", f"./{name}", *GEN[3:-1], "--out", out]
    for _ in range(2):
        result = CliRunner().invoke(example_gen, arguments)
        assert result.exit_code == 0, result.output
    assert sorted(os.listdir(out)) == [RECORD_FILE, "examples", "rejects", "summary.json"]
    for _ in range(2):
        arguments = ["--examples", f"{out}/examples", "--config", "c.yaml", "--out", f"{out}/T"]
        result = CliRunner().invoke(transform, arguments)
        assert result.exit_code == 0, result.output
    assert "report.html" in os.listdir(Path(out) / "T")
