"""The command and a real SavedModel: REST, TensorFlow Serving's own messages, and itself."""

import asyncio
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request

import numpy as np
import pytest
from click.testing import CliRunner

from model.commands.serve import main
from model.predict import LoadedModel
from model.serving.app import Limits
from model.serving.loaded import ServedModel
from tests.free_ports import free_ports
from tests.model.serving.fake_served import serving
from tests.model.test_predict import encoded_png, model_folder
from tfx_rcnn import command

__all__ = ["model_folder"]

PICTURES = [encoded_png(40, 90), encoded_png(90, 40)]
INSTANCES = [{"b64": base64.b64encode(encoded).decode()} for encoded in PICTURES]


@pytest.fixture(scope="module")
def base(tmp_path_factory, model_folder):
    """A pushed folder with the version 4."""
    folder = tmp_path_factory.mktemp("pushed") / "cells"
    shutil.copytree(model_folder, folder / "4")
    return folder


@pytest.fixture(scope="module")
def client(base):
    with serving(base, ServedModel, Limits()) as (client, _, _):
        yield client


def assert_same(predictions, model_folder):
    """Compares rows of REST with what the model finds."""
    found = LoadedModel(model_folder).detect_bytes(PICTURES)
    for row, one in zip(predictions, found, strict=True):
        used = slice(int(row["num_detections"]))
        boxes = np.array(row["detection_boxes"], np.float32)[used]
        np.testing.assert_array_equal(boxes, one.boxes_norm)
        np.testing.assert_array_equal(
            np.array(row["detection_scores"], np.float32)[used], one.scores
        )
        np.testing.assert_array_equal(np.array(row["detection_masks"], np.float32)[used], one.masks)


def test_rest_gives_what_the_model_finds(client, model_folder):
    status, content = client.json("POST", "/v1/models/cells:predict", {"instances": INSTANCES})
    assert status == 200
    assert_same(content["predictions"], model_folder)


def test_a_predict_request_of_tensorflow_serving_gives_the_same(client, model_folder):
    """Its own protobuf messages against the loaded model, as its server would unpack them."""
    import tensorflow as tf
    from tensorflow_serving.apis.predict_pb2 import PredictRequest, PredictResponse

    request = PredictRequest()
    request.model_spec.name, request.model_spec.signature_name = "cells", "serving_default"
    request.inputs["image_bytes"].CopyFrom(tf.make_tensor_proto(PICTURES, tf.string))
    request = PredictRequest.FromString(request.SerializeToString())
    signature = tf.saved_model.load(str(model_folder)).signatures[request.model_spec.signature_name]
    inputs = {name: tf.constant(tf.make_ndarray(proto)) for name, proto in request.inputs.items()}
    response = PredictResponse()
    for name, value in signature(**inputs).items():
        response.outputs[name].CopyFrom(tf.make_tensor_proto(value))
    response = PredictResponse.FromString(response.SerializeToString())
    _, content = client.json("POST", "/v1/models/cells:predict", {"inputs": INSTANCES})
    assert set(content["outputs"]) == set(response.outputs)
    for name, proto in response.outputs.items():
        rest = np.array(content["outputs"][name], np.float32)
        np.testing.assert_array_equal(rest, tf.make_ndarray(proto))


def test_pixels_as_lists_go_to_the_other_signature(client):
    body = {"signature_name": "decoded", "instances": [np.full([4, 5, 3], 255).tolist()]}
    status, content = client.json("POST", "/v1/models/cells:predict", body)
    assert status == 200
    assert content["predictions"][0]["detection_scores"][:2] == [0.75, 1.0]


def test_metadata_are_the_message_of_tensorflow_serving(client):
    from google.protobuf import json_format
    from tensorflow_serving.apis.get_model_metadata_pb2 import (
        GetModelMetadataResponse,
        SignatureDefMap,
    )
    from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse

    _, content = client.ask("GET", "/v1/models/cells/metadata")
    message = json_format.Parse(content, GetModelMetadataResponse())
    signatures = SignatureDefMap()
    assert message.metadata["signature_def"].Unpack(signatures)
    default = signatures.signature_def["serving_default"]
    assert default.inputs["image_bytes"].dtype == 7  # DT_STRING
    assert [d.size for d in default.outputs["detection_masks"].tensor_shape.dim][2:] == [28, 28]
    _, content = client.ask("GET", "/v1/models/cells")
    status = json_format.Parse(content, GetModelStatusResponse())
    assert status.model_version_status[0].version == 4


def test_a_picture_that_the_model_refuses_is_a_line(client):
    body = {"instances": [{"b64": base64.b64encode(PICTURES[0][:-20]).decode()}]}
    status, content = client.json("POST", "/v1/models/cells:predict", body)
    assert (status, "\n" in content["error"]) == (400, False)


@pytest.mark.e2e
def test_the_command_serves_until_it_is_asked_to_end(base, model_folder):
    process = subprocess.Popen(
        command("model.serve", "--model", str(base), "--port", "0"),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        place = re.search(r"and (http://127\.0\.0\.1:\d+/v1/models/cells)", line)[1]
        body = json.dumps({"instances": INSTANCES}).encode()
        with urllib.request.urlopen(f"{place}:predict", body, timeout=60) as response:
            assert_same(json.loads(response.read())["predictions"], model_folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)


def test_a_port_that_is_taken_is_one_line(client, base):
    done = CliRunner().invoke(main, ["--model", str(base), "--port", str(client.port)])
    assert done.exit_code == 1
    assert f"--port {client.port}: cannot listen there (Address already in use)" in done.stderr


@pytest.mark.slow
def test_tensorflow_model_server_gives_the_same(base, client, model_folder):
    program = shutil.which("tensorflow_model_server")
    if program is None:
        pytest.skip("no tensorflow_model_server here: Debian has none")
    grpc, rest = free_ports(2)
    arguments = [f"--port={grpc}", f"--rest_api_port={rest}", "--model_name=cells"]
    process = subprocess.Popen([program, *arguments, f"--model_base_path={base}"], env=os.environ)
    try:
        body = json.dumps({"instances": INSTANCES}).encode()
        for _ in range(60):
            try:
                address = f"http://127.0.0.1:{rest}/v1/models/cells:predict"
                with urllib.request.urlopen(address, body, timeout=60) as response:
                    assert_same(json.loads(response.read())["predictions"], model_folder)
                return
            except OSError:
                time.sleep(1)
        raise AssertionError("tensorflow_model_server did not answer")
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.parametrize("name", ["", "a/b", "a:predict", "..", "two\nlines"])
def test_a_name_that_no_address_can_hold_is_wrong_usage(base, name):
    done = CliRunner().invoke(main, ["--model", str(base), "--port", "0", "--name", name])
    assert done.exit_code == 2
    assert "--name" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ["--host", "no.such.host.invalid"],
        ["--host", "192.0.2.1"],
        ["--host", "a" * 300],
        ["--host", "1.2.3.4.5"],
        ["--host", "[::1]"],
    ],
)
def test_an_address_that_is_none_here_is_one_line(base, arguments):
    done = CliRunner().invoke(main, ["--model", str(base), "--port", "0", *arguments])
    assert done.exit_code == 1, done.output
    assert "--host" in done.stderr
    assert "give another" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "arguments", [["--port", "65536"], ["--port", "-1"], ["--timeout", "nan"], ["--timeout", "0"],
                  ["--max-body-mb", "0"]]
)  # fmt: skip
def test_numbers_that_make_no_sense_are_wrong_usage(base, arguments):
    done = CliRunner().invoke(main, ["--model", str(base), *arguments])
    assert done.exit_code == 2, done.output


async def status_of(app, path, host):
    """Asks an application as a server would."""
    sent = []

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "headers": [(b"host", host.encode())]}
    await app({**scope, "query_string": b""}, None, send)
    return sent[0]["status"]


@pytest.mark.parametrize(
    ("host", "asked", "place"),
    [
        ("127.0.0.1", {"127.0.0.1": 200, "localhost:1": 200, "evil.example": 400}, "127.0.0.1"),
        ("::1", {"[::1]:8501": 200, "localhost": 200, "evil.example": 400}, "[::1]"),
        ("0.0.0.0", {"any.example": 200, "10.0.0.1:80": 200}, "0.0.0.0"),
    ],
)
def test_the_hosts_that_a_listening_place_answers_to(base, monkeypatch, host, asked, place):
    from model.serving import server

    answers = {}

    def ask(app, listener, most_connections):
        for name in asked:
            answers[name] = asyncio.run(status_of(app, "/v1/models/my cells", name))

    monkeypatch.setattr(server, "run_server", ask)
    arguments = ["--model", str(base), "--port", "0", "--host", host, "--name", "my cells"]
    done = CliRunner().invoke(main, arguments)
    if host == "::1" and "cannot listen there" in done.stderr:
        pytest.skip("this machine has no IPv6")
    assert done.exit_code == 0, done.output
    assert answers == asked
    assert re.search(rf"http://{re.escape(place)}:\d+/v1/models/my%20cells\n", done.stdout)
    assert ("whoever reaches this machine" in done.stderr) == (host == "0.0.0.0")
