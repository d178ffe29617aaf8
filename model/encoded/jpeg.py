"""The structure of a JPEG file, read marker by marker; no pixel is decoded.

Reference: ITU T.81, annexes B and G.
"""

import re
from typing import NamedTuple

START = b"\xff\xd8\xff"
END = b"\xff\xd9"

# In the entropy-coded data an FF is followed by 00 or a restart marker; else a marker begins.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_START_OF_SCAN, _END_OF_IMAGE = 0xDA, 0xD9
_STANDALONE = {0x01, *range(0xD0, 0xD9)}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xCA}
_SEQUENTIAL = {0xC0, 0xC1, 0xC9}
_COMMON = {0xC0, 0xC1, 0xC2}
# Tables, comments, application segments, a further scan, the number of lines, a restart interval.
_BETWEEN_SCANS = {0xC4, 0xCC, 0xDA, 0xDB, 0xDC, 0xDD, 0xFE, *range(0xE0, 0xF0)}
_APPLICATIONS = range(0xE0, 0xF0)
_EXIF, _EXIF_MARKER = b"Exif\0\0", 0xE1
_COLOURS = (b"JFIF\0", b"Adobe")  # segments that tell how to read the colours
_WHOLE_SCAN = b"\x00\x3f\x00"


class Scan(NamedTuple):
    """A scan's header.

    Attributes:
        components: their ids.
        first: coefficient, 0-63.
        last: coefficient, 0-63.
        missing_bits: low bits of the coefficients that are left to later scans.
        parameters_at: where the three bytes of the header stand that say so.
    """

    components: bytes
    first: int
    last: int
    missing_bits: int
    parameters_at: int


class Jpeg(NamedTuple):
    """What a JPEG file consists of.

    Attributes:
        frame: its marker's second byte; 0 where there is no frame header.
        bits: number of bits of one sample.
        height: in pixels; 0 where there is no frame header.
        width: width as it is stored.
        components: their ids.
        scans: their headers.
        metadata: (start, end) of the application segments before the picture data that say nothing
            of the colours. In the data a decoder trips over one, so it stays there.
        colours: (start, end) of those that do.
        exif: content of the first EXIF segment, without its name; b"" without one.
        data_start: where the picture data begin; 0 where there are none.
        end: after the end marker; 0 where there is none.
        complaint: what is no part of a picture; "" for nothing.
    """

    frame: int
    bits: int
    height: int
    width: int
    components: bytes
    scans: list[Scan]
    metadata: list[tuple[int, int]]
    colours: list[tuple[int, int]]
    exif: bytes
    data_start: int
    end: int
    complaint: str

    @property
    def is_common(self) -> bool:
        """Whether it is of the kinds that every decoder reads: 8 bits, Huffman, grey or colour."""
        return self.frame in _COMMON and self.bits == 8 and len(self.components) in (1, 3)

    @property
    def missing_scans(self) -> str:
        """What the scans do not bring, in words; "" where they bring all."""
        for component in self.components:
            scans = [scan for scan in self.scans if component in scan.components]
            if not scans:
                return "a scan is missing: a colour component has no data"
            if self.frame in _PROGRESSIVE and not _is_refined(scans):
                return "cut off between two scans: the last refinements are missing"
        return ""


def _is_refined(scans: list[Scan]) -> bool:
    """Returns whether scans bring every bit of every coefficient of a component."""
    missing_bits = dict.fromkeys(range(64), 99)
    for scan in scans:
        missing_bits.update(dict.fromkeys(range(scan.first, scan.last + 1), scan.missing_bits))
    return not any(missing_bits.values())


def read_jpeg(content: bytes) -> Jpeg:
    r"""Returns the structure of a JPEG file, as far as it can be followed.

    >>> read_jpeg(b"\xff\xd8\xff\xd9").complaint
    'ends before any picture data'
    """
    return _Reader(content).read()


class _Reader:
    """Walks through a file; each marker adds to what is known."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._frame: tuple[int, int, int, int, bytes] = (0, 0, 0, 0, b"")
        self._scans: list[Scan] = []
        self._metadata: list[tuple[int, int]] = []
        self._colours: list[tuple[int, int]] = []
        self._exif = b""
        self._data_start = self._end = 0

    def read(self) -> Jpeg:
        complaint = self._walk()
        rest = self._scans, self._metadata, self._colours, self._exif
        return Jpeg(*self._frame, *rest, self._data_start, self._end, complaint)

    def _walk(self) -> str:
        """Returns the complaint at which it ended; "" where that is the end, or the file's."""
        content, position = self._content, 2
        while True:
            if self._data_start:
                found = _MARKER.search(content, position)
                if not found:
                    return ""
                position = found.start()
            while content[position : position + 2] == b"\xff\xff":  # fill bytes
                position += 1
            if position + 2 > len(content):
                return f"cut off in the headers after {len(content)} bytes"
            marker = content[position + 1]
            if content[position] != 0xFF:
                return f"no marker at byte {position}"
            position += 2
            if marker == _END_OF_IMAGE:
                self._end = position
                return "" if self._data_start else "ends before any picture data"
            if self._data_start and marker not in _BETWEEN_SCANS:
                return f"damaged at byte {position - 2} (marker FF{marker:02X} in the picture data)"
            if marker not in _STANDALONE:
                end = position + max(2, int.from_bytes(content[position : position + 2], "big"))
                self._note(marker, position + 2, end)
                position = end

    def _note(self, marker: int, start: int, end: int) -> None:
        """Keeps what a segment says whose content is `start` to `end`."""
        segment = self._content[start:end]
        if marker in _FRAMES and not self._frame[0]:
            height, width = (int.from_bytes(segment[n : n + 2], "big") for n in (1, 3))
            self._frame = marker, (segment[:1] or b"\0")[0], height, width, segment[6::3]
        elif marker == _START_OF_SCAN and len(segment) >= 4:
            names, (first, last, bits) = segment[1:-3:2], segment[-3:]
            if self._frame[0] in _PROGRESSIVE:
                self._scans.append(Scan(names, first, last, bits & 15, end - 3))
            else:
                self._scans.append(Scan(names, 0, 63, 0, end - 3))
            self._data_start = self._data_start or end
        elif marker in _APPLICATIONS and not self._data_start:
            if marker == _EXIF_MARKER and segment.startswith(_EXIF) and not self._exif:
                self._exif = segment[len(_EXIF) :]
            is_of_colours = segment.startswith(_COLOURS)
            (self._colours if is_of_colours else self._metadata).append((start - 4, end))


def without_metadata(content: bytes, jpeg: Jpeg, without_colours: bool = False) -> bytes:
    """Returns the file without its application segments and what follows the end marker.

    Pixels stay as they are; EXIF, colour profiles, previews and further pictures go.

    Args:
        content: the file.
        jpeg: its structure.
        without_colours: what tells how to read the colours goes, too.
    """
    parts, position = [], 0
    for start, end in sorted(jpeg.metadata + (jpeg.colours if without_colours else [])):
        parts.append(content[position:start])
        position = end
    parts.append(content[position : jpeg.end or len(content)])
    return b"".join(parts)


def with_plain_scans(content: bytes, jpeg: Jpeg) -> bytes:
    """Returns the file with the one value that a sequential scan's parameters can have.

    Cameras write others, which every decoder passes over and some warn of.
    """
    plain = content
    for scan in jpeg.scans if jpeg.frame in _SEQUENTIAL else ():
        at = scan.parameters_at
        if content[at : at + 3] != _WHOLE_SCAN:
            plain = plain[:at] + _WHOLE_SCAN + plain[at + 3 :]
    return plain
