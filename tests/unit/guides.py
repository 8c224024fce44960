# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""README and guides as pages: what a page consists of, and the variables that it may name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
GUIDES = [ROOT / "README.md"] + sorted((ROOT / "docs").glob("*.md"))
PAGES = sorted(ROOT.glob("*.md")) + GUIDES[1:]
OURS = "stowage.oci."

ROLES = ("registry", "trust")
PLAYBOOKS = {path.stem: path.read_text(encoding="utf-8").partition("\n- ")[0] for path in sorted((ROOT / "playbooks").glob("*.yml"))}
VARIABLE = re.compile(r"(?<![A-Za-z0-9_./-])(?:registry|trust)_[a-z0-9_]+")
PREFIXED = re.compile(r"(?<![A-Za-z0-9_./-])(?:%s)_[a-z0-9_]+" % "|".join(sorted(set(PLAYBOOKS) - set(ROLES))))
# What begins as a variable of a role and is none: metrics, a result, and options and modules.
OTHERS = re.compile(
    r"registry_(?:http|storage)_[a-z_]+_(?:total|requests|seconds|bytes|bucket|count|sum)|registry_(?:collected|filled|search|timeout)"
)


def options(role):
    """All options of all entry points of a role, and their descriptions."""
    specs = loaded("roles/%s/meta/argument_specs.yml" % role)["argument_specs"]
    return {name: option for entry in specs.values() for name, option in entry["options"].items()}


def loaded(path):
    return yaml.safe_load((ROOT / path).read_text(encoding="utf-8"))


OPTIONS = {name: option for role in ROLES for name, option in options(role).items()}


def documented(playbook):
    """The variables that the head of a playbook explains, and its results."""
    return set(re.findall(r"[a-z]+_[a-z0-9_]+", PLAYBOOKS[playbook]))


EXPLAINED = set().union(*map(documented, PLAYBOOKS))


def unknown(names):
    """Those of these names that look like a variable of a role or playbook of ours, and are none."""
    looking = {name for name in names if (VARIABLE.fullmatch(name) or PREFIXED.fullmatch(name)) and not OTHERS.fullmatch(name)}
    return looking - set(OPTIONS) - EXPLAINED


def fenced(path):
    """The blocks of a page: the line at which each begins, what its fence says, and its text."""
    text = path.read_text(encoding="utf-8")
    return [(text[: found.start()].count("\n") + 1, found[1], found[2]) for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.M | re.S)]


def blocks(*kinds):
    """For a test of each: the blocks of all guides that are of these kinds."""
    return [pytest.param(text, id="%s:%d" % (path.name, line)) for path in GUIDES for line, kind, text in fenced(path) if kind in kinds]
