"""Commands that are killed, or out of space, at random moments: the rerun is the same.

Workers that die: tests/components/test_shard_pool.py.
"""

import os
import random
import subprocess
import sys
import time

import pytest

from tests.components.coco_example_gen.conversions import coco_like, files_of
from tfx_rcnn import command

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("seed", range(2))
def test_ended_or_out_of_space_at_random_steps(tmp_path, seed):
    """Each component, killed or without space at any step on the file system, with old output."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.components.fault_steps", str(tmp_path), str(seed), "24"],
        capture_output=True,
        text=True,
        timeout=1200,
    )
    assert done.stdout.splitlines()[-1:] == ["content"], done.stdout + done.stderr[-3000:]


def start(arguments, place, processes=1):
    workers = f"pipeline.beam_args=[--shard_processes={processes}]"
    given = ["--config", "c.yaml", "--set", workers]
    return subprocess.Popen(
        command(*arguments, *given),
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def complete(arguments, place):
    process = start(arguments, place)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 0, errors


def data(place):
    (place / "c.yaml").write_text(
        "name: c\ninput: {short_side_px: 64, long_side_px: 96}\ndata: {train_shards: 6}\n"
    )
    coco_like(place / "set", count=400)


GEN = [
    "components.coco_example_gen",
    "--data-dir",
    "set",
    "--split",
    "train=instances.json:pictures",
]
TRANSFORM = ["components.coco_transform", "--examples", "whole/examples"]


def outputs(folder):
    return {n: d for n, d in files_of(folder).items() if not n.startswith(".")}


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("arguments", [GEN, TRANSFORM], ids=["gen", "transform"])
def test_killed_at_random_moments(tmp_path, arguments, processes):
    data(tmp_path)
    complete([*GEN, "--out", "whole"], tmp_path)
    complete([*arguments, "--out", "expected"], tmp_path)
    expected = outputs(tmp_path / "expected")
    before = {*os.listdir(tmp_path), "out"}
    for seed in range(6):
        process = start([*arguments, "--out", "out"], tmp_path, processes)
        if arguments is GEN:
            process.stdout.readline()  # "listed": it begins to write
        else:
            time.sleep(3)
        time.sleep(random.Random(seed).uniform(0, 2))
        process.kill()
        process.communicate()
        out = tmp_path / "out"
        assert not out.exists() or outputs(out) in ({}, expected)
    complete([*arguments, "--out", "out"], tmp_path)
    assert outputs(tmp_path / "out") == expected
    assert set(os.listdir(tmp_path)) == before
