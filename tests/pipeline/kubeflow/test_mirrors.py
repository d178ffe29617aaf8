"""Data, weights, pushed models and kept detections in a store instead of on a disk."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.coco_evaluator.baseline import Baseline, newest_other_model
from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_example_gen.settings import CocoExampleGenSettings
from components.detection_trainer.settings import DetectionTrainerSettings
from components.model_pusher.registry import push
from configs.loader import default_config
from configs.parts import Part
from ground.errors import DatasetError, ModelError
from model.model_folder import files_digest
from pipeline.kubeflow.data_version import data_digest, digest_of_weights
from pipeline.kubeflow.mirrors import Mirrors
from tests.s3_server import S3Server

DATA = {
    "data.train_annotations": "ann/train.json",
    "data.eval_annotations": "ann/eval.json",
    "data.train_pictures": "train",
    "data.eval_pictures": "eval",
}
CONFIG = default_config([f"{key}={value}" for key, value in DATA.items()])


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with S3Server().running() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        for name in ("coco/ann/train.json", "coco/ann/eval.json"):
            server.objects[f"b/{name}"] = b"{}"
        for name in ("coco/train/1.jpg", "coco/train/sub/2.jpg", "coco/eval/3.jpg"):
            server.objects[f"b/{name}"] = name.encode()
        server.objects["b/coco/other/4.jpg"] = b"not asked for"
        yield server


def _message(part: type[Part], **values: Any) -> dict[str, Any]:
    settings = part.of(CONFIG).to_json()
    return {"inputs": {"parameterValues": {"settings": settings, **values}}}


def _names(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_of_the_data_only_what_the_settings_name_is_fetched(
    server: S3Server, tmp_path: Path
) -> None:
    message = _message(CocoExampleGenSettings, data_dir="s3://b/coco/", other="s3://b/x")
    mirrors = Mirrors(tmp_path)
    mirrors.enter(message)
    values = message["inputs"]["parameterValues"]
    assert values["other"] == "s3://b/x"
    assert _names(Path(values["data_dir"])) == [
        "ann/eval.json",
        "ann/train.json",
        "eval/3.jpg",
        "train/1.jpg",
        "train/sub/2.jpg",
    ]
    assert mirrors.addresses_in(f"{values['data_dir']}/ann: no") == "s3://b/coco/ann: no"
    before = dict(server.objects)
    mirrors.leave()
    assert server.objects == before


def test_data_that_is_not_there_is_named_by_its_address(server: S3Server, tmp_path: Path) -> None:
    del server.objects["b/coco/ann/eval.json"]
    with pytest.raises(DatasetError, match=r"s3://b/coco/ann/eval\.json: there is nothing"):
        Mirrors(tmp_path).enter(_message(CocoExampleGenSettings, data_dir="s3://b/coco"))
    with pytest.raises(DatasetError, match=r"s3://b/coco/ann/eval\.json: there is nothing"):
        data_digest(CONFIG.data, "s3://b/coco")


def test_what_has_an_address_of_its_own_is_read_there(server: S3Server, tmp_path: Path) -> None:
    given = "data.train_pictures=s3://b/else/train;data.train_annotations=s3://b/else/x.json"
    message = _message(CocoExampleGenSettings, data_dir="s3://b/coco", overrides=given)
    Mirrors(tmp_path).enter(message)
    folder = Path(message["inputs"]["parameterValues"]["data_dir"])
    assert _names(folder) == ["ann/eval.json", "eval/3.jpg"]
    assert sorted(path.name for path in folder.iterdir()) == ["ann", "eval"]


def test_local_folders_are_left_alone(tmp_path: Path) -> None:
    message = _message(CocoExampleGenSettings, data_dir="/data")
    Mirrors(tmp_path).enter(message)
    assert message == _message(CocoExampleGenSettings, data_dir="/data")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overrides", ["", "train.epochs=2;model.weights=s3://b/w/R-50.npz"])
def test_weights_are_a_local_file_for_the_trainer(
    server: S3Server, tmp_path: Path, overrides: str
) -> None:
    server.objects["b/w/R-50.npz"] = b"weights"
    config = default_config(["model.weights=s3://b/w/R-50.npz"])
    settings = DetectionTrainerSettings.of(config).to_json()
    message = {"inputs": {"parameterValues": {"settings": settings, "overrides": overrides}}}
    Mirrors(tmp_path).enter(message)
    values = message["inputs"]["parameterValues"]
    given = DetectionTrainerSettings.from_json(values["settings"], values["overrides"])
    assert Path(given.model.weights).read_bytes() == b"weights"
    assert given.train.epochs == (
        2 if overrides else DetectionTrainerSettings.from_json(settings).train.epochs
    )
    server.objects.clear()
    with pytest.raises(ModelError, match=r"s3://b/w/R-50\.npz: there is nothing"):
        Mirrors(tmp_path / "x").enter({"inputs": {"parameterValues": {"settings": settings}}})


def _model(folder: Path, model_id: str) -> Path:
    (folder / "assets.extra").mkdir(parents=True)
    (folder / "assets.extra/model_id.json").write_text(json.dumps({"model_id": model_id}))
    (folder / "assets").mkdir()
    categories = [{"id": 1, "name": "cell", "label": 1}]
    (folder / "assets/categories.json").write_text(json.dumps(categories))
    (folder / "assets/config.json").write_text(CONFIG.to_json())
    (folder / "variables").mkdir()
    (folder / "variables/variables.index").write_text(model_id)
    (folder / "saved_model.pb").write_text("graph")
    return folder


def _with_model(message: dict[str, Any], model: Path) -> dict[str, Any]:
    message["inputs"]["artifacts"] = {"model": {"artifacts": [{"uri": str(model)}]}}
    return message


def _push(tmp_path: Path, model_id: str) -> tuple[Any, bool]:
    """Pushes as the task does; returns the registry's answer."""
    folder = tmp_path / f"pod-{model_id}-{len(list(tmp_path.iterdir()))}"
    model = _model(folder / "model", model_id)
    values = {"push_folder": "s3://b/serving", "model_name": "cells"}
    message = _with_model({"inputs": {"parameterValues": values}}, model)
    mirrors = Mirrors(folder / "mirrors")
    mirrors.enter(message)
    place = message["inputs"]["parameterValues"]["push_folder"]
    pushed, is_new = push(model, place, "cells", files_digest(model))
    mirrors.leave()
    return mirrors.addresses_in(str(pushed.path)), is_new


def test_pushes_number_versions_and_know_models_again(server: S3Server, tmp_path: Path) -> None:
    assert _push(tmp_path, "aaa") == ("s3://b/serving/cells/1", True)
    assert _push(tmp_path, "bbb") == ("s3://b/serving/cells/2", True)
    assert _push(tmp_path, "bbb") == ("s3://b/serving/cells/2", False)
    assert server.objects["b/serving/cells/2/variables/variables.index"] == b"bbb"
    # A version that is taken out of service: its number stays used.
    for name in [n for n in server.objects if n.startswith("b/serving/cells/2/")]:
        server.objects[name.replace("/2/", "/withdrawn-2/")] = server.objects.pop(name)
    assert _push(tmp_path, "bbb") == ("s3://b/serving/cells/3", True)


def test_a_version_whose_upload_was_cut_off_does_not_count(
    server: S3Server, tmp_path: Path
) -> None:
    _push(tmp_path, "aaa")
    del server.objects["b/serving/cells/1/saved_model.pb"]
    assert _push(tmp_path, "aaa") == ("s3://b/serving/cells/2", True)


def test_the_graph_is_stored_last(server: S3Server, tmp_path: Path) -> None:
    _push(tmp_path, "aaa")
    order = [name for name in server.objects if name.startswith("b/serving/cells/1/")]
    assert order[-1].endswith("saved_model.pb")
    assert len(order) > 3


def test_the_evaluator_gets_the_newest_models_and_their_detections(
    server: S3Server, tmp_path: Path
) -> None:
    for model_id in ("aaa", "bbb", "ccc", "ddd"):
        _push(tmp_path, model_id)
    model = _model(tmp_path / "candidate", "ddd")
    values = {"push_folder": "s3://b/serving", "detections_dir": "s3://b/kept"}
    message = _with_model(_message(CocoEvaluatorSettings, **values), model)
    settings = json.loads(message["inputs"]["parameterValues"]["settings"])
    message["inputs"]["parameterValues"]["settings"] = json.dumps({**settings, "name": "cells"})
    candidate = files_digest(model)
    server.objects[f"b/kept/{candidate}/one.json"] = b"[]"
    server.objects["b/kept/of-another-model/one.json"] = b"[]"
    mirrors = Mirrors(tmp_path / "mirrors")
    mirrors.enter(message)
    values = message["inputs"]["parameterValues"]
    baseline = newest_other_model(values["push_folder"], "cells", "ddd", skip_unusable=False)
    assert baseline == Baseline(Path(values["push_folder"]) / "cells" / "3")
    kept = Path(values["detections_dir"])
    assert _names(kept) == [f"{candidate}/one.json"]
    (kept / candidate / "new.json").write_text("[1]")
    (kept / candidate / ".lock").write_text("")
    mirrors.leave()
    assert server.objects[f"b/kept/{candidate}/new.json"] == b"[1]"
    assert f"b/kept/{candidate}/.lock" not in server.objects


def test_the_version_of_data_changes_with_a_picture_and_with_nothing_else(
    server: S3Server,
) -> None:
    first = data_digest(CONFIG.data, "s3://b/coco")
    assert data_digest(CONFIG.data, "s3://b/coco/") == first
    server.objects["b/coco/other/5.jpg"] = b"not of the data"
    assert data_digest(CONFIG.data, "s3://b/coco") == first
    server.objects["b/coco/train/sub/2.jpg"] = b"another picture"
    assert data_digest(CONFIG.data, "s3://b/coco") != first


def test_the_version_of_weights(server: S3Server, tmp_path: Path) -> None:
    assert digest_of_weights(None) == ""
    server.objects["b/w/R.npz"] = b"1"
    first = digest_of_weights("s3://b/w/R.npz")
    server.objects["b/w/R.npz"] = b"2"
    assert digest_of_weights("s3://b/w/R.npz") != first
    (tmp_path / "R.npz").write_bytes(b"1")
    assert len(digest_of_weights(str(tmp_path / "R.npz"))) == 64
