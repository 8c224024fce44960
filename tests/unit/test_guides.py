# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides of the roles: their YAML is YAML, and the variables that they name are those of the roles, with values that these take."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "docs" / name for name in ("registry.md", "scale.md")]
ROLES = ("registry", "trust")
VARIABLE = re.compile(r"(?<![A-Za-z0-9_./-])(?:registry|trust)_[a-z0-9_]+")
# What begins as a variable of a role and is none: metrics, a result, and a module.
OTHERS = re.compile(r"registry_(?:http|storage)_[a-z_]+_(?:total|requests|seconds|bytes|bucket|count|sum)|registry_collected|registry_search")


def options(role):
    """All options of all entry points of a role, and their descriptions."""
    specs = yaml.safe_load((ROOT / "roles" / role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry["options"].items()}


def documented():
    """The variables that the heads of playbooks explain."""
    heads = [line for path in (ROOT / "playbooks").glob("*.yml") for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#   ")]
    return {name for line in heads for name in VARIABLE.findall(line)}


OPTIONS = {name: option for role in ROLES for name, option in options(role).items()}


def blocks(path):
    """The YAML blocks of a guide: where each begins, and its text."""
    text = path.read_text(encoding="utf-8")
    return [(text[: found.start()].count("\n") + 1, found.group(1)) for found in re.finditer(r"^```ya?ml\n(.*?)^```$", text, re.M | re.S)]


BLOCKS = [pytest.param(text, id="%s:%d" % (path.name, line)) for path in GUIDES for line, text in blocks(path)]


def mappings(node):
    """Every dict in a document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


def given(mapping):
    """The variables of roles that a dict sets, without what only a play knows: templates in the place of what is no text."""
    for name, value in mapping.items():
        if VARIABLE.fullmatch(str(name)) and not (isinstance(value, str) and "{{" in value and OPTIONS[name]["type"] not in ("str", "path")):
            yield name, value


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_each_fence_is_closed_and_says_what_it_holds(path):
    fences = re.findall(r"^```(.*)$", path.read_text(encoding="utf-8"), re.M)
    assert len(fences) % 2 == 0
    assert set(fences[1::2]) == {""}
    assert set(fences[::2]) <= {"", "yaml"}
    assert len(blocks(path)) == fences.count("yaml") > 3


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_names_only_variables_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    named = {name for name in VARIABLE.findall(text) if not OTHERS.fullmatch(name)}
    assert named - set(OPTIONS) - documented() == set()
    assert len(named) > 10


@pytest.mark.parametrize("text", BLOCKS)
def test_a_block_is_yaml_of_values_that_the_roles_take(text):
    document = yaml.safe_load(text)
    assert isinstance(document, (dict, list))
    for mapping in mappings(document):
        wrong = {name for name in mapping if VARIABLE.fullmatch(str(name)) and not OTHERS.fullmatch(name)} - set(OPTIONS)
        assert not wrong
        values = dict(given(mapping))
        spec = {name: {key: value for key, value in OPTIONS[name].items() if key not in ("description", "default", "required")} for name in values}
        assert ArgumentSpecValidator(spec).validate(values).error_messages == []


def sources():
    """What the roles may say: their tasks and programs, each text in one piece as if nothing were folded or joined."""
    folders = [ROOT / "roles/registry", ROOT / "roles/trust", ROOT / "plugins/module_utils/_server"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".yml") and path.parent.name != "meta"]
    found = [path.read_text(encoding="utf-8") for path in files]
    return re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*r?f?"', "", "\n".join(found)))


def test_messages_are_those_of_the_roles():
    table = GUIDES[0].read_text(encoding="utf-8").partition("| message | behind it |\n")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert len(messages) == table.count("\n") > 15
    said = sources()
    assert [message for message in messages for part in message.split("…") if part.strip() not in said] == []


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)]+)\)", path.read_text(encoding="utf-8")):
        name, _hash, heading = target.partition("#")
        if name.startswith("https://"):
            continue
        there = path.parent / name if name else path
        assert there.is_file(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.M)
        assert not heading or heading in [re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings], target


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_lines_are_no_longer_than_150(path):
    assert [line for line in path.read_text(encoding="utf-8").splitlines() if len(line) > 150] == []
