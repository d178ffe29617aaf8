"""The YAML that `init` writes means what was chosen, to our reader of YAML 1.2 and to PyYAML."""

import pytest
import yaml

from configs.yaml_reader import read_documents
from pipeline.init.yaml_text import config_text

WORDS = [
    "1e3", "1.5", ".5", "+1", "-0", "007", "0x1F", "1_000", "12:30", "2020-01-01",
    "1e", "e1", "-", ".", "null", "~", "", "yes", "no", "on",
    "true", "False", "=", "<<", "a: b", "#x", "a #b", " x ", "- a", "[a]",
    "{a}", "{a: b}", "'", '"', "it's", "*a", "&a", "!a", "%a", "@a",
    "`a`", "a,b", "ü 名", "\u2028", "\u0085", "a\nb", "a\tb", "\ufeff", "\x07", "🙂",
    "x" * 300, "|", ">", "? a", "a:", ":a", "---", "...",
]  # fmt: skip


@pytest.mark.parametrize("word", WORDS)
def test_every_text_stays_that_text(word):
    chosen = [
        ({"data.annotations": word, "data.split.group": word}, f"why {word}"),
        ({"model.names": [word, word]}, ""),
        ({"evaluate.thresholds": [{"metric": word, "at_least": 0.5}]}, "one"),
    ]
    text = config_text(word, chosen, f"head {word}")
    expected = {
        "name": word,
        "data": {"annotations": word, "split": {"group": word}},
        "model": {"names": [word, word]},
        "evaluate": {"thresholds": [{"metric": word, "at_least": 0.5}]},
    }
    assert yaml.safe_load(text) == expected
    assert read_documents(text, "x") == [expected]


@pytest.mark.parametrize("value", [0, 1, -3, 0.5, 1e-5, 1e20, 3e-7, True, False, None, 10**17])
def test_every_number_stays_that_number(value):
    text = config_text("x", [({"train.rate": value, "train.all": [value, value]}, "why")], "head")
    for read in (yaml.safe_load(text), read_documents(text, "x")[0]):
        assert read["train"] == {"rate": value, "all": [value, value]}
        assert type(read["train"]["rate"]) is type(value)


def test_a_reason_stands_above_its_settings_once():
    chosen = [({"train.epochs": 3, "train.batch": "8"}, "a reason " * 30), ({"data.a": 1}, "other")]
    lines = config_text("x", chosen, "first\nsecond").splitlines()
    assert lines[:4] == ["# first", "# second", "name: x", "data:"]
    assert all(len(line) <= 98 for line in lines)
    assert sum("# a reason" in line for line in lines) == 1
    assert lines.index("data:") < lines.index("train:")
