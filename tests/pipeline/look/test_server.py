"""The server gives out the album alone, and to this machine's person alone."""

import errno
import http.client
import io
import socket
import threading
from contextlib import contextmanager

import pytest
from PIL import Image

from ground.errors import ServiceError
from pipeline.look.album import Album
from pipeline.look.places import Request, album_of
from pipeline.look.server import LookServer
from tests.components.coco_example_gen.small_dataset import image, jpeg, png, write_dataset


@contextmanager
def serving(album, host="127.0.0.1"):
    with LookServer(album, host, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look") / "D"
    images = [
        image(0, "0.jpg", 400, 600),
        image(1, "turned.jpg", 30, 20),
        image(2, "stored.jpg", 20, 30),
        image(3, "text.jpg"),
        image(4, "../instances.json"),
        image(5, "5.png"),
        image(6, "6.bmp"),
        image(7, "gone.jpg"),
    ]
    bmp = io.BytesIO()
    Image.new("RGB", (30, 20)).save(bmp, "BMP")
    pictures = {
        "0.jpg": jpeg(400, 600),
        "turned.jpg": jpeg(20, 30, orientation=6),
        "stored.jpg": jpeg(20, 30, orientation=6),
        "text.jpg": b"<script>alert(1)</script>",
        "5.png": png(mode="RGBA"),
        "6.bmp": bmp.getvalue(),
    }
    write_dataset(folder, images, [], pictures=pictures)
    (folder / "pictures" / "secret.txt").write_text("secret")
    request = Request(folder / "instances.json", pictures=folder / "pictures")
    with serving(album_of(request).album) as server:
        yield server


def get(server, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=20)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer, content


def test_the_page_and_its_data_are_given_out_with_strict_headers(server):
    kinds = {"/": "text/html", "/page.js": "text/javascript", "/data/index.js": "text/javascript"}
    for path, kind in kinds.items():
        answer, content = get(server, path)
        assert answer.status == 200 and content
        assert answer.headers["Content-Type"].startswith(kind)
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
    answer, content = get(server, "/", "HEAD")
    assert answer.status == 200 and content == b"" and int(answer.headers["Content-Length"]) > 0


def size(content):
    return Image.open(io.BytesIO(content)).size


def test_pictures_are_given_in_the_frame_of_their_boxes(server):
    answer, content = get(server, "/pictures/0.jpg?v=1")
    assert answer.headers["Content-Type"] == "image/jpeg" and size(content) == (600, 400)
    assert size(get(server, "/thumbs/0.jpg")[1]) == (320, 213)
    assert size(get(server, "/pictures/1.jpg")[1]) == (20, 30)  # turned, as the JSON states
    assert size(get(server, "/thumbs/1.jpg")[1]) == (20, 30)
    turned = Image.open(io.BytesIO(get(server, "/pictures/2.jpg")[1]))
    assert turned.size == (30, 20) and not turned.getexif()  # so that no browser turns it
    assert get(server, "/pictures/5.jpg")[0].headers["Content-Type"] == "image/png"
    assert get(server, "/pictures/6.jpg")[0].headers["Content-Type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/pictures/3.jpg", "picture_format_unsupported"),
        ("/thumbs/3.jpg", "picture_format_unsupported"),
        ("/pictures/4.jpg", "path_outside_folder"),
        ("/pictures/7.jpg", "picture_missing"),
        ("/pictures/8.jpg", "no such page"),
        ("/pictures/../secret.txt", "no such page"),
        ("/pictures/%2e%2e/secret.txt", "no such page"),
        ("/data/../server.py", "no such page"),
        ("/data/pictures-9.js", "no such page"),
        ("//etc/passwd", "no such page"),
        ("/../../../../etc/passwd", "no such page"),
        ("/secret.txt", "no such page"),
        ("/pictures/-1.jpg", "no such page"),
    ],
)
def test_nothing_else_is_given_out(server, path, said):
    answer, content = get(server, path)
    assert answer.status == 404
    assert said in content.decode() and b"secret" not in content.replace(path.encode(), b"")
    assert answer.headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 421),
        ({"Host": "evil.example:80"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost:1"}, 200),
        ({"Host": f"{socket.gethostname()}.local:1"}, 200),
        ({"Host": f"{socket.getfqdn()}:1"}, 200),
        ({"Host": "[::1]:1"}, 200),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}, 403),
        ({"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "no-cors"}, 200),
    ],
)
def test_other_sites_get_nothing(server, headers, status):
    assert get(server, "/data/index.js", **headers)[0].status == status


def test_only_reading_is_known(server):
    assert get(server, "/", "POST")[0].status == 501


def test_a_port_that_is_taken_is_left_for_the_next(server):
    taken = server.server_address[1]
    with LookServer(server.site._album, "127.0.0.1", taken) as other:
        assert other.server_address[1] in range(taken + 1, taken + 20)


def test_an_address_of_another_machine_is_said():
    with pytest.raises(ServiceError, match=r"--host 192\.0\.2\.1 --port 8765: cannot listen there"):
        LookServer(Album("none"), "192.0.2.1", 8765)


def ask(server, request):
    """Sends bytes as no browser would, and returns the first line of the answer."""
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:
        connection.sendall(request)
        with connection.makefile("rb") as answer:
            return answer.readline()


HERE = b"Host: localhost\r\n\r\n"


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: [\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: a\xff\xe9\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\n\r\n", b"421"),
        (b"GET / HTTP/1.1\r\nHost: LocalHost\r\n\r\n", b"200"),
        (b"GET http://[ HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET http://evil.example/etc/passwd HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET /pictures/\xff.jpg HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET /pictures/%00.jpg HTTP/1.1\r\n" + HERE, b"404"),
        ("GET /pictures/\u0661.jpg HTTP/1.1\r\n".encode() + HERE, b"404"),
        (b"GET /pictures/999999999.jpg HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET /pictures/9999999999.jpg HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET /data/index.js%00 HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET /data/ HTTP/1.1\r\n" + HERE, b"404"),
        (b"GET /page.js HTTP/1.1\r\nRange: bytes=0-1\r\n" + HERE, b"200"),
        (b"GET /page.js HTTP/1.0\r\n" + HERE, b"200"),
        (b"PUT / HTTP/1.1\r\nContent-Length: 3\r\n" + HERE + b"abc", b"501"),
        (b"DELETE /pictures/0.jpg HTTP/1.1\r\n" + HERE, b"501"),
        (b"OPTIONS * HTTP/1.1\r\n" + HERE, b"501"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + HERE, b"431"),
    ],
    ids=lambda value: value[:40].decode("latin-1") if len(value) > 3 else "",
)
def test_every_request_has_an_answer_and_no_traceback(server, capfd, request_, status):
    assert ask(server, request_).split(b" ")[1] == status
    assert get(server, "/")[0].status == 200  # it serves on
    assert capfd.readouterr().err == ""


def test_what_is_no_http_ends_and_the_server_goes_on(server, capfd):
    ask(server, b"\x16\x03\x01\x00\r\n\r\n")  # a browser that tries TLS
    assert get(server, "/")[0].status == 200
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("host", ["", "0.0.0.0"])
def test_at_every_address_the_page_s_own_is_this_machine_s(host):
    with LookServer(Album("none"), host, 0) as server:
        assert server.url == f"http://127.0.0.1:{server.server_address[1]}/"
        assert not server.is_own_name("")


@pytest.mark.parametrize("host", ["..", "[::1]", "local host", "a" * 70])
def test_a_host_that_is_none_is_one_line(host):
    with pytest.raises(ServiceError, match=r"--host .* --port 0: cannot listen there") as caught:
        LookServer(Album("none"), host, 0)
    assert "\n" not in str(caught.value)


def test_past_the_last_port_there_is_none():
    with LookServer(Album("none"), "127.0.0.1", 0) as one, socket.socket() as last:
        try:
            last.bind(("127.0.0.1", 65535))
            last.listen()
        except OSError as error:
            assert error.errno == errno.EADDRINUSE  # somebody else's: as good
        with pytest.raises(ServiceError, match="Address already in use"):
            LookServer(one.site._album, "127.0.0.1", 65535)
