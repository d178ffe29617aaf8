"""The folder of an exported model that nobody loads: what a push and the gate look at."""

import json


def write_fake_model(
    folder, model_id="aa", categories=((3, "cat"), (7, "dog")), weights=b"weights"
):
    """Writes a model's folder and returns it."""
    for name in ("assets", "assets.extra", "variables"):
        (folder / name).mkdir(parents=True)
    labelled = [{"id": n, "name": name, "label": k} for k, (n, name) in enumerate(categories, 1)]
    (folder / "saved_model.pb").write_bytes(b"graph of " + model_id.encode())
    (folder / "variables/variables.data-00000-of-00001").write_bytes(weights)
    (folder / "assets/categories.json").write_text(json.dumps(labelled))
    (folder / "assets/config.json").write_text(json.dumps({"input": {}, "model": {}}))
    (folder / "assets.extra/model_id.json").write_text(json.dumps({"model_id": model_id}))
    return folder


def damage(kind, folder):
    """Damages the folder of a pushed model; see DAMAGES for the kinds."""
    DAMAGES[kind](folder)


def _write(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def _remove(name):
    return lambda folder: (folder / name).unlink()


def _truncate_weights(folder):
    path = folder / "variables/variables.data-00000-of-00001"
    path.write_bytes(path.read_bytes()[:-1])


def _dangling_link(folder):
    (folder / "assets/more").symlink_to(folder / "nowhere")


DAMAGES = {
    "model id emptied": _write("assets.extra/model_id.json", b""),
    "model id gone": _remove("assets.extra/model_id.json"),
    "model id a list": _write("assets.extra/model_id.json", b"[]"),
    "model id a number": _write("assets.extra/model_id.json", b'{"model_id": 5}'),
    "model id nested": _write("assets.extra/model_id.json", b"[" * 100_000),
    "model id not text": _write("assets.extra/model_id.json", b"\xff\xfe"),
    "categories emptied": _write("assets/categories.json", b""),
    "categories without names": _write("assets/categories.json", b'[{"id": 3, "label": 1}]'),
    "config gone": _remove("assets/config.json"),
    "config a word": _write("assets/config.json", b'"config"'),
    "graph gone": _remove("saved_model.pb"),
    "graph changed": _write("saved_model.pb", b"another graph"),
    "weights gone": _remove("variables/variables.data-00000-of-00001"),
    "weights cut": _truncate_weights,
    "a link that leads nowhere": _dangling_link,
    "push note emptied": _write("assets.extra/push.json", b""),
    "push note a list": _write("assets.extra/push.json", b"[]"),
}
