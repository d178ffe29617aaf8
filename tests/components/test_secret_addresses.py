"""Passwords in addresses: nothing that the components print, log or write has one."""

import logging
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from components.coco_example_gen.__main__ import main as example_gen
from components.coco_transform.__main__ import main as transform
from model import records
from model.examples import iterate_records
from model.object_store import open_store, upload
from model.tf_example import decode_example
from tests.components.coco_example_gen.conversions import broken

SECRET = "hunter2"
CONFIG = (
    "name: c\ninput: {short_side_px: 64, long_side_px: 96}\n"
    "data: {train_shards: 2, max_rejected_fraction: 1, allow_same_splits: true}\n"
    "pipeline: {beam_args: [--direct_running_mode=in_memory]}\n"
)


@pytest.fixture
def store(tmp_path, monkeypatch):
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "c.yaml").write_text(CONFIG)
    return f"memory://me:{SECRET}@host/{tmp_path.name}"


@pytest.fixture
def data(store, tmp_path):
    """Address of a data set of which pictures and objects are left out."""
    upload(open_store(store), broken(tmp_path / "set"), "set")
    upload(open_store(store), tmp_path / "set", "other")
    return f"{store}/set"


@pytest.fixture
def said(caplog):
    """What was printed; at the end neither that nor the log may have the secret."""
    lines = []
    with caplog.at_level(logging.INFO):  # below, fsspec itself tells what it opens
        yield lines
    assert lines
    logged = [record.getMessage() for record in caplog.get_records("call")]
    assert [line for line in [*lines, *logged] if SECRET in line] == []


def run(said, tmp_path, command, *arguments, status=0):
    given = ["--config", str(tmp_path / "c.yaml"), *map(str, arguments)]
    result = CliRunner().invoke(command, given)
    assert result.exit_code == status, result.output
    said.append(result.output)
    return result.output


def written(folder: Path) -> dict[str, bytes]:
    found = {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert {"summary.json"} <= found.keys()
    return found


def test_no_file_and_no_line_has_the_password_of_sources(data, said, tmp_path):
    files = [
        f"{{annotations: {place}/instances.json, pictures: {place}/pictures, split: {split}}}"
        for place, split in ((data, "train"), (data.removesuffix("set") + "other", "eval"))
    ]
    sources = f"data.sources=[{', '.join(files)}]"
    out = tmp_path / "e"
    text = run(said, tmp_path, example_gen, "--data-dir", tmp_path, "--out", out, "--set", sources)
    hidden = data.replace(SECRET, "***")
    assert f"of {hidden}/instances.json" in text
    run(said, tmp_path, transform, "--examples", out / "examples", "--out", tmp_path / "t")
    for name, content in (written(out) | written(tmp_path / "t")).items():
        assert SECRET.encode() not in content, name
    names = [
        decode_example(each)[records.FILENAME][0].decode()
        for each in iterate_records(out / "examples", "train")
    ]
    assert all(name.startswith(f"{hidden}/pictures/") for name in names)
    assert names


def test_no_file_and_no_line_has_the_password_of_data_and_outputs(data, store, said, tmp_path):
    split = ["--split", "train=instances.json:pictures"]
    run(said, tmp_path, example_gen, "--data-dir", data, *split, "--out", f"{store}/e")
    run(said, tmp_path, transform, "--examples", f"{store}/e/examples", "--out", f"{store}/t")
    files = open_store(store).files("e") + open_store(store).files("t")
    assert len(files) > 10
    for file in files:
        assert SECRET.encode() not in open_store(store).read(file.name, file.size), file.name


@pytest.mark.parametrize(
    "changed",
    ["data.max_rejected_fraction=0", "data.max_dropped_fraction=nonsense", "data.sources=nonsense"],
)
def test_no_error_has_the_password(data, said, tmp_path, changed):
    given = ["--split", f"train={data}/instances.json:{data}/pictures", "--set", changed]
    status = 1 if changed.endswith("=0") else 2
    arguments = ("--data-dir", data, "--out", tmp_path / "e", *given)
    assert "error: " in run(said, tmp_path, example_gen, *arguments, status=status).lower()


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (["--split", "{data}:{data}"], 2),
        (["--split", "train={data}/none.json:{data}/pictures"], 1),
        (["--set", "data.train_annotations={data}/x", "--set", "data.train_annotations={data}"], 2),
        (["--set", "data.sources=[{data}/x]"], 2),
        (["--set", "data.sources=[{{annotations: {data}/x, pictures: {data}/p}}, {data}"], 2),
        (
            [
                "--set",
                "data.sources=[{{annotations: {data}/x, pictures: {data}/p, split: train}}, "
                "{{annotations: {data}/x, pictures: {data}/p, split: eval}}]",
            ],
            2,
        ),
    ],
)
def test_no_wrong_setting_shows_the_password(data, said, tmp_path, given, status):
    given = [text.format(data=data) for text in given]
    arguments = ("--data-dir", data, "--out", tmp_path / "e", *given)
    assert run(said, tmp_path, example_gen, *arguments, status=status).count("\n") == 1
