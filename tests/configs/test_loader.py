"""The loader: bases, overrides, and errors that say what to do."""

from pathlib import Path

import pytest

from configs.loader import config_from_json, load_config
from ground.errors import ConfigError

CONFIGS = Path(__file__).parents[2] / "configs"


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_base_is_changed_section_by_section(tmp_path):
    write(tmp_path, "base.yaml", "name: a\ntrain: {batch: 2x3, epochs: 5}\n")
    path = write(tmp_path, "own.yaml", "base: base.yaml\ntrain: {epochs: 7}\n")
    config = load_config(path)
    assert (config.name, config.train.batch, config.train.epochs) == ("a", "2x3", 7)


def test_a_leading_home_is_that_of_the_user_where_paths_are_of_the_working_folder(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    write(tmp_path / "home", "base.yaml", "name: a\npush: {folder: ~/models}\n")
    path = write(tmp_path, "own.yaml", "base: ~/base.yaml\ntracking: {mlflow: ~/runs}\n")
    config = load_config(path, ["model.weights=~/w.pth", "data.train_pictures=~/train"])
    home = str(tmp_path / "home")
    assert (config.model.weights, config.push.folder) == (f"{home}/w.pth", f"{home}/models")
    assert config.tracking.mlflow == f"{home}/runs"
    assert config.data.train_pictures == "~/train"  # a folder of this name in the data folder
    assert load_config(path, ["model.weights=~w.pth"]).model.weights == "~w.pth"
    assert config_from_json(config.to_json()) == config


def test_override_wins_and_reads_its_value_as_yaml(tmp_path):
    path = write(tmp_path, "c.yaml", "name: a\ninput: {flip_probability: 0.5}\n")
    config = load_config(
        path,
        [
            "input.flip_probability=0",
            "model.mask_head={channels: 8}",
            "train.max_steps=null",
        ],
    )
    assert config.input.flip_probability == 0
    assert config.model.mask_head is not None and config.model.mask_head.channels == 8
    assert config.train.max_steps is None


def test_of_several_bases_each_changes_those_before_it(tmp_path):
    write(tmp_path, "first.yaml", "name: first\ntrain: {epochs: 3, batch: 2x2}\n")
    write(tmp_path, "second.yaml", "base: third.yaml\ntrain: {epochs: 5}\n")
    write(tmp_path, "third.yaml", "train: {batch: 1x4, seed: 9}\n")
    path = write(tmp_path, "own.yaml", "base: [first.yaml, second.yaml]\ntrain: {seed: 1}\n")
    config = load_config(path)
    assert (config.name, config.train.epochs) == ("first", 5)
    assert (config.train.batch, config.train.seed) == ("1x4", 1)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\nmodle: {}\n", "unknown key 'modle': did you mean 'model'?"),
        (
            "name: a\ntrain: {epoch: 3}\n",
            "unknown key 'train.epoch': did you mean 'epochs'?",
        ),
        (
            "name: a\nmodel: {mask_head: {chanels: 3}}\n",
            "unknown key 'model.mask_head.chanels': did you mean 'channels'?",
        ),
        ("train: {}\n", "name is missing"),
        ("name: a\ntrain: {batch: 8}\n", "train.batch: "),
        ("name: a\ntrain: {batch: 4x0}\n", "expected NxM such as 8x4 or autox4, got '4x0'"),
        ("name: a\ntrain: {batch: 0x4}\n", "expected NxM such as 8x4 or autox4, got '0x4'"),
        ("name: a\ntrain: {epochs: .nan}\n", "train.epochs: "),
        ("name: a\ninput: {short_side_px: 2000}\n", "input.short_side_px 2000 exceeds"),
        (
            "name: a\nevaluate: {thresholds: [{metric: mask/AP, min: 0.1}]}\n",
            "the config has no model.mask_head",
        ),
        (
            "name: a\nevaluate: {thresholds: [{metric: box/mAP, min: 0.1}]}\n",
            "unknown metric",
        ),
        (
            "name: a\nevaluate: {thresholds: [{metric: box/AP}]}\n",
            "give min, max_drop, min_gain or several",
        ),
        (
            "name: a\nevaluate: {thresholds: [{metric: box/AP, classes: dog, min: 0.1}]}\n",
            "thresholds.0.classes: expected all, or a list of names such as [person, dog], "
            "got 'dog'",
        ),
        (
            "name: a\nevaluate: {thresholds: [{metric: box/AP, classes: [1], min: 0.1}]}\n",
            "thresholds.0.classes: expected all, or a list of names",
        ),
        ("- 1\n", "expected `key: value` lines, got [1]"),
        ("a: [\n", "not YAML"),
        ("base: c.yaml\n", "`base:` comes back to itself"),
        ("base: none.yaml\n", "no such config file"),
    ],
)
def test_errors_are_one_line_with_file_and_key(tmp_path, text, said):
    path = write(tmp_path, "c.yaml", text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    message = str(error.value)
    assert said in message
    assert str(tmp_path) in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "override",
    ["train.epochs", "=3", "train.epochs=[", "trian.epochs=3", "train.seed=" + "9" * 50],
)
def test_wrong_overrides_are_refused(tmp_path, override):
    path = write(tmp_path, "c.yaml", "name: a\n")
    with pytest.raises(ConfigError) as error:
        load_config(path, [override])
    assert ": :" not in str(error.value)


def test_yaml_tags_that_build_objects_are_refused(tmp_path):
    path = write(tmp_path, "c.yaml", "name: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match="not YAML"):
        load_config(path)


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.name)
def test_every_config_of_ours_loads(path):
    config = load_config(path)
    assert config.name.replace("-", "_") == path.stem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train: {seed: 1:30}", 'train.seed: expected a whole number, got "1:30"'),
        ("train: {seed: 010}", 'train.seed: expected a whole number, got "010"'),
        ("train: {seed: 0x10}", 'train.seed: expected a whole number, got "0x10"'),
        ("train: {max_steps: 1_000}", 'train.max_steps: expected a whole number, got "1_000"'),
        ("train: {max_steps: 1.5}", "train.max_steps: expected a whole number, got 1.5"),
        ("train: {max_steps: 2.0}", "train.max_steps: expected a whole number, got 2.0"),
        ("train: {max_steps: true}", "train.max_steps: expected a whole number, got true"),
        ("train: {max_steps: '5'}", 'train.max_steps: expected a whole number, got "5"'),
        ("train: {epochs: true}", "train.epochs: expected a number, got true"),
        ("train: {epochs: 2020-01-01}", 'train.epochs: expected a number, got "2020-01-01"'),
        ("train: {epochs: .inf}", 'train.epochs: expected a number, got ".inf"'),
        ("train: {epochs: NaN}", 'train.epochs: expected a number, got "NaN"'),
        ("train: {epochs: 0}", "train.epochs: "),
        ("train: {epochs: -1}", "train.epochs: "),
        ("train: {epochs: 1e300}", "train.epochs: "),
        ("train: {epochs: null}", "train.epochs: expected a number, got nothing"),
        ("train:", "train: expected a section of `key: value` lines, got nothing"),
        ("train: [1]", "train: expected a section of `key: value` lines, got [1]"),
        ("train: {optimizer: {nesterov: yes}}", 'nesterov: expected true or false, got "yes"'),
        ("train: {optimizer: {nesterov: 1}}", "nesterov: expected true or false, got 1"),
        ("train: {optimizer: {drop_epochs: 8}}", "expected a list such as [a, b], got 8"),
        ("train: {optimizer: {drop_epochs: [8, true]}}", "drop_epochs.1: expected a number"),
        ("model: {weights: 5}", "model.weights: expected text (a number or true is"),
        ("model: {weights: ''}", "model.weights: "),
        ("model: {preset: [1]}", "model.preset: "),
        ("model: {preset: none}", "model.preset: unknown 'none'"),
        ("model: {anchors: {sizes_px: [-8, 16, 32, 48, 64]}}", "sizes_px.0: "),
        ("model: {anchors: {aspect_ratios: []}}", "aspect_ratios: "),
        ("model: {rpn: {negative_iou: 0.8}}", "negative_iou 0.8 exceeds positive_iou 0.7"),
        ("train: {batch: 1x0}", "expected NxM"),
        ("train: {batch: 1e9x1}", "expected NxM"),
        ("train: {batch: ٣x٤}", "expected NxM"),
        (f"train: {{batch: {'9' * 4000}x1}}", "expected NxM"),
        ("train: {workers: 1e9}", "train.workers: expected a number or auto"),
        ("train: {workers: true}", "train.workers: expected a number or auto"),
        ("train: {seed: 4294967296}", "train.seed: "),
        ("input: {short_side_px: 1000000}", "input.short_side_px: "),
        ("evaluate: {thresholds: [{metric: box/AP, min: 37.5}]}", "min: "),
        ("data: {train_pictures: ''}", "data.train_pictures: "),
        ("pipeline: {kubeflow: {trainer_memory: 240GB}}", "expected a size in Kubernetes' form"),
        ("pipeline: {kubeflow: {trainer_cpus: 8}}", "trainer_cpus: expected text"),
    ],
)  # fmt: skip
def test_a_value_of_another_kind_is_refused(tmp_path, text, said):
    path = write(tmp_path, "c.yaml", f"name: a\n{text}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    message = str(error.value)
    assert said in message and str(path) in message
    assert len(message.replace(str(path), "")) < 300 and "\n" not in message


@pytest.mark.parametrize(
    "name", ["''", "a/b", "..", "A", "é", "-a", "a" * 64, "'a\n'", "a b", "1.5", "null"]
)
def test_a_name_that_is_no_folders_and_no_kubernetes_is_refused(tmp_path, name):
    path = write(tmp_path, "c.yaml", f"name: {name}\n")
    with pytest.raises(ConfigError, match="name: expected"):
        load_config(path)


def test_words_and_numbers_of_yaml_1_2_are_taken(tmp_path):
    text = (
        "name: a\ntrain: {epochs: 1, jit: off, optimizer: {weight_decay: 1e-4}}\n"
        "model: {weights: on}\n"
    )
    config = load_config(write(tmp_path, "c.yaml", text))
    assert (config.train.epochs, config.train.jit) == (1.0, "off")
    assert (config.train.optimizer.weight_decay, config.model.weights) == (1e-4, "on")
    assert load_config(tmp_path / "c.yaml", ["train.jit=on"]).train.jit == "on"


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.batch=1x2", "train.batch=2x2"),
        ("train.epochs=1", "train={epochs: 2}"),
        ("model.mask_head={}", "model.mask_head.channels=8"),
        ("train.seed=1", "train.epochs=2", " train.seed =1"),
    ],
)
def test_an_override_given_twice_names_both(tmp_path, overrides):
    path = write(tmp_path, "c.yaml", "name: a\n")
    with pytest.raises(ConfigError, match="set the same") as error:
        load_config(path, overrides)
    for text in (overrides[0], overrides[-1]):
        assert repr(text.strip()) in str(error.value)


@pytest.mark.parametrize(
    "override",
    ["model.weights=", "model.weights=#5", "=", "a..b=1", ".=1", "a.=1", "a." * 99 + "a=1"],
)
def test_half_an_override_is_refused(tmp_path, override):
    path = write(tmp_path, "c.yaml", "name: a\n")
    with pytest.raises(ConfigError, match="--set"):
        load_config(path, [override])


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("none.yaml", "no such config file"),
        (".", "is a folder"),
        ("[]", "base: expected the name of a file, or a list of some, got []"),
        ("[a.yaml, 5]", "base: expected the name of a file"),
        ("", "or a list of some, got nothing"),
        ("5", "or a list of some, got 5"),
        ("/dev/zero", "is a pipe or a device"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_base_that_is_none_is_said_with_the_file_that_names_it(tmp_path, base, said):
    path = write(tmp_path, "c.yaml", f"name: a\nbase: {base}\n")
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert said in str(error.value) and str(path) in str(error.value)


def test_a_long_chain_of_bases_is_refused(tmp_path):
    for number in range(40):
        write(tmp_path, f"{number}.yaml", f"name: a\nbase: {number + 1}.yaml\n")
    with pytest.raises(ConfigError, match="more than 16 files"):
        load_config(tmp_path / "0.yaml")


def test_a_file_without_settings_says_so(tmp_path):
    with pytest.raises(ConfigError, match="holds no settings"):
        load_config(write(tmp_path, "c.yaml", "# nothing yet\n"))


@pytest.mark.parametrize(
    ("workers", "batch", "expected"),
    [("auto", "8x4", "autox4"), ("16", "autox2", "16x2"), ("3", None, "3x2")],
)
def test_workers_alone_may_be_set(tmp_path, workers, batch, expected):
    more = f", batch: {batch}" if batch else ""
    path = write(tmp_path, "c.yaml", f"name: a\ntrain: {{workers: {workers}{more}}}\n")
    assert load_config(path).train.batch == expected


@pytest.mark.parametrize("workers", ["0", "many", "null", "-1", "1.5"])
def test_workers_are_a_number_or_auto(tmp_path, workers):
    path = write(tmp_path, "c.yaml", f"name: a\ntrain: {{workers: {workers}}}\n")
    with pytest.raises(ConfigError, match=r"train.workers: expected a number or auto"):
        load_config(path)


def test_a_config_in_json_reads_back():
    original = load_config(CONFIGS / "nuclei.yaml")
    assert config_from_json(original.to_json()) == original
