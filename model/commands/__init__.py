"""The commands: click alone. What they do is in the libraries beside this folder."""

import importlib


def run_command(name: str) -> None:
    """Runs a command of this folder as `python -m model.NAME`, its fixed name.

    By name, because the libraries at whose feet the doors are do not need their commands.
    """
    importlib.import_module(f"model.commands.{name}").main(prog_name=f"python -m model.{name}")
