"""The documentation is true: settings, files and commands that it names exist."""

import ast
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


def anchors_of(page: Path) -> set[str]:
    """Returns the anchors of a page's headings, as GitHub and MkDocs make them."""
    text = re.sub(r"^```.+?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_of_links_are_headings(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]*)#([^)]+)\)", page.read_text())
    missing = [
        f"{path}#{anchor}"
        for path, anchor in links
        if anchor not in anchors_of(page.parent / path if path else page)
    ]
    assert missing == []


def blocks_of(page: Path, language: str) -> list[str]:
    """Returns a page's fenced blocks in a language."""
    block = rf"^```{language}\n(.*?)^```"
    return re.findall(block, page.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_pages_compiles(page):
    for block in blocks_of(page, "python"):
        ast.parse(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_yaml_in_pages_is_a_manifest_or_settings(page, tmp_path):
    """Settings, a part of a config mostly, are good on top of a whole one."""
    for number, block in enumerate(blocks_of(page, "yaml")):
        documents = list(yaml.safe_load_all(block))
        if all({"apiVersion", "command"} & set(document) for document in documents):
            continue  # Kubernetes', whole or of one container.
        named = documents[0].get("base", [])
        bases = [named] if isinstance(named, str) else named
        bases = [base for base in bases if (ROOT / "configs" / base).is_file()]
        settings = documents[0] | {"base": [f"{ROOT}/configs/{b}" for b in ["nuclei.yaml", *bases]]}
        path = tmp_path / f"{number}.yaml"
        path.write_text(yaml.safe_dump(settings))
        load_config(path)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_scripts_and_targets_in_blocks_exist(page):
    lines = [line for block in blocks_of(page, r"\w*") for line in block.splitlines()]
    called = [word[0] for line in lines if (word := re.match(r"scripts/[\w.]+", line))]
    assert [script for script in called if not (ROOT / script).is_file()] == []
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    made = [word[1] for line in lines if (word := re.match(r"make ([\w-]+)", line))]
    assert set(made) <= set(targets)


def test_every_message_is_in_a_group_of_the_messages_page():
    script = runpy.run_path(str(ROOT / "scripts" / "messages.py"))
    page = (ROOT / "docs" / "messages.md").read_text()
    filled = script["filled"](page)  # An error names a module that no group covers.
    rows = re.findall(r"^\| (`.+`) \| (\w+) \|$", filled, re.MULTILINE)
    assert len(rows) > 500 and "<!--" not in filled
    for group in script["groups_of"](page):
        there = [ROOT / path for path in group]
        assert [
            path for path in there if not path.is_dir() and not path.with_suffix(".py").exists()
        ] == []


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
