"""Where COCO-format data lies, and how one file of it becomes two splits."""

import math
import re
from typing import Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from configs.section import Section, Seed, Text
from ground.addresses import shown_address

SplitName = Literal["train", "eval"]
TRAINING_SPLIT: SplitName = "train"  # the split that training learns from
EVALUATION_SPLIT: SplitName = "eval"
SPLIT_NAMES = (TRAINING_SPLIT, EVALUATION_SPLIT)
_LONGEST_PATTERN = 500  # letters


def quoted(pattern: str) -> str:
    r"""Returns a pattern for a message as a config has it.

    >>> print(quoted(r"cam(\d+)"))
    'cam(\d+)'
    """
    return f"'{pattern}'" if pattern.isprintable() else repr(pattern)


class SplitConfig(Section):
    """How one COCO file is split: each picture by a hash of its own, whatever else there is."""

    train: float = Field(gt=0.0, lt=1.0, description="Share of the pictures that are learnt.")
    eval: float = Field(
        gt=0.0, lt=1.0, description="Share that is measured; both shares add up to 1."
    )
    group: str | None = Field(
        None,
        description="Regular expression that is looked for in each file name: pictures for which "
        "its (...) are the same stay together, such as 'cam(\\d+)'. Null: each picture goes by its "
        "image id.",
    )
    seed: Seed = Field(0, description="Another one draws other splits.")

    @field_validator("group")
    @classmethod
    def _group_is_a_pattern(cls, pattern: str | None) -> str | None:
        if pattern is None:
            return None
        if len(pattern) > _LONGEST_PATTERN:
            raise ValueError(f"expected at most {_LONGEST_PATTERN} letters, got {len(pattern)}")
        try:
            groups = re.compile(pattern).groups
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError(f"{quoted(pattern)} is no regular expression ({error})") from None
        if not groups:
            raise ValueError(
                f"{quoted(pattern)} has no (...) around what pictures of one group share, such as "
                "'cam(\\d+)'"
            )
        return pattern

    @model_validator(mode="after")
    def _shares_add_up(self) -> "SplitConfig":
        total = self.train + self.eval
        if not math.isclose(total, 1.0, abs_tol=1e-6):
            raise ValueError(f"train {self.train:g} and eval {self.eval:g} make {total:g}, not 1")
        return self


class ClassesConfig(Section):
    """Which classes are learnt and measured, and as what; classes go by their names."""

    merge: dict[Text, tuple[Text, ...]] = Field(
        {},
        description="Classes that become one, by its name: {vehicle: [car, truck]}; of one alone, "
        "a new name for it.",
    )
    keep: tuple[Text, ...] = Field(
        (), description="These alone, by their names after `merge`; empty is all."
    )
    drop: tuple[Text, ...] = Field((), description="All but these, likewise.")

    @model_validator(mode="after")
    def _each_class_has_one_fate(self) -> "ClassesConfig":
        if self.keep and self.drop:
            raise ValueError("data.classes.keep and data.classes.drop exclude each other")
        merged = [name for names in self.merge.values() for name in names]
        if twice := next((name for name in merged if merged.count(name) > 1), None):
            raise ValueError(f"data.classes.merge has {twice!r} twice: a class becomes one other")
        if empty := next((name for name, names in self.merge.items() if not names), None):
            raise ValueError(f"data.classes.merge.{empty}: expected names of classes, got none")
        return self

    def name_learnt(self, name: str) -> str | None:
        """Returns the name that a class is learnt by; None where it is not kept.

        >>> ClassesConfig(merge={"pet": ("cat", "dog")}, drop=("car",)).name_learnt("dog")
        'pet'
        """
        new = next((new for new, olds in self.merge.items() if name in olds), name)
        is_kept = new in self.keep if self.keep else new not in self.drop
        return new if is_kept else None


class DataSource(Section):
    """One of several COCO files that become one data set."""

    annotations: Text = Field(description="Its COCO JSON.")
    pictures: Text = Field(description="Folder of the pictures in it.")
    split: SplitName | None = Field(
        None,
        description="That all of it is; null: `data.split` says which picture is in which. "
        "Either all sources have one, or none.",
    )


class DataInput(NamedTuple):
    """A COCO file and the folder of its pictures, below the data folder.

    Attributes:
        annotations: the file.
        pictures: the folder.
        split: that all of it is; None where `data.split` says which picture is in which.
        annotations_key: the setting that names the file, for messages.
        pictures_key: key of the folder.
    """

    annotations: str
    pictures: str
    split: SplitName | None
    annotations_key: str
    pictures_key: str


class DataPlaces(Section):
    """Where the COCO-format data lies, below --data-dir."""

    train_annotations: Text = Field(
        "annotations/instances_train2017.json",
        description="COCO JSON of the training pictures.",
    )
    train_pictures: Text = Field("train2017", description="Folder of the training pictures.")
    eval_annotations: Text = Field(
        "annotations/instances_val2017.json",
        description="COCO JSON of the evaluation pictures.",
    )
    eval_pictures: Text = Field("val2017", description="Folder of the evaluation pictures.")
    annotations: Text | None = Field(
        None,
        description="COCO JSON that `data.split` splits; the four settings above are not read "
        "then.",
    )
    pictures: Text | None = Field(None, description="Folder of the pictures in it.")
    sources: tuple[DataSource, ...] = Field(
        (),
        max_length=1000,
        description="Several COCO files, each with its folder, that become one data set: classes "
        "go by their names, ids are kept apart. The four settings above are not read then.",
    )

    def inputs(self) -> list[DataInput]:
        """Returns the files that a run reads, with their folders."""
        if self.sources:
            key = "data.sources"
            return [DataInput(s.annotations, s.pictures, s.split, key, key) for s in self.sources]
        if self.annotations is not None and self.pictures is not None:
            keys = ("data.annotations", "data.pictures")
            return [DataInput(self.annotations, self.pictures, None, *keys)]
        return [
            DataInput(
                getattr(self, f"{name}_annotations"),
                getattr(self, f"{name}_pictures"),
                name,
                f"data.{name}_annotations",
                f"data.{name}_pictures",
            )
            for name in SPLIT_NAMES
        ]

    @model_validator(mode="after")
    def _file_has_a_folder(self) -> "DataPlaces":
        if (self.annotations is None) != (self.pictures is None):
            given, missing = (
                ("annotations", "pictures") if self.annotations else ("pictures", "annotations")
            )
            raise ValueError(f"data.{given} needs data.{missing}")
        return self

    @model_validator(mode="after")
    def _sources_are_apart(self) -> "DataPlaces":
        if self.sources and self.annotations is not None:
            raise ValueError("data.sources and data.annotations exclude each other: keep one")
        places = [(source.annotations, source.pictures) for source in self.sources]
        if twice := next((place for place in places if places.count(place) > 1), None):
            annotations, pictures = map(shown_address, twice)
            raise ValueError(f"data.sources has {annotations!r} with {pictures!r} twice")
        splits = {source.split for source in self.sources}
        if None in splits and len(splits) > 1:
            raise ValueError(
                "data.sources: some have a split and some have none: give each one its split, or "
                "none and data.split"
            )
        if len(splits) == 1 and None not in splits:
            missing = EVALUATION_SPLIT if TRAINING_SPLIT in splits else TRAINING_SPLIT
            raise ValueError(f"data.sources: none is split {missing!r}")
        return self
