"""Writes docs/configs.md, the reference of every setting, from the schema.

Example:
    python -m configs.reference > docs/configs.md
"""

from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from configs.schema import Config
from ground.console import end_without_output

_HEAD = """# Settings

Written from `configs/schema.py` by `make docs`; change the schema, not this page.

A config is a YAML file. `base: other.yaml` starts from another file (of a list each changes those
before it), `--set key.sub=value` wins over both, and an unknown key is refused with the nearest
known one. A key given twice in a file, or two `--set` of the same, are refused. Lengths are pixels
of the model-input frame unless said otherwise; times are steps or epochs.

Values are read as YAML 1.2 has them: `true` and `false` alone are booleans, numbers are decimal
(`1e-4` is one), and what other readers take for something else is text: `010`, `0x10`, `1_000`,
`1:30`, `yes`, `off`, `2020-01-01`. Where a number is expected, text is refused, also in quotes; a
whole number has no point. `--set key=` needs a value: `null` for none. Aliases and `<<` work; tags,
several documents and files of more than 256 KiB do not.

A leading `~/` is your home folder in `base:`, `model.weights`, `push.folder` and
`tracking.mlflow`, as a shell expands none in `--set key=~/file`. In names of `data`, which lie in
the data folder, it stays.
"""


def reference() -> str:
    """Returns the Markdown of the whole reference: one table a section."""
    return _HEAD + "".join(_section("", Config))


def _section(path: str, section: type[BaseModel]) -> Iterator[str]:
    title = f"`{path}`" if path else "top level"
    yield f"\n## {title}\n\n{(section.__doc__ or '').splitlines()[0]}\n\n"
    yield "| key | type | default | meaning |\n|---|---|---|---|\n"
    below: list[tuple[str, type[BaseModel]]] = []
    for name, field in section.model_fields.items():
        key = f"{path}.{name}" if path else name
        inner = _inner_section(field.annotation)
        if inner is not None:
            below.append((key, inner))
        yield f"| `{name}` | {_type(field)} | {_default(field)} | {field.description or ''} |\n"
    for key, inner in below:
        yield from _section(key, inner)


def _inner_section(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in get_args(annotation):
        inner = _inner_section(argument)
        if inner is not None:
            return inner
    return None


def _type(field: FieldInfo) -> str:
    return _type_name(field.annotation).replace("|", "\\|")


def _type_name(annotation: Any) -> str:
    if annotation is type(None):
        return "null"
    if isinstance(annotation, type) and get_origin(annotation) is None:
        return "section" if issubclass(annotation, BaseModel) else annotation.__name__
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _type_name(arguments[0])
    if origin is Literal:
        return " | ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " | ".join(_type_name(argument) for argument in arguments)
    if origin is tuple and _inner_section(arguments[0]) is not None:
        return "list of sections"
    if origin is tuple and Ellipsis not in arguments:
        return f"{len(arguments)} {_type_name(arguments[0])}s"
    return f"{getattr(origin, '__name__', origin)} of {_type_name(arguments[0])}"


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        return "see below"
    if field.default is None:
        return "null"
    if isinstance(field.default, tuple):
        return f"`{list(field.default)}`"
    return f"`{field.default}`"


if __name__ == "__main__":
    try:
        print(reference(), end="", flush=True)
    except OSError as problem:
        end_without_output(problem)
