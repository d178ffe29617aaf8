"""What every command shares on the screen: one-line errors, exit statuses, summaries."""

import errno
import functools
import json
import os
import sys
from collections.abc import Callable
from typing import Any

import click

from configs.errors import EXIT_FAILED, RcnnError
from configs.files import write_json


def one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a click command: adds `--debug`, and turns known errors into one line on stderr.

    An `RcnnError` ends with its own exit status, an `OSError` (disk full, permission) and any
    other exception with 1. With `--debug` the traceback is shown instead.
    """

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapper(*args: Any, debug: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:
            if debug:
                raise
            click.echo(f"error: {explain(error)}", err=True)
            sys.exit(getattr(error, "exit_status", EXIT_FAILED))

    return wrapper


def explain(error: BaseException) -> str:
    """Returns one line for `error`: what is wrong, where, and what to do."""
    if isinstance(error, RcnnError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "the output folder's disk"
        return f"no space left on the disk of {where}: free some space, then run the same again"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (run again with --debug for the traceback)"


def finish(summary: dict[str, Any], out: str | os.PathLike[str], lines: list[str]) -> None:
    """Prints `lines` and writes `summary` as `summary.json` in the folder `out`."""
    write_json(os.path.join(out, "summary.json"), summary)
    for line in lines:
        click.echo(line)


def read_json(path: str | os.PathLike[str], error: type[RcnnError]) -> Any:
    """Returns the JSON value of a file.

    Raises:
        error: the file is missing or is not JSON, with its path and the line.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise error(f"{path}: not JSON ({problem})") from None
