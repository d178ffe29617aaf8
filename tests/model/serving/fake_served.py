"""A served model without TensorFlow, and a server in a thread."""

import contextlib
import http.client
import json
import socket
import threading
import time

import numpy as np

from ground.errors import DatasetError
from model.pictures import servable
from model.prediction.detections import Detections
from model.serving.app import Limits, build_app
from model.serving.errors import RequestError
from model.serving.rest import Input
from model.serving.server import server_of
from model.serving.versions import ServedVersions

DEFAULTS = Limits()
CATEGORIES = [{"id": 7, "name": "dot", "label": 1}, {"id": 9, "name": "<b>line</b>", "label": 2}]
INPUTS = {
    "serving_default": Input("image_bytes", np.dtype(object), (None,)),
    "decoded": Input("images", np.dtype(np.uint8), (None, None, None, 3)),
}


class FakeServed:
    """Finds as many things as its folder's name says, each over the whole picture."""

    categories = CATEGORIES
    max_picture_pixels = 1_000_000

    def __init__(self, folder, seconds=0.0):
        self.number = int(folder.name)
        self.seconds = seconds

    def input_of(self, signature):
        if signature not in INPUTS:
            raise RequestError(f"no signature {signature!r}: expected decoded, serving_default")
        return INPUTS[signature]

    def call(self, signature, values):
        time.sleep(self.seconds)
        for value in values if signature == "serving_default" else []:
            try:
                servable(value, "x")
            except DatasetError as error:
                raise RequestError(f"the model cannot take it: {error}") from None
        found = np.full([len(values), self.number], 0.5, np.float32)
        return {
            "detection_scores": found,
            "num_detections": np.full([len(values)], self.number, np.float32),
        }

    def detect(self, encoded):
        time.sleep(self.seconds)
        scores = np.linspace(0.9, 0.3, self.number, dtype=np.float32)
        boxes = np.tile(np.array([[0.25, 0.25, 0.75, 0.75]], np.float32), [self.number, 1])
        masks = np.tile(np.eye(28, dtype=np.float32), [self.number, 1, 1])
        return Detections(boxes, scores, np.array([7, 9] * self.number)[: self.number], masks)

    def metadata(self, name, version):
        return {"model_spec": {"name": name, "signature_name": "", "version": str(version)}}


class Client:
    """Asks a server; `status, JSON` comes back."""

    def __init__(self, port):
        self.port = port

    def ask(self, method, path, body=None, headers=()):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def json(self, method, path, body=None, headers=()):
        if isinstance(body, dict | list):
            body = json.dumps(body)
        status, content = self.ask(method, path, body, headers)
        return status, json.loads(content)


@contextlib.contextmanager
def serving(folder, load=FakeServed, limits=DEFAULTS, name="cells", hosts=None):
    """Yields a client, the versions, and the lines of errors."""
    lines = []
    versions = ServedVersions(folder, load, lines.append)
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = server_of(build_app(name, versions, limits, lines.append, hosts), 64)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield Client(listener.getsockname()[1]), versions, lines
    finally:
        server.should_exit = True
        thread.join()


def add_version(folder, number):
    (folder / str(number)).mkdir(parents=True)
    (folder / str(number) / "saved_model.pb").touch()
    return folder
