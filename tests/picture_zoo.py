"""Picture files as strangers bring them, each with what is to become of it."""

import io
import re
import struct
import zlib
from typing import Any

import numpy as np
from PIL import Image

HEIGHT, WIDTH = 48, 64
PNG_START = b"\x89PNG\r\n\x1a\n"
END = b"\xff\xd9"

SOUND = ""
UNREADABLE, DAMAGED = "picture_unreadable", "picture_damaged"
WITHOUT_END, METADATA = "picture_without_end", "picture_metadata_damaged"
OTHER = "picture_format_unsupported"


def pixels() -> np.ndarray:
    """Returns a picture of soft colours with some noise, [HEIGHT, WIDTH, 3]."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    ramps = [columns * 255 / WIDTH, rows * 255 / HEIGHT, (rows + columns) * 255 / (HEIGHT + WIDTH)]
    noise = np.random.default_rng(0).normal(0, 12, (HEIGHT, WIDTH, 3))
    return np.clip(np.stack(ramps, -1) + noise, 0, 255).astype(np.uint8)


def saved(format_: str, mode: str = "RGB", **options: Any) -> bytes:
    """Returns the picture as Pillow writes it."""
    stream = io.BytesIO()
    Image.fromarray(pixels()).convert(mode).save(stream, format_, **options)
    return stream.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    """Returns a PNG chunk with its right checksum."""
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def png(
    compressed: bytes,
    depth: int = 8,
    colour: int = 2,
    interlace: int = 0,
    before: tuple[tuple[bytes, bytes], ...] = (),
    size: tuple[int, int] = (HEIGHT, WIDTH),
) -> bytes:
    """Returns a PNG with the compressed data in one chunk, after the chunks `before`."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, colour, 0, 0, interlace)
    chunks = [(b"IHDR", header), *before, (b"IDAT", compressed), (b"IEND", b"")]
    return PNG_START + b"".join(chunk(*content) for content in chunks)


def rows(values: np.ndarray, filter_: int = 0) -> bytes:
    """Returns a PNG's rows, each behind its filter's number."""
    return b"".join(bytes([filter_]) + np.ascontiguousarray(row).tobytes() for row in values)


def interlaced(values: np.ndarray) -> bytes:
    """Returns the rows of the seven passes of Adam7."""
    starts_and_steps = (
        (0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2),
        (1, 0, 2, 1),
    )  # fmt: skip
    return b"".join(rows(values[y::dy, x::dx]) for y, x, dy, dx in starts_and_steps)


def exif(*entries: tuple[int, int, int, bytes]) -> bytes:
    """Returns an EXIF block of (tag, type, count, four bytes), big-endian."""
    body = b"".join(struct.pack(">HHI", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in entries)
    return b"MM\0*\0\0\0\x08" + struct.pack(">H", len(entries)) + body + bytes(4)


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    """Returns a JPEG with an EXIF segment behind its start."""
    content = b"Exif\0\0" + block
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content + jpeg[2:]


def turn(value: int) -> tuple[int, int, int, bytes]:
    """Returns the EXIF entry of an orientation."""
    return (0x0112, 3, 1, struct.pack(">H", value))


def replaced(content: bytes, at: int, new: bytes) -> bytes:
    """Returns the content with other bytes at a place."""
    return content[:at] + new + content[at + len(new) :]


def without_segments(jpeg: bytes, marker: bytes) -> bytes:
    """Returns a JPEG without the segments of a marker."""
    while (at := jpeg.find(marker)) > 0:
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        jpeg = jpeg[:at] + jpeg[at + 2 + length :]
    return jpeg


def _jpegs() -> dict[str, tuple[bytes, str]]:
    plain, progressive, cmyk = saved("JPEG"), saved("JPEG", progressive=True), saved("JPEG", "CMYK")
    restarts = saved("JPEG", restart_marker_blocks=2)
    frame, scan = plain.index(b"\xff\xc0"), plain.index(b"\xff\xda")
    half = (scan + len(plain)) // 2
    parameters = scan + 2 + int.from_bytes(plain[scan + 2 : scan + 4], "big") - 3
    scans = [n for n in range(len(progressive)) if progressive[n : n + 2] == b"\xff\xda"]
    tables = progressive.rindex(b"\xff\xc4", 0, scans[4])
    marks = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", restarts)]
    adobe_colours = b"\xff\xee\x00\x0eAdobe\0\x64\0\0\0\0"
    second = saved("JPEG", quality=30)
    return {
        "plain": (plain, SOUND),
        "grey": (saved("JPEG", "L"), SOUND),
        "progressive": (progressive, SOUND),
        "restart markers": (restarts, SOUND),
        "4:1:1": (saved("JPEG", subsampling="4:1:1"), SOUND),
        "CMYK of Adobe": (cmyk, SOUND),
        "CMYK without Adobe": (without_segments(cmyk, b"\xff\xee"), SOUND),
        "YCCK": (replaced(cmyk, cmyk.index(b"Adobe") + 11, b"\x02"), SOUND),
        "Adobe RGB": (plain[:2] + adobe_colours + b"\0" + plain[2:], SOUND),
        "Adobe's transform 7": (plain[:2] + adobe_colours + b"\7" + plain[2:], SOUND),
        "Motion JPEG without tables": (without_segments(plain, b"\xff\xc4"), SOUND),
        "two pictures (MPO)": (
            saved("MPO", save_all=True, append_images=[Image.fromarray(pixels()[::-1])]),
            SOUND,
        ),
        "another JPEG behind it": (plain + second, SOUND),
        "trailer": (plain + b"a trailer, as phones write it \xff\xff", SOUND),
        "comment like a picture": (saved("JPEG", comment=b"\xff\xd8\xff\xda it"), SOUND),
        "fill bytes": (plain[:2] + b"\xff\xff" + plain[2:], SOUND),
        "zeros before the end": (plain[:-2] + bytes(40) + END, SOUND),
        "odd scan parameters": (replaced(plain, parameters, b"\0\0\0"), SOUND),
        "unknown JFIF revision": (replaced(plain, 11, b"\x09"), SOUND),
        "wrong number of lines after": (plain[:-2] + b"\xff\xdc\0\x04\0\x10" + END, SOUND),
        "extended sequential": (replaced(plain, frame + 1, b"\xc1"), SOUND),
        "no end marker": (plain[:-2], WITHOUT_END),
        "half an end marker": (plain[:-1], WITHOUT_END),
        "progressive without end": (progressive[:-2], WITHOUT_END),
        "cut without end": (plain[:-40], UNREADABLE),
        "cut in half": (plain[:half], UNREADABLE),
        "cut in half, zeros after": (plain[:half] + bytes(half), UNREADABLE),
        "cut in half and closed": (plain[:half] + END, DAMAGED),
        "progressive, cut in a scan and closed": (progressive[: scans[-1] + 40] + END, DAMAGED),
        "progressive, cut between scans and closed": (progressive[:tables] + END, DAMAGED),
        "progressive, cut between scans": (progressive[:tables], UNREADABLE),
        "bytes before the end": (plain[:-2] + b"abcdef" * 9 + END, DAMAGED),
        "half as high in the header": (replaced(plain, frame + 5, b"\0\x18"), DAMAGED),
        "twice as high in the header": (replaced(plain, frame + 5, b"\0\x60"), DAMAGED),
        "a restart interval lost": (restarts[: marks[1]] + restarts[marks[2] :], DAMAGED),
        "an unknown marker in the data": (replaced(plain, half, b"\xff\x01" * 9), DAMAGED),
        "EXIF in the data": (
            plain[:half] + with_exif(b"\xff\xd8", exif(turn(6)))[2:] + plain[half:],
            DAMAGED,
        ),
        "no height": (replaced(plain, frame + 5, b"\0\0"), UNREADABLE),
        "no width": (replaced(plain, frame + 7, b"\0\0"), UNREADABLE),
        "two starts": (plain[:2] + plain, UNREADABLE),
        "no quantisation tables": (without_segments(plain, b"\xff\xdb"), UNREADABLE),
        "12 bits": (replaced(plain, frame + 4, b"\x0c"), UNREADABLE),
        "lossless": (replaced(plain, frame + 1, b"\xc3"), UNREADABLE),
        "hierarchical": (replaced(plain, frame + 1, b"\xc5"), UNREADABLE),
        "progressive by its marker alone": (replaced(plain, frame + 1, b"\xc2"), UNREADABLE),
        "arithmetic by its marker alone": (replaced(plain, frame + 1, b"\xc9"), DAMAGED),
        "start and end alone": (b"\xff\xd8\xff\xd9", UNREADABLE),
        "start alone": (b"\xff\xd8\xff", UNREADABLE),
        "EXIF with a tag of another type": (
            with_exif(plain, exif((0x010E, 5, 1, b"\0\0\0\x26"), turn(6))),
            SOUND,
        ),
    }


def _pngs() -> dict[str, tuple[bytes, str]]:
    rgb = pixels()
    whole = zlib.compress(rows(rgb))
    broken = replaced(whole, len(whole) // 2, bytes([whole[len(whole) // 2] ^ 0xFF]))
    index = (rgb[..., 0] // 16).astype(np.uint8)
    palette = (b"PLTE", bytes(range(48)))
    indexed = zlib.compress(rows(index))
    plain = png(whole)
    deep = rgb.astype(">u2") * 256 + 200
    deep_alpha = np.dstack([deep, deep[..., :1]]).astype(">u2")
    text = png(whole, before=((b"tEXt", b"k\0hello"),))
    profile = zlib.compress(b"no profile" * 20)
    animated = [Image.fromarray(rgb[::-1])]
    found = {
        "plain": (plain, SOUND),
        "palette": (png(indexed, colour=3, before=(palette,)), SOUND),
        "palette with alpha": (
            png(indexed, colour=3, before=(palette, (b"tRNS", b"\x80" * 16))),
            SOUND,
        ),
        "palette shorter than its indices": (
            png(indexed, colour=3, before=((b"PLTE", bytes(range(30))),)),
            SOUND,
        ),
        "grey with a transparent value": (
            png(indexed, colour=0, before=((b"tRNS", b"\0\x05"),)),
            SOUND,
        ),
        "RGB with a transparent value": (png(whole, before=((b"tRNS", bytes(6)),)), SOUND),
        "grey, 16 bits": (png(zlib.compress(rows(deep[..., 0])), 16, 0), SOUND),
        "grey and alpha, 16 bits": (png(zlib.compress(rows(deep_alpha[..., :2])), 16, 4), SOUND),
        "RGB, 16 bits": (png(zlib.compress(rows(deep)), 16, 2), SOUND),
        "RGBA, 16 bits": (png(zlib.compress(rows(deep_alpha)), 16, 6), SOUND),
        "grey and alpha": (png(zlib.compress(rows(rgb[..., :2])), colour=4), SOUND),
        "interlaced": (png(zlib.compress(interlaced(rgb)), interlace=1), SOUND),
        "animated": (saved("PNG", save_all=True, append_images=animated), SOUND),
        "trailer": (plain + b"a trailer", SOUND),
        "too many rows": (png(zlib.compress(rows(rgb) + rows(rgb[:5]))), SOUND),
        "bytes after the data": (png(whole + b"junk"), SOUND),
        "2 MB of text": (png(whole, before=((b"tEXt", b"k\0" + b"x" * 2_000_000),)), SOUND),
        "2 MB of packed text": (
            png(whole, before=((b"zTXt", b"k\0\0" + zlib.compress(b"x" * 2_000_000)),)),
            SOUND,
        ),
        "profile of another method": (png(whole, before=((b"iCCP", b"n\0\1" + profile),)), SOUND),
        "profile that is none": (png(whole, before=((b"iCCP", b"n\0\0" + profile),)), SOUND),
        "profile cut off": (png(whole, before=((b"iCCP", b"n\0\0" + profile[:5]),)), SOUND),
        "chromaticities of zero": (png(whole, before=((b"cHRM", bytes(32)),)), SOUND),
        "unknown chunk that may be left": (png(whole, before=((b"abCD", b"x"),)), SOUND),
        "wrong checksum of a text": (replaced(text, text.index(b"hello") + 5, b"\0"), METADATA),
        "no end chunk": (plain[:-12], WITHOUT_END),
        "half an end chunk": (plain[:-5], WITHOUT_END),
        "wrong checksum of the end": (replaced(plain, len(plain) - 1, b"\0"), WITHOUT_END),
        "cut in half": (plain[: len(plain) // 2], UNREADABLE),
        "half the rows": (png(zlib.compress(rows(rgb[: HEIGHT // 2]))), UNREADABLE),
        "a row short": (png(zlib.compress(rows(rgb[:-1]))), UNREADABLE),
        "wrong Adler sum": (png(replaced(whole, len(whole) - 1, b"\0")), UNREADABLE),
        "no Adler sum": (png(whole[:-4]), UNREADABLE),
        "compressed data cut": (png(whole[: len(whole) // 2]), UNREADABLE),
        "compressed data broken": (png(broken), UNREADABLE),
        "compressed data of another kind": (png(b"\x79\x9d" + whole[2:]), UNREADABLE),
        "filter 9": (png(zlib.compress(rows(rgb, 9))), UNREADABLE),
        "interlaced and cut": (png(zlib.compress(interlaced(rgb)[:5000]), interlace=1), UNREADABLE),
        "interlaced in another way": (png(whole, interlace=2), UNREADABLE),
        "no palette": (png(indexed, colour=3), UNREADABLE),
        "palette of a broken length": (
            png(indexed, colour=3, before=((b"PLTE", bytes(50)),)),
            UNREADABLE,
        ),
        "colour type 5": (png(whole, colour=5), UNREADABLE),
        "3 bits": (png(whole, 3), UNREADABLE),
        "no width": (png(whole, size=(HEIGHT, 0)), UNREADABLE),
        "unknown chunk that is needed": (png(whole, before=((b"ABCD", b"x"),)), UNREADABLE),
        "wrong checksum of the header": (replaced(plain, 29, b"\0\0"), UNREADABLE),
        "wrong checksum of the data": (replaced(plain, len(plain) - 14, b"\0\0"), UNREADABLE),
        "header twice": (plain[:33] + plain[8:], UNREADABLE),
        "for iPhones (CgBI)": (PNG_START + chunk(b"CgBI", b"P\0 \2") + plain[8:], UNREADABLE),
        "no data": (plain[:33] + plain[-12:], UNREADABLE),
        "signature alone": (PNG_START, UNREADABLE),
    }
    for depth in (1, 2, 4):
        packed = np.zeros((HEIGHT, WIDTH * depth // 8), np.uint8)
        for place in range(8 // depth):
            values = (index >> (4 - depth)).astype(np.uint8)[:, place :: 8 // depth]
            packed |= values << (8 - depth * (place + 1))
        few = (b"PLTE", bytes(range(3 * 2**depth)))
        data = zlib.compress(rows(packed))
        found[f"grey, {depth} bits"] = png(data, depth, 0), SOUND
        found[f"palette, {depth} bits"] = png(data, depth, 3, before=(few,)), SOUND
    return found


def _others() -> dict[str, tuple[bytes, str]]:
    return {
        "nothing": (b"", UNREADABLE),
        "GIF": (saved("GIF"), OTHER),
        "BMP": (saved("BMP"), OTHER),
        "WebP": (saved("WEBP"), OTHER),
        "TIFF": (saved("TIFF"), OTHER),
        "HEIC": (b"\0\0\0\x18ftypheic" + bytes(900), OTHER),
        "JPEG 2000": (saved("JPEG2000"), OTHER),
        "gzip": (b"\x1f\x8b\x08" + bytes(900), OTHER),
        "login page": (b"<!DOCTYPE html><title>log in</title>", OTHER),
        "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\n", OTHER),
        "three bytes": (b"abc", OTHER),
    }


def zoo() -> dict[str, tuple[bytes, str]]:
    """Returns {name: (file, reason code)}; the code is "" where the file is sound."""
    groups = {"JPEG": _jpegs(), "PNG": _pngs(), "other": _others()}
    return {
        f"{kind}: {name}": case for kind, cases in groups.items() for name, case in cases.items()
    }
