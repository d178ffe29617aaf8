"""Reads a Dockerfile, and plays its steps in chroots on overlays: no engine, no daemon.

What `docker build` does with the instructions that ours has: stages that begin at one another, a
layer for each, COPY from the context or a stage, RUN with the stage's variables. The base image is
a folder with a system in it. Needs root.
"""

import re
import shlex
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Mounts live as long as this shell: $1 the options of the overlay, $2 where it appears.
_MOUNTED = """
set -e
mount -t overlay overlay -o "$1" "$2"
root=$2
shift 2
if [ "$1" = chroot ]; then
  mount -t proc proc "$root/proc"
  mount --rbind /dev "$root/dev"
  mount --rbind /sys "$root/sys"
fi
exec "$@"
"""


@dataclass(frozen=True)
class Step:
    """One instruction: its word, and the rest of its line with continued lines joined."""

    word: str
    rest: str


def read_steps(dockerfile: Path) -> list[Step]:
    """Returns the instructions of a Dockerfile."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    found = (line.partition(" ") for line in joined.splitlines() if line)
    return [Step(word, " ".join(rest.split())) for word, _, rest in found]


@dataclass
class Stage:
    """A stage: its layers, the newest first, and what RUN and a container start with."""

    layers: list[Path]
    variables: dict[str, str] = field(default_factory=lambda: {"PATH": SYSTEM_PATH})
    folder: str = "/"
    user: str = "0"
    own_layers: int = 0


def stages(steps: list[Step], arguments: Mapping[str, str]) -> dict[str, list[Step]]:
    """Returns the stages' steps by name, each with its FROM, whose variables are filled in."""
    found: dict[str, list[Step]] = {}
    given: dict[str, str] = {}
    for step in steps:
        if step.word == "FROM":
            base, _, name = step.rest.partition(" AS ")
            found[name] = [Step("FROM", _filled(base, given))]
        elif found:
            found[name].append(step)
        else:
            given |= _argument(step, arguments)
    return found


class Build:
    """Plays stages.

    Args:
        dockerfile: the file; its context is the folder above its own.
        base: a folder with a system, in place of every base image.
        work: an empty folder for layers, on a disk that overlays can lie on.
        arguments: `--build-arg`.
        settings: variables that RUN sees besides, as docker's proxies.
    """

    def __init__(
        self,
        dockerfile: Path,
        base: Path,
        work: Path,
        arguments: Mapping[str, str],
        settings: Mapping[str, str],
    ) -> None:
        self._context = dockerfile.parents[1]
        self._base = base
        self._work = work
        self._arguments = arguments
        self._settings = dict(settings)
        self._steps = stages(read_steps(dockerfile), arguments)
        self._built: dict[str, Stage] = {}

    def stage(self, name: str) -> Stage:
        """Returns a stage, built with what it needs."""
        if name not in self._built:
            self._built[name] = self._build(name)
        return self._built[name]

    def run(self, name: str, command: str, user: str = "", **variables: str) -> str:
        """Returns what a shell command prints in a container of a stage, in no layer of it.

        Args:
            name: of the stage.
            command: for its shell.
            user: uid:gid to run as; default: the stage's.
            **variables: on top of the image's.
        """
        made = self.stage(name)
        layer = self._new_layer(f"container-{len(list(self._work.iterdir()))}")
        container = Stage([layer, *made.layers], made.variables | variables, made.folder, made.user)
        return self._in(container, command, user or made.user)

    def _build(self, name: str) -> Stage:
        first, *steps = self._steps[name]
        if first.rest in self._steps:
            below = self.stage(first.rest)
            stage = Stage(list(below.layers), dict(below.variables), below.folder, below.user)
            stage.own_layers = below.own_layers
        else:
            stage = Stage([self._base])
        stage.layers.insert(0, self._new_layer(name))
        stage.own_layers += 1
        given: dict[str, str] = {}
        for step in steps:
            rest = _filled(step.rest, given | stage.variables)
            if step.word == "ARG":
                given |= _argument(step, self._arguments)
            elif step.word == "ENV":
                pairs = (pair.split("=", 1) for pair in shlex.split(rest))
                stage.variables |= {key: value for key, value in pairs}
            elif step.word == "WORKDIR":
                self._in(stage, f"mkdir -p {rest}", "0")
                stage.folder = rest
            elif step.word == "USER":
                stage.user = rest
            elif step.word == "COPY":
                self._copy(stage, rest)
            elif step.word == "RUN":
                self._in(stage, step.rest, stage.user, {**self._settings, **given})
            else:
                assert step.word in ("LABEL", "HEALTHCHECK", "CMD"), step
        return stage

    def _copy(self, stage: Stage, rest: str) -> None:
        *sources, target = rest.split()
        if sources[0].startswith("--from="):
            made = self.stage(sources.pop(0).removeprefix("--from="))
            [path] = sources
            found = [layer / path[1:] for layer in made.layers[: made.own_layers]]
            paths = [place for place in reversed(found) if place.exists()]
        else:
            paths = [self._context / source for source in sources]
        destination = self._merged(stage) / target[1:]
        script = f'mkdir -p "{destination if target.endswith("/") else destination.parent}"\n'
        for path in paths:
            # A folder's content is what COPY copies.
            if path.is_dir():
                script += f'mkdir -p "{destination}" && cp -a "{path}/." "{destination}/"\n'
            else:
                script += f'cp -a "{path}" "{destination}"\n'
        if paths[0].is_relative_to(self._context):  # as Dockerfile.dockerignore has it
            script += f'find "{destination}" -name __pycache__ -prune -exec rm -rf {{}} +\n'
        self._mounted(stage, ["sh", "-ec", script])

    def _in(
        self, stage: Stage, command: str, user: str, arguments: Mapping[str, str] | None = None
    ) -> str:
        uid, _, gid = user.partition(":")
        variables = {**stage.variables, **(arguments or {})}
        merged = self._merged(stage)
        inside = 'cd "$0" && exec "$@"'
        change = ["setpriv", f"--reuid={uid}", f"--regid={gid or 0}", "--clear-groups"]
        return self._mounted(
            stage,
            ["chroot", str(merged), "env", "-i"]
            + [f"{key}={value}" for key, value in variables.items()]
            + ["sh", "-c", inside, stage.folder, *change, "sh", "-c", command],
        )

    def _mounted(self, stage: Stage, command: list[str]) -> str:
        upper, *lower = map(str, stage.layers)
        scratch = Path(upper).with_suffix(".work")
        options = f"lowerdir={':'.join(lower)},upperdir={upper},workdir={scratch}"
        shell = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _MOUNTED]
        done = subprocess.run(
            [*shell, "sh", options, str(self._merged(stage)), *command],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            shown = f"{' '.join(command[-1:])}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
            raise AssertionError(f"status {done.returncode}: {shown}")
        return done.stdout + done.stderr

    def _merged(self, stage: Stage) -> Path:
        return stage.layers[0].with_suffix(".root")

    def _new_layer(self, name: str) -> Path:
        layer = self._work / name
        for folder in (layer, layer.with_suffix(".work"), layer.with_suffix(".root")):
            folder.mkdir(parents=True)
        return layer


def _argument(step: Step, given: Mapping[str, str]) -> dict[str, str]:
    assert step.word == "ARG", step
    name, _, default = step.rest.partition("=")
    return {name: given.get(name, default)}


def _filled(text: str, variables: Mapping[str, str]) -> str:
    return re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], text)
