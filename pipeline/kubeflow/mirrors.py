"""Folders in object stores, as local ones while a task runs.

A component reads and writes paths. Where a parameter of a compiled pipeline is an address instead
(`s3://`, `minio://`, `gs://`), the container entry fetches what the component reads of it, gives
it the local folder, and stores what it wrote. Checkpoints are not among these: the trainer itself
writes them to the store while it runs (model/training/storage.py).
"""

import posixpath
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from configs.data_schema import DataPlaces
from configs.parts import Part
from configs.schema import Name
from configs.section import Section, Text
from ground.addresses import is_address, shown_address
from ground.errors import DatasetError, ModelError
from model.model_folder import files_digest, find_saved_model
from model.object_store import ObjectStore, StoredFile, download, open_store
from pipeline.data_folder import data_names
from pipeline.kubeflow.messages import Message
from pipeline.kubeflow.parameters import OVERRIDES, with_overrides

AnySetting = TypeVar("AnySetting")

_GRAPHS = ("saved_model.pb", "saved_model.pbtxt")
_WEIGHTS = "model.weights"
_WITHDRAWN = "withdrawn-"  # of model_pusher/registry.py
# The candidate itself may be pushed already, and one may have been pushed by hand.
_VERSIONS_FETCHED = 3


class _Weights(Section):
    weights: Text | None = None


class _Settings(Part):
    """What says which files a task reads; a task has those of its component alone."""

    name: Name | None = None
    data: DataPlaces | None = None
    model: _Weights | None = None


class Mirrors:
    """The local folders of one task.

    Args:
        folder: where they lie.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._addresses: dict[Path, str] = {}
        self._written: list[tuple[Path, ObjectStore, set[str]]] = []

    def enter(self, message: Message) -> None:
        """Fetches what the parameters name, and gives them local paths.

        Args:
            message: an ExecutorInput with the pod's paths; its parameters are changed.

        Raises:
            DatasetError: there is no data, or
            ModelError: are no weights, at the address.
            ServiceError: the store refuses.
        """
        values = message["inputs"].get("parameterValues", {})
        settings = _Settings()
        if "settings" in values:
            settings = _Settings.from_json(values["settings"], values.get(OVERRIDES))
        for name, fetch in (
            ("data_dir", self._fetch_data),
            ("push_folder", self._fetch_pushed),
            ("detections_dir", self._fetch_detections),
        ):
            if is_address(str(values.get(name, ""))):
                values[name] = str(self._mirror(name, values[name], fetch, settings, message))
        weights = settings.model.weights if settings.model else None
        if weights and is_address(weights):
            local = self._fetch_weights(weights)
            given = with_overrides({_WEIGHTS: str(local)}, values.get(OVERRIDES), wins=True)
            values[OVERRIDES] = given

    def leave(self) -> None:
        """Stores the files that are new; of a model's version the graph comes last.

        A version counts once its graph is there.
        """
        for local, store, known in self._written:
            names = [
                path.relative_to(local).as_posix()
                for path in sorted(local.rglob("*"))
                if path.is_file() and not path.name.startswith(".")
            ]
            new = [name for name in names if name not in known]
            for name in sorted(new, key=lambda name: (Path(name).name in _GRAPHS, name)):
                store.put(local / name, name)

    def addresses_in(self, text: str) -> str:
        """Returns a text with addresses in place of the local folders."""
        for local, address in self._addresses.items():
            text = text.replace(str(local), shown_address(address))
        return text

    def _mirror(
        self,
        name: str,
        address: str,
        fetch: Callable[[ObjectStore, Path, _Settings, Message], set[str] | None],
        settings: _Settings,
        message: Message,
    ) -> Path:
        local = self._folder / name
        local.mkdir(parents=True, exist_ok=True)
        self._addresses[local] = address.rstrip("/")
        store = open_store(address)
        known = fetch(store, local, settings, message)
        if known is not None:
            self._written.append((local, store, known))
        return local

    def _fetch_data(
        self, store: ObjectStore, local: Path, settings: _Settings, message: Message
    ) -> None:
        """Fetches annotation files and pictures of both splits."""
        data = _needed(settings.data)
        for name in data_names(data):
            if is_address(name):  # of another store: the task itself reads it there
                continue
            if not download(store, name_in_store(name), local / name):
                address = shown_address(self._addresses[local])
                raise DatasetError(f"{address}/{name}: there is nothing")
        for each in data.inputs():
            if not is_address(each.pictures):
                (local / each.pictures).mkdir(parents=True, exist_ok=True)

    def _fetch_pushed(
        self, store: ObjectStore, local: Path, settings: _Settings, message: Message
    ) -> set[str]:
        """Fetches the newest versions; of the others only their numbers are there.

        A version whose upload was cut off is in service nowhere: its number alone is kept, as that
        of one withdrawn.
        """
        name = message["inputs"]["parameterValues"].get("model_name") or _needed(settings.name)
        files = store.files(name)
        versions = _versions(name, files)
        whole = [v for v, names in versions.items() if v.isdecimal() and names & set(_GRAPHS)]
        newest = sorted(whole, key=int)[-_VERSIONS_FETCHED:]
        for version in versions:
            if version in newest:
                download(store, f"{name}/{version}", local / name / version)
            elif version.isdecimal():
                (local / name / f"{_WITHDRAWN}{version}").mkdir(parents=True, exist_ok=True)
            else:
                (local / name / version).mkdir(parents=True, exist_ok=True)
        return {file.name for file in files}

    def _fetch_detections(
        self, store: ObjectStore, local: Path, settings: _Settings, message: Message
    ) -> set[str]:
        """Fetches what is kept of the candidate and of the pushed versions that were fetched."""
        [model] = message["inputs"]["artifacts"]["model"]["artifacts"]
        folders = [find_saved_model(model["uri"])]
        folders += [path.parent for path in (self._folder / "push_folder").rglob(_GRAPHS[0])]
        known = set()
        for digest in {files_digest(folder) for folder in folders}:
            known |= {file.name for file in store.files(digest)}
            download(store, digest, local / digest)
        return known

    def _fetch_weights(self, address: str) -> Path:
        folder, _, name = address.rpartition("/")
        local = self._folder / "weights" / name
        self._addresses[local] = address
        if not download(open_store(folder), name, local):
            raise ModelError(f"model.weights {shown_address(address)}: there is nothing")
        return local


def name_in_store(name: str) -> str:
    """Returns a path of the data section as a store has it; "" is all of the folder.

    >>> name_in_store("./train//"), name_in_store(".")
    ('train', '')
    """
    name = posixpath.normpath(name).strip("/")
    return "" if name == "." else name


def _needed(setting: AnySetting | None) -> AnySetting:
    if setting is None:
        raise DatasetError("this task has no settings that say what to fetch")
    return setting


def _versions(name: str, files: list[StoredFile]) -> dict[str, set[str]]:
    """Returns the names in each folder below a model's, those of withdrawn versions too."""
    found: dict[str, set[str]] = {}
    for file in files:
        version, slash, rest = file.name.removeprefix(f"{name}/").partition("/")
        if slash:
            found.setdefault(version, set()).add(rest)
    return found


def stored_digest_parts(address: str, names: list[str]) -> list[Any]:
    """Returns name, size and tag of each file below `names`, for a digest."""
    store = open_store(address)
    return [
        [file.name, file.size, file.tag]
        for name in names
        for file in store.files(name_in_store(name))
    ]
