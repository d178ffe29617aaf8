"""A digest of the code behind a component, and its libraries: what TFX's cache key does not know.

The files are found by reading imports, without executing any. A module counts with everything it
imports from our own packages, also inside functions, and with the `__init__.py` of every package
on the way. What a file says to Python counts, not how it looks: comments, docstrings and layout
leave the digest as it is, and so do templates and other files that are not Python. It is the same
on every Python. Of the libraries, those that the files import count with their versions.
"""

import ast
import functools
import hashlib
import importlib.metadata
import itertools
from collections.abc import Iterator
from pathlib import Path

OWN_PACKAGES = ("ground", "configs", "model", "components", "pipeline")
# Whose versions can change what a component writes: the module, and the package it comes from.
LIBRARIES = {
    "PIL": "pillow",
    "apache_beam": "apache-beam",
    "h5py": "h5py",
    "keras": "keras",
    "numpy": "numpy",
    "pycocotools": "pycocotools",
    "safetensors": "safetensors",
    "simplejpeg": "simplejpeg",
    "tensorflow": "tensorflow",
    "tfx": "tfx",
}
SOURCE_ROOT = Path(__file__).resolve().parent.parent


def source_digest(*modules: str, source_root: Path = SOURCE_ROOT) -> str:
    """Returns the SHA-256 (64 hex digits) of what `modules` and their imports say to Python.

    The versions of the `LIBRARIES` that they import count too, so that an upgrade runs anew what
    it can change.

    Args:
        *modules: dotted names; besides a component's executor, the modules that it starts by name
            (`python -m model.launch.worker`), which no import shows.
        source_root: folder of the packages.

    Raises:
        ModuleNotFoundError: one of `modules` is not below `source_root`.
    """
    digest = hashlib.sha256()
    paths = source_files(*modules, source_root=source_root)
    for path in paths:
        name = path.relative_to(source_root).as_posix()
        digest.update(f"{name} {_code_digest(path.read_bytes())}\n".encode())
    for library in sorted(_libraries(paths)):
        digest.update(f"{library}=={importlib.metadata.version(library)}\n".encode())
    return digest.hexdigest()


def _libraries(paths: list[Path]) -> set[str]:
    """Returns the packages of LIBRARIES that files import."""
    modules = {name.split(".")[0] for path in paths for name in _imported_names(path, "")}
    return {LIBRARIES[module] for module in modules & LIBRARIES.keys()}


def source_files(*modules: str, source_root: Path = SOURCE_ROOT) -> list[Path]:
    """Returns the files that `modules` and their imports within our packages consist of, sorted.

    Raises:
        ModuleNotFoundError: one of `modules` is not below `source_root`.
    """
    found: set[Path] = set()
    waiting = list(modules)
    for module in modules:
        if _module_file(module, source_root) is None:
            raise ModuleNotFoundError(f"no module {module!r} below {source_root}")
    seen: set[str] = set()
    while waiting:
        module = waiting.pop()
        if module in seen or module.split(".")[0] not in OWN_PACKAGES:
            continue
        seen.add(module)
        package = module.rpartition(".")[0]
        if package:
            waiting.append(package)
        path = _module_file(module, source_root)
        if path is not None:
            found.add(path)
            waiting.extend(_imported_names(path, module))
    return sorted(found)


def _module_file(module: str, source_root: Path) -> Path | None:
    """Returns the file of a dotted name; None where it names an attribute or nothing."""
    base = source_root.joinpath(*module.split("."))
    for path in (base / "__init__.py", base.with_suffix(".py")):
        if path.is_file():
            return path
    return None


def _imported_names(path: Path, module: str) -> Iterator[str]:
    """Yields the dotted names that a file imports; `from a import b` yields `a` and `a.b`."""
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]
    for node in ast.walk(_parsed(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = node.module or ""
            if node.level:
                parts = package.split(".")
                above = parts[: len(parts) - node.level + 1]
                parent = ".".join([*above, *parent.split(".")] if parent else above)
            yield parent
            yield from (f"{parent}.{alias.name}" for alias in node.names)


@functools.lru_cache(maxsize=1024)
def _parsed(source: bytes) -> ast.Module:
    """Returns the syntax tree of a file's bytes; kept, as components share most of their files."""
    return ast.parse(source)


@functools.lru_cache(maxsize=1024)
def _code_digest(source: bytes) -> str:
    """Returns a digest of the syntax tree of a file's bytes, without its docstrings."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            first = node.body[0] if node.body else None
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                del node.body[0]
    return hashlib.sha256(_text(tree).encode()).hexdigest()


def _text(node: object) -> str:
    """Returns a syntax tree as text that is the same on every Python.

    `ast.dump` shows empty fields on some Pythons only, and newer ones add fields, which are empty
    in code that older ones can read. The pieces of an f-string are cut differently too.
    """
    if isinstance(node, ast.JoinedStr):
        return f"f({_text(_joined(node.values))})"
    if isinstance(node, ast.AST):
        # A constant's value may be None; its kind tells u"" from "", which are the same.
        fields: list[tuple[str, object]] = (
            [("value", node.value)]
            if isinstance(node, ast.Constant)
            else [(name, value) for name, value in ast.iter_fields(node) if value not in (None, [])]
        )
        shown = ",".join(f"{name}={_text(value)}" for name, value in fields)
        return f"{type(node).__name__}({shown})"
    if isinstance(node, list):
        return f"[{','.join(map(_text, node))}]"
    return repr(node)


def _joined(pieces: list[ast.expr]) -> list[object]:
    """Returns the parts of an f-string with neighbouring texts joined and empty ones left out."""
    parts: list[object] = []
    for is_text, group in itertools.groupby(pieces, lambda piece: isinstance(piece, ast.Constant)):
        if is_text:
            text = "".join(str(piece.value) for piece in group if isinstance(piece, ast.Constant))
            parts += [text] if text else []
        else:
            parts += group
    return parts
