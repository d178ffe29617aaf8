"""Several sources as one data set: merged, split together or each for a split, and told apart."""

import json

import pytest
from click.testing import CliRunner

from components.coco_example_gen import whole
from components.coco_example_gen.__main__ import main
from components.coco_example_gen.together import sources_of
from configs.data_schema import SPLIT_NAMES
from configs.schema import DataConfig
from ground.errors import ConfigError, DatasetError
from model import records
from model.coco.merge import SOURCE_STRIDE as STRIDE
from model.examples import iterate_records, read_categories
from model.tf_example import decode_example
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

pytestmark = pytest.mark.usefixtures("without_beam")

CAMERAS = 4
SPLIT = {"train": 0.5, "eval": 0.5, "group": r"cam(\d+)", "seed": 3}
SOURCES = [
    {"annotations": "day/instances.json", "pictures": "day/pictures"},
    {"annotations": "night/instances.json", "pictures": "./night/pictures/"},
]


@pytest.fixture
def folder(tmp_path):
    """Two sets with the same ids and names of files; the second names its classes otherwise."""
    top = tmp_path / "sets"
    images = [image(n, f"cam{n % CAMERAS}_{n}.jpg") for n in range(16)]
    day = [annotation(n, n // 2, category_id=(3, 8)[n % 2]) for n in range(32)]
    write_dataset(top / "day", images, day)
    night = [annotation(n, n, category_id=(1, 2)[n % 2]) for n in range(12)]
    names = [{"id": 1, "name": "dog"}, {"id": 2, "name": "fox"}]
    write_dataset(top / "night", images[:12], night, names)
    return top


def settings(**changes):
    values = {"sources": SOURCES, "split": SPLIT, "train_shards": 2, "eval_shards": 1, **changes}
    return DataConfig.model_validate(values)


def convert(folder, out, **changes):
    data = settings(**changes)
    sources = sources_of(data, folder)
    said = []
    return whole.convert(sources, out / "examples", out / "rejects", data, None, said.append)[
        "splits"
    ]


def contents(out, split):
    found = {}
    for serialized in iterate_records(out / "examples", split):
        record = decode_example(serialized)
        found[int(record[records.SOURCE_ID][0])] = record
    return found


def test_sources_are_split_together_by_group(folder, tmp_path):
    splits = convert(folder, tmp_path / "out")
    by_split = {name: contents(tmp_path / "out", name) for name in SPLIT_NAMES}
    ids = {name: set(found) for name, found in by_split.items()}
    everything = {STRIDE + n for n in range(16)} | {2 * STRIDE + n for n in range(12)}
    assert ids["train"] | ids["eval"] == everything
    cameras = {name: {id_ % STRIDE % CAMERAS for id_ in found} for name, found in ids.items()}
    assert cameras["train"]
    assert not cameras["train"] & cameras["eval"]
    for found in by_split.values():
        for id_, record in found.items():
            number = id_ % STRIDE
            front = ("day", "night")[id_ // STRIDE - 1]
            name = f"{front}/pictures/cam{number % CAMERAS}_{number}.jpg"
            assert record[records.FILENAME] == [name.encode()]
            file = folder / front / "pictures" / f"cam{number % CAMERAS}_{number}.jpg"
            assert record[records.ENCODED] == [file.read_bytes()]
            if front == "night":
                assert record[records.CLASS_TEXT] == [(b"dog", b"fox")[number % 2]]
    assert [(c["id"], c["name"]) for c in read_categories(tmp_path / "out/examples")] == [
        (2, "fox"), (3, "cat"), (8, "dog"),
    ]  # fmt: skip
    own = {name: split["sources"] for name, split in splits.items()}
    for name in SPLIT_NAMES:
        assert own[name]["day/instances.json"]["pictures"] == sum(i < 2 * STRIDE for i in ids[name])
    assert sum(own[name]["night/instances.json"]["objects"] for name in SPLIT_NAMES) == 12
    assert any("alone has 'cat'" in note for note in splits["train"]["notes"])
    assert {path.name for path in folder.iterdir()} == {"day", "night"}
    assert not (tmp_path / "out" / ".merged").exists()


def test_each_source_may_be_a_split(folder, tmp_path):
    each = [{**SOURCES[0], "split": "train"}, {**SOURCES[1], "split": "eval"}]
    splits = convert(folder, tmp_path / "out", sources=each, split=None)
    assert {id_ // STRIDE for id_ in contents(tmp_path / "out", "train")} == {1}
    assert {id_ // STRIDE for id_ in contents(tmp_path / "out", "eval")} == {2}
    assert splits["eval"]["sources"] == {"night/instances.json": {"pictures": 12, "objects": 12}}
    assert "part" not in splits["train"]


def test_same_file_for_both_splits_is_refused(folder, tmp_path):
    (folder / "night/instances.json").write_bytes((folder / "day/instances.json").read_bytes())
    each = [{**SOURCES[0], "split": "train"}, {**SOURCES[1], "split": "eval"}]
    with pytest.raises(DatasetError, match=r"have the same annotations .*day.*night"):
        convert(folder, tmp_path / "out", sources=each, split=None)


def test_classes_of_sources_are_merged_and_renamed_by_the_config(folder, tmp_path):
    classes = {"merge": {"canine": ["dog", "fox"]}, "drop": ["cat"]}
    splits = convert(folder, tmp_path / "out", classes=classes)
    assert [c["name"] for c in read_categories(tmp_path / "out/examples")] == ["canine"]
    total = sum(split["objects"]["written"] for split in splits.values())
    assert total == 16 + 12
    with pytest.raises(ConfigError, match="no class is named 'wolf'"):
        convert(folder, tmp_path / "other", classes={"keep": ["wolf"]})
    assert list((tmp_path / "other").iterdir()) == []


def test_pictures_stay_in_the_folder_of_their_source(folder, tmp_path):
    path = folder / "night/instances.json"
    content = json.loads(path.read_text())
    content["images"][0]["file_name"] = "../../day/pictures/cam0_0.jpg"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"path_outside_folder.*image id 0 of .*night/inst"):
        convert(folder, tmp_path / "out")


def test_missing_pictures_of_a_source_name_it_and_what_fits(folder, tmp_path):
    path = folder / "night/instances.json"
    content = json.loads(path.read_text())
    for picture in content["images"]:
        picture["file_name"] = "frames/" + picture["file_name"]
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError) as error:
        convert(folder, tmp_path / "out")
    said = str(error.value)
    assert "image id" in said
    assert f"of {path} (night/pictures/frames/cam" in said
    assert f"{path}: " in said
    assert "set data.picture_prefix=frames/" in said
    assert "\n" not in said
    # With it, the names in the records stay as they are in the file.
    convert(folder, tmp_path / "out", picture_prefix="frames/")
    names = [r[records.FILENAME][0] for r in contents(tmp_path / "out", "eval").values()]
    assert any(name.startswith(b"night/pictures/frames/") for name in names)


def test_faulty_source_is_named_and_nothing_stays(folder, tmp_path):
    (folder / "night/instances.json").write_text('{"images": [')
    with pytest.raises(DatasetError, match=r"night/instances\.json: cut off or not JSON"):
        convert(folder, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_pattern_that_fits_no_name_names_the_setting(folder, tmp_path):
    with pytest.raises(ConfigError, match=r"finds nothing in the file names of data\.sources "):
        convert(folder, tmp_path / "out", split={**SPLIT, "group": r"view(\d)"})


def test_same_bytes_whatever_was_there_before(folder, tmp_path):
    digests = []
    for name in ("one", "two"):
        (tmp_path / name / ".merged").mkdir(parents=True)
        (tmp_path / name / ".merged" / "left").write_text("of a run that was killed")
        convert(folder, tmp_path / name)
        digests.append(json.loads((tmp_path / name / "examples/manifest.json").read_text()))
    assert digests[0] == digests[1]


def test_command_merges_the_sources_of_the_config(folder, tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(json.dumps({"name": "x", "data": {"sources": SOURCES, "split": SPLIT}}))
    arguments = ["--data-dir", str(folder), "--config", str(config), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "of day/instances.json: " in result.output
    result = CliRunner().invoke(main, [*arguments, "--split", "train=a.json:b"])
    assert result.exit_code == 2
    assert "set data.sources=[]" in result.output


def test_missing_pictures_of_sources_are_told_beside_entries_that_are_none(folder, tmp_path):
    path = folder / "day" / "instances.json"
    content = json.loads(path.read_text())
    content["images"][1:1] = [None, 7, {"id": 99}]
    for entry in content["images"]:
        if isinstance(entry, dict) and "file_name" in entry:
            entry["file_name"] = f"upload/{entry['file_name']}"
    path.write_text(json.dumps(content))
    with pytest.raises(DatasetError, match=r"day/instances\.json: 4 of 4 .*picture_prefix=upl"):
        convert(folder, tmp_path, max_rejected_fraction=0.2)
