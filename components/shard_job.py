"""What every job of the shard machine says (`components/shards.py`), and where its files go."""

from dataclasses import dataclass
from pathlib import Path

from model.examples import split_folder
from model.input.index import index_path


@dataclass(frozen=True)
class ShardJob:
    """One shard of a split. A component's own job adds what it needs; all of it can travel.

    Attributes:
        split: name of the split.
        shard: number of the shard, from 0.
        shards: shards of the split.
        file: the shard's file name.
        examples_dir: the new examples folder, while it is being made.
        scratch_dir: folder beside it for what does not stay.
    """

    split: str
    shard: int
    shards: int
    file: str
    examples_dir: str
    scratch_dir: str

    @property
    def pictures_to_do(self) -> int:
        """How many pictures the job goes through; 0 where its component does not say."""
        return 0

    @property
    def count_path(self) -> Path:
        """Where the job says how many of them are done."""
        return Path(self.scratch_dir) / "counts" / f"{self.split}-{self.shard:05d}"

    @property
    def place(self) -> str:
        """How a message names the shard."""
        return f"split {self.split!r}, shard {self.shard + 1} of {self.shards}"

    @property
    def path(self) -> Path:
        """Where the shard's records lie when they are whole."""
        return split_folder(self.examples_dir, self.split) / self.file

    @property
    def index_path(self) -> Path:
        """Where the shard's index lies."""
        return index_path(self.examples_dir, self.split, self.shard, self.shards)

    @property
    def result_path(self) -> Path:
        """Where waits to be merged what came of the shard."""
        return Path(self.scratch_dir) / "results" / f"{self.split}-{self.shard:05d}.json"

    @property
    def partial_path(self) -> Path:
        """Where the shard's records lie until they are checked."""
        return Path(self.scratch_dir) / "records" / self.split / self.file
