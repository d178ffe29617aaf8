"""HTTP as it is: refusals, pages, redirects, breaks and waits, each with its own end."""

import socket
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ground.errors import ConfigError, ServiceError
from pipeline.kubeflow.api.answers import NoAnswer, Refusal, Unreachable
from pipeline.kubeflow.api.service import Service, named, path_of
from tests.pipeline.kubeflow.api.server import HTML, JSON, KfpServer, Trouble

Connect = Callable[..., Service]
PAGE = b"<!doctype html><html><head><title>Log in to\n Your Account</title></head></html>"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_may_be_asked_twice_is_until_it_works(
    server: KfpServer, service: Service, status: int
) -> None:
    server.state.troubles = [Trouble(status, times=2), Trouble("drop"), Trouble("drop", "DELETE")]
    assert service.get("healthz") == {}
    assert server.state.count("GET", "healthz") == 4
    assert service.delete("runs/x") is False
    assert server.state.count("DELETE", "runs/x") == 2


@pytest.mark.parametrize(("what", "expected"), [(500, "failed with 500"), ("drop", "no answer")])
def test_tries_come_to_an_end(
    server: KfpServer, service: Service, what: int | str, expected: str
) -> None:
    server.state.troubles = [Trouble(what, times=99)]
    with pytest.raises(ServiceError, match=expected) as raised:
        service.get("healthz")
    assert "\n" not in str(raised.value)
    assert server.state.count("GET", "healthz") == 4


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 418])
def test_a_refusal_is_asked_for_once(server: KfpServer, service: Service, status: int) -> None:
    server.state.troubles = [Trouble(status, times=9)]
    with pytest.raises(Refusal) as raised:
        service.get("healthz")
    assert raised.value.status == status
    assert str(status) in str(raised.value) and "out of order" in str(raised.value)
    assert server.state.count("GET", "healthz") == 1


def test_waits_as_long_as_the_service_asks_for(server: KfpServer, connect: Connect) -> None:
    slept: list[float] = []
    service = connect()
    service.sleep = slept.append
    answers = [("7", 7.0), ("9999", 30.0), ("soon", 0.0)]
    server.state.troubles = [Trouble((503, {"Retry-After": wait}, b"")) for wait, _ in answers]
    service.get("healthz")
    assert slept == [seconds for _, seconds in answers]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ((200, HTML, PAGE), "a web page ('Log in to Your Account'), as a login does: log in"),
        ((200, JSON, PAGE), "a web page ('Log in to Your Account')"),
        ((200, HTML, b""), "a web page, as a login does: log in: put a valid token in $KF_"),
        ((302, {"Location": "/dex/auth?state=x"}, b""), "redirects to http://127.0.0.1:"),
        ((302, {"Location": "/dex/auth?state=x"}, b""), "/dex/auth: log in: put a valid token"),
        ((307, {"Location": "https://sso.my.org/"}, b""), "https://sso.my.org/: log in"),
        ((302, {"Location": "https://a:b@sso.my.org/"}, b""), "https://sso.my.org/: log in"),
        ((301, {"Location": "/elsewhere/"}, b""), "/elsewhere/: give --host the address"),
        ((302, {"Location": "/apis/v2beta1/healthz"}, b""), "give --host the address"),
        ((308, {}, b""), "redirects to"),
        ((302, {"Location": "http://[::1"}, b""), "redirects to"),
        ((200, JSON, b"[]"), "answered with '[]', which Kubeflow Pipelines does not"),
        ((200, JSON, b""), "answered with ''"),
        ((200, JSON, b"ok"), "answered with 'ok'"),
        ((200, JSON, b'{"pipeline_id": "'), "which Kubeflow Pipelines does not"),
        ((200, JSON, b"\xff\xfe\x00"), "which Kubeflow Pipelines does not"),
        ((200, JSON, b"[" * 100_000), "which Kubeflow Pipelines does not"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), "no answer"),
        ((204, {}, b""), "answered with ''"),
        ((418, HTML, PAGE), "refused with 418"),
        ((401, {}, b"Jwt is expired"), "401, not allowed (Jwt is expired): put a valid token"),
        ((403, HTML, PAGE), "403, not allowed (a web page ('Log in to Your Account')): put"),
        ((403, {}, b"RBAC: access denied"), "403, not allowed (RBAC: access denied): put a valid"),
        ((404, {}, b"404 page not found"), "is this the address of Kubeflow Pipelines"),
        ((400, JSON, b'{"error": {"code": 400, "message": "no such field"}}'), "no such field"),
        ((400, JSON, b'{"code": 3, "message": "m", "details": []}'), "400 (m)"),
        ((400, JSON, b'{"code": 3, "message": "m", "details": "x"}'), "400 (m)"),
        ((400, JSON, b'{"code": 3, "message": "a namespace"}'), "(a namespace): give --namespace"),
        ((400, JSON, b"[1]"), "refused with 400"),
        ((400, JSON, b""), "refused with 400 (without a word)"),
    ],
)
def test_an_answer_of_something_else_is_no_success(
    server: KfpServer, connect: Connect, answer: tuple[int, dict[str, str], bytes], said: str
) -> None:
    server.state.troubles = [Trouble(answer, times=99)]
    service = connect(environ={"KF_PIPELINES_TOKEN": "a-secret"})
    with pytest.raises(ServiceError) as raised:
        service.get("healthz")
    message = str(raised.value)
    assert said in message
    assert "\n" not in message and "a-secret" not in message and len(message) < 600


def test_a_redirect_takes_no_secret_along_and_no_loop_is_walked(
    server: KfpServer, connect: Connect
) -> None:
    with KfpServer() as other:
        address = f"{other.address}/apis/v2beta1/healthz"
        server.state.troubles = [Trouble((307, {"Location": address}, b""), times=99)]
        with pytest.raises(ServiceError, match="redirects to"):
            connect(environ={"KF_PIPELINES_TOKEN": "a-secret"}).get("healthz")
        assert other.state.requests == []
    assert server.state.headers[-1]["Authorization"] == "Bearer a-secret"
    assert server.state.count("GET", "healthz") == 1


def test_token_and_cookie_are_sent_as_they_are_now(
    server: KfpServer, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password mine\n")
    monkeypatch.setenv("NETRC", str(netrc))
    (tmp_path / "token").write_text("first")
    (tmp_path / "cookie").write_text("authservice_session=old")
    service = connect(token_file=tmp_path / "token", cookie_file=tmp_path / "cookie")
    server.state.token, server.state.cookie = "first", "authservice_session=old"
    service.get("healthz")
    (tmp_path / "token").write_text("second")
    (tmp_path / "cookie").write_text("authservice_session=new")
    server.state.token, server.state.cookie = "second", "authservice_session=new"
    service.get("healthz")
    with_none = connect()
    with pytest.raises(Refusal, match="401"):
        with_none.get("healthz")
    assert "Authorization" not in server.state.headers[-1]


def test_no_secret_is_told_by_an_error(server: KfpServer, connect: Connect) -> None:
    environ = {"KF_PIPELINES_TOKEN": "tok-secret", "KF_PIPELINES_COOKIE": "s=coo-secret; t=x9876"}
    server.state.troubles = [
        Trouble((400, JSON, b'{"code": 3, "message": "bad tok-secret and coo-secret and x9876"}'))
    ]
    with pytest.raises(Refusal, match=r"bad \*\*\* and \*\*\* and \*\*\*"):
        connect(environ=environ).get("healthz")


def test_lists_are_read_to_their_last_page(server: KfpServer, service: Service) -> None:
    server.state.page_size = 2
    for number in range(5):
        service.create("pipelines", lambda: None, {"display_name": f"p{number % 2}-{number}"})
    found = service.listed("pipelines", "pipelines", sort_by="created_at desc")
    assert [one["display_name"] for one in found] == ["p0-4", "p1-3", "p0-2", "p1-1", "p0-0"]
    found = service.listed("pipelines", "pipelines", filter=named("p0", "IS_SUBSTRING"))
    assert [one["display_name"] for one in found] == ["p0-0", "p0-2", "p0-4"]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"pipelines": 5}', "a list of pipelines that is none"),
        (b'{"pipelines": ["a"]}', "a list of pipelines that is none"),
        (b'{"pipelines": [{}], "next_page_token": "x"}', "has no end"),
    ],
)
def test_a_list_that_is_none_or_endless_ends(
    server: KfpServer, service: Service, body: bytes, said: str
) -> None:
    server.state.troubles = [Trouble((200, JSON, body), times=99)]
    with pytest.raises(ServiceError, match=said):
        list(service.listed("pipelines", "pipelines"))


def test_packed_answers_are_unpacked(server: KfpServer, service: Service) -> None:
    server.state.is_packed = server.state.is_multi_user = True
    assert service.get("healthz") == {"multi_user": True}


def test_namespace_is_needed_where_there_are_several_users(
    server: KfpServer, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert connect().namespace() == ""
    server.state.is_multi_user = True
    with pytest.raises(ConfigError, match="is for several users: give --namespace"):
        connect().namespace()
    assert connect(namespace="mine").namespace() == "mine"
    (tmp_path / "namespace").write_text("of-the-pod")
    name = "pipeline.kubeflow.api.connection.POD_NAMESPACE_FILE"
    monkeypatch.setattr(name, str(tmp_path / "namespace"))
    assert connect().namespace() == "of-the-pod"


def _find(server: KfpServer) -> Callable[[], dict | None]:
    return lambda: next(iter(server.state.stored["pipelines"]), None)


def _create(service: Service, server: KfpServer) -> dict:
    return service.create("pipelines", _find(server), {"display_name": "p"})


@pytest.mark.parametrize("what", ["drop", 429, 502, 503, 504])
def test_what_was_lost_is_sent_again(server: KfpServer, service: Service, what: str | int) -> None:
    server.state.troubles = [Trouble(what, "POST", times=2)]
    assert _create(service, server)["display_name"] == "p"
    assert server.state.count("POST", "pipelines") == 3
    assert len(server.state.stored["pipelines"]) == 1


@pytest.mark.parametrize("what", ["lose", "hang"])
def test_what_was_done_without_an_answer_is_found_and_not_sent_again(
    server: KfpServer, connect: Connect, what: str
) -> None:
    server.state.troubles = [Trouble(what, "POST")]
    assert _create(connect(read_seconds=0.3), server)["display_name"] == "p"
    assert server.state.count("POST", "pipelines") == 1


def test_what_a_slow_service_may_still_do_is_not_sent_again(
    server: KfpServer, connect: Connect
) -> None:
    server.state.troubles = [Trouble("hang", "POST")]
    with pytest.raises(NoAnswer, match="may or may not have been stored"):
        connect(read_seconds=0.3).create("pipelines", lambda: None, {"display_name": "p"})
    assert server.state.count("POST", "pipelines") == 1


def test_what_failed_inside_is_not_sent_again(server: KfpServer, service: Service) -> None:
    server.state.troubles = [Trouble(500, "POST", times=9)]
    with pytest.raises(Refusal, match="failed with 500"):
        _create(service, server)
    assert server.state.count("POST", "pipelines") == 1


def test_a_service_that_is_gone_after_a_lost_answer_is_told_of(
    server: KfpServer, service: Service
) -> None:
    server.state.troubles = [Trouble("drop", "POST"), Trouble(503, "GET", times=99)]

    def find() -> dict | None:
        return next(service.listed("pipelines", "pipelines"), None)

    with pytest.raises(NoAnswer, match="look before repeating it"):
        service.create("pipelines", find, {"display_name": "p"})
    assert server.state.count("POST", "pipelines") == 1


def test_sendings_come_to_an_end(server: KfpServer, service: Service) -> None:
    server.state.troubles = [Trouble("drop", "POST", times=99)]
    with pytest.raises(NoAnswer):
        _create(service, server)
    assert server.state.count("POST", "pipelines") == 3


def test_nobody_there_is_said_with_nothing_sent(connect: Connect) -> None:
    with KfpServer() as gone:
        address = gone.address
    for host, said in (
        (address, "nothing was sent"),
        ("http://no-such-host.invalid", "nothing was sent"),
        (f"http://{'a' * 70}.org", "nothing was sent"),
    ):
        with pytest.raises((ServiceError, ConfigError)) as raised:
            connect(host=host).get("healthz")
        message = str(raised.value)
        assert said in message and " object at 0x" not in message and "\n" not in message


def test_https_where_http_is_spoken_is_not_tried_again(server: KfpServer, connect: Connect) -> None:
    with pytest.raises(Unreachable, match="check http or https in --host"):
        connect(host=server.address.replace("http:", "https:")).get("healthz")


def test_authorities_file_must_be_one(connect: Connect, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--ca-file .*: no such file"):
        connect(ca_file=tmp_path / "none.pem")
    (tmp_path / "bad.pem").write_text("no certificate")
    service = connect(host="https://127.0.0.1:1", ca_file=tmp_path / "bad.pem")
    with pytest.raises(ServiceError) as raised:
        service.get("healthz")
    assert "\n" not in str(raised.value)


def test_a_proxy_is_asked_for_others_and_never_for_this_machine(
    server: KfpServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    with KfpServer() as proxy:
        address = proxy.address.replace("http://", "http://me:pro-secret@")
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, address)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        connect(environ={"KF_PIPELINES_TOKEN": "a-secret"}).get("healthz")
        assert proxy.state.requests == []
        connect(host="http://kubeflow.invalid").get("healthz")
        assert proxy.state.headers[-1]["Host"] == "kubeflow.invalid"
        assert proxy.state.headers[-1]["Proxy-Authorization"].startswith("Basic ")
    with pytest.raises(Unreachable, match="nothing was sent") as raised:
        connect(host="http://kubeflow.invalid").get("healthz")
    assert "pro-secret" not in str(raised.value)


def test_an_answer_without_end_is_given_up(connect: Connect) -> None:
    listening = socket.create_server(("127.0.0.1", 0))

    def drip() -> None:
        connection, _ = listening.accept()
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with connection:
            while not done.wait(0.02):
                try:
                    connection.sendall(b" " * 1024)
                except OSError:
                    return

    done = threading.Event()
    threading.Thread(target=drip, daemon=True).start()
    service = connect(host=f"http://127.0.0.1:{listening.getsockname()[1]}", read_seconds=0.3)
    with pytest.raises(ServiceError, match="takes too long"):
        service.create("pipelines", lambda: None, {"display_name": "p"})
    done.set()
    listening.close()


def test_paths_are_quoted() -> None:
    assert path_of("runs", "a/b ?", "x") == "runs/a%2Fb%20%3F/x"
