"""Fills docs/messages.md with every error message of ours, found in the source where it is made.

    .venv/bin/python scripts/messages.py    prints the page

A message is the text that an error of the RcnnError family is made with, or a wrong option's error
(click's), or what a setting's check says (a ValueError in configs/): as far as it is always the
same. The page itself says, group by group, what messages mean and what to do; a comment in it,
`<!-- messages of: PATH ... -->`, names the modules (without ".py") and folders of the group. The
longest path that fits a module decides. MkDocs calls `on_page_markdown`.
"""

import ast
import re
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = "messages.md"
_PACKAGES = ("ground", "configs", "model", "components", "pipeline")
_USAGE = {"UsageError", "BadParameter"}
_ANY = "…"
_SHORTEST = 8  # Letters of a message; what has fewer is another error's text, handed on.
_GROUP = re.compile(r"<!-- messages of:\s(.+?)-->", re.DOTALL)
_CLASSES = "<!-- classes -->"


@dataclass(frozen=True)
class Message:
    """An error's text as far as it is always the same.

    Attributes:
        text: with "…" and "<name>" for what differs.
        kind: name of the error's class.
        module: path without ".py".
    """

    text: str
    kind: str
    module: str


def trees() -> dict[str, ast.Module]:
    """Returns what is in each module of ours, by its path without ".py"."""
    paths = [path for package in _PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return {
        path.relative_to(ROOT).with_suffix("").as_posix(): ast.parse(path.read_text("utf-8"))
        for path in paths
    }


def family(modules: dict[str, ast.Module]) -> dict[str, ast.ClassDef]:
    """Returns the classes that descend from RcnnError, by name, those of errors.py first."""
    classes = [
        n for tree in modules.values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef)
    ]
    found: dict[str, ast.ClassDef] = {}
    count = -1
    while count < len(found):
        count = len(found)
        for each in classes:
            if each.name == "RcnnError" or {name_of(base) for base in each.bases} & set(found):
                found.setdefault(each.name, each)
    return found


def name_of(node: ast.expr) -> str:
    """Returns the last name of `a.b.name`; "" of anything else."""
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def text_of(node: ast.expr, known: dict[str, str]) -> str:
    """Returns a text as far as it is always the same, `<name>` for a plain name in it.

    Args:
        node: what makes the text.
        known: texts by the name that they were given.
    """
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(part, known) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return text_of(node.value, known)
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text_of(node.left, known) + text_of(node.right, known)
    name = name_of(node)
    if name in known:
        return known[name]
    return f"<{name.strip('_')}>" if name.strip("_") and not name.isupper() else _ANY


def texts_given(body: list[ast.stmt], known: dict[str, str]) -> dict[str, str]:
    """Returns the texts that names are given in statements, once each, besides those known."""
    given: dict[str, list[ast.expr]] = {}
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Assign) and len(node.targets) == 1:
                given.setdefault(name_of(node.targets[0]), []).append(node.value)
    found = dict(known)
    for name, values in given.items():
        found.pop(name, None)
        if len(values) == 1 and isinstance(values[0], (ast.Constant, ast.JoinedStr, ast.BinOp)):
            text = text_of(values[0], known)
            if letters(text):
                found[name] = text
    return found


def letters(text: str) -> int:
    """Returns the number of letters of a text outside of its `<names>`.

    >>> letters("<path>: no such file")
    10
    """
    return sum(map(str.isalpha, re.sub(r"<\w+>", "", text)))


def messages_of(module: str, tree: ast.Module, kinds: set[str]) -> Iterator[Message]:
    """Yields the messages that a module makes.

    Args:
        module: path without ".py".
        tree: what is in it.
        kinds: names of the classes of errors.
    """
    if module.startswith("configs/"):
        kinds = kinds | {"ValueError"}
    constants = texts_given([s for s in tree.body if isinstance(s, ast.Assign)], {})
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        known = texts_given(function.body, constants)
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and name_of(node.func) in kinds and node.args:
                text = " ".join(text_of(node.args[0], known).split())
                if letters(text) >= _SHORTEST:
                    yield Message(text, name_of(node.func), module)


def groups_of(page: str) -> list[list[str]]:
    """Returns the modules and folders of each group in a page."""
    return [match[1].split() for match in _GROUP.finditer(page)]


def group_of(module: str, groups: list[list[str]]) -> int | None:
    """Returns the index of a module's group; None where there is none.

    >>> group_of("model/weights/files", [["model"], ["model/weights"]])
    1
    """
    fitting = [
        (len(path), index)
        for index, paths in enumerate(groups)
        for path in paths
        if module == path or module.startswith(f"{path}/")
    ]
    return max(fitting)[1] if fitting else None


def filled(page: str) -> str:
    """Returns the page with the table of classes and, in each group, of messages.

    Raises:
        ValueError: A module that makes messages is in no group.
    """
    modules = trees()
    classes = family(modules)
    groups = groups_of(page)
    found: list[dict[str, Message]] = [{} for _ in groups]
    for module, tree in modules.items():
        for message in messages_of(module, tree, set(classes) | _USAGE):
            index = group_of(module, groups)
            if index is None:
                raise ValueError(f"{module}.py makes error messages and is in no group of {PAGE}")
            found[index].setdefault(message.text, message)
    tables = iter(found)
    page = _GROUP.sub(lambda _: "".join(message_rows(next(tables))), page)
    return page.replace(_CLASSES, "".join(class_rows(classes, statuses_in(modules))))


def message_rows(messages: dict[str, Message]) -> Iterator[str]:
    """Yields a table of messages, in the order of the alphabet."""
    yield "| message | class |\n|---|---|\n"
    for text, message in sorted(messages.items()):
        kind = "ConfigError" if message.kind == "ValueError" else message.kind
        yield f"| {as_code(text)} | {kind} |\n"


def class_rows(classes: dict[str, ast.ClassDef], statuses: dict[str, int]) -> Iterator[str]:
    """Yields a table of the classes of errors.

    Args:
        classes: the classes, by name.
        statuses: exit statuses, by the name of their constant.
    """
    yield "| class | exit status | says that |\n|---|---|---|\n"
    for name, node in sorted(classes.items()):
        meaning = (ast.get_docstring(node) or "").splitlines()[0].rstrip(".")
        yield f"| {name} | {statuses[status_name(name, classes)]} | {meaning} |\n"
    usage = ", ".join(sorted(_USAGE))
    yield f"| {usage} | {statuses['EXIT_USAGE']} | An option of the command is wrong |\n"


def statuses_in(modules: dict[str, ast.Module]) -> dict[str, int]:
    """Returns the exit statuses by the name of their constant, `EXIT_...`."""
    assigned = [s for tree in modules.values() for s in tree.body if isinstance(s, ast.Assign)]
    return {
        name_of(each.targets[0]): number_of(each.value)
        for each in assigned
        if name_of(each.targets[0]).startswith("EXIT_")
    }


def number_of(node: ast.expr) -> int:
    """Returns what a number, a signal's name or a sum of these comes to."""
    if isinstance(node, ast.BinOp):
        return number_of(node.left) + number_of(node.right)
    return node.value if isinstance(node, ast.Constant) else getattr(signal, name_of(node))


def status_name(name: str, classes: dict[str, ast.ClassDef]) -> str:
    """Returns the constant of a class's exit status: its own, else that of its parent."""
    for statement in classes[name].body:
        if isinstance(statement, ast.Assign) and name_of(statement.targets[0]) == "exit_status":
            return name_of(statement.value)
    return status_name(
        next(n for b in classes[name].bases if (n := name_of(b)) in classes), classes
    )


def as_code(text: str) -> str:
    r"""Returns a text as a code span in a table's cell.

    >>> as_code("a | `b`")
    '`` a \\| `b` ``'
    """
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Fills the page when MkDocs reads it."""
    return filled(markdown) if page.file.src_path == PAGE else markdown


if __name__ == "__main__":
    sys.stdout.write(filled((ROOT / "docs" / PAGE).read_text("utf-8")))
