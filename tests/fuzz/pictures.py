"""Mutated picture files: what CocoExampleGen accepts must decode everywhere to the same picture.

    python -m tests.fuzz.pictures --count 10000 --seed 0

Prints how many were accepted, by reason, and each failure with the number that makes it again.
"""

import collections
import random
import resource
import struct
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
import tensorflow as tf

from components.coco_transform.picture import training_picture
from model.encoded import png
from model.encoded.check import Facts, inspect
from model.encoded.decoder import check_decodes
from model.encoded.flaw import PictureFlaw
from model.encoded.pixels import opened, rgb
from model.input.bounded_decode import decode_within
from model.input.resize import decode_picture
from model.pictures import servable
from tests.picture_zoo import exif, turn, with_exif, zoo

MAX_PIXELS = 1_000_000
SLOWEST_SECONDS = 5.0
# Pillow and TensorFlow round CMYK differently, by one level.
MAX_MEAN_DIFFERENCE = 1.0

Mutation = Callable[[bytes, random.Random], bytes]


def seeds() -> list[bytes]:
    """Returns the files that are mutated: those of the zoo that are used, and small."""
    used = ("", "picture_without_end", "picture_metadata_damaged")
    files = [content for content, code in zoo().values() if code in used and len(content) < 20_000]
    return [*files, *(with_exif(f, exif(turn(6))) for f in files if f.startswith(b"\xff\xd8"))]


def _place(content: bytes, chance: random.Random) -> int:
    """Returns a place in a file, often in its headers."""
    return chance.randrange(min(len(content), chance.choice([64, 700, len(content)])) or 1)


def _flip(content: bytes, chance: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(chance.choice([1, 1, 2, 8])):
        changed[_place(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _write(content: bytes, chance: random.Random) -> bytes:
    at = _place(content, chance)
    new = chance.choice(
        [b"\0", b"\xff", b"\xff\xd9", b"\xff\xff\xff\xff", b"\0\0\0\0", chance.randbytes(4)]
    )
    return content[:at] + new + content[at + len(new) :]


def _cut(content: bytes, chance: random.Random) -> bytes:
    kept = content[: chance.randrange(len(content))]
    return kept + chance.choice([b"", b"", b"\xff\xd9", png.END, bytes(50)])


def _move(content: bytes, chance: random.Random) -> bytes:
    start = _place(content, chance)
    end = min(len(content), start + chance.choice([1, 7, 60, 600]))
    piece = content[start:end]
    rest = content if chance.random() < 0.5 else content[:start] + content[end:]
    at = _place(rest, chance)
    return rest[:at] + chance.choice([b"", piece]) + rest[at:]


def _segments(content: bytes) -> list[tuple[int, int]]:
    """Returns (start, end) of the chunks of a PNG, or the segments before a JPEG's data."""
    if content.startswith(png.START):
        return [(chunk.start, chunk.end) for chunk in png.read_png(content).chunks]
    found, at = [], 2
    while at + 4 <= len(content) and content[at] == 0xFF and content[at + 1] not in (0xDA, 0xD9):
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        found.append((at, end))
        at = end
    return found


def _edit_segments(content: bytes, chance: random.Random) -> bytes:
    places = _segments(content)
    if not places:
        return content
    start, end = chance.choice(places)
    piece, at = content[start:end], chance.choice(places)[0]
    kind = chance.randrange(4)
    if kind == 0:
        return content[:start] + content[end:]
    if kind == 1:
        return content[:at] + piece + content[at:]
    rest = content[:start] + content[end:]
    return rest[:at] + (piece if kind == 2 else piece[: len(piece) // 2]) + rest[at:]


def _edit_data(content: bytes, chance: random.Random) -> bytes:
    """Changes a PNG's compressed rows, or its header, under right checksums."""
    structure = png.read_png(content)
    if not content.startswith(png.START) or not structure.chunks:
        return _flip(content, chance)
    parts = [png.START]
    for chunk in structure.chunks:
        data = content[chunk.data : chunk.end - 4]
        if chunk.name == b"IDAT" and chance.random() < 0.6:
            data = _recompressed(data, chance)
        elif data and chance.random() < 0.3:
            data = _flip(data, chance)
        checksum = zlib.crc32(chunk.name + data)
        parts.append(struct.pack(">I", len(data)) + chunk.name + data + struct.pack(">I", checksum))
    return b"".join(parts)


def _recompressed(data: bytes, chance: random.Random) -> bytes:
    try:
        rows = zlib.decompressobj().decompress(data, 10_000_000)
    except zlib.error:
        return _flip(data, chance)
    rows = chance.choice([_flip, _cut, _write])(rows or b"\0", chance)
    return zlib.compress(rows) if chance.random() < 0.8 else zlib.compress(rows)[:-3]


MUTATIONS: tuple[Mutation, ...] = (_flip, _write, _cut, _move, _edit_segments, _edit_data)


def mutated(files: list[bytes], number: int) -> bytes:
    """Returns the mutated file of a number: the same in every run."""
    chance = random.Random(number)
    content = chance.choice(files)
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        content = chance.choice(MUTATIONS)(content or b"\0", chance)
    return content


@tf.function(input_signature=[tf.TensorSpec([], tf.string)])
def _served(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes as the exported model does."""
    return decode_within(encoded, 0, MAX_PIXELS)


def outcome(content: bytes) -> str:
    """Returns the reason code of a file that is refused, or what it was accepted with.

    Raises:
        AssertionError: it is accepted, and does not decode everywhere to the same picture.
    """
    try:
        facts = inspect(content, MAX_PIXELS)
        codes = [code for code, _ in facts.flaws]
        if "picture_damaged" in codes:
            return "picture_damaged"
        check_decodes(facts)
    except PictureFlaw as flaw:
        assert "\n" not in flaw.detail, flaw.detail
        return flaw.code
    _check_all_decoders(facts)
    return f"accepted {'+'.join(codes)}".strip()


def _check_all_decoders(facts: Facts) -> None:
    size = facts.height, facts.width
    pixels = decode_picture(facts.content).numpy()
    assert pixels.shape[:2] == size
    served = servable(facts.content, "it", MAX_PIXELS, is_checked=True)
    assert (served.height, served.width) == facts.upright_size
    assert served.open().size == (served.width, served.height)
    decoded = _served(served.encoded).numpy()
    if not facts.is_turned:
        assert np.array_equal(decoded, pixels)
    trained = training_picture(facts.content, 32, 48, 90)
    assert decode_picture(trained.jpeg).shape[:2] == (trained.height, trained.width)
    difference = np.abs(np.asarray(rgb(opened(facts.content))).astype(int) - pixels)
    assert difference.mean() <= MAX_MEAN_DIFFERENCE, f"Pillow differs by {difference.mean():.2f}"


def run(count: int, seed: int, keep_in: Path | None = None) -> tuple[dict[str, int], list[str]]:
    """Returns how many files came to what, and a line for each failure.

    Args:
        count: files to try.
        seed: number of the first.
        keep_in: folder that gets the files that failed.
    """
    files, counts = seeds(), collections.Counter[str]()
    failures: list[str] = []
    outcome(files[0])  # TensorFlow's first decoding takes its time
    for number in range(seed, seed + count):
        content = mutated(files, number)
        started = time.process_time()
        try:
            counts[outcome(content)] += 1
        except Exception as error:  # of any kind: none may come out
            message = " ".join(str(error).split())[:200]
            failures.append(f"{number}: {type(error).__name__}: {message}")
            if keep_in:
                (keep_in / f"{number}.bin").write_bytes(content)
        seconds = time.process_time() - started
        if seconds > SLOWEST_SECONDS:
            failures.append(f"{number}: took {seconds:.1f} s")
    return dict(counts), failures


@click.command()
@click.option("--count", default=10_000, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Number of the first file.")
@click.option("--keep-in", type=click.Path(path_type=Path), help="Folder for what fails.")
def main(count: int, seed: int, keep_in: Path | None) -> None:
    """Mutates pictures and tries each."""
    run(min(count, 300), seed)  # warms up, so that growth is the files' own
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    counts, failures = run(count, seed, keep_in)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for code, number in sorted(counts.items()):
        click.echo(f"{code}: {number}")
    click.echo(f"memory grew by {grown:.0f} MB")
    for line in failures:
        click.echo(f"FAILED {line}")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
