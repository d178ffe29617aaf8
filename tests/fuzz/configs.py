"""Mutated configs and `--set` values through the loader and the commands' own argument handling.

    python -m tests.fuzz.configs [COUNT [FIRST_SEED]]

Each seed gives one config: a shipped one, changed as text or in its structure, and perhaps some
overrides. It must load, or end in one line with status 1 or 2; never in a debug line, a traceback,
seconds of work or growing memory.
"""

import os
import random
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from click.testing import CliRunner, Result

from configs.errors import ConfigError
from configs.loader import config_from_json, load_config, runtime_config
from configs.schema import Config, component_settings
from model.train import main as train_command
from pipeline.__main__ import main as pipeline_command

CONFIGS = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
LONGEST_LINE = 700
MOST_SECONDS = 5.0
MOST_GROWTH_MIB = 100

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


def mutant(seed: int) -> Mutant:
    """Returns the mutant of a seed."""
    rng = random.Random(seed)
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


def outcome(candidate: Mutant, folder: Path) -> str:
    """Returns "loads", or the status; AssertionError where it ends as nothing may."""
    path = folder / "c.yaml"
    path.write_bytes(candidate.content)
    start = time.process_time()
    try:
        config = load_config(path, candidate.overrides)
    except ConfigError as error:
        said: str | None = str(error)
        _check_line(str(error))
    else:
        said = None
        _check_round_trip(config)
    _check_overrides(candidate)
    options = ["--config", str(path), *(f"--set={text}" for text in candidate.overrides)]
    absent = str(folder / "absent")
    run = CliRunner().invoke(pipeline_command, ["run", *options, "--data-dir", absent])
    train = CliRunner().invoke(
        train_command, [*options, "--examples", absent, "--out", str(folder / "out")]
    )
    for result in (run, train):
        _check_result(result, said)
    seconds = time.process_time() - start
    assert seconds < MOST_SECONDS, f"{seconds:.1f} s"
    return "loads" if said is None else f"status {run.exit_code}"


def _check_line(line: str) -> None:
    assert "\n" not in line and len(line) < LONGEST_LINE, line[:2000]


def _check_round_trip(config: Config) -> None:
    assert config_from_json(config.to_json()) == config
    for component in ("coco_example_gen", "coco_transform", "detection_trainer", "coco_evaluator"):
        runtime_config(component_settings(config, component))


def _check_overrides(candidate: Mutant) -> None:
    settings = component_settings(Config(name="a"), "detection_trainer")
    try:
        runtime_config(settings, ";".join(candidate.overrides))
    except ConfigError as error:
        _check_line(str(error))


def _check_result(result: Result, said: str | None) -> None:
    assert result.exit_code == (1 if said is None else 2), result.output[:2000]
    lines = result.output.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: "), result.output[:2000]
    assert "--debug" not in lines[0], result.output[:2000]
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    _check_line(lines[0])


def run(count: int, first_seed: int = 0) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Returns how many mutants came to what, and (seed, what was wrong) of those that failed."""
    outcomes: Counter[str] = Counter()
    failures: list[tuple[int, str]] = []
    with tempfile.TemporaryDirectory(prefix="tfx-rcnn-fuzz-") as folder:
        before = 0
        for seed in range(first_seed, first_seed + count):
            try:
                outcomes[outcome(mutant(seed), Path(folder))] += 1
            except Exception as error:  # a fuzzer reports them all
                failures.append((seed, f"{type(error).__name__}: {error}"[:500]))
            if seed == first_seed + count // 10:  # what is loaded once is loaded by now
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    growth_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
    if growth_mib > MOST_GROWTH_MIB:
        failures.append((-1, f"memory grew by {growth_mib} MiB"))
    return outcomes, failures


if __name__ == "__main__":
    numbers = [int(text) for text in sys.argv[1:]]
    os.environ["COLUMNS"] = "200"
    done, wrong = run(*(numbers or [1000]))
    print(dict(done), f"{len(wrong)} failures")
    for seed, what in wrong:
        print(seed, what)
    sys.exit(bool(wrong))
