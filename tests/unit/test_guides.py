# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""README and guides: what they tell to type is there, what they name is there, and their links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

from ansible_collections.stowage.oci.tests.unit.guides import GUIDES, OPTIONS, OURS, PAGES, PLAYBOOKS, PREFIXED, ROOT, VARIABLE
from ansible_collections.stowage.oci.tests.unit.guides import documented, fenced, loaded, unknown

REPOSITORY = re.compile(r"https://(?:github\.com/stowage/oci/(?:blob|tree|raw)|raw\.githubusercontent\.com/stowage/oci)/main/")
NAMES = (
    {path.stem for folder in ("modules", "lookup", "filter") for path in (ROOT / "plugins" / folder).glob("*.py")}
    | {path.name for path in (ROOT / "roles").iterdir()} | set(PLAYBOOKS) | set(loaded("meta/runtime.yml")["action_groups"])
)


# What they tell to type


def commands():
    """Each command of blocks that are not YAML, and of words in the text, continued lines as one."""
    for path in GUIDES:
        text = path.read_text(encoding="utf-8")
        found = [line for _line, kind, block in fenced(path) if kind in ("", "sh") for line in re.sub(r"\\\n\s*", "", block).splitlines()]
        found += re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S))
        for line in found:
            yield path, re.sub(r"^\$ ", "", line.strip())


def extra(words):
    """The names of variables that ``-e`` sets."""
    for flag, value in zip(words, words[1:]):
        if flag in ("-e", "--extra-vars") and not value.startswith(("@", "…")):
            if value.startswith("{"):
                yield from json.loads(value)
            else:
                yield from (one.partition("=")[0] for one in shlex.split(value))


def test_a_playbook_that_is_called_is_there_and_has_the_variables():
    called = 0
    for path, line in commands():
        if not re.match(r"(?:[A-Z_]+=\S+ )*ansible-playbook ", line):
            continue
        words = shlex.split(re.sub(r"\$\([^)]*\)", "said", line.partition(" #")[0]))
        for book in [word for word in words if word.startswith(OURS)]:
            called += 1
            name = book[len(OURS):]
            assert name in PLAYBOOKS, (path.name, line)
            known = documented(name) | (set(OPTIONS) if name in ("registry", "collect") else set())
            assert {one for one in extra(words) if not one.startswith("ansible_")} - known == set(), (path.name, line)
    assert called > 5


def test_what_make_is_told_to_make_is_there():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    rings = re.search(r"^RINGS = (.*)$", text, re.M)[1]
    targets = {word for line in re.findall(r"^([^\s#.:=][^:=]*):(?!=)", text, re.M) for word in line.replace("$(RINGS)", rings).split()}
    calls = [(path.name, re.fullmatch(r"make ([a-z][\w-]*)(?: [A-Z]+=.*)?(?: +#.*)?", line)) for path, line in commands()]
    named = {(name, found[1]) for name, found in calls if found}
    assert {one for one in named if one[1] not in targets} == set()
    assert {one[1] for one in named} >= {"demo"}


# What they name


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_names_only_variables_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    assert unknown(name for name in VARIABLE.findall(text) + PREFIXED.findall(text) if not name.endswith("_")) == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_names_only_plugins_roles_and_playbooks_that_there_are(path):
    text = path.read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![\w/.])stowage\.oci\.([a-z_]+)", text)) - NAMES == set()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_names_only_files_that_there_are(path):
    """In the middle of text they stand in backquotes; to Python they are handed as they are."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"`((?:plugins|roles|playbooks|docs|bench|dev|demo|tests|molecule|changelogs|\.ci|\.github)/[\w./-]*)`", text)
    named += re.findall(r"python3? ((?:bench|dev|demo)/[\w./-]+)", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        own = REPOSITORY.match(target)
        name, _hash, heading = target[own.end() if own else 0:].partition("#")
        if name.startswith(("https://", "mailto:")):
            continue
        there = (ROOT if own else path.parent) / name if name else path
        assert there.exists(), target
        headings = re.findall(r"^#+ (.*)$", there.read_text(encoding="utf-8"), re.M) if heading else []
        assert not heading or heading in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings], target


# How they are written


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_each_fence_is_closed_and_says_what_it_holds(path):
    fences = re.findall(r"^```(.*)$", path.read_text(encoding="utf-8"), re.M)
    assert len(fences) % 2 == 0
    assert set(fences[1::2]) <= {""}
    assert set(fences[::2]) <= {"", "sh", "yaml", "ini", "toml", "json", "dockerfile", "jinja"}
    assert len(fenced(path)) == len(fences) // 2


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.name)
def test_lines_are_no_longer_than_150(path):
    by_hand = re.sub("<!-- bench: .*?<!-- /bench -->", "", path.read_text(encoding="utf-8"), flags=re.S)
    assert [line for line in by_hand.splitlines() if len(line) > 150] == []


# What the roles say


def sources():
    """What the roles may say: their tasks and programs, each text in one piece as if nothing were folded or joined."""
    folders = [ROOT / "roles/registry", ROOT / "roles/trust", ROOT / "plugins/module_utils/_server"]
    files = [path for folder in folders for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".yml") and path.parent.name != "meta"]
    found = [path.read_text(encoding="utf-8") for path in files]
    return re.sub(r"\s+", " ", re.sub(r'"\s*\n\s*r?f?"', "", "\n".join(found)))


def test_messages_are_those_of_the_roles():
    table = (ROOT / "docs/registry.md").read_text(encoding="utf-8").partition("| message | behind it |\n")[2].partition("\n\n")[0]
    messages = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    assert len(messages) == table.count("\n") > 15
    said = sources()
    assert [message for message in messages for part in message.split("…") if part.strip() not in said] == []
