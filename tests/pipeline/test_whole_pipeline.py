"""The whole pipeline on drawn shapes with configs/tiny.yaml: one story, told in five runs.

first    everything runs, the model is blessed and pushed
again    nothing runs
stricter only a threshold is changed: the gate runs, the model is refused, nothing is pushed
changed  one training picture is changed: all that depends on it runs
missing  a picture is missing: one line says so, and what failed is not taken for done

Where the kernel permits it, the first runs in a network that has nothing but this machine.
"""

import contextlib
import dataclasses
import json
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from ground.source_digest import SOURCE_ROOT
from pipeline.nodes import NODES
from pipeline.shapes import generate_shapes
from tests.no_network import CANNOT

pytestmark = pytest.mark.e2e

TINY = SOURCE_ROOT / "configs" / "tiny.yaml"
NO_NETWORK = [sys.executable, "-m", "tests.no_network"]
COMMAND = [sys.executable, "-m", "pipeline", "run", "--config", str(TINY)]
STRICTER = "evaluate.thresholds=[{metric: box/AP, min: 0.99}]"
TRAIN_PICTURES = 12
EVAL_PICTURES = 6


@dataclasses.dataclass(frozen=True)
class Run:
    """One call of `python -m pipeline run`: exit status, screen, nodes' outcomes, summary."""

    status: int
    screen: str
    errors: str
    outcomes: dict[str, str]
    summary: dict[str, Any]
    served: list[str]


@dataclasses.dataclass(frozen=True)
class Story:
    """The five runs, where they took place, and whether the first had no network."""

    root: Path
    is_offline: bool
    first: Run
    again: Run
    stricter: Run
    changed: Run
    missing: Run
    mended: Run


def _run(data: Path, root: Path, *arguments: str, before: Sequence[str] = ()) -> Run:
    done = subprocess.run(
        [*before, *COMMAND, "--data-dir", str(data), "--root", str(root), *arguments],
        cwd=SOURCE_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = re.findall(r"^(\w+) +[\d.]+ s +(ran|cached|resolved)$", done.stdout, re.MULTILINE)
    summary_file = root / "summary.json"
    summary = json.loads(summary_file.read_text()) if summary_file.exists() else {}
    served = sorted(path.name for path in (root / "serving" / "tiny").glob("[0-9]*"))
    return Run(done.returncode, done.stdout, done.stderr, dict(lines), summary, served)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("whole")
    data = generate_shapes(folder / "shapes", train=TRAIN_PICTURES, val=EVAL_PICTURES, size=96)
    root = folder / "run"
    tried = subprocess.run([*NO_NETWORK, "true"], cwd=SOURCE_ROOT, check=False)
    is_offline = tried.returncode != CANNOT
    first = _run(data, root, before=NO_NETWORK if is_offline else ())
    assert first.status == 0, first.screen + first.errors
    again = _run(data, root)
    stricter = _run(data, root, "--set", STRICTER, "--require-blessed")
    picture = sorted((data / "train2017").iterdir())[0]
    Image.open(picture).convert("L").convert("RGB").save(picture, quality=50)
    changed = _run(data, root)
    away = folder / picture.name
    picture.rename(away)
    missing = _run(data, root, "--to", "CocoExampleGen")
    away.rename(picture)
    mended = _run(data, root, "--to", "CocoTransform")
    yield Story(root, is_offline, first, again, stricter, changed, missing, mended)
    shutil.rmtree(folder)


def _with_outcome(run: Run, outcome: str) -> set[str]:
    return {node for node, said in run.outcomes.items() if said == outcome}


def test_first_run_runs_every_node(story: Story) -> None:
    assert _with_outcome(story.first, "ran") == set(NODES) - {"Resolver"}
    assert story.first.errors == ""


def test_nothing_reaches_for_the_network(story: Story) -> None:
    if not story.is_offline:
        pytest.skip("the kernel does not permit a network of one's own")
    assert story.first.status == 0


def test_summary_has_what_its_contract_says(story: Story) -> None:
    summary = story.first.summary
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl"]
    names += ["AR1", "AR10", "AR100", "ARs", "ARm", "ARl"]
    for kind in ("box", "mask"):
        assert list(summary["metrics"][kind]) == names
        assert all(-1 <= value <= 1 for value in summary["metrics"][kind].values())
    assert summary["blessed"] is True
    assert Path(summary["pushed_model"]) == story.root / "serving" / "tiny" / "1"
    assert summary["records"] == {
        "train": {"read": TRAIN_PICTURES, "written": TRAIN_PICTURES, "rejected": 0},
        "eval": {"read": EVAL_PICTURES, "written": EVAL_PICTURES, "rejected": 0},
    }
    for split, objects in summary["objects"].items():
        assert objects["read"] == objects["written"] > 0, split
    assert summary["reasons"] == {"train": {}, "eval": {}}
    for split, counts in summary["transformed"].items():
        assert counts["pictures"]["written"] == summary["records"][split]["written"]
    assert set(summary["seconds"]) == set(NODES)


def test_artifacts_are_there(story: Story) -> None:
    summary = story.first.summary
    assert (Path(summary["pushed_model"]) / "saved_model.pb").is_file()
    report = Path(summary["report"])
    assert "<html" in report.read_text(encoding="utf-8")
    metrics = json.loads((report.parent / "metrics.json").read_text())
    assert metrics["box"]["AP50"] == summary["metrics"]["box"]["AP50"]
    for examples in ("CocoExampleGen/examples", "CocoTransform/transformed_examples"):
        written = list((story.root / "artifacts" / examples).glob("*/categories.json"))
        assert len(written) == 2  # of the first run and of the changed picture


def test_screen_ends_with_numbers_verdict_and_places(story: Story) -> None:
    lines = story.first.screen.splitlines()
    assert any(re.fullmatch(r"box +((\d\.\d{3}|-) *){7}", line) for line in lines)
    assert any(re.fullmatch(r"mask +((\d\.\d{3}|-) *){7}", line) for line in lines)
    assert any(line.startswith("blessed: ") for line in lines)
    assert f"pushed  {story.first.summary['pushed_model']}" in lines
    assert f"report  {story.first.summary['report']}" in lines


def test_second_run_runs_nothing(story: Story) -> None:
    assert _with_outcome(story.again, "cached") == set(NODES) - {"Resolver"}
    assert story.again.served == ["1"]
    same = ("metrics", "blessed", "pushed_model", "report", "records")
    assert {k: story.again.summary[k] for k in same} == {k: story.first.summary[k] for k in same}


def test_changed_threshold_runs_the_gate_alone(story: Story) -> None:
    assert _with_outcome(story.stricter, "ran") == {"CocoEvaluator", "ModelPusher"}


def test_refused_model_is_not_pushed(story: Story) -> None:
    assert story.stricter.status == 3
    assert story.stricter.summary["blessed"] is False
    assert story.stricter.summary["pushed_model"] is None
    assert story.stricter.served == ["1"]
    assert "not blessed: box/AP" in story.stricter.screen


def test_changed_picture_runs_what_depends_on_it(story: Story) -> None:
    assert story.changed.status == 0, story.changed.screen + story.changed.errors
    assert _with_outcome(story.changed, "cached") == {"ImportSchemaGen"}
    assert story.changed.served == ["1", "2"]


def test_new_model_is_compared_with_the_pushed_one(story: Story) -> None:
    evaluation = Path(story.changed.summary["report"]).parent
    decision = json.loads((evaluation / "decision.json").read_text())
    [against_pushed] = [c for c in decision["comparisons"] if c["rule"] == "max_drop"]
    assert against_pushed["baseline"] == story.first.summary["metrics"]["box"]["AP"]


def test_missing_picture_ends_in_one_line(story: Story) -> None:
    assert story.missing.status == 1
    [line] = story.missing.errors.splitlines()
    assert line.startswith("error: CocoExampleGen: ")
    assert "000000000001.jpg" in line
    assert story.missing.summary == {}


def test_failed_component_is_not_taken_for_done(story: Story) -> None:
    assert story.mended.status == 0
    assert _with_outcome(story.mended, "ran") == set()


def test_lineage_leads_from_blessing_to_examples(story: Story) -> None:
    address = f"file:{story.root / 'metadata.sqlite'}?mode=ro"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as store:
        [blessing] = _artifacts(store, "ModelBlessing")[:1]
        gate = _inputs_of_producer(store, blessing)
        assert set(gate) >= {"examples", "model"}
        [training] = _inputs_of_producer(store, gate["model"]).values()
        assert _producer_type(store, gate["model"]).endswith("DetectionTrainer")
        assert _producer_type(store, training).endswith("CocoTransform")
        assert _inputs_of_producer(store, training)["examples"] == gate["examples"]
        assert _producer_type(store, gate["examples"]).endswith("CocoExampleGen")
        assert _inputs_of_producer(store, gate["examples"]) == {}


# MLMD's tables; event types 3 and 4 are INPUT and OUTPUT.
def _artifacts(store: sqlite3.Connection, kind: str) -> list[int]:
    rows = store.execute(
        "SELECT a.id FROM Artifact a JOIN Type t ON a.type_id = t.id WHERE t.name = ? "
        "ORDER BY a.id",
        (kind,),
    )
    return [row[0] for row in rows]


def _producer(store: sqlite3.Connection, artifact: int) -> int:
    [row] = store.execute(
        "SELECT MIN(execution_id) FROM Event WHERE artifact_id = ? AND type = 4", (artifact,)
    )
    return row[0]


def _producer_type(store: sqlite3.Connection, artifact: int) -> str:
    [row] = store.execute(
        "SELECT t.name FROM Execution e JOIN Type t ON e.type_id = t.id WHERE e.id = ?",
        (_producer(store, artifact),),
    )
    return row[0]


def _inputs_of_producer(store: sqlite3.Connection, artifact: int) -> dict[str, int]:
    """Returns input key -> artifact of the execution that made an artifact."""
    rows = store.execute(
        "SELECT p.step_key, v.artifact_id FROM Event v JOIN EventPath p ON p.event_id = v.id "
        "WHERE v.execution_id = ? AND v.type = 3 AND p.is_index_step = 0",
        (_producer(store, artifact),),
    )
    return dict(rows)
