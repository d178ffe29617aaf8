"""What clients of other makes send: over the wire, byte for byte, to a served stand-in."""

import base64
import gzip
import http.client
import json
import socket
import struct
import threading
import zlib

import numpy as np
import pytest

from model.serving.app import Limits
from tests.model.serving.fake_served import FakeServed, add_version, serving
from tests.picture_zoo import png

PICTURE = png(b"", size=(12, 10))
TEXT = base64.b64encode(PICTURE).decode()
CODED = {"b64": TEXT}
PREDICT = "/v1/models/cells:predict"
GOOD = json.dumps({"instances": [CODED]}).encode()
LIMITS = Limits(body_bytes=1 << 16, picture_pixels=10_000, pictures=4, seconds=10)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    return add_version(tmp_path_factory.mktemp("serving") / "cells", 3)


@pytest.fixture(scope="module")
def served(cells):
    with serving(cells, limits=LIMITS) as (client, versions, lines):
        yield client, versions, lines
        assert lines == []  # nothing that a client sends is a fault of ours


@pytest.fixture
def client(served):
    return served[0]


def wire(port, *parts):
    """Sends bytes as they are; returns the answers' bytes until the server hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        for part in parts:
            connection.sendall(part)
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer


def head(*lines, method="POST", path=PREDICT, host="Host: 127.0.0.1"):
    names = [f"{method} {path} HTTP/1.1", *([host] if host else []), "Connection: close", *lines]
    return "\r\n".join([*names, "", ""]).encode("latin-1")


def status_and_json(answer):
    start, _, content = answer.partition(b"\r\n\r\n")
    return int(start.split(b" ", 2)[1]), json.loads(content)


@pytest.mark.parametrize(
    "content",
    [
        {"inputs": {"image_bytes": [CODED]}, "signature_name": ""},
        {"instances": [{"image_bytes": CODED}], "signature_name": "serving_default"},
        {"instances": [{"b64": base64.encodebytes(PICTURE).decode()}]},
        {"instances": [{"b64": TEXT.rstrip("=") + "\r\n"}]},
        {"instances": [{"b64": f" {TEXT[:5]}\t{TEXT[5:]}"}]},
    ],
    ids=["columns by name", "rows by name", "lines of 76", "no padding", "blanks"],
)  # fmt: skip
def test_bytes_come_as_the_encoders_of_clients_write_them(client, content):
    status, answer = client.json("POST", PREDICT, content)
    assert status == 200, answer
    if "inputs" in content:
        assert answer["outputs"]["num_detections"] == [3.0]
    else:
        assert [row["num_detections"] for row in answer["predictions"]] == [3.0]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data:image/png;base64," + TEXT, "not base64"),
        (base64.urlsafe_b64encode(b"\xff\xfb\xff" * 9).decode(), "not base64"),
        (TEXT[:-3] + "*==", "not base64"),
        ("A", "not base64"),
        ("", "the file is empty"),
        (base64.b64encode(b"\x89PNG\r\n\x1a\n").decode(), "cannot be decoded"),
    ],
)
def test_wrong_base64_names_the_picture(client, text, reason):
    status, answer = client.json("POST", PREDICT, {"instances": [CODED, {"b64": text}]})
    assert status == 400
    assert "picture 1" in answer["error"]
    assert reason in answer["error"]


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_a_body_may_come_as_gzip(client, coding):
    headers = {"Content-Encoding": coding}
    status, answer = client.json("POST", PREDICT, gzip.compress(GOOD), headers)
    assert (status, list(answer)) == (200, ["predictions"])
    found = client.json("POST", "/page/detect", gzip.compress(PICTURE), headers)
    assert (found[0], found[1]["height"]) == (200, 12)


@pytest.mark.parametrize(
    ("body", "coding", "status", "reason"),
    [
        (gzip.compress(b"x" * (1 << 24)), "gzip", 413, "exceeds the limit of 65536 bytes"),
        (gzip.compress(GOOD)[:-9], "gzip", 400, "not one whole gzip file"),
        (gzip.compress(GOOD) + b"more", "gzip", 400, "not one whole gzip file"),
        (GOOD, "gzip", 400, "not gzip, as its Content-Encoding says"),
        (b"", "gzip", 400, "not one whole gzip file"),
        (zlib.compress(GOOD), "deflate", 415, "'deflate': expected gzip or none"),
        (GOOD, "br", 415, "'br': expected gzip or none"),
        (gzip.compress(GOOD), "gzip, gzip", 415, "expected gzip or none"),
        (gzip.compress(GOOD), "identity", 400, "the body is not JSON"),
    ],
    # gzip's bytes hold the time, and every process has to name the tests alike.
    ids=["bomb", "cut", "more", "plain", "none", "deflate", "br", "twice", "identity"],
)
def test_another_coding_or_a_broken_one_is_a_line(client, body, coding, status, reason):
    got, answer = client.json("POST", PREDICT, body, {"Content-Encoding": coding})
    assert got == status
    assert reason in answer["error"]


@pytest.mark.parametrize(
    "kind",
    ["application/json", "text/plain", "application/x-www-form-urlencoded", "image/png", "", "é;;"],
)
def test_the_type_that_a_client_states_does_not_count(client, kind):
    """curl's -d says a form, which TensorFlow Serving takes for JSON, too."""
    headers = {"Content-Type": kind.encode("latin-1")}
    assert client.json("POST", PREDICT, GOOD, headers)[0] == 200


def chunked(content, size):
    parts = [content[n : n + size] for n in range(0, len(content), size)]
    return b"".join(b"%x;note=1\r\n%s\r\n" % (len(p), p) for p in parts) + b"0\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_body_may_come_in_chunks(client, size):
    answer = wire(client.port, head("Transfer-Encoding: chunked"), chunked(GOOD, size))
    assert status_and_json(answer)[0] == 200


def test_a_client_that_asks_before_it_sends_is_told_to_go_on(client):
    """As curl does with bodies of over a megabyte."""
    with socket.create_connection(("127.0.0.1", client.port), timeout=20) as connection:
        connection.sendall(head("Expect: 100-continue", f"Content-Length: {len(GOOD)}"))
        assert connection.recv(4096).startswith(b"HTTP/1.1 100 ")
        connection.sendall(GOOD)
        assert connection.recv(4096).startswith(b"HTTP/1.1 200 ")


def test_a_client_that_asks_to_send_too_much_is_refused_before(client):
    answer = wire(client.port, head("Expect: 100-continue", "Content-Length: 99999999999"))
    status, content = status_and_json(answer)
    assert (status, content) == (413, {"error": "the body exceeds the limit of 65536 bytes"})


@pytest.mark.parametrize(
    "lines",
    [
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: -5"],
        ["Content-Length: five"],
        ["Content-Length : 5"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Content-Length: 5", "Host: other"],
    ],
)
def test_headers_that_contradict_each_other_are_refused(client, lines):
    # In one piece: what comes after the refusal resets the connection, and its answer is lost.
    answer = wire(client.port, head(*lines) + b"hello")
    assert int(answer.split(b" ", 2)[1]) in (400, 501)
    assert b"Traceback" not in answer
    assert client.json("POST", PREDICT, GOOD)[0] == 200


def test_the_same_length_twice_is_one_length(client):
    length = f"Content-Length: {len(GOOD)}"
    assert status_and_json(wire(client.port, head(length, length), GOOD))[0] == 200


@pytest.mark.parametrize("host", ["Host: [", "Host: [::1", "Host: a:b:c", "Host:", "Host: é"])
def test_a_host_header_that_is_no_host_is_no_fault_of_ours(client, host):
    """Where any name is taken it does not count, so it may be anything."""
    answer = wire(client.port, head(method="GET", path="/v1/models/cells", host=host))
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    wrong = wire(client.port, head(method="GET", path="/v1/nothing", host=host))
    assert wrong.startswith(b"HTTP/1.1 400")


def test_http_of_the_first_version_is_answered(client):
    start = f"POST {PREDICT} HTTP/1.0\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode()
    assert status_and_json(wire(client.port, start, GOOD))[0] == 200


def test_a_connection_is_kept_from_request_to_request(client):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    for _ in range(3):
        connection.request("POST", PREDICT, GOOD)
        response = connection.getresponse()
        assert (response.status, response.will_close) == (200, False)
        response.read()
    connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("HEAD", "/", 200),
        ("HEAD", "/v1/models/cells", 200),
        ("HEAD", "/v1/models/dogs", 404),
        ("OPTIONS", PREDICT, 405),
        ("DELETE", "/v1/models/cells", 405),
        ("PATCH", "/", 405),
        ("GET", "/page/detect", 400),
        ("GET", PREDICT, 400),
        ("POST", "/", 400),
    ],
)
def test_other_methods_are_answered(client, method, path, status):
    got, content = client.ask(method, path)
    assert got == status
    if method == "HEAD":
        assert content == b""
    elif status >= 400:
        assert list(json.loads(content)) == ["error"]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/v1/models/cells/versions/0003", 200, None),
        ("/v1/models/c%65lls/versions/3", 200, None),
        ("/v1/models/cells?verbose=1", 200, None),
        ("/v1/models/cells/versions/%D9%A3", 400, "Malformed request"),
        ("/v1/models/cells/versions/3.0", 400, "Malformed request"),
        ("/v1/models/cells/versions/-1", 400, "Malformed request"),
        ("/v1/models/cells/versions/" + "0" * 5000 + "4", 404, "Servable not found"),
        ("/v1/models/cells/labels/stable", 400, "Unrecognized servable version label: stable"),
        ("/v1/models/cells/labels/stable/metadata", 400, "servable version label: stable"),
        ("/v1/models/cells%3Fa", 404, "Latest(cells?a)"),
        ("/v1/models/cells%23a/metadata", 404, "Latest(cells#a)"),
        ("/v1/models/%FF%00", 404, "Servable not found"),
        ("/v1/models/cells%0Anext", 404, "Not Found"),
        ("/v1/models/cells/", 400, "Malformed request"),
        ("//v1/models/cells", 400, "Malformed request"),
        ("/v1/models/../../etc/passwd", 400, "Malformed request"),
    ],
)
def test_addresses_that_clients_build_wrongly(client, path, status, message):
    got, content = client.json("GET", path)
    assert got == status
    if message is None:
        (state,) = content["model_version_status"]
        assert (state["version"], state["state"]) == ("3", "AVAILABLE")
    else:
        assert message in content["error"]
        assert "\n" not in content["error"]


def test_a_label_has_no_predictions(client):
    status, content = client.json("POST", "/v1/models/cells/labels/canary:predict", GOOD)
    assert (status, content) == (400, {"error": "Unrecognized servable version label: canary"})


@pytest.mark.parametrize("name", ["my cells", "zellen-ä", "100%", "what?", "#1", "a+b", "日本"])
def test_a_model_of_any_name_is_reached_by_its_encoded_name(cells, name):
    from urllib.parse import quote

    with serving(cells, name=name) as (client, _, lines):
        assert client.json("POST", f"/v1/models/{quote(name)}:predict", GOOD)[0] == 200
        assert client.json("GET", f"/v1/models/{quote(name)}/metadata")[0] == 200
        assert client.json("GET", f"/v1/models/{quote(name)}x")[0] == 404
    assert lines == []


@pytest.mark.parametrize(
    "body",
    [
        b'{"instances": [NaN]}',
        b'{"instances": [1e999]}',
        b'{"instances": [-0]}',
        b'{"instances": [[[[NaN, 1, 2]]]], "signature_name": "decoded"}',
        b'{"instances": [[[[1e400, 1, 2]]]], "signature_name": "decoded"}',
        b'{"instances": [[[[99999999999999999999, 1, 2]]]], "signature_name": "decoded"}',
        b'{"instances": [' + b"[" * 200 + b"]" * 200 + b'], "signature_name": "decoded"}',
        b'{"instances": [' + b"9" * 5000 + b"]}",
        b'{"inputs": {"image_bytes": []}, "instances": []}',
        b'{"inputs": {"images": [1]}}',
        b'{"inputs": {}}',
        b'{"inputs": {"b64": "QQ=="}}',
        b'{"instances": [], "signature_name": null}',
        b'{"instances": [], "signature_name": "\\ud800"}',
        b'{"\\ud800": []}',
        b'{"instances": [{"\\udfff": 1}]}',
        b'{"instances": "QQ=="}',
        b"instances=%5B%5D",
        b"\x00" * 100,
    ],
)
def test_odd_values_are_one_line(client, body):
    status, content = client.json("POST", PREDICT, body)
    assert status == 400
    assert list(content) == ["error"]
    assert 0 < len(content["error"]) < 400
    assert content["error"].isprintable()


def test_json_of_other_encodings_is_read(client):
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        assert client.json("POST", PREDICT, GOOD.decode().encode(encoding))[0] == 200


def test_no_rows_are_no_predictions(client):
    assert client.json("POST", PREDICT, {"instances": []}) == (200, {"predictions": []})


def test_clients_that_leave_do_no_harm(cells):
    """In the head, in the body, before the answer, and with a reset."""
    with serving(cells, lambda path: FakeServed(path, 0.05), LIMITS) as (client, _, lines):
        whole = head(f"Content-Length: {len(GOOD)}") + GOOD
        for length in (0, 1, 30, len(whole) - len(GOOD), len(whole) - 1, len(whole)):
            for is_reset in (False, True):
                connection = socket.create_connection(("127.0.0.1", client.port), timeout=20)
                connection.sendall(whole[:length])
                if is_reset:
                    linger = struct.pack("ii", 1, 0)
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                connection.close()
        assert client.json("POST", PREDICT, GOOD)[0] == 200
    assert lines == []


def test_parallel_requests_each_get_their_own_answer(client):
    answers = {}

    def ask(count):
        content = {"instances": [CODED] * (count % 5), "signature_name": ""}
        answers[count] = client.json("POST", PREDICT, content)

    threads = [threading.Thread(target=ask, args=[n]) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: (status, len(a["predictions"])) for n, (status, a) in answers.items()} == {
        n: (200, n % 5) for n in range(20)
    }


def test_a_request_after_one_that_was_wrong_is_answered(client):
    """Also where a client sends it at once, on the same connection."""
    wrong = head("Content-Length: 1").replace(b"Connection: close\r\n", b"") + b"{"
    good = head(f"Content-Length: {len(GOOD)}") + GOOD
    answer = wire(client.port, good.replace(b"Connection: close\r\n", b""), wrong)
    assert answer.count(b"HTTP/1.1 ") == 2
    assert b"HTTP/1.1 200" in answer and b"HTTP/1.1 400" in answer


def test_values_that_are_not_numbers_reach_no_page(cells):
    class Broken(FakeServed):
        def detect(self, encoded):
            found = super().detect(encoded)
            found.scores[0] = np.nan
            return found

    with serving(cells, Broken) as (client, _, lines):
        status, content = client.json("POST", "/page/detect", PICTURE)
    assert (status, list(content)) == (500, ["error"])
    assert len(lines) == 1
