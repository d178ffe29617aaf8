"""Addresses, and what of them nobody should read."""

import time

import pytest

from ground.addresses import secrets_of, shown_address, shown_leaves, shown_text


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sftp://me:pw@host/a/train.json", "sftp://me:***@host/a/train.json"),
        ("sftp://me:a@host/data", "sftp://me:***@host/data"),
        ("sftp://me:p%40ss@host/x@2.jpg", "sftp://me:***@host/x@2.jpg"),
        ("sftp://me:p@ss@host/x", "sftp://me:***@host/x"),
        ("sftp://me:p/a#s?s@host/x", "sftp://me:***@host/x"),
        ("ftp://me:p[s@host/x", "ftp://me:***@host/x"),
        ("https://host:80/a@b.jpg", "https://host:80/a@b.jpg"),
        ("https://host/x?X-Amz-Signature=ab&v=1", "https://host/x?X-Amz-Signature=***&v=1"),
        ("s3://bucket/a:b@c", "s3://bucket/a:b@c"),
        ("/disk/me:pw@host?sig=1", "/disk/me:pw@host?sig=1"),
        ("https://ghp_Token@host/x", "https://***@host/x"),
        ("http://[::1]:8080/x@y", "http://[::1]:8080/x@y"),
        ("github://org:repo@main/x", "github://org:repo@main/x"),
    ],
)
def test_an_address_is_shown_without_its_secrets(address: str, shown: str) -> None:
    assert shown_address(address) == shown
    assert shown_text(f"{{x: '{address}'}}") == f"{{x: '{shown}'}}"


def test_every_address_in_a_text_is_shown_so() -> None:
    text = "train=ftp://a:one@h/x:ftp://a:two@h/y, [sftp://b:three@h]"
    assert shown_text(text) == "train=ftp://a:***@h/x:ftp://a:***@h/y, [sftp://b:***@h]"


def test_secrets_are_known_as_they_stand_and_decoded() -> None:
    assert secrets_of("sftp://me:p%40ss@host/x?sig=a%2Fb&v=1") == [
        "p%40ss", "a%2Fb", "p@ss", "a/b",
    ]  # fmt: skip
    assert secrets_of("sftp://me@host/x?v=1") == secrets_of("/me:pw@host") == []


def test_secrets_in_a_value_of_json_are_hidden() -> None:
    value = {"a": ["ftp://me:pw@h", ("ftp://me:pw@h", 1, None)], "b": {"c": "s3://b?sig=x"}}
    assert shown_leaves(value) == {
        "a": ["ftp://me:***@h", ["ftp://me:***@h", 1, None]],
        "b": {"c": "s3://b?sig=***"},
    }


@pytest.mark.parametrize("unit", ["a", "a+", "a://", "a://b:c", "a://@", "a:b@", "&key=", ":"])
def test_a_million_letters_take_seconds_not_hours(unit: str) -> None:
    letters = unit * (1_000_000 // len(unit))
    start = time.process_time()
    shown_text(f"s3://{letters}")
    shown_text(f"{letters}://x")
    assert time.process_time() - start < 20
