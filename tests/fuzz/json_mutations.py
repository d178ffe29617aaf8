"""Mutates JSON values, and the text they are written as."""

import copy
import gzip
import json
import random
from collections.abc import Callable
from typing import Any

ODD_VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3.0, 0.5, -0.0, 1e9, 1e308, -1e308, 2**31, 2**63, -(2**63) - 1,
    10**400, float("nan"), float("inf"), float("-inf"), "", " ", "0", "3", "3.0", "nan", "-1", "é",
    "b'0n'", "0n", "../x.jpg", "/etc/passwd", "a\0b", "\ud800", "a\\b.jpg", "x" * 5000, [], {},
    [[]], [None], [1, 2, 3], [1, 2, 3, 4], [[1, 2, 3, 4]], ["1", "2", "3", "4"], [1e9] * 8,
    {"x": 1, "y": 2}, {"x": 1, "y": 2, "width": 3, "height": 4}, {"size": [120, 160]},
    {"size": [120, 160], "counts": [100, 1000000000]}, {"size": [120, 160], "counts": "0n"},
    {"size": [120, 160], "counts": [19200]}, {"size": [1e9, 1e9], "counts": [10**18]},
    {"size": [120, 160], "counts": "b'0n'"}, {"size": ["120", "160"], "counts": [0, 19200]},
    [{"counts": [0, 19200]}], [[float("inf")] * 6], [[1e9] * 6], [[1, 2, 3]],
    [[0, 0, 160, 120] * 9],
    [[1, 2], [30, 4], [50, 60]], [{"x": 1, "y": 2}, {"x": 9, "y": 2}, {"x": 1, "y": 9}],
)  # fmt: skip

Place = tuple[Any, Any]  # a container, and a key or an index in it


def mutated(value: Any, generator: random.Random, most: int = 5) -> Any:
    """Returns a JSON value after one to `most` mutations somewhere in it."""
    value = {"": copy.deepcopy(value)}
    for _ in range(generator.randint(1, most)):
        container, key = generator.choice(_places(value))
        generator.choice(_MUTATIONS)(container, key, generator)
        if "" not in value:
            value[""] = None
    return value[""]


def written(value: Any, generator: random.Random) -> bytes:
    """Returns a JSON value as text, which is sound in most cases."""
    text = json.dumps(value, ensure_ascii=generator.random() < 0.5)
    if generator.random() < 0.7:
        return text.encode(errors="surrogatepass")
    return generator.choice(_SPELLINGS)(text, generator)


def _places(value: Any) -> list[Place]:
    """Returns every place in a value; deeper lists of numbers count a little."""
    places: list[Place] = []
    waiting = [value]
    while waiting:
        container = waiting.pop()
        keys = list(container) if isinstance(container, dict) else range(len(container))
        if len(keys) > 12:
            keys = list(keys)[:12]
        for key in keys:
            places.append((container, key))
            if isinstance(container[key], dict | list):
                waiting.append(container[key])
    return places


def _replace(container: Any, key: Any, generator: random.Random) -> None:
    container[key] = copy.deepcopy(generator.choice(ODD_VALUES))


def _remove(container: Any, key: Any, generator: random.Random) -> None:
    del generator
    del container[key]


def _repeat(container: Any, key: Any, generator: random.Random) -> None:
    if isinstance(container, list):
        container.insert(generator.randint(0, len(container)), copy.deepcopy(container[key]))
    else:
        container[f"{key}{generator.choice(['', ' ', '2'])}"] = copy.deepcopy(container[key])


def _wrap(container: Any, key: Any, generator: random.Random) -> None:
    for _ in range(generator.choice([1, 1, 1, 2, 40])):
        container[key] = [container[key]] if generator.random() < 0.8 else {"a": container[key]}


def _unwrap(container: Any, key: Any, generator: random.Random) -> None:
    inner = container[key]
    if isinstance(inner, list) and inner:
        container[key] = generator.choice(inner)
    elif isinstance(inner, dict) and inner:
        container[key] = generator.choice(list(inner.values()))


def _as_text(container: Any, key: Any, generator: random.Random) -> None:
    del generator
    try:
        container[key] = str(container[key])
    except ValueError:  # an integer of more digits than Python turns into text
        container[key] = "9" * 400


def _as_bytes_text(container: Any, key: Any, generator: random.Random) -> None:
    del generator
    container[key] = f"b'{container[key]}'" if isinstance(container[key], str) else [container[key]]


def _change_number(container: Any, key: Any, generator: random.Random) -> None:
    value = container[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        _replace(container, key, generator)
    else:
        changes: list[Callable[[Any], Any]] = [
            lambda v: -v, lambda v: v * 1000, lambda v: v / 160, lambda v: v + 1, lambda v: v * 1e9,
        ]  # fmt: skip
        try:
            container[key] = generator.choice(changes)(value)
        except OverflowError:
            container[key] = -value


_MUTATIONS = (
    _replace, _replace, _replace, _remove, _repeat, _wrap, _unwrap, _as_text, _as_bytes_text,
    _change_number,
)  # fmt: skip


def _cut(text: str, generator: random.Random) -> bytes:
    return text.encode(errors="replace")[: generator.randint(0, len(text))]


def _other_bytes(text: str, generator: random.Random) -> bytes:
    content = bytearray(text.encode(errors="replace"))
    for _ in range(generator.randint(1, 8)):
        if content:
            content[generator.randrange(len(content))] = generator.randrange(256)
    return bytes(content)


def _other_characters(text: str, generator: random.Random) -> bytes:
    for _ in range(generator.randint(1, 4)):
        place = generator.randint(0, len(text))
        odd = generator.choice(["[", "]", "{", "}", ",", ":", '"', "\\", "NaN", "1e999", "-", "\0"])
        text = text[:place] + odd + text[place + generator.randint(0, 2) :]
    return text.encode(errors="replace")


def _deep(text: str, generator: random.Random) -> bytes:
    depth = generator.choice([50, 900, 1100, 100_000])
    is_list = generator.random() < 0.7
    opening, closing = ("[", "]") if is_list else ('{"a":', "}")
    nested = opening * depth + "1" + closing * depth
    place = text.find(generator.choice(["0", "1", "null", "[", '"']))
    return (text[:place] + nested + text[place + 1 :]).encode(errors="replace")


def _long_number(text: str, generator: random.Random) -> bytes:
    digits = generator.choice("123456789") * generator.choice([400, 5000, 50_000])
    return text.replace(generator.choice("0123456789"), digits, 1).encode(errors="replace")


def _key_twice(text: str, generator: random.Random) -> bytes:
    key = generator.choice(
        ["images", "annotations", "id", "image_id", "bbox", "score", "segmentation", "file_name"]
    )
    return text.replace(f'"{key}":', f'"{key}": 7, "{key}":').encode(errors="replace")


def _encoded(text: str, generator: random.Random) -> bytes:
    encoding = generator.choice(["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1", "cp037"])
    return text.encode(encoding, errors="replace")


def _packed(text: str, generator: random.Random) -> bytes:
    del generator
    return gzip.compress(text.encode(errors="replace"))


def _doubled(text: str, generator: random.Random) -> bytes:
    return (text + generator.choice(["", "\n", ","]) + text).encode(errors="replace")


_SPELLINGS = (
    _cut, _other_bytes, _other_characters, _deep, _long_number, _key_twice, _encoded, _packed,
    _doubled,
)  # fmt: skip
