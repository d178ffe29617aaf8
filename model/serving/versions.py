"""Which version of a model is served: the newest, as in TensorFlow Serving.

Its default policy is followed: versions are folders named by numbers, looked for again and again;
the newest is loaded beside the one that is served, which goes when the new one is ready. Where
the newest cannot be loaded, the old one stays. A version whose folder is gone is not served any
more once another can be; the last one stays.
"""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from ground.errors import ModelError, RcnnError
from ground.outputs import check_pattern
from model.model_folder import find_saved_model, version_number
from model.serving.loaded import ServedModel

_SECONDS_BETWEEN_LOOKS = 1.0
_LOOKS_UNTIL_RETRY = 10

Load = Callable[[Path], ServedModel]


class Version(NamedTuple):
    """A version that is served."""

    number: int
    model: ServedModel


class ServedVersions:
    """The versions of one model.

    Args:
        folder: folder of versions, or a single SavedModel, which then is version 1 or what its
            folder's name says.
        load: loads one of them.
        say: called with a line for what changes.

    Raises:
        ModelError: there is none, or the first cannot be loaded.
    """

    def __init__(self, folder: Path, load: Load, say: Callable[[str], None]) -> None:
        check_pattern(folder, "--model")
        self._folder = folder
        self._load = load
        self._say = say
        self._failed: dict[int, str] = {}
        self._looks_until_retry = 0
        self._ended = threading.Event()
        found = find_saved_model(folder)
        self._is_watched = found.parent == folder and version_number(found.name) is not None
        number = version_number(found.name)
        self._current = Version(1 if number is None else number, load(found))

    @property
    def current(self) -> Version:
        """The version that is served now."""
        return self._current

    def status(self) -> dict[str, Any]:
        """Returns TensorFlow Serving's GetModelStatusResponse as JSON."""
        states = [(self._current.number, "AVAILABLE", "OK", "")]
        states += [(n, "END", "UNKNOWN", line) for n, line in dict(self._failed).items()]
        return {
            "model_version_status": [
                {
                    "version": str(number),
                    "state": state,
                    "status": {"error_code": code, "error_message": message},
                }
                for number, state, code, message in sorted(states, reverse=True)
            ]
        }

    def watch(self) -> None:
        """Looks for new versions, from a thread of its own, until `end`."""
        if self._is_watched:
            threading.Thread(target=self._watch, name="versions", daemon=True).start()

    def end(self) -> None:
        """Ends the watch."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(_SECONDS_BETWEEN_LOOKS):
            self.look()

    def look(self) -> None:
        """Loads the newest version where it is another one than is served."""
        numbers = self._numbers()
        if not numbers or max(numbers) == self._current.number:
            self._failed.clear()
            return
        newest = max(numbers)
        if newest in self._failed and self._looks_until_retry > 0:
            self._looks_until_retry -= 1
            return
        try:
            model = self._load(self._folder / numbers[newest])
        # A folder that is copied or removed meanwhile may fail in any way; what escaped here would
        # end the watch, unseen.
        except Exception as raised:
            error = " ".join(str(raised).split())
            if not isinstance(raised, RcnnError):
                error = f"{type(raised).__name__}: {error}"
            if self._failed.get(newest) != error:
                kept = self._current.number
                self._say(f"version {newest} is not served, version {kept} stays: {error}")
            self._failed = {newest: error}
            self._looks_until_retry = _LOOKS_UNTIL_RETRY
            return
        before, self._current = self._current.number, Version(newest, model)
        self._failed.clear()
        self._say(f"version {newest} is served, no longer version {before}")

    def _numbers(self) -> dict[int, str]:
        """Returns the versions' folder names by number."""
        try:
            names = [path.name for path in self._folder.iterdir() if path.is_dir()]
        except OSError:  # gone for a moment, or for good: what is loaded stays
            return {}
        numbers = {version_number(name): name for name in names}
        return {number: name for number, name in numbers.items() if number is not None}


def model_name(folder: Path) -> str:
    """Returns what a model is called: its folder of versions.

    >>> model_name(Path("serving/cells")), model_name(Path("serving/cells/3"))
    ('cells', 'cells')
    """
    folder = Path(os.path.abspath(folder))  # without the dots that would be a name
    name = folder.parent.name if version_number(folder.name) is not None else folder.name
    if not is_model_name(name):
        raise ModelError(f"{folder}: its name cannot stand in an address: give --name")
    return name


def is_model_name(name: str) -> bool:
    """Returns whether an address can name a model so.

    >>> is_model_name("my cells"), is_model_name("a/b"), is_model_name("..")
    (True, False, False)
    """
    return name not in ("", ".", "..") and name.isprintable() and not set(name) & set("/:")
