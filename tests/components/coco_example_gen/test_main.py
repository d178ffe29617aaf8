"""`python -m components.coco_example_gen`: its screen, summary and exit statuses, and faults."""

import json
import resource
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from components.coco_example_gen.__main__ import main
from ground.files import file_digest
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

SPLIT = "train=instances.json:pictures"


def arguments(folder, out, *more):
    return ["--data-dir", str(folder), "--split", SPLIT, "--out", str(out), *more]


def invoke(*args):
    return CliRunner().invoke(main, [str(arg) for arg in args])


@pytest.fixture
def folder(tmp_path):
    images = [image(n, height=120, width=160) for n in range(12)]
    return write_dataset(tmp_path / "set", images, [annotation(n, n) for n in range(12)])


def test_command_writes_examples_rejects_and_summary(folder, tmp_path):
    (folder / "pictures" / "3.jpg").unlink()
    policy = "data.policies.picture_missing=drop"
    result = invoke(*arguments(folder, tmp_path / "out", "--set", policy))
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["splits"].keys() == {"train"}
    assert summary["splits"]["train"] == {
        "pictures": {"read": 12, "written": 11, "rejected": 1},
        "objects": {"read": 12, "written": 11, "rejected": 1},
        "reasons": {"picture_missing": 1},
        "crowds": 0,
        "masks": {"read": 12, "written": 11},
        "rejected": {
            "pictures": {"picture_missing": 1},
            "objects": {},
            "objects_with_pictures": {"picture_missing": 1},
        },
        "mended": {},
        "lost": {"pictures": {}, "objects": {}, "masks": {}},
        "notes": ["no objects of 'dog' (id 8)"],
    }
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        ".tfx-rcnn.json",
        "examples",
        "rejects",
        "summary.json",
    }
    assert "train: picture_missing 1 (1 picture left out)\n" in result.output
    assert result.output.count("\n") == 1 + 1 + 2 + 1 + 1 + 1  # listed, done, table, reason, end


def test_json_logs_are_objects_and_quiet_is_the_result(folder, tmp_path):
    (folder / "pictures" / "3.jpg").unlink()
    drop = ["--set", "data.policies.picture_missing=drop"]
    told = invoke(*arguments(folder, tmp_path / "a", *drop, "--json-logs"))
    assert told.exit_code == 0, told.output
    said = [json.loads(line) for line in told.stdout.splitlines()]
    assert [one["event"] for one in said] == ["progress"] * 2 + ["result"] * (len(said) - 2)
    quiet = invoke(*arguments(folder, tmp_path / "b", *drop, "--quiet"))
    lines = [one["text"] for one in said if one["event"] == "result"]
    assert quiet.stdout.splitlines()[:-1] == lines[:-1]  # the last has seconds


def test_config_file_counts(folder, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text("name: x\ndata: {train_shards: 3, eval_shards: 2}\n")
    again = ["--split", "other=instances.json:pictures"]
    result = invoke(*arguments(folder, tmp_path / "out", *again, "--config", config))
    assert result.exit_code == 1
    assert "have the same annotations" in result.output
    again += ["--set", "data.allow_same_splits=true"]
    result = invoke(*arguments(folder, tmp_path / "out", *again, "--config", config))
    assert result.exit_code == 0, result.output
    shards = {
        split: len(list((tmp_path / "out" / "examples" / f"Split-{split}").iterdir()))
        for split in ("train", "other")
    }
    assert shards == {"train": 3, "other": 2}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--split", "a"], "expected NAME=ANNOTATIONS_JSON:PICTURES_FOLDER"),
        (["--split", "a=b"], "expected NAME=ANNOTATIONS_JSON:PICTURES_FOLDER"),
        (["--split", "../a=b:c"], "expected NAME=ANNOTATIONS_JSON:PICTURES_FOLDER"),
        (["--split", SPLIT], "a split is named twice"),
        (["--set", "data.policies.picture_mising=drop"], "did you mean 'picture_missing'?"),
        (["--set", "data.sede=1"], "did you mean 'seed'?"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_wrong_usage_ends_with_2_and_names_the_mistake(folder, tmp_path, more, message):
    result = invoke(*arguments(folder, tmp_path / "out", *more))
    assert result.exit_code == 2
    assert message in result.output
    assert not (tmp_path / "out").exists()


def test_wrong_data_ends_with_1_and_one_line(folder, tmp_path):
    (folder / "instances.json").rename(folder / "other.json")
    result = invoke(*arguments(folder, tmp_path / "out"))
    assert result.exit_code == 1
    assert result.output.startswith("error: ")
    assert result.output.count("\n") == 1
    assert "instances.json: no such annotation file for split 'train'" in result.output


# In a process of its own -----------------------------------------------------------------------


def command(folder, out):
    return [sys.executable, "-m", "components.coco_example_gen", *arguments(folder, out)]


def files_of(folder):
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): file_digest(path) for path in paths}


def test_help_loads_no_heavy_library(repo):
    code = (
        "import contextlib, sys\nfrom components.coco_example_gen.__main__ import main\n"
        "with contextlib.suppress(SystemExit): main(['--help'], prog_name='example-gen')\n"
        "print([m for m in ('apache_beam', 'tensorflow', 'numpy', 'pydantic') if m in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=repo, capture_output=True, text=True, check=True
    )
    assert "Example: example-gen --data-dir" in " ".join(result.stdout.split())
    assert result.stdout.splitlines()[-1] == "[]"


@pytest.mark.e2e
def test_disk_that_is_full_leaves_nothing_half_written(folder, tmp_path, repo):
    limit = 20_000  # bytes a file; a shard of two pictures needs more

    result = subprocess.run(
        command(folder, tmp_path / "out"),
        cwd=repo,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 1
    assert "File too large" in result.stderr
    assert "data_tfrecord-" in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.e2e
def test_killed_run_leaves_no_result_and_runs_again_to_the_same_bytes(folder, tmp_path, repo):
    with subprocess.Popen(
        command(folder, tmp_path / "out"), cwd=repo, stdout=subprocess.PIPE, text=True
    ) as process:
        assert "listed" in process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names
    assert all(name.startswith(".") for name in names)
    for out in ("out", "fresh"):
        subprocess.run(command(folder, tmp_path / out), cwd=repo, check=True, capture_output=True)
    assert files_of(tmp_path / "out") == files_of(tmp_path / "fresh")


def test_what_is_missing_is_said_before_beam_is_loaded(folder, tmp_path):
    script = (
        "import sys; from components.coco_example_gen.__main__ import main\n"
        "try: main(sys.argv[1:])\n"
        "finally: assert 'apache_beam' not in sys.modules\n"
    )
    (folder / "instances.json").unlink()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments(folder, tmp_path / "out")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "instances.json: no such annotation file for split 'train'" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
