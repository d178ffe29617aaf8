"""Sabotage at every hand-over: what is lost or doubled is noticed, with the place and the ids."""

import dataclasses
import json
import re

import pytest

from components import shard_file, shards
from components.coco_example_gen import accounts, shard, spool, whole
from components.coco_example_gen.accounts import check_manifest
from components.coco_example_gen.rejects import RejectsFile
from ground.errors import DatasetError
from model.coco.tally import Tally
from tests.components.coco_example_gen.conversions import run
from tests.components.coco_example_gen.small_dataset import annotation, image, write_dataset

LIMITS = {"max_rejected_fraction": 1, "max_lost_objects_fraction": 1}


@pytest.fixture
def folder(tmp_path):
    """Nine pictures with two objects each: one is missing, and one object has no category."""
    annotations = [annotation(100 + n, n // 2) for n in range(18)]
    annotations[7]["category_id"] = 99
    folder = write_dataset(tmp_path / "set", [image(n) for n in range(9)], annotations)
    (folder / "pictures" / "5.jpg").unlink()
    return folder


def fails(folder, out, *words, **data):
    """Checks that a conversion fails in one line with these words, and leaves nothing."""
    with pytest.raises(DatasetError) as error:
        run(folder, out, **LIMITS, **data)
    message = str(error.value)
    missing = [word for word in words if not re.search(word, message)]
    assert missing == [], message
    assert "\n" not in message
    assert list(out.iterdir()) == []


def test_sound_conversion_passes(folder, tmp_path):
    summary = run(folder, tmp_path / "out", **LIMITS)
    assert summary["objects"] == {"read": 18, "written": 15, "rejected": 3}


def test_entry_that_the_second_reading_does_not_see(folder, tmp_path, monkeypatch):
    iterate = spool.iterate_annotations
    skips = iter([1])  # once
    monkeypatch.setattr(
        spool, "iterate_annotations", lambda path: list(iterate(path))[next(skips, 0) :]
    )
    words = "9 pictures with 18 objects listed, 9 pictures with 17 objects listed"
    fails(folder, tmp_path / "out", words, "missing: annotation id 100")


def test_entry_that_is_not_spooled(folder, tmp_path, monkeypatch):
    pack = spool._HEADER.pack

    class Header:
        size = spool._HEADER.size
        unpack = staticmethod(spool._HEADER.unpack)

        @staticmethod
        def pack(kind, image_id, place, length):
            return b"" if (kind, place) == (1, 4) else pack(kind, image_id, place, length)

    monkeypatch.setattr(spool, "_HEADER", Header)
    # What follows the lost header cannot be read: the rest of the file is missing with it.
    fails(folder, tmp_path / "out", "spool file to the shard: ", "missing: .*annotation ids?.* 104")


def cut_spool(monkeypatch, change):
    """Changes the spool files once they are written: `change` gets the folder."""
    write = spool.write_spool

    def write_and_change(file, folder, *rest):
        spooled = write(file, folder, *rest)
        change(folder)
        return spooled

    monkeypatch.setattr(spool, "write_spool", write_and_change)


def test_spool_file_that_is_cut(folder, tmp_path, monkeypatch):
    def cut(spool_folder):
        path = spool.spool_path(spool_folder, 0)
        path.write_bytes(path.read_bytes()[:-1])

    cut_spool(monkeypatch, cut)
    fails(
        folder,
        tmp_path / "out",
        "split 'train', shard 1 of 2, from the spool file to the shard|"
        "split 'train', shard 1 of 2: from the spool file to the shard",
        r"missing: annotation id 1\d\d\)",
    )


def test_spool_file_that_is_doubled(folder, tmp_path, monkeypatch):
    def double(spool_folder):
        path = spool.spool_path(spool_folder, 1)
        path.write_bytes(path.read_bytes() * 2)

    cut_spool(monkeypatch, double)
    fails(folder, tmp_path / "out", "shard 2 of 2: from the spool file", "too often: image ids")


def test_spool_file_of_another_shard(folder, tmp_path, monkeypatch):
    def swap(spool_folder):
        first, second = (spool.spool_path(spool_folder, shard) for shard in (0, 1))
        second.write_bytes(first.read_bytes())

    cut_spool(monkeypatch, swap)
    fails(folder, tmp_path / "out", "shard 2 of 2: from the spool file", "missing: image id")


def test_picture_that_a_shard_leaves_out(folder, tmp_path, monkeypatch):
    write = shard._ShardWriter._write_picture

    def leave_out(self, entry, annotations):
        if entry["id"] != 3:
            write(self, entry, annotations)

    monkeypatch.setattr(shard._ShardWriter, "_write_picture", leave_out)
    fails(
        folder,
        tmp_path / "out",
        "from the spool file to the shard",
        r"missing: image id 3; missing: annotation ids 106, 107\)",
    )


def test_object_that_a_shard_leaves_out(folder, tmp_path, monkeypatch):
    parse = shard._ShardWriter._parse_objects

    def leave_out(self, annotations, *rest):
        objects, dropped = parse(self, annotations, *rest)
        return [pair for pair in objects if pair[0].annotation_id != 104], dropped

    monkeypatch.setattr(shard._ShardWriter, "_parse_objects", leave_out)
    fails(folder, tmp_path / "out", "to records and rejects", r"\(missing: annotation id 104\)")


@pytest.mark.parametrize(("times", "words"), [(0, "missing"), (2, "too often")])
def test_record_that_is_lost_or_doubled_while_written(folder, tmp_path, monkeypatch, times, words):
    write, encode = shard_file.write_tfrecord, shard.encode_record
    marked = []

    def encode_marked(image_id, *rest):
        record = encode(image_id, *rest)
        if image_id == 4:
            marked.append(record)
        return record

    def write_some(stream, record):
        for _ in range(times if record in marked else 1):
            write(stream, record)

    monkeypatch.setattr(shard, "encode_record", encode_marked)
    monkeypatch.setattr(shard_file, "write_tfrecord", write_some)
    fails(
        folder,
        tmp_path / "out",
        r"from the writer to data_tfrecord-0000\d-of-00002",
        rf"\({words}: image id 4\)",
    )


def test_record_with_other_bytes(folder, tmp_path, monkeypatch):
    write = shard_file.write_tfrecord
    monkeypatch.setattr(
        shard_file, "write_tfrecord", lambda stream, record: write(stream, record + b"\x78\x00")
    )
    fails(folder, tmp_path / "out", "from the writer to data_tfrecord", "other bytes")


@pytest.mark.parametrize(
    ("reason", "ids"),
    [("picture_missing", "image id 5"), ("unknown_category", "annotation id 107")],
)
def test_line_of_the_rejects_that_is_not_written(folder, tmp_path, monkeypatch, reason, ids):
    write = RejectsFile._write

    def leave_out(self, flaw, content):
        if flaw.code != reason:
            write(self, flaw, content)

    monkeypatch.setattr(RejectsFile, "_write", leave_out)
    fails(folder, tmp_path / "out", "from the rejects to rejects.jsonl", f"missing: {ids}")


def test_line_of_the_rejects_that_is_doubled(folder, tmp_path, monkeypatch):
    write = RejectsFile._write

    def twice(self, flaw, content):
        write(self, flaw, content)
        write(self, flaw, content)

    monkeypatch.setattr(RejectsFile, "_write", twice)
    fails(folder, tmp_path / "out", "to rejects.jsonl", "too often: ")


def test_reject_that_is_not_counted(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(
        RejectsFile,
        "annotation",
        lambda self, flaw, entry: self._write(flaw, {"annotation": entry}),
    )
    fails(folder, tmp_path / "out", "to records and rejects", "1[67] objects read|objects read")


def test_joined_rejects_that_are_cut(folder, tmp_path, monkeypatch):
    check = whole.check_rejects

    def cut_and_check(split, path, tally, parts):
        path.write_bytes(b"".join(path.read_bytes().splitlines(True)[1:]))
        check(split, path, tally, parts)

    monkeypatch.setattr(whole, "check_rejects", cut_and_check)
    ids = r"\(missing: id (image 5|annotation 107)\)"
    fails(folder, tmp_path / "out", "2 lines written, the file holds 1", ids)


def test_homeless_object_whose_line_is_lost(folder, tmp_path, monkeypatch):
    content = json.loads((folder / "instances.json").read_text())
    content["annotations"].append({"id": 1, "image_id": None})
    (folder / "instances.json").write_text(json.dumps(content))
    write = RejectsFile._write

    def leave_out(self, flaw, entry):
        if flaw.code != "unknown_image":
            write(self, flaw, entry)

    monkeypatch.setattr(RejectsFile, "_write", leave_out)
    fails(folder, tmp_path / "out", "3 lines written, the file holds 2", "missing: reason unk")


def test_result_of_another_shard(folder, tmp_path, monkeypatch):
    read = shards.read_result
    monkeypatch.setattr(shards, "read_result", lambda job: read(dataclasses.replace(job, shard=0)))
    fails(
        folder, tmp_path / "out", "split 'train', shard 2 of 2: ", "its lines hold 1 picture with 3"
    )


def test_manifest_that_does_not_add_up():
    lines = [{"file": "a", "records": 3}, {"file": "b", "records": 4}]
    check_manifest("train", lines, Tally(pictures_written=7))
    with pytest.raises(DatasetError, match="8 records written, 7 listed"):
        check_manifest("train", lines, Tally(pictures_written=8))
    with pytest.raises(DatasetError, match=r"10 listed \(too often: file a\)"):
        check_manifest("train", [*lines, lines[0]], Tally(pictures_written=10))


def test_shard_without_a_picture_is_fine(tmp_path):
    folder = write_dataset(tmp_path / "set", [image(1)], [annotation(1, 1)])
    assert run(folder, tmp_path / "out", shards=5)["pictures"]["written"] == 1


def test_objects_without_ids_are_named_as_such(folder, tmp_path, monkeypatch):
    content = json.loads((folder / "instances.json").read_text())
    for entry in content["annotations"]:
        del entry["id"]
    (folder / "instances.json").write_text(json.dumps(content))
    assert run(folder, tmp_path / "fine", **LIMITS)["objects"]["written"] == 15
    write = shard._ShardWriter._write_picture
    monkeypatch.setattr(
        shard._ShardWriter,
        "_write_picture",
        lambda self, entry, annotations: entry["id"] == 3 or write(self, entry, annotations),
    )
    fails(folder, tmp_path / "out", "missing: image id 3; missing: annotation id without an id")
    assert accounts.check_fates is shard.check_fates
