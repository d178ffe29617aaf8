"""A group of many commands: listed under headings, and imported only when one is called."""

import difflib
import importlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem

from ground.console import OneLineGroup


class Listed(NamedTuple):
    """A command as the list tells of it.

    Attributes:
        name: what is typed.
        line: what it does, in a line.
        place: `module:attribute` of the click command.
        doors: its other names for `python -m`.
    """

    name: str
    line: str
    place: str
    doors: tuple[str, ...] = ()


class ListedGroup(OneLineGroup):
    """A group whose list, completion and wrong names need none of its commands' modules.

    Args:
        listed: the commands below their headings, in the order of the help.
    """

    def __init__(
        self, *args: Any, listed: Mapping[str, Sequence[Listed]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.listed = dict(listed or {})
        self._by_name = {entry.name: entry for part in self.listed.values() for entry in part}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Returns the names in the order of the help."""
        return list(self._by_name)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Returns a command, imported now; None where there is none of that name."""
        entry = self._by_name.get(cmd_name)
        if entry is None:
            return None
        module, _, attribute = entry.place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Returns (name, command, the arguments that are its own)."""
        name = args[0]
        if name not in self._by_name and not name.startswith("-") and not ctx.resilient_parsing:
            near = difflib.get_close_matches(name.lower().replace("_", "-"), self._by_name, n=1)
            advice = f": did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"no command {name!r}{advice}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the commands, a section a heading, with their lines in one column."""
        width = max(map(len, self._by_name), default=0)
        for heading, entries in self.listed.items():
            with formatter.section(heading):
                formatter.write_dl([(entry.name.ljust(width), entry.line) for entry in entries])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Returns the names, with their lines, and the options that begin so."""
        items = [
            CompletionItem(entry.name, help=entry.line)
            for entry in self._by_name.values()
            if entry.name.startswith(incomplete)
        ]
        return [*items, *click.Command.shell_complete(self, ctx, incomplete)]
