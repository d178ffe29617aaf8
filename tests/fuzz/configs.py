"""Mutated configs and `--set` values through the loader and the commands' own argument handling.

A mutant is a shipped config, changed as text or in its structure, and perhaps some overrides. It
must load, or end in one line with status 1 or 2; never in seconds of work.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from click.testing import CliRunner, Result

from components.coco_evaluator.settings import CocoEvaluatorSettings
from components.coco_example_gen.settings import CocoExampleGenSettings
from components.coco_transform.settings import CocoTransformSettings
from components.detection_trainer.settings import DetectionTrainerSettings
from configs.loader import config_from_json, load_config
from configs.schema import Config
from ground.errors import ConfigError
from model.commands.train import main as train_command
from pipeline.__main__ import main as pipeline_command
from tests.fuzz.frame import Fuzzer

PARTS = (
    CocoExampleGenSettings,
    CocoTransformSettings,
    DetectionTrainerSettings,
    CocoEvaluatorSettings,
)

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
LONGEST_LINE = 700
MOST_SECONDS = 5.0

TOKENS = (
    "010", "0x4", "1:30", "1_000", "1e-4", "1e999", ".nan", "-.inf", "NaN", "yes", "off", "true",
    "null", "~", "2020-01-01", "'", '"', "[", "]", "{", "}", "&a", "*a", "<<: *a", "!!int 5",
    "!!python/object/apply:os.getcwd []", "---", "...", "%YAML 1.1", "%TAG ! a", "? ", ": ", "- ",
    "#", " #", "|", ">", ">-", "@", "`", "\t", "\r\n", "\x00", "\x07", "\ud800", "\u2028", "\ufeff",
    "é", "٣", "9" * 30, "9" * 5000, "-1", "0", "-0.0", "1.5", "2.0", "..", "/", "../" * 30, "",
    "[" * 2000, "{a: " * 500, "base: .", "base: {}", '"\\ud800"', '"\\x00"', '"\\UFFFFFFFF"',
    "x" * 100_000, "1x0", "autox9", "1e9x1", "4x4", "=", "!", "!!", "<<", "&", "*", "\\",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3.0, 1.5, -0.0, 1e-300, 1e300, float("nan"), float("inf"),
    10**18, 10**30, -(10**18), "", " ", "x", "1", "1.5", "true", "null", "é", "\n", "\x07", "a/b",
    "..", "x" * 5000, [], [None], [1], [1, 2], ["x"] * 200, [[[[]]]], {}, {"a": 1}, {1: 2},
    {"": None}, [{}], "1x1", "0x4", "auto", "on", "*", "{", "mask/AP", "box/AP", "torchvision",
)  # fmt: skip


class Mutant(NamedTuple):
    """A config's bytes and the overrides that go with it."""

    content: bytes
    overrides: tuple[str, ...]


def mutant(rng: random.Random) -> Mutant:
    """Returns the next mutant of a generator."""
    text = rng.choice(CONFIGS).read_text(encoding="utf-8")
    if rng.random() < 0.5:
        for _ in range(rng.choice((1, 1, 2, 5))):
            text = rng.choice(_TEXT_CHANGES)(rng, text)
    else:
        text = _restructured(rng, text)
    overrides = tuple(_override(rng) for _ in range(rng.choice((0, 0, 0, 0, 1, 2))))
    encoding = rng.choice(("utf-8",) * 8 + ("utf-16", "utf-16-le", "latin-1", "utf-8-sig"))
    errors = "replace" if encoding == "latin-1" else "surrogatepass"
    return Mutant(text.encode(encoding, errors), overrides)


def _inserted(rng: random.Random, text: str) -> str:
    place = rng.randrange(len(text) + 1)
    return text[:place] + rng.choice(TOKENS) + text[place:]


def _cut(rng: random.Random, text: str) -> str:
    first, last = sorted(rng.randrange(len(text) + 1) for _ in range(2))
    return text[:first] + text[min(last, first + rng.choice((1, 3, 40, 10**6))) :]


def _value_replaced(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    row = rng.randrange(len(lines))
    lines[row] = lines[row].partition(":")[0] + ": " + rng.choice(TOKENS)
    return "\n".join(lines)


def _line_moved(rng: random.Random, text: str) -> str:
    lines = text.split("\n")
    line = rng.choice(lines)
    if rng.random() < 0.5:
        line = " " * rng.randrange(5) + line.strip()
    lines.insert(rng.randrange(len(lines) + 1), line)
    return "\n".join(lines)


def _letter_changed(rng: random.Random, text: str) -> str:
    if not text:
        return text
    place = rng.randrange(len(text))
    return (
        text[:place]
        + chr(rng.choice((rng.randrange(128), rng.randrange(0xD800))))
        + text[place + 1 :]
    )


_TEXT_CHANGES: tuple[Callable[[random.Random, str], str], ...] = (
    _inserted, _inserted, _cut, _value_replaced, _value_replaced, _line_moved, _letter_changed,
)  # fmt: skip


def _restructured(rng: random.Random, text: str) -> str:
    """Returns the YAML of the settings with some replaced, renamed, moved or new."""
    settings = yaml.safe_load(text) or {}
    for _ in range(rng.choice((1, 1, 2, 4))):
        section: Any = settings
        while True:
            inner = [value for value in section.values() if isinstance(value, dict) and value]
            if not inner or rng.random() < 0.3:
                break
            section = rng.choice(inner)
        known = [*_all_keys(Config), *section]
        key = rng.choice([*section, *section, *known, rng.choice(known)[:-1], "base", "x", ""])
        if isinstance(section.get(key), int | float) and rng.random() < 0.7:
            section[key] = section[key] * rng.choice((1, 2, 0.5, 10**6, -1))
        else:
            section[key] = rng.choice(VALUES)
    return yaml.safe_dump(settings, allow_unicode=rng.random() < 0.5)


def _all_keys(section: type[Config]) -> list[str]:
    keys: list[str] = []
    for name, field in section.model_fields.items():
        keys.append(name)
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            keys += _all_keys(field.annotation)
    return keys


def _override(rng: random.Random) -> str:
    section = rng.choice(list(Config.model_fields))
    annotation = Config.model_fields[section].annotation
    inner = list(getattr(annotation, "model_fields", {"": None}))
    value = rng.choice(
        (rng.choice(TOKENS), yaml.safe_dump(rng.choice(VALUES)).removesuffix("...\n").strip())
    )
    key = rng.choice((section, f"{section}.{rng.choice(inner)}", rng.choice(TOKENS), f"{section}."))
    text = rng.choice((f"{key}={value}", f"{key}={value}", key, f"{key}{value}"))
    return text.replace("\x00", "")[:100_000]  # which no argument can hold


def check(candidate: Mutant, folder: Path) -> None:
    """Raises ConfigError where the mutant does not load, AssertionError where it ends badly."""
    path = folder / "c.yaml"
    path.write_bytes(candidate.content)
    start = time.process_time()
    problem: ConfigError | None = None
    try:
        config = load_config(path, candidate.overrides)
    except ConfigError as error:
        problem = error
        _check_line(str(error))
    else:
        _check_round_trip(config)
    _check_overrides(candidate)
    options = ["--config", str(path), *(f"--set={text}" for text in candidate.overrides)]
    absent = str(folder / "absent")
    run = CliRunner().invoke(pipeline_command, ["run", *options, "--data-dir", absent])
    train = CliRunner().invoke(
        train_command, [*options, "--examples", absent, "--out", str(folder / "out")]
    )
    for result in (run, train):
        # Of a sound config: the data are absent, or its paths lead to where `--root` lies.
        _check_result(result, (2,) if problem else (1, 2))
    seconds = time.process_time() - start
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s"
    if problem:
        raise problem


def _check_line(line: str) -> None:
    assert "\n" not in line and len(line) < LONGEST_LINE, line[:2000]


def _check_round_trip(config: Config) -> None:
    assert config_from_json(config.to_json()) == config
    for part in PARTS:
        assert part.from_json(part.of(config).to_json()) == part.of(config)


def _check_overrides(candidate: Mutant) -> None:
    settings = DetectionTrainerSettings.of(Config(name="a")).to_json()
    try:
        DetectionTrainerSettings.from_json(settings, ";".join(candidate.overrides))
    except ConfigError as error:
        _check_line(str(error))


def _check_result(result: Result, statuses: tuple[int, ...]) -> None:
    assert result.exit_code in statuses, result.output[:2000]
    lines = result.output.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.output[:2000]
    assert "--debug" not in lines[0], result.output[:2000]
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    _check_line(lines[0])


def _run(rng: random.Random, folder: Path) -> None:
    check(mutant(rng), folder)


FUZZERS = (Fuzzer("configs", _run, seconds=60.0, megabytes=200),)
