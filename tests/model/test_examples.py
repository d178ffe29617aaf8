"""An examples folder reads back, and every kind of damage has its name."""

import json

import pytest

from ground.errors import DatasetError
from model import examples
from model.tfrecord import DigestingStream, write_tfrecord


@pytest.fixture
def folder(tmp_path):
    return write_folder(tmp_path / "examples", {"train": [[b"one", b"two"], [b""]], "eval": [[]]})


def write_folder(root, shards_by_split):
    splits = {}
    for split, shards in shards_by_split.items():
        folder = examples.split_folder(root, split)
        folder.mkdir(parents=True)
        lines = []
        for number, payloads in enumerate(shards):
            name = examples.shard_file(number, len(shards))
            with open(folder / name, "wb") as file:
                stream = DigestingStream(file)
                for payload in payloads:
                    write_tfrecord(stream, payload)
            lines.append({"file": name, "records": len(payloads), "sha256": stream.sha256()})
        records = sum(line["records"] for line in lines)
        splits[split] = {"records": records, "objects": 0, "shards": lines}
    examples.write_manifest(root, splits, [{"id": 7, "name": "cat", "label": 1}])
    return root


def _only_shard(tmp_path, payloads=(b"first", b"second")):
    root = write_folder(tmp_path / "examples", {"train": [list(payloads)]})
    return root, examples.split_folder(root, "train") / "data_tfrecord-00000-of-00001"


def test_folder_reads_back(folder):
    assert examples.split_names(folder) == ["train", "eval"]
    assert list(examples.iterate_records(folder, "train")) == [b"one", b"two", b""]
    assert list(examples.iterate_records(folder, "eval")) == []
    assert [p.name for p in examples.shard_paths(folder, "train")] == [
        "data_tfrecord-00000-of-00002",
        "data_tfrecord-00001-of-00002",
    ]
    assert examples.read_categories(folder) == [{"id": 7, "name": "cat", "label": 1}]


def test_digest_is_of_records_and_label_map_only(folder, tmp_path):
    same = write_folder(tmp_path / "b", {"train": [[b"one", b"two"], [b""]], "eval": [[]]})
    other = write_folder(tmp_path / "c", {"train": [[b"one", b"TWO"], [b""]], "eval": [[]]})
    digests = [examples.read_manifest(f)["digest"] for f in (folder, same, other)]
    assert digests[0] == digests[1] != digests[2]
    relabelled = [{"id": 7, "name": "dog", "label": 1}]
    manifest = examples.write_manifest(same, examples.read_manifest(same)["splits"], relabelled)
    assert manifest["digest"] != digests[0]


def test_sha256_of_a_shard_is_that_of_the_file(tmp_path):
    from ground.files import file_digest

    root, path = _only_shard(tmp_path)
    (shard,) = examples.read_manifest(root)["splits"]["train"]["shards"]
    assert shard["sha256"] == file_digest(path)


# b"first" lies at 0: header 0-11, payload 12-16, checksum 17-20; the second record starts at 21.
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: b[:26], "cut off in the header of the record at byte 21"),
        (lambda b: b[:35], "cut off in the record at byte 21"),
        (lambda b: b[:-1], "cut off in the record at byte 21"),
        (lambda b: b"\x04" + b[1:], "damaged length of the record at byte 0"),
        (lambda b: b[:13] + b"X" + b[14:], "damaged data of the record at byte 0"),
        (lambda b: b[:17] + b"\0\0\0\0" + b[21:], "damaged data of the record at byte 0"),
        (lambda b: b[:21], "holds 1 records, the manifest says 2"),
        (lambda b: b"", "holds 0 records, the manifest says 2"),
    ],
)
def test_damage_is_named_with_its_place(tmp_path, damage, message):
    root, path = _only_shard(tmp_path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DatasetError, match=message) as error:
        list(examples.iterate_records(root, "train"))
    assert str(path) in str(error.value)


def test_what_is_missing_is_named(folder, tmp_path):
    with pytest.raises(DatasetError, match=r"not an examples folder \(no manifest.json"):
        examples.read_manifest(tmp_path)
    with pytest.raises(DatasetError, match=r"no split named 'test', only train, eval"):
        list(examples.iterate_records(folder, "test"))
    (folder / "Split-train" / "data_tfrecord-00001-of-00002").unlink()
    with pytest.raises(DatasetError, match="names this shard, but it is not there"):
        list(examples.iterate_records(folder, "train"))


@pytest.mark.parametrize("content", ["[]", '[{"id": 1}]', '[{"label": 2}]', "3"])
def test_label_map_must_count_from_one(folder, content):
    (folder / "categories.json").write_text(content)
    with pytest.raises(DatasetError, match=r"labels 1\.\.K"):
        examples.read_categories(folder)


def test_manifest_that_is_something_else_is_refused(folder):
    (folder / "manifest.json").write_text(json.dumps({"version": 1}))
    with pytest.raises(DatasetError, match="not a manifest"):
        examples.read_manifest(folder)


@pytest.mark.parametrize("change", ["shard", "categories", "manifest"])
def test_a_split_that_changed_since_it_was_written_is_seen(folder, change):
    assert examples.verified_digest(folder, "train") == examples.read_manifest(folder)["digest"]

    if change == "shard":
        path = examples.shard_paths(folder, "train")[1]
        with open(path, "wb") as file:
            write_tfrecord(file, b"sound, and not what was written")
    elif change == "categories":
        path = folder / "categories.json"
        path.write_text(path.read_text().replace("cat", "cow"))
    else:
        path = folder / "manifest.json"
        path.write_text(path.read_text().replace('"digest": "', '"digest": "0'))

    with pytest.raises(DatasetError, match="make the examples again"):
        examples.verified_digest(folder, "train")
