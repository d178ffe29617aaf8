"""The door of `python -m model.serve --model DIR`."""

from model.commands import run_command

if __name__ == "__main__":
    run_command("serve")
