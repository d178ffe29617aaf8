"""What `run` does without running: the printed graph, and a part that has nothing to build on."""

import subprocess
import sys
from pathlib import Path

import pytest

from ground.source_digest import SOURCE_ROOT
from pipeline.nodes import NODES
from pipeline.shapes import generate_shapes

pytestmark = pytest.mark.e2e

# One process, as loading TFX is most of the time.
BOTH = """
import sys
from pipeline.__main__ import main
main(["run", *sys.argv[1:], "--dry-run"], standalone_mode=False)
main(["run", *sys.argv[1:], "--from", "CocoEvaluator"], standalone_mode=False)
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> subprocess.CompletedProcess[str]:
    folder = tmp_path_factory.mktemp("dry")
    data = generate_shapes(folder / "shapes", train=1, val=1, size=48)
    arguments = ["--config", str(SOURCE_ROOT / "configs" / "tiny.yaml"), "--data-dir", str(data)]
    return subprocess.run(
        [sys.executable, "-c", BOTH, *arguments, "--root", str(folder / "run")],
        cwd=SOURCE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_dry_run_prints_every_node_in_order_with_its_edges(
    done: subprocess.CompletedProcess[str],
) -> None:
    lines = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    assert set(lines) == set(NODES)
    order = list(lines)
    for line in done.stdout.splitlines():
        node, _, rest = line.partition(" ")
        inputs = rest.partition("->")[0]
        for producer in NODES:
            if f"<- {producer}" in inputs:
                assert order.index(producer) < order.index(node)
    assert lines["DetectionTrainer"] == "examples <- CocoTransform  ->  model, run"
    assert "baseline_model <- Resolver" in lines["CocoEvaluator"]
    assert lines["Resolver"].startswith(
        "model <- DetectionTrainer, pushed_model <- earlier runs  ->"
    )


def test_part_without_an_earlier_run_says_so_in_one_line(
    done: subprocess.CompletedProcess[str],
) -> None:
    assert done.returncode == 1
    [line] = done.stderr.splitlines()
    assert "no earlier run here" in line and "run once without --from" in line


def test_nothing_is_made(done: subprocess.CompletedProcess[str]) -> None:
    root = Path(done.args[-1])
    assert not (root / "artifacts").exists()
    assert not (root / "summary.json").exists()
