"""The command `tfx-rcnn`: starts our commands and workers past what lies in the user's folders.

    tfx-rcnn run --config C --data-dir D         any command of pipeline/command_list.py
    tfx-rcnn -m model.launch.worker ...          any module, as `python -m` does

`python -m` looks for modules in the working folder first, and in PYTHONPATH before Python's own:
a `model.py`, `configs/` or `json.py` there would come before ours. Here our own packages come
first, then Python's, then what is installed, and PYTHONPATH last; the working folder is left out.

This file has a name that is nobody else's and imports nothing before the path is right.
"""

import os
import sys
from collections.abc import Mapping
from types import TracebackType

ROOT = os.path.dirname(os.path.abspath(__file__))
# What PYTHONPATH was: child processes get it by this name, so that it comes last in them too.
LAST_VARIABLE = "TFX_RCNN_PYTHONPATH"
_NAME = "tfx-rcnn"
_EXIT_USAGE = 2
_EXIT_INTERRUPTED = 130
_EXIT_TERMINATED = 143


def main() -> None:
    """Runs the pipeline's commands, or with `-m MODULE` that module's."""
    try:
        _run()
    except KeyboardInterrupt:  # before a command minds it itself (ground/interrupts.py)
        _say_interrupted()
        sys.exit(_EXIT_INTERRUPTED)


def _run() -> None:
    settle()
    if sys.argv[1:2] != ["-m"]:
        _mind_sigterm()
        from pipeline.__main__ import main as run

        try:
            # The variable that click's completion asks by must not depend on how we were called.
            run(prog_name=_own_name(), complete_var="_TFX_RCNN_COMPLETE")
        except SystemExit as end:
            _end_at_signals(end.code if isinstance(end.code, int) else int(end.code is not None))
            raise
    elif len(sys.argv) < 3:
        sys.stderr.write("error: -m: expected a module such as model.train\n")
        sys.exit(_EXIT_USAGE)
    else:
        import importlib.util
        import runpy

        module = sys.argv[2]
        try:
            is_there = importlib.util.find_spec(module) is not None
        except (ImportError, ValueError):
            is_there = False
        if not is_there:
            sys.stderr.write(f"error: -m {module}: no such module\n")
            sys.exit(_EXIT_USAGE)
        sys.argv[:] = sys.argv[2:]
        runpy.run_module(module, run_name="__main__", alter_sys=True)


def _say_interrupted() -> None:
    sys.stderr.write("stopped by Ctrl-C: nothing was begun\n")


def _mind_sigterm() -> None:
    """Has SIGTERM end this process with a line before a command minds it itself."""
    import signal

    def end(number: int, frame: object) -> None:
        sys.stderr.write("stopped by SIGTERM: nothing was begun\n")
        os._exit(_EXIT_TERMINATED)

    if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, end)


def _end_at_signals(status: int) -> None:
    """Has signals end this process with the status of its command, which is over.

    Its libraries take seconds to be unloaded, and tell of a Ctrl-C meanwhile with tracebacks.
    """
    import signal

    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        return  # Python's own end tries that again, and says so
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, lambda *_: os._exit(status))


def _own_name() -> str:
    """Returns what to type for this program: its name, or its path where the shell has no other.

    The path is quoted where a shell would not take it for one word.
    """
    import shlex
    import shutil

    typed = sys.argv[0]
    found = shutil.which(_NAME)
    is_found = found is not None and os.path.realpath(found) == os.path.realpath(typed)
    return _NAME if is_found or os.path.basename(typed) != _NAME else shlex.quote(typed)


def command(module: str, *arguments: str) -> list[str]:
    """Returns the command line that runs `python -m module arguments...` with such a path."""
    return [sys.executable, os.path.join(ROOT, "tfx_rcnn.py"), "-m", module, *arguments]


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns `environ` without what would lead Python past us: PYTHONPATH under our own name."""
    rest = {name: value for name, value in environ.items() if name != "PYTHONPATH"}
    places = _absolute(environ.get("PYTHONPATH", ""))
    if places:
        rest[LAST_VARIABLE] = os.pathsep.join(places)
    return {**rest, "PYTHONSAFEPATH": "1"}  # from Python 3.11 on


def settle_if_main() -> None:
    """Does what `settle` does where Python is about to run one of our modules by `python -m`."""
    if sys.argv[:1] == ["-m"]:  # Python's sign that the module is being looked for
        settle()


def settle() -> None:
    """Brings sys.path into order, for this process and those that it starts.

    Ends the process with a line where Python took a module of its own from the user's folders
    before we were asked.
    """
    try:
        here = os.getcwd()
    except FileNotFoundError:
        sys.stderr.write("error: the working folder is gone: change to another one\n")
        sys.exit(_EXIT_USAGE)
    environment = child_environment(os.environ)
    last = _absolute(environment.get(LAST_VARIABLE, ""))
    places = [os.path.abspath(place) for place in sys.path]
    # What Python itself puts in front: the working folder (`python -m`), or that of the script.
    first = [here, os.path.dirname(os.path.abspath(sys.argv[0]))]
    rest = places[1:] if places[0] in first else places
    installed = [place for place in rest if place not in (ROOT, *last)]
    sys.path[:] = [ROOT, *installed, *(place for place in last if place != ROOT)]
    os.environ.pop("PYTHONPATH", None)
    os.environ.update(environment)
    _refuse_replaced_modules({here, *last})
    sys.excepthook = _say_broken_installation


def _say_broken_installation(
    kind: type[BaseException], error: BaseException, traceback: TracebackType | None
) -> None:
    """Says a package that is missing, or Ctrl-C, in one line; anything else as Python does."""
    if issubclass(kind, KeyboardInterrupt):
        _say_interrupted()
        os._exit(_EXIT_INTERRUPTED)
    from ground.errors import broken_installation

    line = broken_installation(error)
    if line is None or "--debug" in sys.argv:
        sys.__excepthook__(kind, error, traceback)
    else:
        sys.stderr.write(f"error: {line}\n")


def _absolute(places: str) -> list[str]:
    return [os.path.abspath(place) for place in places.split(os.pathsep) if place]


def _refuse_replaced_modules(places: set[str]) -> None:
    standard = os.path.dirname(os.path.abspath(os.__file__))
    for name in sys.stdlib_module_names & sys.modules.keys():
        file = getattr(sys.modules[name], "__file__", None) or ""
        folder = os.path.dirname(os.path.abspath(file))
        if os.path.basename(file) == "__init__.py":
            folder = os.path.dirname(folder)
        if file and folder in places and folder not in (standard, ROOT):
            sys.stderr.write(
                f"error: Python took {file} for its own {name!r}: rename that file, or call "
                "tfx-rcnn from another folder\n"
            )
            sys.exit(_EXIT_USAGE)


if __name__ == "__main__":
    main()
