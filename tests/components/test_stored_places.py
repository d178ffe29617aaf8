"""Both components with data, outputs and all between them in object stores."""

import io
import json
import os
import tempfile
from pathlib import Path

import pytest
from botocore.exceptions import ResponseStreamingError
from click.testing import CliRunner

from components.coco_example_gen.__main__ import main as example_gen
from components.coco_transform.__main__ import main as transform
from ground.output_record import RECORD_FILE
from model import object_store
from model.object_store import download, open_store, upload
from tests.components.coco_example_gen.conversions import broken, coco_like
from tests.components.coco_example_gen.small_dataset import annotation, jpeg, write_dataset
from tests.moto_server import SECRET_KEY, moto_server
from tests.s3_server import S3Server

SPLIT = ["--split", "train=instances.json:pictures"]
CONFIG = (
    "name: c\ninput: {short_side_px: 64, long_side_px: 96}\n"
    "data: {train_shards: 3, max_rejected_fraction: 1}\n"
    "pipeline: {beam_args: [--direct_running_mode=in_memory]}\n"
)


@pytest.fixture(scope="module")
def server():
    with moto_server() as server:
        yield server


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch, server):
    """The working folder, where nothing is to be left; what is staged goes below it, too."""
    server.set_up(monkeypatch)
    (tmp_path / "tmp").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.chdir(tmp_path / "here")
    Path("../c.yaml").write_text(CONFIG)
    yield tmp_path
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []
    assert os.listdir(tmp_path / "here") == []


@pytest.fixture(params=["s3", "memory", "file"])
def any_store(request, place):
    if request.param == "file":
        return f"file://{place}/store"
    return f"{request.param}://bucket/{place.name}"


@pytest.fixture
def store(place):
    return f"s3://bucket/{place.name}"


def run(command, *arguments, status=0):
    result = CliRunner().invoke(command, ["--config", "../c.yaml", *map(str, arguments)])
    assert result.exit_code == status, result.output
    assert SECRET_KEY not in result.output
    return result


def contents(place, to):
    """Returns the bytes of all files below a place but the record of what is ours."""
    download(open_store(str(place)), "", to)
    return {
        path.relative_to(to).as_posix(): path.read_bytes()
        for path in sorted(to.rglob("*"))
        if path.is_file() and path.name != RECORD_FILE
    }


def test_all_is_as_on_a_disk(place, any_store):
    store, folder = any_store, broken(place / "set")
    upload(open_store(store), folder, "data/set")
    run(example_gen, "--data-dir", folder, *SPLIT, "--out", "../disk/e")
    run(transform, "--examples", "../disk/e/examples", "--out", "../disk/t")
    shown = run(example_gen, "--data-dir", f"{store}/data/set/", *SPLIT, "--out", f"{store}/e/")
    assert shown.output.splitlines()[-1].endswith(f"; {store}/e/examples, {store}/e/rejects")
    run(transform, "--examples", f"{store}/e/examples", "--out", f"{store}/t")
    for output in "et":
        found = contents(f"{store}/{output}", place / "back" / output)
        expected = contents(f"../disk/{output}", place / "copy" / output)
        assert found.keys() == expected.keys()
        for name in found:
            there, here = (
                text.replace(str(folder).encode(), b"D").replace(f"{store}/data/set".encode(), b"D")
                for text in (found[name], expected[name])
            )
            assert there == here, name
    names = {file.name.partition("/")[0] for file in open_store(store).files()}
    assert names == {"data", "e", "t"}


def test_sources_are_merged_from_a_store(place, store):
    for name in ("a", "b"):
        upload(open_store(store), coco_like(place / name), f"data/{name}")
    sources = (
        "data.sources=[{annotations: a/instances.json, pictures: a/pictures, split: train},"
        "{annotations: b/instances.json, pictures: b/pictures, split: eval}]"
    )
    given = ["--set", sources, "--set", "data.allow_same_splits=true"]
    for where, out in ((place, place / "disk"), (f"{store}/data", f"{store}/e")):
        run(example_gen, "--data-dir", where, *given, "--out", out)
    found = contents(f"{store}/e", place / "back")
    for name, content in contents(place / "disk", place / "copy").items():
        assert found[name].replace(f"{store}/data".encode(), str(place).encode()) == content, name


def test_what_is_missing_is_said_with_its_address(place, store):
    given = ["--data-dir", f"{store}/data", *SPLIT, "--out", f"{store}/e"]
    line = run(example_gen, *given, status=1).stderr
    assert line.startswith(f"error: {store}/data/instances.json: no such annotation file for split")
    folder = coco_like(place / "set")
    (folder / "instances.json").write_text('{"images": [')
    upload(open_store(store), folder, "data")
    line = run(example_gen, *given, status=1).stderr
    assert line.startswith(f"error: {store}/data/instances.json: cut off or not JSON")
    line = run(transform, "--examples", f"{store}/none", "--out", f"{store}/t", status=1).stderr
    assert line == (f"error: {store}/none: not an examples folder (no manifest.json in it)\n")
    assert not open_store(store).files("e")


def test_a_file_of_yours_and_an_input_are_not_written_over(place, store):
    upload(open_store(store), coco_like(place / "set"), "data")
    given = ["--data-dir", f"{store}/data", *SPLIT, "--out"]
    for out, said in (
        ("data", "holds instances.json and 30 more, which is not of ours"),
        ("data/pictures/e", "is or lies in"),
    ):
        assert said in run(example_gen, *given, f"{store}/{out}", status=2).stderr
    (place / "x").write_text("mine")
    open_store(store).put(place / "x", "e/note.txt")
    line = run(example_gen, *given, f"{store}/e", status=2).stderr
    assert f"--out {store}/e: holds note.txt, which is not of ours" in line


def test_errors_that_pass_are_waited_for_and_others_end_the_run(place, monkeypatch):
    store = "s3://bucket/data"
    upload(open_store(store), coco_like(place / "set"), "set")
    waits = []
    monkeypatch.setattr("ground.retries.sleep", waits.append)
    errors = 3

    class Body:
        """The body of an answer whose line is cut a few times."""

        def __init__(self, content):
            self.content = io.BytesIO(content)

        def read(self, most):
            nonlocal errors
            if errors:
                errors -= 1
                raise ResponseStreamingError(error="the line is cut")
            return self.content.read(most)

    make = object_store._s3_client

    def client(*arguments):
        made = make(*arguments)
        get = made.get_object

        def get_object(**asked):
            answer = get(**asked)
            is_picture = "/pictures/" in asked["Key"]
            return {"Body": Body(answer["Body"].read())} if is_picture else answer

        made.get_object = get_object
        return made

    monkeypatch.setattr(object_store, "_s3_client", client)
    given = ["--data-dir", f"{store}/set", *SPLIT, "--out"]
    run(example_gen, *given, "s3://bucket/e")
    assert len(waits) == 3 and waits[0] == 0.5
    errors = 10**9
    line = run(example_gen, *given, "s3://bucket/f", status=1).stderr.splitlines()[-1]
    assert line.startswith("error: s3://bucket/data/set/pictures/") and "the line is cut" in line
    assert not open_store("s3://bucket").files("f")


def test_a_refused_key_ends_the_run_and_is_never_shown(place, monkeypatch, caplog):
    given = ["--data-dir", "s3://bucket/set", *SPLIT, "--out", "s3://bucket/e"]
    with S3Server().running() as store:  # moto takes any key
        for name, value in store.environment.items():
            monkeypatch.setenv(name, value)
        upload(open_store("s3://bucket"), coco_like(place / "set"), "set")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAOTHER")
        with caplog.at_level("DEBUG"):
            line = run(example_gen, *given, status=1).stderr
    assert "the store refused (AccessDenied Access Denied)" in line
    assert SECRET_KEY not in line + caplog.text


def test_pictures_are_found_as_on_a_disk(place):
    images = [
        {"id": n, "file_name": name, "height": 20, "width": 30}
        for n, name in enumerate(
            ["a.jpg", "sub\\b.jpg", "c.png", "../out.jpg", "no.jpg", "x\0.jpg", "d%20e.jpg", "."], 1
        )
    ]
    pictures = {name: jpeg() for name in ("a.jpg", "c.jpg", "d e.jpg")}
    folder = write_dataset(
        place / "set", images, [annotation(1, 1), annotation(2, 2)], pictures=pictures
    )
    (folder / "pictures/sub").mkdir()
    (folder / "pictures/sub/b.jpg").write_bytes(jpeg())
    upload(open_store("s3://bucket"), folder, "set")
    policies = "data.policies={picture_ending_differs: mend}"
    reasons = {}
    for name, where in (("disk", place / "set"), ("store", "s3://bucket/set")):
        out = place / name
        run(example_gen, "--data-dir", where, *SPLIT, "--out", out, "--set", policies)
        reasons[name] = json.loads((out / "summary.json").read_text())["splits"]["train"]["reasons"]
    assert reasons["store"] == reasons["disk"]
    assert reasons["disk"]["picture_name_in_other_form"] == 2
    assert reasons["disk"]["picture_ending_differs"] == 1
    assert reasons["disk"]["path_outside_folder"] == 2
