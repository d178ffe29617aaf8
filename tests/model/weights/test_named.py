"""Weights by name: their files in the cache folder, fetched whole from a server or not at all."""

import dataclasses
import hashlib
import http.server
import threading
from pathlib import Path

import numpy as np
import pytest

from configs.backbones import KERAS_BACKBONES, OWN_BACKBONES
from ground.cache import cache_folder
from ground.errors import ConfigError, ModelError
from model.weights.fetching import MIRROR_VARIABLE, ensure_weights
from model.weights.files import (
    KINDS,
    SUFFIXES,
    check_start_weights,
    read_weights,
    weights_digest,
)
from model.weights.named import NAMED, cached_path, is_file_name, is_name, weights_path
from tests.model.weights.torch_files import save_zip, tensor

REPO = Path(__file__).parents[3]
RESNET18 = "imagenet/torchvision-resnet18"
LITE = "imagenet/efficientnet-lite0"


@dataclasses.dataclass
class Server:
    address: str
    files: dict[str, bytes]
    asked: list[str]
    cut: int = 0


@pytest.fixture
def server():
    state = Server("", {}, [])

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            state.asked.append(self.path)
            content = state.files.get(self.path.lstrip("/"))
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) - state.cut])

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        state.address = f"http://127.0.0.1:{listening.server_address[1]}"
        yield state
        listening.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TFX_RCNN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "weights"


@pytest.fixture
def published(monkeypatch, server, tmp_path):
    """A file whose checksum is that of a name, on the server."""
    save_zip(tmp_path / "made.pth", {"conv1.weight": tensor(np.ones((2, 2), np.float32))})
    content = (tmp_path / "made.pth").read_bytes()
    digits = hashlib.sha256(content).hexdigest()
    entry = NAMED[RESNET18]._replace(checksum=f"sha256:{digits[:8]}")
    monkeypatch.setitem(NAMED, RESNET18, entry)
    server.files[entry.file] = content
    return content


def test_a_file_is_fetched_once_and_told_of_first(server, cache, published):
    said = []
    environ = {MIRROR_VARIABLE: f"{server.address}/"}
    path = ensure_weights(RESNET18, said.append, environ)
    assert path == cache / "resnet18-f37072fd.pth" and path.read_bytes() == published
    assert [p.name for p in cache.iterdir()] == [path.name]
    assert said[0].endswith(f"MB, from {server.address}/resnet18-f37072fd.pth")
    assert f"checksum {NAMED[RESNET18].checksum.replace(':', ' ')}" in said[1]
    assert "BSD-3-Clause" in said[1] and "ImageNet" in said[1]
    assert ensure_weights(RESNET18, said.append, environ) == path
    assert len(server.asked) == 1 and len(said) == 3
    assert list(read_weights(RESNET18)) == ["conv1.weight"]
    assert weights_digest(RESNET18) == hashlib.sha256(published).hexdigest()


@pytest.mark.parametrize("harm", ["cut", "other", "absent", "nobody"])
def test_nothing_stays_of_what_is_not_whole(server, cache, published, harm):
    environ = {MIRROR_VARIABLE: server.address}
    if harm == "cut":
        server.cut = 10
    elif harm == "other":
        server.files["resnet18-f37072fd.pth"] = published + b"more"
    elif harm == "absent":
        server.files.clear()
    else:
        environ = {MIRROR_VARIABLE: "http://127.0.0.1:9"}
    why = {
        "cut": r"after [\d,]+ of [\d,]+ bytes|IncompleteRead",
        "other": "has the sha256",
        "absent": "answered 404",
        "nobody": "refused",
    }[harm]
    with pytest.raises(ModelError, match=why) as caught:
        ensure_weights(RESNET18, lambda line: None, environ)
    message = str(caught.value)
    assert "\n" not in message and f"put it as {cache / 'resnet18-f37072fd.pth'}" in message
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in message
    assert not cache.exists() or list(cache.iterdir()) == []


def test_what_nobody_publishes_says_which_file_to_put_where(cache):
    with pytest.raises(ModelError, match="make efficientnet_lite0_imagenet") as caught:
        ensure_weights(LITE, print, {})
    assert str(cache / "efficientnet_lite0_imagenet.npz") in str(caught.value)
    with pytest.raises(ModelError, match=r"no file .*efficientnet_lite0_imagenet\.npz"):
        check_start_weights(LITE)
    check_start_weights(RESNET18)  # can be fetched


@pytest.mark.parametrize("weights", ["coco/torchvision-mask-rcnn-r50", "imagenet/", "coco/x"])
def test_a_name_that_there_is_not_is_answered_with_the_nearest(cache, weights):
    for act in (check_start_weights, weights_path, lambda w: ensure_weights(w, print, {})):
        with pytest.raises(
            ModelError, match=r"none named '.*(did you mean|there are) (coco|image)"
        ):
            act(weights)


def test_a_file_of_the_users_comes_before_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "coco").mkdir()
    (tmp_path / "coco" / "mine.npz").write_bytes(b"x")
    assert not is_name("coco/mine.npz") and is_file_name("coco/mine.npz")
    assert is_name("coco/absent.npz") and not is_file_name("imagenet") and not is_name(None)


def test_the_cache_folder_goes_by_the_desktops_rules(monkeypatch):
    monkeypatch.delenv("TFX_RCNN_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/mine")
    assert str(cached_path(NAMED[LITE])) == "/var/mine/tfx-rcnn/weights/" + NAMED[LITE].file
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/people/me")
    assert str(cached_path(NAMED[LITE])).startswith("/people/me/.cache/tfx-rcnn/")
    monkeypatch.setenv("HOME", "relative")
    with pytest.raises(ConfigError, match="TFX_RCNN_CACHE"):
        cached_path(NAMED[LITE])


def test_every_name_is_whole_and_in_the_docs():
    page = (REPO / "docs" / "weights.md").read_text()
    for name, entry in NAMED.items():
        assert f"| {name} | `{entry.file}` |" in page
        assert entry.kind in KINDS and Path(entry.file).suffix in SUFFIXES
        assert entry.backbone in OWN_BACKBONES | KERAS_BACKBONES
        algorithm, _, digits = entry.checksum.partition(":")
        assert (algorithm, len(digits)) in [("sha256", 8), ("sha256", 64), ("md5", 32), ("", 0)]
        if entry.kind == "torchvision":
            assert entry.file.removesuffix(".pth").endswith(f"-{digits}")
        assert entry.url.endswith(f"/{entry.file}") or not entry.url
    assert len({entry.file for entry in NAMED.values()}) == len(NAMED)


def test_a_tilde_in_the_cache_variable_is_the_home(monkeypatch):
    monkeypatch.setenv("HOME", "/people/me")
    assert str(cache_folder({"TFX_RCNN_CACHE": "~/w"})) == "/people/me/w"
    assert str(cache_folder({"TFX_RCNN_CACHE": "/a/~b"})) == "/a/~b"
    assert cache_folder({"TFX_RCNN_CACHE": "w"}) == Path.cwd() / "w"


def test_an_empty_variable_is_none(monkeypatch):
    monkeypatch.setenv("HOME", "/people/me")
    environ = {"TFX_RCNN_CACHE": "", "XDG_CACHE_HOME": ""}
    assert str(cache_folder(environ)) == "/people/me/.cache/tfx-rcnn"


@pytest.mark.parametrize(
    "mirror", ["file:///etc", "ftp://127.0.0.1", "http://[", "/a/folder", "x y"]
)
def test_a_mirror_that_is_no_address_is_named(cache, mirror):
    with pytest.raises(ModelError, match=r"cannot be fetched \(.+\)") as caught:
        ensure_weights(RESNET18, lambda line: None, {MIRROR_VARIABLE: mirror})
    assert mirror in str(caught.value) and not list(cache.glob("*"))


def test_a_cache_that_cannot_be_written_is_said(server, cache, published):
    cache.parent.write_bytes(b"a file where the folder should be")
    with pytest.raises(ModelError, match=r"cannot be fetched \(.*(director|exists)") as caught:
        ensure_weights(RESNET18, lambda line: None, {MIRROR_VARIABLE: server.address})
    assert "\n" not in str(caught.value)
    assert cache.parent.read_bytes() == b"a file where the folder should be"


def test_what_stood_before_in_the_cache_is_not_touched_by_a_failure(server, cache, published):
    cache.mkdir(parents=True)
    (cache / "mine.npz").write_bytes(b"mine")
    server.cut = 1
    with pytest.raises(ModelError, match="put it as"):
        ensure_weights(RESNET18, lambda line: None, {MIRROR_VARIABLE: server.address})
    assert [path.name for path in cache.iterdir()] == ["mine.npz"]


def test_what_is_no_name_is_not_fetched(server, cache):
    environ = {MIRROR_VARIABLE: server.address}
    assert ensure_weights(None, print, environ) is None
    assert ensure_weights("a/b.npz", print, environ) == Path("a/b.npz")
    assert ensure_weights("/coco/x", print, environ) == Path("/coco/x")
    assert server.asked == []
