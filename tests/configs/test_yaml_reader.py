"""Reading YAML: what looks like a number is one, and what could be two things is text."""

import os
import time
from pathlib import Path

import pytest
import yaml

from configs.yaml_reader import (
    LARGEST_CONFIG_BYTES,
    read_documents,
    read_yaml_file,
    read_yaml_value,
)
from ground.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def read(text: str) -> object:
    [document] = read_documents(text, "c.yaml")
    return document


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1), ("-7", -7), ("+5", 5), ("0", 0), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0),
        ("1e-4", 1e-4), ("1E3", 1000.0), ("1.0e-5", 1e-5), ("-2.5e+3", -2500.0),
        ("true", True), ("False", False), ("null", None), ("~", None),
        ("010", "010"), ("00.5", "00.5"), ("1:30", "1:30"), ("1:30:00", "1:30:00"),
        ("0x4", "0x4"), ("0b1", "0b1"), ("0o17", "0o17"), ("1_000", "1_000"), ("1,000", "1,000"),
        ("yes", "yes"), ("NO", "NO"), ("on", "on"), ("off", "off"), ("y", "y"), ("tRUE", "tRUE"),
        (".nan", ".nan"), (".inf", ".inf"), ("-.INF", "-.INF"), ("NaN", "NaN"), ("inf", "inf"),
        ("2020-01-01", "2020-01-01"), ("2020-01-01 10:00:00", "2020-01-01 10:00:00"), ("=", "="),
        ("'1'", "1"), ('"true"', "true"), ("'null'", "null"), ("٣", "٣"), ("1 2", "1 2"),
    ],
)  # fmt: skip
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    for found in (read(f"k: {text}")["k"], read(f"[{text}]")[0] if "," not in text else value):
        assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(
    "path", sorted(CONFIGS.rglob("*.yaml")), ids=lambda path: str(path.relative_to(CONFIGS))
)
def test_every_file_of_ours_keeps_its_meaning(path: Path) -> None:
    # repr: 1, 1.0 and True are equal.
    assert repr(read_yaml_file(path)) == repr(yaml.safe_load(path.read_text("utf-8")))


def test_an_alias_and_a_merge_key_still_work() -> None:
    text = "a: &x {p: 1, q: 2}\nb: *x\nc: {<<: *x, q: 3}\nd: {<<: [{p: 5}, {p: 6, r: 7}]}\n"
    assert read(text) == {
        "a": {"p": 1, "q": 2},
        "b": {"p": 1, "q": 2},
        "c": {"p": 1, "q": 3},
        "d": {"p": 5, "r": 7},
    }


BOMB = "a0: &a0 [1, 2]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MERGED_BOMB = "a0: &a0 {k: 1}\n" + "".join(
    f"a{n}: &a{n} {{<<: *a{n - 1}, {', '.join(f'k{n}_{i}: *a{n - 1}' for i in range(10))}}}\n"
    for n in range(1, 12)
)
LONG_TEXT_BOMB = f"t: &t {'x' * 100_000}\nl: [{', '.join(['*t'] * 10_000)}]\n"
LADDER = "a0: &a0 []\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 2000))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: a is given twice, first in line 1"),
        ("a:\n  b: {c: 1,\n    c: 1}\n", "line 3: a.b.c is given twice, first in line 2"),
        ("l: [{m: 1, m: 2}]\n", "line 1: l.m is given twice"),
        ('"a": 1\na: 2\n', "line 2: a is given twice"),
        ("<<: {a: 1}\n<<: {b: 1}\n", "line 2: << is given twice"),
        ("a: 1\n? {b: 1}\n: 2\n", "line 2: a key must be text"),
        ("a: 1\n2: 2\n", "line 2: the key '2' is not text"),
        ("true: 1\n", "the key 'true' is not text"),
        ("? \n: 1\n", "the key 'null' is not text"),
        ("a: &x b\n*x : 1\n", "line 2: a key must be text, not an alias"),
        ("[" * 3000, "nested more than 40 deep"),
        ("{a: " * 3000, "nested more than 40 deep"),
        ("- " * 3000, "nested more than 40 deep"),
        (LADDER, "nested more than 40 deep"),
        (BOMB, "more than 20,000 values"),
        (MERGED_BOMB, "more than 20,000 values"),
        (LONG_TEXT_BOMB, "more than 20,000 values"),
        ("a: &x [*x]\n", "line 1: *x contains itself"),
        ("a: &x {<<: *x}\n", "line 1: *x contains itself"),
        ("a: *nobody\n", "*nobody names nothing"),
        ("a: {<<: 1}\n", "<< takes a mapping"),
        ("a: {<<: []}\n", "<< takes a mapping"),
        ("a: " + "9" * 5000, "a: a number of 5000 digits"),
        ("a: 1e999", "a: 1e999 is too long or too large"),
        ("a: 0." + "1" * 5000, "is too long or too large"),
        ("a: !!int '5'\n", "the tag tag:yaml.org,2002:int"),
        ("a: !own {}\n", "the tag !own"),
        ("a: !!python/object/apply:os.getcwd []\n", "the tag tag:yaml.org,2002:python"),
        ("a:\n\tb: 1\n", "line 2: not YAML (found character '\\t' that cannot start any token): "
         "tabs do not indent, use spaces"),
        ("a: [\n", "not YAML"),
        ("a: \x00\n", "line 1: not YAML (the character U+0000 in it)"),
        ('a: "\\ud800"\n', "the character U+D800"),
        ('a: "\\0"\n', "the character U+0000"),
        ('a: "\\UFFFFFFFF"\n', "not YAML"),
        ("%YAML 1." + "1" * 5000 + "\n---\na: 1\n", "not YAML"),
        ("%YAML 2.0\n---\na: 1\n", "not YAML"),
    ],
)  # fmt: skip
def test_what_is_refused_ends_in_a_line(text: str, said: str) -> None:
    start = time.process_time()
    with pytest.raises(ConfigError) as error:
        read_documents(text, "c.yaml")
    message = str(error.value)
    assert said in message
    assert message.startswith("c.yaml, line ")
    assert "\n" not in message and len(message) < 400
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1x2", "1x2"), ("null", None), ("''", ""), ("[1, 2]", [1, 2]), ("{a: 1}", {"a": 1}),
        ("it's", "it's"), ("a#b", "a#b"), ("'a #b'", "a #b"), ("- 1\n- 2", [1, 2]), (" 5 ", 5),
        ("{a: }", {"a": None}), ("C:\\x", "C:\\x"), ("backbone/*", "backbone/*"),
    ],
)  # fmt: skip
def test_a_value_alone_is_read(text: str, value: object) -> None:
    assert read_yaml_value(text, "--set k") == value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has no value"), ("  ", "has no value"), ("#5.npz", "has no value"),
        ("---", "has no value"), ("runs #1", "ends before its text does"),
        ("[1] # two", "ends before its text does"), ("1 --- 2\n--- 3", "put it in quotes"),
        ("*/bias", "put the value in quotes"),
        ("*bias", "names nothing: put text that begins with * in quotes"),
        ("[", "not YAML"), ("a: b: c", "not YAML"), ("@x", "not YAML"), ("\udcff", "U+DCFF"),
    ],
)  # fmt: skip
def test_half_a_value_is_refused(text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=r"^--set k") as error:
        read_yaml_value(text, "--set k")
    assert said in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_text_is_read_as_its_mark_says(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes("name: é\r\nb: 1\r\n".encode(encoding))
    assert read_yaml_file(path) == {"name": "é", "b": 1}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"a: 1\nb: \xff\n", "line 2: not text in UTF-8"),
        (b"\xff\xfea", "not text in UTF-8"),
        ("a: 1".encode("utf-16-le"), "not YAML (the character U+0000 in it)"),
        (b"\x89PNG\r\n\x1a\n\x00\x00", "not text in UTF-8"),
        (b"a: 1\n---\na: 2\n", "2 documents"),
        (b" " * (LARGEST_CONFIG_BYTES + 1), "larger than 262,144 bytes"),
    ],
)
def test_a_file_that_is_no_config_ends_in_a_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_yaml_file(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    pipe, loop, huge = tmp_path / "pipe", tmp_path / "loop", tmp_path / "huge"
    os.mkfifo(pipe)
    loop.symlink_to(loop)
    with huge.open("wb") as stream:
        stream.truncate(1 << 30)
    for path, said in (
        (pipe, "is a pipe or a device, not a config file"),
        (Path("/dev/zero"), "is a pipe or a device, not a config file"),
        (loop, "Too many levels of symbolic links"),
        (huge, "larger than"),
        (tmp_path, "is a folder, not a config file"),
        (tmp_path / "none", "no such config file"),
        (tmp_path / ("x" * 300), "File name too long"),
        (Path("a\0b"), "is no name of a file"),
    ):
        with pytest.raises(ConfigError) as error:
            read_yaml_file(path)
        assert said in str(error.value)
