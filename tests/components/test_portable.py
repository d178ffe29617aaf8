"""The components through Beam's job service, with workers in other processes and folders."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from components.bulk_predict.__main__ import main as bulk_predict
from components.coco_example_gen.__main__ import main as example_gen
from components.coco_transform.__main__ import main as transform
from ground.files import file_digest
from tests.beam_services import beam_services
from tests.components.bulk_predict.test_bulk_predict import photos
from tests.components.coco_example_gen.conversions import coco_like
from tests.model.test_predict import model_folder

__all__ = ["model_folder", "photos"]

pytestmark = pytest.mark.e2e
DIRECT = ["--direct_running_mode=in_memory"]


@pytest.fixture(scope="module")
def portable(tmp_path_factory):
    with beam_services(tmp_path_factory.mktemp("services")) as arguments:
        yield arguments


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder that is neither the checkout nor that of the services; paths are relative to it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command, beam_args, *arguments, status=0):
    config = Path("c.yaml")
    # A list in YAML is one in JSON.
    listed = ", ".join(f"'{argument}'" for argument in beam_args)
    config.write_text(
        "name: c\ninput: {short_side_px: 64, long_side_px: 96}\n"
        "data: {train_shards: 3, policies: {picture_missing: drop}}\n"
        f"pipeline: {{beam_args: [{listed}]}}\n"
    )
    result = CliRunner().invoke(command, ["--config", "c.yaml", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result


def files_of(folder):
    return {
        str(path.relative_to(folder)): file_digest(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".tfx-rcnn.json"
    }


def test_data_components_write_the_same_bytes(place, portable):
    coco_like(place / "set")
    (place / "set/pictures/7.jpg").unlink()
    split = "train=instances.json:pictures"
    for name, beam_args in (("direct", DIRECT), ("portable", portable)):
        run(example_gen, beam_args, "--data-dir", "set", "--split", split, "--out", f"{name}/e")
        run(transform, beam_args, "--examples", f"{name}/e/examples", "--out", f"{name}/t")
    assert files_of(place / "portable") == files_of(place / "direct")
    assert len(files_of(place / "direct")) > 12


def test_bulk_predict_finds_the_same(place, portable, photos, model_folder):
    found = {}
    for name, beam_args in (("direct", DIRECT), ("portable", portable)):
        given = ["--model", model_folder, photos, "--out", name, "--shard-size", 3]
        run(bulk_predict, beam_args, *given, status=1)  # one of the photos is none
        found[name] = (place / name / "detections.json").read_bytes()
    assert found["portable"] == found["direct"]


def test_a_worker_that_fails_is_one_line(place, portable):
    coco_like(place / "set")
    given = ["--data-dir", "set", "--split", "train=instances.json:pictures", "--out", "out"]
    (place / "set/pictures").rename(place / "set/away")
    (place / "set/pictures").mkdir()
    line = run(example_gen, portable, *given, status=1).stderr.splitlines()[-1]
    assert line.startswith("error: split 'train': none of 30 pictures is left (picture_missing 30)")
    assert not (place / "out").exists()


def test_no_job_service_is_one_line(place):
    coco_like(place / "set")
    nowhere = ["--runner=PortableRunner", "--job_endpoint=localhost:1", "--job_server_timeout=1"]
    given = ["--data-dir", "set", "--split", "train=instances.json:pictures", "--out", "out"]
    line = run(example_gen, nowhere, *given, status=1).stderr.splitlines()[-1]
    assert line == (
        "error: PortableRunner: no job service answers: is it running at --job_endpoint?"
    )
