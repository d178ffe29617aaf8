"""Which classes of COCO files are learnt, and as what: merged, renamed, left out."""

import dataclasses
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from configs.data_schema import ClassesConfig
from ground.errors import ConfigError
from ground.wording import quoted
from model.coco.survey import Survey
from model.coco.values import integer_at
from model.examples import Category

_MOST_NAMED = 5


@dataclasses.dataclass(frozen=True)
class ClassMap:
    """What becomes of the categories of a file.

    Attributes:
        categories: the label map.
        by_id: the class of each category that is kept, by the file's id.
        left_out: names of those that are not, likewise.
        names: the names of all categories in the file, likewise.
    """

    categories: list[Category]
    by_id: dict[int, Category]
    left_out: dict[int, str]
    names: dict[int, str]

    def left_out_name(self, annotation: Any) -> str | None:
        """Returns the class of an entry of `annotations`, where that is not kept; else None."""
        if not self.left_out:
            return None
        return self.left_out.get(integer_at(annotation, "category_id"))  # type: ignore[arg-type]

    def mapped(self, found: Survey) -> Survey:
        """Returns what a survey is once the classes are these."""
        objects: Counter[int | None] = Counter()
        for id_, number in found.objects.items():
            if id_ not in self.left_out:
                category = None if id_ is None else self.by_id.get(id_)
                objects[id_ if category is None else category["id"]] += number
        return dataclasses.replace(found, categories=self.categories, objects=objects)

    def facts(self, objects: Mapping[int | None, int]) -> dict[str, dict[str, Any]]:
        """Returns what summaries and reports say: objects of the file's classes by what they are.

        Args:
            objects: by the file's category id.
        """
        merged: dict[str, dict[str, int]] = {}
        for id_, category in self.by_id.items():
            parts = merged.setdefault(category["name"], {})
            parts[self.names[id_]] = parts.get(self.names[id_], 0) + objects.get(id_, 0)
        not_kept: dict[str, int] = {}  # summed: two ids may share a name
        for id_, name in self.left_out.items():
            not_kept[name] = not_kept.get(name, 0) + objects.get(id_, 0)
        return {
            "merged": {name: parts for name, parts in merged.items() if set(parts) != {name}},
            "not_kept": not_kept,
        }


def class_map(
    categories: Sequence[Category], classes: ClassesConfig | None, knows_all: bool = True
) -> ClassMap:
    """Returns what becomes of categories.

    A class that others are merged into has the smallest of their ids, so that the label map is in
    the order of ids as it is without a change.

    Args:
        categories: those of the file, or of all files together.
        classes: `data.classes`.
        knows_all: whether these are all that there are, so that another name is a mistake.

    Raises:
        ConfigError: a name is unknown (the nearest is named), or no class is left.
    """
    names = {category["id"]: category["name"] for category in categories}
    if classes is None:
        return ClassMap(list(categories), {c["id"]: c for c in categories}, {}, names)
    new_names = {old: new for new, olds in classes.merge.items() for old in olds}
    after = {id_: new_names.get(name, name) for id_, name in names.items()}
    if knows_all:
        _check_known(new_names, names.values(), "data.classes.merge")
        for key in ("keep", "drop"):
            _check_known(getattr(classes, key), after.values(), f"data.classes.{key}")
    kept = {
        id_: name
        for id_, name in after.items()
        if (name in classes.keep if classes.keep else name not in classes.drop)
    }
    if not kept:
        raise ConfigError(f"data.classes keeps none of the classes {_listed(names.values())}")
    merged_into = {name: kept_id for kept_id, name in sorted(kept.items(), reverse=True)}
    targets = set(classes.merge)
    ids = {id_: merged_into[name] if name in targets else id_ for id_, name in kept.items()}
    label_map: list[Category] = [
        {"id": id_, "name": kept[id_], "label": label}
        for label, id_ in enumerate(sorted(set(ids.values())), 1)
    ]
    of_id = {category["id"]: category for category in label_map}
    return ClassMap(
        label_map,
        {id_: of_id[new_id] for id_, new_id in ids.items()},
        {id_: name for id_, name in names.items() if id_ not in kept},
        names,
    )


def _check_known(given: Any, known: Any, key: str) -> None:
    for name in given:
        if name not in known:
            nearest = difflib.get_close_matches(name, sorted(set(known)), 3, 0.5)
            meant = " or ".join(quoted(other, [name]) for other in nearest)
            hint = f"did you mean {meant}?" if nearest else ""
            way = hint or f"there are {_listed(known)}"
            raise ConfigError(f"{key}: no class is named {quoted(name, nearest)}: {way}")


def _listed(names: Any) -> str:
    known = sorted(set(names))
    more = f" and {len(known) - _MOST_NAMED} more" if len(known) > _MOST_NAMED else ""
    return ", ".join(map(repr, known[:_MOST_NAMED])) + more
