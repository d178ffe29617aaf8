"""What every command shares on the screen: one-line errors, exit statuses, summaries."""

import atexit
import bdb
import contextlib
import errno
import functools
import gc
import json
import os
import select
import sys
from collections.abc import Callable
from typing import IO, Any, NoReturn

import click

from ground.addresses import shown_leaves
from ground.command_examples import as_called, examples_of, in_lines
from ground.errors import EXIT_FAILED, RcnnError, broken_installation
from ground.files import write_json
from ground.interrupts import (
    end_after_a_signal,
    end_if_interrupted,
    end_interrupted,
    end_interrupted_early,
    interruptible,
)
from ground.output_record import SUMMARY_FILE
from ground.speech import (
    JSON_OPTION,
    RESULT,
    Manner,
    erase_bar,
    manner,
    say,
    say_error,
    speaking,
)

_NO_RIGHT = "give another folder, or yourself the right to use this one"
_IN_THE_WAY = "a file is where a folder should be: give another folder, or move it away"
_HINTS = {
    errno.EACCES: _NO_RIGHT,
    errno.EPERM: _NO_RIGHT,
    errno.EROFS: "give a folder that can be written to",
    errno.EEXIST: _IN_THE_WAY,
    errno.ENOTDIR: _IN_THE_WAY,
    errno.ENOENT: "check the path",
    errno.EIO: "the disk or its connection failed: run the same again, or replace what it names",
    errno.EPIPE: "what reads the output has ended",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EDQUOT: "free some of your quota, then run the same again",
}


class UsageLine(click.UsageError):
    """A wrong argument as one line, in place of click's four.

    Args:
        message: the line.
        how: how it is said: the manner of the command is not chosen yet where it is found.
    """

    def __init__(self, message: str, how: Manner) -> None:
        super().__init__(message)
        self._how = how

    def show(self, file: IO[Any] | None = None) -> None:
        """Prints the line."""
        with speaking(self._how):
            say_error(self.format_message(), exit_status=self.exit_code)


def _usage_line(error: click.UsageError, called: str, how: Manner) -> UsageLine:
    text = " ".join(error.format_message().split()).rstrip(".")
    if isinstance(error, click.MissingParameter) and (help := getattr(error.param, "help", None)):
        text += f": {help.split('. ')[0].rstrip('.')}"
    command = error.ctx.command_path if error.ctx else called
    return UsageLine(f"{text.rstrip('.')} ({command} --help shows what it takes)", how)


class OneLineCommand(click.Command):
    """A command whose wrong arguments end in one line, with status 2, and that knows `-h`."""

    def get_help_option_names(self, ctx: click.Context) -> list[str]:
        """Returns the names by which the help is asked for."""
        return ["-h", "--help"]

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Runs the command as a program."""
        _end_without_a_search()
        try:
            with interruptible():
                return super().main(*args, **kwargs)
        except OSError as error:  # of --help; click itself ends quietly where nobody reads on
            end_without_output(error)
        except SystemExit as end:
            end_after_a_signal(end.code if isinstance(end.code, int) else EXIT_FAILED)
            raise

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **extra: Any,
    ) -> click.Context:
        """Reads the arguments."""
        given = tuple(args)  # click takes them out of the list
        try:
            _refuse_other_bytes(args)
            return super().make_context(info_name, args, parent, **extra)
        except KeyboardInterrupt as interrupt:
            end_interrupted_early(interrupt)
        except (UsageLine, click.exceptions.NoArgsIsHelpError):
            raise
        except click.UsageError as error:
            takes_it = any(JSON_OPTION in parameter.opts for parameter in self.params)
            how = Manner.JSON if takes_it and JSON_OPTION in given else Manner.PLAIN
            called = " ".join(filter(None, [parent.command_path if parent else "", info_name]))
            raise _usage_line(error, called or "the command", how) from None

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as interrupt:  # while the command's modules are imported
            end_interrupted_early(interrupt)
        except UsageLine:
            raise
        except click.UsageError as error:
            how = Manner.JSON if ctx.params.get("json_logs") else Manner.PLAIN
            raise _usage_line(error, ctx.command_path, how) from None
        except Exception:  # of a module that was being imported
            end_if_interrupted()
            raise

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples as the command was called."""
        examples = examples_of(self)
        if not examples:
            super().format_epilog(ctx, formatter)
            return
        with formatter.section("Example" if len(examples) == 1 else "Examples"):
            for example in examples:
                shown = as_called(example, self, ctx.command_path)
                for line in in_lines(shown, formatter.width - formatter.current_indent):
                    formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _end_without_a_search() -> None:
    """Has Python end without looking for cycles: among Beam's or TensorFlow's modules it takes 2 s.

    What is in no cycle ends as ever, and what is registered to be done at the end is done.
    """
    atexit.unregister(gc.freeze)  # of a command before this one, in the same process
    atexit.register(gc.freeze)


def _refuse_other_bytes(args: list[str]) -> None:
    """Refuses names that are no text in UTF-8: Beam, TFX and TensorFlow know none such."""
    is_utf8 = sys.getfilesystemencoding() == "utf-8"
    advice = "give another name" if is_utf8 else "set PYTHONUTF8=1, or give another name"
    for text in args:
        try:
            text.encode()
        except UnicodeEncodeError:  # Python keeps such bytes as halves of characters
            raise click.UsageError(f"{text!r} is not text in UTF-8: {advice}") from None


class OneLineGroup(OneLineCommand, click.Group):
    """A group of commands of which the same holds."""

    command_class = OneLineCommand


def end_without_output(error: OSError) -> NoReturn:
    """Ends the program where standard output takes no more.

    Where nobody reads it any more (`| head -1`), without a word, as other programs do.
    """
    if error.errno != errno.EPIPE:
        with contextlib.suppress(OSError):
            click.echo(f"error: standard output: {error.strerror}", err=True)
    _drop_output()
    sys.exit(EXIT_FAILED)


def _drop_output() -> None:
    """Drops what is written to standard output from here on, and what Python still holds back.

    That would fail once more when Python ends, with a traceback and status 120.
    """
    with contextlib.suppress(OSError, ValueError):  # a stream that is no file
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _takes_output() -> bool:
    """Returns whether standard output takes what Python still holds back for it."""
    try:
        sys.stdout.flush()
    except OSError:
        return False
    return True


def _is_closed_output() -> bool:
    """Returns whether nobody reads standard output any more."""
    try:
        descriptor = sys.stdout.fileno()
    except (OSError, ValueError):  # a stream that is no file
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(events & (select.POLLERR | select.POLLHUP) for _, events in poll.poll(0))


def one_line_errors(command: Callable[..., Any]) -> Callable[..., Any]:
    """Wraps a click command: adds `--debug`, and turns known errors into one line on stderr.

    An `RcnnError` ends with its own exit status, an `OSError` (disk full, permission) and any
    other exception with 1, a signal with its own (ground/interrupts.py). With `--debug` the
    traceback is shown instead.
    """

    @click.option("--debug", is_flag=True, help="Show the traceback of an error.")
    @functools.wraps(command)
    def wrapper(*args: Any, debug: bool, **kwargs: Any) -> Any:
        try:
            return command(*args, **kwargs)
        except (click.ClickException, click.exceptions.Exit, click.Abort, bdb.BdbQuit):
            raise  # the last is a debugger's `quit`
        except KeyboardInterrupt as interrupt:
            end_interrupted(interrupt)
        except Exception as error:
            end_if_interrupted()
            if isinstance(error, BrokenPipeError) and _is_closed_output():
                end_without_output(error)
            if debug:
                raise
            takes_output = _takes_output()
            status = getattr(error, "exit_status", EXIT_FAILED)
            with speaking(manner() if takes_output else Manner.PLAIN):
                say_error(explain(error), kind=type(error).__name__, exit_status=status)
            if not takes_output:
                _drop_output()
            sys.exit(status)

    return wrapper


def explain(error: BaseException) -> str:
    """Returns one line for `error`: what is wrong, where, and what to do."""
    if isinstance(error, RcnnError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        where = error.filename or "the output"
        return f"no space left on the disk of {where}: free some space, then run the same again"
    if isinstance(error, OSError) and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        hint = _HINTS.get(error.errno or 0)
        return f"{where}{error.strerror}" + (f": {hint}" if hint else "")
    if broken := broken_installation(error):
        return broken
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text} (run again with --debug for the traceback)"


def finish(summary: dict[str, Any], out: str | os.PathLike[str], lines: list[str]) -> None:
    """Writes `summary` as `summary.json` in the folder `out`, which is ours, and prints `lines`."""
    write_json(os.path.join(out, SUMMARY_FILE), summary)
    if manner() is Manner.JSON:
        say("", "summary", fields={"summary": summary})
    show_lines(lines)


def show_lines(lines: list[str]) -> None:
    """Prints the lines of a result."""
    for line in lines:
        if line or manner() is not Manner.JSON:
            say(line, RESULT)


def print_document(content: dict[str, Any]) -> None:
    """Prints a result that is one JSON document; of `--json-logs` it is a field."""
    if manner() is Manner.JSON:
        say("", RESULT, fields={"document": content})
    else:
        click.echo(json.dumps(shown_leaves(content), indent=2))


def print_table(columns: list[str], rows: list[list[str]]) -> None:
    """Prints a table: with lines on a terminal, else columns of plain text.

    Args:
        columns: headers; the first column is aligned to the left, the others to the right.
        rows: cells as text.
    """
    rows = shown_leaves(rows)
    if manner() is Manner.JSON:
        for row in rows:
            say("  ".join(row), RESULT, fields={"row": dict(zip(columns, row, strict=True))})
        return
    from rich.console import Console
    from rich.table import Table

    erase_bar()
    console = Console(file=sys.stdout)
    if console.is_terminal:
        table = Table(*columns)
        for column in table.columns[1:]:
            column.justify = "right"
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for row in [columns, *rows]:
        first = row[0].ljust(widths[0])
        rest = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        click.echo("  ".join([first, *rest]).rstrip())


def read_json(path: str | os.PathLike[str], error: type[RcnnError]) -> Any:
    """Returns the JSON value of a file.

    Raises:
        error: the file is missing, cannot be read or is not JSON, with its path and the line.
    """
    try:
        with open(path, encoding="utf-8") as stream:
            return json.load(stream)
    except FileNotFoundError:
        raise error(f"{path}: no such file") from None
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror})") from None
    except RecursionError:
        raise error(f"{path}: its JSON is nested too deeply") from None
    except ValueError as problem:  # also of text that is not UTF-8, or a number without end
        raise error(f"{path}: not JSON ({problem})") from None
