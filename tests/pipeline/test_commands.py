"""The commands answer at once where nothing has to be done: help, wrong arguments, wrong files."""

import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from ground.source_digest import SOURCE_ROOT
from pipeline.shapes import generate_shapes

BLOOD_CELLS = str(SOURCE_ROOT / "configs" / "blood_cells.yaml")
RUN = ("run", "--config", BLOOD_CELLS, "--data-dir")
WEIGHTS = ("--set", "model.weights=/data/weights.npz")
COMPILE = (
    *("compile", "--config", BLOOD_CELLS, *WEIGHTS, "--image", "i:1"),
    *("--pipeline-root", "s3://runs"),
)
ONE_VOLUME = "pipeline.kubeflow.volumes=[{claim: coco, path: /data}]"
TWO_VOLUMES = "pipeline.kubeflow.volumes=[{claim: a, path: /data}, {claim: b, path: /shared}]"
# Of the processor, which other work on the machine does not change; measured 0.1-0.4 s.
ANSWER_SECONDS = 2.0


def _seconds_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _command(*arguments: str) -> subprocess.CompletedProcess[str]:
    start = _seconds_of_children()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "pipeline", *arguments],
        cwd=SOURCE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert _seconds_of_children() - start < ANSWER_SECONDS
    imported = re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    assert not {"tensorflow", "tfx", "apache_beam", "kfp", "keras"} & set(imported)
    lines = [line for line in done.stderr.splitlines() if not line.startswith("import time:")]
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout, "\n".join(lines))


@pytest.mark.parametrize("command", ["run", "demo", "shapes", "compile", "upload"])
def test_help_has_an_example(command: str) -> None:
    done = _command(command, "--help")
    assert done.returncode == 0
    assert f"Example: python -m pipeline {command}" in " ".join(done.stdout.split())


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ((), 2, "Usage: python -m pipeline"),
        (("run",), 2, "Missing option '--config'"),
        (
            ("run", "--config", BLOOD_CELLS, "--data-dir", "d", "--from", "Trainer"),
            2,
            "CocoTransform",
        ),
        (
            (*RUN, "d", "--from", "CocoEvaluator", "--to", "CocoTransform"),
            2,
            "CocoEvaluator comes after --to CocoTransform",
        ),
        (("run", "--config", "absent.yaml", "--data-dir", "d"), 2, "no such config file"),
        ((*RUN, "absent"), 1, "absent: no such folder"),
        ((*RUN, "d", "--set", "train.epoch=1"), 2, "did you mean 'epochs'?"),
        ((*RUN, "d", "--set", "data.policies.bad_boxx=drop"), 2, "did you mean 'bad_bbox'?"),
        ((*COMPILE[:-1], "", "-o", "a.yaml"), 2, "expected a bucket"),
        ((*COMPILE, "-o", "pipeline.json"), 2, "ends in .yaml"),
        (("shapes", "--out", "s", "--size", "100000000"), 2, "not in the range 48<=x<=4096"),
        (("shapes", "--out", "s", "--train", "999999999999"), 2, "not in the range"),
        (
            (*COMPILE, "-o", "a.yaml", "--set", ONE_VOLUME),
            2,
            "error: --shared-dir /shared is in none of pipeline.kubeflow.volumes (/data)",
        ),
        (
            (*COMPILE, "-o", "a.yaml", "--set", "push.folder=/models", "--set", TWO_VOLUMES),
            2,
            "error: push.folder /models is in none of pipeline.kubeflow.volumes (/data, /shared)",
        ),
        (("upload", "--host", "https://h", "--name", "n", "absent.yaml"), 2, "no such file"),
    ],
)
def test_wrong_arguments_end_in_a_line(
    arguments: tuple[str, ...], status: int, said: str, tmp_path: Path
) -> None:
    done = _command(*arguments)
    assert done.returncode == status
    assert said in done.stderr + done.stdout
    assert "Traceback" not in done.stderr


def test_missing_weights_end_in_a_line_before_any_picture_is_read(tmp_path: Path) -> None:
    data = generate_shapes(tmp_path / "shapes", train=1, val=1, size=48)
    tiny = str(SOURCE_ROOT / "configs" / "tiny.yaml")
    weights = ("--set", f"model.weights={tmp_path}/absent.npz")
    done = _command("run", "--config", tiny, "--data-dir", str(data), *weights)
    assert done.returncode == 1
    assert re.fullmatch(
        r"error: weights: there is no file .*absent\.npz; name yours .*", done.stderr
    )
