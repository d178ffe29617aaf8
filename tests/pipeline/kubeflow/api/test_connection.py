"""Where secrets come from, and where they do not go."""

import os
from pathlib import Path

import pytest

from ground.errors import ConfigError
from pipeline.kubeflow.api import connection
from pipeline.kubeflow.api.connection import (
    Connection,
    check_secrets_are_safe,
    checked_host,
    read_cookie,
    read_token,
)


def test_token_comes_from_file_then_environment_then_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "POD_TOKEN_FILE", str(tmp_path / "pod"))
    assert read_token(None, {}) is None
    (tmp_path / "pod").write_text("from-pod\n")
    assert read_token(None, {}).text() == "from-pod"
    (tmp_path / "named").write_text("from-named-pod")
    environ = {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "named")}
    assert read_token(None, environ).text() == "from-named-pod"
    environ["KF_PIPELINES_TOKEN"] = "from-environment"
    assert read_token(None, environ).text() == "from-environment"
    path = tmp_path / "token"
    path.write_text("from-file\n")
    assert read_token(path, environ).text() == "from-file"
    path.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        read_token(path, environ)
    (tmp_path / "named").unlink()
    with pytest.raises(ConfigError, match=r"KF_PIPELINES_SA_TOKEN_PATH.*No such file"):
        read_token(None, {"KF_PIPELINES_SA_TOKEN_PATH": str(tmp_path / "named")})


def test_a_secret_is_read_anew_where_its_file_can_change(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("old-token")
    token = read_token(path, {})
    path.write_text("new-token")
    assert token.text() == "new-token"

    reading, writing = os.pipe()  # as `--token-file <(...)` is
    os.write(writing, b"piped-token\n")
    os.close(writing)
    piped = read_token(Path(f"/dev/fd/{reading}"), {})
    assert [piped.text(), piped.text()] == ["piped-token"] * 2
    os.close(reading)


@pytest.mark.parametrize(
    "content", [b"two words", b"a\nb", "tökén".encode(), b"\xff", b"x" * 70_000]
)
def test_a_file_that_holds_no_token_is_refused_unread_aloud(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "token"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="holds no token") as raised:
        read_token(path, {})
    assert content[:3].decode("latin-1") not in str(raised.value).replace(str(path), "")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_token(tmp_path, {})


def test_cookie_is_a_name_and_a_value(tmp_path: Path) -> None:
    path = tmp_path / "cookie"
    path.write_text("authservice_session=abc; other=1\n")
    assert read_cookie(path, {}).text() == "authservice_session=abc; other=1"
    assert read_cookie(None, {"KF_PIPELINES_COOKIE": "a=b"}).text() == "a=b"
    assert read_cookie(None, {}) is None
    path.write_text("abc")
    with pytest.raises(ConfigError, match="holds no cookie"):
        read_cookie(path, {})


@pytest.mark.parametrize(
    ("host", "is_safe"),
    [
        ("https://kubeflow.my.org", True),
        ("http://localhost:8080", True),
        ("http://127.0.0.1:8080/pipeline", True),
        ("http://[::1]:8080", True),
        ("http://kubeflow.my.org", False),
        ("http://ml-pipeline.kubeflow.svc.cluster.local:8888", False),
        ("http://localhost.my.org", False),
        ("http://10.0.0.1", False),
    ],
)
def test_no_secret_goes_over_plain_http_unless_told(host: str, is_safe: bool) -> None:
    check_secrets_are_safe(host, has_secrets=False, allow_http=False)
    check_secrets_are_safe(host, has_secrets=True, allow_http=True)
    if is_safe:
        check_secrets_are_safe(host, has_secrets=True, allow_http=False)
    else:
        with pytest.raises(ConfigError, match="plain http to another machine"):
            check_secrets_are_safe(host, has_secrets=True, allow_http=False)


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("https://", "expected an address"),
        ("localhost:8080", "expected an address"),
        ("ftp://a.org", "expected an address"),
        ("http://[::1", "expected an address"),
        ("http://a.org:99999", "expected an address"),
        ("http://a.org:x", "expected an address"),
        ("http://a b", "expected an address"),
        ("http://a.org/\n", "expected an address"),
        ("", "expected an address"),
        ("https://me:pass@a.org", "no name and password in it"),
        ("https://a.org/#/pipelines", "leave out what begins with #"),
        ("https://a.org/?x=1", "leave out what begins with #"),
    ],
)
def test_an_address_that_is_none_is_refused(host: str, said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        checked_host(host)
    assert said in str(raised.value) and "pass@" not in str(raised.value)


def test_options_are_told_without_secrets() -> None:
    made = Connection("https://a.org", "team", Path("my token"), allow_http=True)
    assert made.options() == (
        "--host https://a.org --namespace team --token-file 'my token' --allow-http"
    )
