import base64
import json
import resource
import socket
import threading
import time

import numpy as np
import pytest

from ground.errors import ModelError
from model.serving.app import Limits
from tests.model.serving.fake_served import CATEGORIES, FakeServed, add_version, serving
from tests.picture_zoo import png, zoo

GOOD = zoo()["JPEG: EXIF with a tag of another type"][0]
CODED = {"b64": base64.b64encode(GOOD).decode()}
PREDICT = "/v1/models/cells:predict"


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return add_version(tmp_path_factory.mktemp("serving") / "cells", 3)


@pytest.fixture(scope="module")
def client(cells):
    limits = Limits(body_bytes=1 << 20, picture_pixels=10_000, pictures=4, seconds=10)
    with serving(cells, limits=limits, hosts=["127.0.0.1"]) as (client, _, _):
        yield client


@pytest.mark.parametrize(
    "path", [PREDICT, "/v1/models/cells/versions/3:predict", "/V1/Models/cells:PREDICT"]
)
def test_predictions_come_from_tensorflow_servings_addresses(client, path):
    status, content = client.json("POST", path, {"instances": [CODED, CODED]})
    assert status == 200
    assert content["predictions"][1] == {"detection_scores": [0.5] * 3, "num_detections": 3.0}


def test_status_and_metadata_are_told(client):
    state = {"version": "3", "state": "AVAILABLE"}
    state["status"] = {"error_code": "OK", "error_message": ""}
    for path in ("/v1/models/cells", "/v1/models/cells/versions/3"):
        assert client.json("GET", path) == (200, {"model_version_status": [state]})
    status, content = client.json("GET", "/v1/models/cells/metadata")
    assert (status, content["model_spec"]["version"]) == (200, "3")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v1/models/half:predict", {"instances": []}, 404,
         "Servable not found for request: Latest(half)"),
        ("POST", "/v1/models/cells/versions/2:predict", {"instances": []}, 404,
         "Servable not found for request: Specific(cells, 2)"),
        ("GET", f"/v1/models/cells/versions/{'9' * 5000}", None, 404, "Servable not found"),
        ("POST", "/v1/models/cells:regress", {}, 400, "only knows predict"),
        ("POST", "/v1/models/cells", {}, 400, "Malformed request: POST"),
        ("GET", "/v1/models", None, 400, "Malformed request: GET"),
        ("PUT", PREDICT, {}, 405, "Method Not Allowed"),
        ("POST", PREDICT, "{", 400, "the body is not JSON"),
        ("POST", PREDICT, {"instances": [{"b64": "bm8="}]}, 400, "picture 0: cannot be decoded"),
        ("POST", PREDICT, {"instances": [CODED], "signature_name": "x"}, 400, "no signature 'x'"),
        ("POST", PREDICT, {"instances": [CODED] * 5}, 413, "exceed the limit 4"),
        ("POST", PREDICT, "x" * (2 << 20), 413, "exceeds the limit of 1048576 bytes"),
        ("POST", "/page/detect", "no picture", 400, "the picture: cannot be decoded"),
        ("POST", "/page/detect", "", 400, "the file is empty"),
    ],
)  # fmt: skip
def test_wrong_requests_are_answered_with_a_line(client, method, path, body, status, message):
    got, content = client.json(method, path, body)
    assert got == status
    assert list(content) == ["error"]
    assert message in content["error"]
    assert "\n" not in content["error"]


def test_a_large_picture_is_refused_by_its_header(client):
    coded = base64.b64encode(png(b"", size=(200, 200))).decode()
    status, content = client.json("POST", PREDICT, {"instances": [{"b64": coded}]})
    assert status == 400
    assert "200 x 200 pixels exceed" in content["error"]


def test_a_body_without_a_length_ends_at_the_limit(client):
    body = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    headers = {"Transfer-Encoding": "chunked"}
    # It hangs up on who still sends, who may or may not get to read why.
    assert raw_answer(client.port, "POST", PREDICT, body * 64, headers) in (0, 413)
    assert client.ask("GET", "/v1/models/cells")[0] == 200


def test_another_name_of_this_machine_is_not_answered(client):
    assert client.ask("GET", "/page/model", headers={"Host": "evil.example"})[0] == 400


def test_the_page_gets_what_it_draws(client):
    status, content = client.json("GET", "/page/model")
    assert (status, content["name"]) == (200, "cells")
    assert [c["name"] for c in content["classes"]] == [c["name"] for c in CATEGORIES]
    status, content = client.json("POST", "/page/detect", GOOD)
    assert status == 200
    assert (content["width"], content["height"], content["mask_side"]) == (48, 64, 28)
    first = content["detections"][0]
    assert first["box"] == [12, 16, 24, 32]
    assert len(base64.b64decode(first["mask"])) == 28 * 28


def test_new_versions_are_taken_up_and_withdrawn_ones_left(tmp_path):
    folder = add_version(tmp_path / "cells", 1)

    def load(path):
        if path.name == "2":
            raise ModelError("cannot be loaded")
        return FakeServed(path)

    with serving(folder, load) as (client, versions, lines):
        add_version(folder, 2)
        versions.look()
        versions.look()
        assert lines == ["version 2 is not served, version 1 stays: cannot be loaded"]
        _, content = client.json("GET", "/v1/models/cells")
        states = [(s["version"], s["state"]) for s in content["model_version_status"]]
        assert states == [("2", "END"), ("1", "AVAILABLE")]
        add_version(folder, 10)
        (folder / "latest").mkdir()
        versions.look()
        assert client.json("POST", PREDICT, {"instances": [CODED]})[1]["predictions"][0] == {
            "detection_scores": [0.5] * 10,
            "num_detections": 10.0,
        }
        (folder / "10").rename(folder / "withdrawn-10")
        (folder / "2").rename(folder / "withdrawn-2")
        versions.look()
        assert lines[1:] == [
            "version 10 is served, no longer version 1",
            "version 1 is served, no longer version 10",
        ]
        (folder / "1").rename(folder / "withdrawn-1")
        versions.look()
        assert versions.current.number == 1


def test_what_takes_too_long_is_given_up_and_others_wait_their_turn(cells):
    def slow(path):
        return FakeServed(path, seconds=0.6)

    with serving(cells, slow, Limits(seconds=0.2, waiting=3)) as (client, _, lines):
        answers = []

        def ask():
            answers.append(client.json("POST", PREDICT, {"instances": [CODED]}))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {status for status, _ in answers} == {503}
        assert {content["error"] for _, content in answers} == {
            "took longer than 0.2 s",
            "too many requests wait for the model: try again later",
        }
        assert lines == []


def test_an_error_of_ours_is_told_on_both_sides(cells):
    class Broken(FakeServed):
        def call(self, signature, values):
            raise ZeroDivisionError("ours")

    with serving(cells, Broken) as (client, _, lines):
        status, content = client.json("POST", PREDICT, {"instances": [CODED]})
    assert (status, content) == (500, {"error": "ZeroDivisionError: ours"})
    assert lines == [f"POST '{PREDICT}': ZeroDivisionError: ours"]


def mutated(random):
    """Returns a request that is broken in one way or another: method, path, body, headers."""
    good = json.dumps({"instances": [CODED], "signature_name": "serving_default"}).encode()
    path = random.choice([PREDICT, "/page/detect", "/v1/models/cells", "/v1/models/cells/metadata"])
    method = random.choice(["POST", "POST", "POST", "GET", "PUT", "HEAD", "OPTIONS", "XYZ"])
    body = bytearray(random.choice([good, GOOD, b"", b"[]", b"null"]))
    for _ in range(random.integers(0, 6)):
        place = random.integers(0, len(body) + 1)
        kind = random.integers(0, 4)
        if kind == 0:
            body[place : place + random.integers(0, 200)] = b""
        elif kind == 1:
            body[place:place] = random.bytes(random.integers(1, 9))
        elif kind == 2 and len(body):
            body[random.integers(0, len(body))] = random.integers(0, 256)
        else:
            body[place:place] = random.choice(
                [b"[" * 3000, b'{"b64":', b"null", b"1e999", b"NaN", b'"\\u0000"', b"9" * 400]
            )
    if random.random() < 0.2:
        path = "".join(random.choice(list("/v1modelscells:predict%00..\\?#é"), 24))
        path = "/" + path.encode("ascii", "ignore").decode()
    headers = {}
    if random.random() < 0.2:
        headers = {
            str(
                random.choice(["Content-Length", "Content-Type", "Accept", "Transfer-Encoding"])
            ): str(
                random.choice(["-1", "3", "chunked", "application/x-www-form-urlencoded", "x" * 99])
            )
        }
    return str(method), path, bytes(body), headers


def raw_answer(port, method, path, body, headers):
    """Returns the status that a request gets; 0 where the server hangs up."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(head + body)
            connection.shutdown(socket.SHUT_WR)
            answer = b""
            while part := connection.recv(65536):
                answer += part
        except ConnectionError:
            return 0
    return int(answer.split(b" ", 2)[1]) if answer else 0


def fuzz(cells, count):
    """Asks broken requests; returns statuses, KiB grown after the first fifth, and new threads."""
    random = np.random.default_rng(0)
    statuses = {}
    limits = Limits(body_bytes=1 << 20, picture_pixels=10_000, pictures=4, seconds=10)
    others = set(threading.enumerate())  # other tests of this process left some
    with serving(cells, limits=limits) as (client, _, lines):
        grown = 0
        for n in range(count):
            status = raw_answer(client.port, *mutated(random))
            statuses[status] = statuses.get(status, 0) + 1
            if n == count // 5:
                grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert lines == []
        threads = len(set(threading.enumerate()) - others)
        assert client.json("POST", PREDICT, {"instances": [CODED]})[0] == 200
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - grown
    return statuses, grown, threads


def test_broken_requests_do_no_harm(cells):
    statuses, _, threads = fuzz(cells, 300)
    assert set(statuses) <= {0, 200, 400, 404, 405, 413}
    assert statuses[400] > 50 and statuses[200] > 5
    assert threads <= 4  # the server, two that predict, one of asyncio's


@pytest.mark.slow
def test_ten_thousand_broken_requests_do_no_harm_and_it_does_not_grow(cells):
    statuses, grown, threads = fuzz(cells, 10_000)
    assert set(statuses) <= {0, 200, 400, 404, 405, 413}
    assert grown < 20_000
    assert threads <= 4  # the server, two that predict, one of asyncio's


def test_a_slow_body_is_given_up(cells):
    with serving(cells, limits=Limits(seconds=0.3)) as (client, _, _):
        with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
            head = f"POST {PREDICT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n"
            connection.sendall(head.encode())
            start = time.monotonic()
            assert b" 408 " in connection.recv(4096)
            assert time.monotonic() - start < 10
