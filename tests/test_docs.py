"""The documentation is true: settings, files and commands that it names exist."""

import re
import runpy
import shlex
from pathlib import Path

import click
import pytest
import yaml

from configs.loader import load_config
from configs.reference import reference
from pipeline.__main__ import main as tfx_rcnn
from pipeline.command_list import COMMANDS
from pipeline.command_reference import TYPED
from pipeline.command_reference import reference as commands_reference
from pipeline.kubeflow.platform import check_places

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


# "seed: of the weights" leaves out what the thing is; "likewise" makes one look elsewhere.
WITHOUT_NOUN = re.compile(r"^\s+\w+: (of|as|likewise)\b", re.MULTILINE)


@pytest.mark.parametrize("package", ["ground", "configs", "model", "components", "pipeline"])
def test_every_entry_of_a_docstring_has_its_noun(package):
    found = [
        f"{path.relative_to(ROOT)}: {entry[0].strip()}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for entry in WITHOUT_NOUN.finditer(path.read_text("utf-8"))
    ]
    assert found == []


def test_settings_page_is_what_the_schema_says():
    assert (ROOT / "docs" / "configs.md").read_text() == reference(), "run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text())
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_named_in_code_exist(page):
    named = re.findall(
        r"`((?:ground|configs|model|components|pipeline|scripts|benchmarks|docs|tests)/"
        r"[\w./-]+\.(?:py|yaml|md|sh|pbtxt))`",
        page.read_text(),
    )
    missing = sorted({name for name in named if not (ROOT / name).exists()})
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_named_in_commands_exist(page):
    modules = set(re.findall(r"python -m ([a-z_.]+)", page.read_text())) - {"pytest", "pdb"}
    missing = [
        module
        for module in modules
        if not (ROOT / module.replace(".", "/")).is_dir()
        and not (ROOT / f"{module.replace('.', '/')}.py").exists()
    ]
    assert missing == []


def test_licences_are_those_of_the_packages_in_the_locks() -> None:
    script = runpy.run_path(str(ROOT / "scripts" / "licences.py"))
    rows = script["rows_of"]((ROOT / "docs" / "licences.md").read_text())
    assert sorted(rows) == sorted(script["locked_names"]()), "run scripts/licences.py"
    told = [name for name, licence in rows.items() if licence != script["UNKNOWN"]]
    assert len(told) > 0.9 * len(rows)


def test_commands_page_is_what_the_commands_say():
    assert (ROOT / "docs" / "commands.md").read_text() == commands_reference(), "run `make docs`"


def commands_in(text: str) -> list[str]:
    """Returns the calls of tfx-rcnn in a page: those in its blocks, and whole ones in lines."""
    blocks = re.findall(r"^```\w*\n(.+?)^```", text, re.MULTILINE | re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    spoken = re.findall(r"`([^`]+)`", re.sub(r"^```.+?^```", "", text, flags=re.M | re.S))
    candidates = [*lines, *(" ".join(code.split()) for code in spoken)]
    calls = [re.search(rf"(?<!\S){re.escape(TYPED)}( .*)?$", line) for line in candidates]
    return [re.split(r" (?:&&|\||#) ", call[0])[0] for call in calls if call]


def options_given(call: str) -> tuple[str, list[str]]:
    """Returns the name of the command that is called, and the options given."""
    words = shlex.split(call)
    name = words[1] if len(words) > 1 else "-h"
    return name, [word.partition("=")[0] for word in words[2:] if word.startswith("-")]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_calls_in_pages_have_commands_and_options_that_there_are(page):
    group = click.Context(tfx_rcnn)
    for call in commands_in(page.read_text()):
        name, options = options_given(call)
        if name in ("-h", "--version", "-m"):
            continue
        command = tfx_rcnn.get_command(group, name)
        assert command is not None, f"{page.name}: {call}"
        known = {o for p in command.get_params(click.Context(command)) for o in p.opts}
        assert set(options) - known == set(), f"{page.name}: {call}"


def test_pages_have_one_spelling():
    """The shell's; `python -m` only for what is no command of ours."""
    doors = {door for entries in COMMANDS.values() for entry in entries for door in entry.doors}
    for page in PAGES:
        modules = re.findall(r"python -m ([a-z_.]+)", page.read_text())
        assert doors.intersection(modules) == set(), page.name
        assert "pipeline" not in modules or page.name == "commands.md"


def test_debugger_stops_at_lines_that_there_are():
    page = (ROOT / "docs" / "debugging.md").read_text()
    stops = re.findall(r"^> ([\w/.]+)\(\d+\)(\w+)\(\)\n-> (.+)$", page, re.MULTILINE)
    assert len(stops) >= 3
    for file, function, line in stops:
        source = (ROOT / file).read_text()
        assert line in [text.strip() for text in source.splitlines()], f"{file}: {line}"
        assert f"def {function}(" in source


def test_kubeflow_example_mounts_its_claims_where_it_compiles_for(tmp_path):
    page = (ROOT / "docs" / "kubeflow.md").read_text()
    manifest, settings = re.findall(r"^```yaml\n(.+?)^```", page, re.MULTILINE | re.DOTALL)
    path = tmp_path / "my_coco.yaml"
    path.write_text(settings.replace("base: ", f"base: {ROOT}/configs/"))
    asked = load_config(path).pipeline.kubeflow
    claims = [document["metadata"]["name"] for document in yaml.safe_load_all(manifest)]
    assert [volume.claim for volume in asked.volumes] == claims
    [data_dir] = re.findall(r"--config configs/my_coco\.yaml --data-dir (\S+)", page)
    check_places(asked, {"--data-dir": data_dir, "--shared-dir": "/shared"})
