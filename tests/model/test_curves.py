import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.util.tensor_util import make_tensor_proto

from ground.errors import TrainingError
from model.commands.curves import main
from model.curves import draw_curves, read_scalars
from model.figure_names import label_of
from model.tfrecord import write_tfrecord


def _write_events(path: Path, rows: list[tuple[str, int, float]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        for tag, step, value in rows:
            entry = Summary.Value(tag=tag, tensor=make_tensor_proto(np.float32(value)))
            event = Event(step=step, summary=Summary(value=[entry]))
            write_tfrecord(stream, event.SerializeToString())


def _run(folder: Path) -> Path:
    """A run that was killed after step 40 and went on from step 20."""
    board = folder / "tensorboard"
    before = [("loss/total", 20, 3.0), ("loss/mask", 20, 1.0), ("loss/total", 40, 9.0)]
    _write_events(board / "events.out.tfevents.1700000001.host", before)
    after = [("loss/total", 40, 2.0), ("loss/mask", 40, 0.5), ("validation/box/AP", 40, 0.25)]
    _write_events(board / "events.out.tfevents.1700000002.host", after)
    return folder


def test_a_run_that_went_on_has_one_value_a_step(tmp_path: Path) -> None:
    assert read_scalars(_run(tmp_path)) == {
        "loss/total": [(20, 3.0), (40, 2.0)],
        "loss/mask": [(20, 1.0), (40, 0.5)],
        "validation/box/AP": [(40, 0.25)],
    }


def test_a_file_that_was_cut_off_gives_what_came_before(tmp_path: Path) -> None:
    [first, _] = sorted((_run(tmp_path) / "tensorboard").iterdir())
    first.write_bytes(first.read_bytes()[:-3])
    assert read_scalars(tmp_path)["loss/total"] == [(20, 3.0), (40, 2.0)]


def test_several_trainings_are_not_drawn_as_one(tmp_path: Path) -> None:
    runs = tmp_path / "artifacts" / "DetectionTrainer" / "run"
    first = _run(runs / "5")
    shutil.copytree(first / "tensorboard", tmp_path / "checkpoints" / "ab" / "tensorboard")
    assert read_scalars(tmp_path)["loss/total"] == [(20, 3.0), (40, 2.0)]
    longer = shutil.copytree(first, runs / "7") / "tensorboard"  # of the same, which went on
    _write_events(longer / "events.out.tfevents.1700000003.host", [("loss/total", 60, 1.5)])
    assert read_scalars(tmp_path)["loss/total"] == [(20, 3.0), (40, 2.0), (60, 1.5)]
    other = runs / "12" / "tensorboard"
    other.mkdir(parents=True)
    _write_events(other / "events.out.tfevents.1700000009.host", [("loss/total", 20, 1.0)])
    with pytest.raises(TrainingError, match=r"2 trainings in it: .* newest is .*/run/12$"):
        read_scalars(tmp_path)
    assert read_scalars(runs / "12") == {"loss/total": [(20, 1.0)]}


def test_a_folder_without_scalars_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no TensorBoard scalars"):
        read_scalars(tmp_path)


def test_one_panel_a_kind(tmp_path: Path) -> None:
    scalars = read_scalars(_run(tmp_path / "run"))
    draw_curves({"a": scalars}, tmp_path / "one.png")
    del scalars["validation/box/AP"]
    draw_curves({"a": scalars, "b": scalars}, tmp_path / "two.png")
    with Image.open(tmp_path / "one.png") as one, Image.open(tmp_path / "two.png") as two:
        assert one.width == 2 * two.width  # the loss alone


def test_lines_have_names(tmp_path: Path) -> None:
    scalars = read_scalars(_run(tmp_path / "run"))
    draw_curves({"a": scalars}, tmp_path / "one.svg")
    draw_curves({"a": scalars, "b": scalars}, tmp_path / "two.svg")
    one, two = ((tmp_path / name).read_text() for name in ("one.svg", "two.svg"))
    assert "<!-- mask -->" in one and "<!-- b total -->" not in one
    assert "<!-- b total -->" in two and "<!-- b box/AP -->" in two and "mask" not in two


def test_runs_may_have_any_names(tmp_path: Path) -> None:  # a warning of matplotlib is an error
    scalars = read_scalars(_run(tmp_path / "run"))
    for name in ("$_$", "漢字", "W" * 200):
        draw_curves({name: scalars, name + "b": scalars}, tmp_path / "runs.png")
        draw_curves({name: scalars, name + "b": scalars}, tmp_path / "runs.svg")
        svg = (tmp_path / "runs.svg").read_text()
        assert f"<!-- {label_of(name)} total -->" in svg


def test_command_writes_the_picture(tmp_path: Path) -> None:
    out = tmp_path / "curves.svg"
    done = CliRunner().invoke(main, [str(_run(tmp_path / "run")), "--out", str(out)])
    assert done.exit_code == 0, done.output
    svg = out.read_text(encoding="utf-8")
    assert svg.count("<!-- validation -->") == 1
    for option in ("--quiet", "--json-logs"):
        again = CliRunner().invoke(main, [str(tmp_path / "run"), "--out", str(out), option])
        assert f"written {out}" in again.stdout
    done = CliRunner().invoke(main, [str(tmp_path / "run"), "--out", "x.jpg"])
    assert done.exit_code == 2
