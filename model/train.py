"""The door of `python -m model.train --examples T --config C --out M`."""

from model.commands import run_command

if __name__ == "__main__":
    run_command("train")
