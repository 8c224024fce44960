# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each message that the code raises, and each note on a store, is explained in docs/troubleshooting.md, and what is explained there is said.

What modules say of roles is in docs/registry.md: test_guides.py.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
OF_ROLES = re.compile(r"_server|certificate_faults|htpasswd|registry_config|trust_")
TREES = {
    path: ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(PLUGINS.rglob("*.py")) if not OF_ROLES.search(str(path.relative_to(PLUGINS)))
}
LISTS = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").partition("\nIn the lists below ")[2]
ENTRY = re.compile(r"^- ((?:`[^`\n]+`(?:, |,\n  )?)+)\\\n((?:  .+\n)+)", re.M)

NOTES = PLUGINS / "module_utils/_plan/info.py"
"""Here each pair that is yielded is a condition and a note for the user."""

# What is raised for a caller in the code, which says it in words of its own or as a part of another message.
PASSED_ON = {"ValueError", "KeyError", "OSError", "EOFError", "Broken", "Doubt"}
# A message of fewer letters is made of others, and says nothing itself.
LETTERS = 10


def called(node):
    """The name of what a call calls."""
    return getattr(node.func, "id", None) or getattr(node.func, "attr", "")


def functions(tree):
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def errors():
    """The names of all classes of errors that end in a message."""
    bases = {node.name: {getattr(base, "id", "") for base in node.bases} for tree in TREES.values() for node in ast.walk(tree)
             if isinstance(node, ast.ClassDef)}
    found = {"StowageError", "AnsibleFilterError", "AnsibleLookupError"}
    while True:
        more = {name for name, parents in bases.items() if parents & found} - found
        if not more:
            return found
        found |= more


def texts(node, known):
    """What an expression may be as a text, ``…`` for what only a run can tell; ``known`` are the functions of its file."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return texts(node.body, known) + texts(node.orelse, known)
    if isinstance(node, ast.BoolOp):
        return [text for value in node.values for text in texts(value, known)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
        return [re.sub(r"%[sdr]", "…", text).replace("%%", "%") for text in texts(node.left, known)]
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [left + right for left in texts(node.left, known) for right in texts(node.right, known)]
    if isinstance(node, ast.Call) and called(node) in known:
        inner = ast.walk(known[called(node)])
        return [text for one in inner if isinstance(one, ast.Return) and one.value for text in texts(one.value, {})]
    if isinstance(node, ast.Call) and node.args:
        return [text for one in node.args for text in texts(one, known)]
    return ["…"]


def reasons():
    """Functions that are told why, and raise an error that says it; with the place of that argument."""
    found = {}
    for tree in TREES.values():
        for name, function in functions(tree).items():
            names = [one.arg for one in function.args.args if one.arg not in ("self", "cls")]
            raising = [node for node in ast.walk(function) if isinstance(node, ast.Call) and called(node) in ERRORS]
            if "why" in names and any(isinstance(part, ast.Name) and part.id == "why" for node in raising for part in ast.walk(node)):
                found[name] = names.index("why")
    return found


ERRORS = errors()
REASONS = reasons()


def raised():
    """Each text that an error is made of, and where: ``path:line``."""
    found = {}
    for path, tree in TREES.items():
        known = functions(tree)
        for node in ast.walk(tree):
            made = []
            thrown = node.exc if isinstance(node, ast.Raise) else node
            if path == NOTES and isinstance(node, ast.Yield):
                found.update((text, "%s:%d" % (path.relative_to(ROOT), node.lineno)) for text in texts(node.value.elts[1], known))
            if not isinstance(thrown, ast.Call) or not thrown.args:
                continue
            if called(thrown) in ERRORS or (isinstance(node, ast.Raise) and called(thrown) not in PASSED_ON):
                made = texts(thrown.args[0], known)
            elif called(thrown) in REASONS and len(thrown.args) > REASONS[called(thrown)]:
                made = texts(thrown.args[REASONS[called(thrown)]], known)
            for text in made:
                if len(re.findall("[A-Za-z]", text)) >= LETTERS:
                    found.setdefault(text, "%s:%d" % (path.relative_to(ROOT), node.lineno))
    return found


def said():
    """Every text in the code, docstrings and documentation aside."""
    return {text for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, (ast.Constant, ast.BinOp))
            for text in texts(node, {}) if "\n" not in text}


def fits(message, text):
    """Whether the parts of a message, between its ``…``, stand in a text in this order."""
    return re.search(".*?".join(re.escape(part) for part in message.split("…") if part.strip()), text) is not None


MESSAGES = [message for entry in ENTRY.finditer(LISTS) for message in re.findall("`([^`]+)`", entry[1])]
RAISED = raised()
SAID = said()


@pytest.mark.parametrize("text", sorted(RAISED), ids=RAISED.get)
def test_a_message_of_the_code_is_explained(text):
    assert [message for message in MESSAGES if fits(message, text)], text


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_that_is_explained_is_one_of_the_code(message):
    assert len(re.findall("[A-Za-z]", message)) >= LETTERS
    assert any(fits(message, text) for text in SAID)


def test_each_is_explained_once_and_all_are_found():
    assert len(MESSAGES) == len(set(MESSAGES)) > 150 < len(RAISED)
    assert len(ENTRY.findall(LISTS)) == len(re.findall(r"^- ", LISTS, re.M))
