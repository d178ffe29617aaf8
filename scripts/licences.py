"""Writes docs/licences.md: the licence of every package in the locks, as its own metadata say it.

    .venv/bin/python scripts/licences.py [SITE_PACKAGES...]

A package of the other lane, which is not installed here, is looked for in the folders that are
given; where it is in none, its row stays as it was. scripts/lock.sh calls this.
"""

import re
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
UNKNOWN = "see its own pages"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)==")
_ROW = re.compile(r"^\| ([^ |]+) \| (.+) \|$")
_LONGEST = 80
_HEAD = """# Third-party licences

tfx-rcnn itself is under the Apache License 2.0 (`LICENSE`). Its wheel and its sdist hold none of
the packages below; `make setup` and the images install them from the locks in `requirements/`. What
each licence is called is what the package's own metadata say. Written by `scripts/licences.py`,
which `scripts/lock.sh` calls.

| package | licence |
|---|---|
"""


def locked_names(root: Path = ROOT) -> set[str]:
    """Returns the names of all packages in the locks, in their normal form."""
    names: set[str] = set()
    for lock in sorted((root / "requirements").glob("*.txt")):
        found = (_PIN.match(line) for line in lock.read_text(encoding="utf-8").splitlines())
        names |= {normal(match[1]) for match in found if match}
    return names


def normal(name: str) -> str:
    """Returns a package's name as package indexes compare it.

    >>> normal("Foo_bar.baz")
    'foo-bar-baz'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def rows_of(page: str) -> dict[str, str]:
    """Returns the licence of each package in a page."""
    found = (_ROW.match(line) for line in page.splitlines())
    return {match[1]: match[2] for match in found if match and match[1] != "package"}


def licence_of(package: Distribution) -> str:
    """Returns what a package's metadata call its licence; "" where they are silent."""
    metadata = package.metadata
    if expression := metadata.get("License-Expression"):
        return expression
    named = [c for c in metadata.get_all("Classifier") or [] if c.startswith("License :: ")]
    titles = [c.rpartition(" :: ")[2] for c in named if not c.endswith("OSI Approved")]
    if titles:
        return ", ".join(titles)
    text = (metadata.get("License") or "").strip()
    first = text.splitlines()[0].strip() if text else ""
    is_a_name = len(first) <= _LONGEST and first != "UNKNOWN" and any(map(str.isalpha, first))
    return first if is_a_name else ""


def page(names: set[str], folders: list[str], before: str) -> str:
    """Returns the page.

    Args:
        names: packages in the locks.
        folders: where packages are installed.
        before: the page as it is.
    """
    known = rows_of(before)
    for package in distributions(path=folders):
        name = package.metadata["Name"]
        if name and normal(name) in names and (licence := licence_of(package)):
            known[normal(name)] = " ".join(licence.replace("|", "/").split())
    return _HEAD + "".join(_rows(names, known))


def _rows(names: set[str], known: dict[str, str]) -> Iterator[str]:
    for name in sorted(names):
        yield f"| {name} | {known.get(name, UNKNOWN)} |\n"


def main() -> None:
    """Writes the page."""
    before = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    text = page(locked_names(), [*sys.argv[1:], *sys.path], before)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
