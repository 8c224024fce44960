# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The YAML of README and guides is what modules, roles and Ansible itself take."""

from __future__ import annotations

import functools
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

import jinja2
import yaml
from ansible.module_utils.basic import FILE_COMMON_ARGUMENTS
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.playbook.block import Block
from ansible.playbook.handler import Handler
from ansible.playbook.play import Play
from ansible.playbook.role.include import RoleInclude
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.tests.unit.guides import OPTIONS, OURS, ROOT, VARIABLE, blocks, loaded, unknown

YAML = blocks("yaml", "yml")
GROUPS = loaded("meta/runtime.yml")["action_groups"]
FQCN = re.compile(r"[a-z0-9_]+\.[a-z0-9_]+\.[a-z0-9_]+")
TASKS = ("tasks", "pre_tasks", "post_tasks", "handlers")
BLOCKS = ("block", "rescue", "always")

# Options that take references alone, by module.
REFERENCES = {
    "image_pull": ("images", "name"), "image_push": ("images",), "image_archive": ("images",), "image_build": ("tags",), "image_tag": ("tags",),
}


@functools.lru_cache(maxsize=None)
def taken(module):
    """What a module of ours hands to AnsibleModule."""
    code = importlib.import_module("ansible_collections.stowage.oci.plugins.modules." + module)
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(code, "run", lambda _body, **spec: found.update(spec))
        code.main()
    if found.pop("add_file_common_args", False):
        found["argument_spec"] = {**FILE_COMMON_ARGUMENTS, **found["argument_spec"]}
    return found


def mappings(node):
    """Every dict in a document."""
    if isinstance(node, dict):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from mappings(child)


def texts(node):
    """Every string in a document that is no key."""
    if isinstance(node, str):
        yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from texts(child)


def plays(document):
    return document if isinstance(document, list) and all(isinstance(one, dict) and playbook(one) for one in document) else []


def playbook(play):
    """Whether it is a play, or imports some."""
    return "hosts" in play or any(key.rpartition(".")[2] == "import_playbook" for key in play)


def tasks(document):
    """The tasks of plays, or of a file of tasks, those in blocks included."""
    if plays(document):
        lists = [play.get(key) or [] for play in document for key in TASKS]
    else:
        is_tasks = isinstance(document, list) and any(isinstance(one, dict) and (set(one) & set(BLOCKS) or action(one)) for one in document)
        lists = [document] if is_tasks else []
    left = [task for one in lists for task in one]
    while left:
        task = left.pop(0)
        inner = [deeper for key in BLOCKS for deeper in task.get(key) or []]
        left += inner
        if not inner:
            yield task


def action(task):
    """The name of what a task does, and its arguments, if it is written whole."""
    return next(((key, value) for key, value in task.items() if FQCN.fullmatch(str(key))), None)


def templated(value):
    return isinstance(value, str) and "{{" in value


def stand_in(value, option):
    """A value as a play will have it: something of the right type for a template."""
    kind = option.get("type", "str")
    if not templated(value) or kind in ("str", "path", "raw"):
        return value
    return {"bool": True, "int": 1, "float": 1.0, "list": [], "dict": {}}[kind]


def faults(values, argument_spec, **rules):
    """What a validator says of these values."""
    known = {name: option for key, option in argument_spec.items() for name in (key, *option.get("aliases", ()))}
    given = {name: stand_in(value, known.get(name, {})) for name, value in values.items()}
    return list(ArgumentSpecValidator(argument_spec, **rules).validate(given).error_messages)


def references(module, values):
    """What a task says where nothing but references may stand."""
    found = [values[option] for option in REFERENCES.get(module, ()) if option in values]
    return [text for one in found for text in (one if isinstance(one, list) else [one]) if not templated(text)]


def given(mapping):
    """The variables of roles that a dict sets."""
    return {name: value for name, value in mapping.items() if VARIABLE.fullmatch(str(name)) and name in OPTIONS}


@pytest.mark.parametrize("text", YAML)
def test_a_block_is_yaml_with_variables_that_there_are(text):
    document = yaml.safe_load(text)
    assert isinstance(document, (dict, list))
    for mapping in mappings(document):
        assert unknown(map(str, mapping)) == set()
        values = given(mapping)
        spec = {name: {key: value for key, value in OPTIONS[name].items() if key not in ("description", "default", "required")} for name in values}
        assert faults(values, spec) == []


@pytest.mark.parametrize("text", YAML)
def test_templates_of_a_block_can_be_parsed(text):
    for one in texts(yaml.safe_load(text)):
        jinja2.Environment().parse(one)


@pytest.mark.parametrize("text", YAML)
def test_plays_and_tasks_of_a_block_are_as_ansible_takes_them(text):
    document = yaml.safe_load(text)
    for play in plays(document):
        imported = action(play)
        words = {imported[0], "name", "vars", "when", "tags"} if imported else set(Play.fattributes)
        assert set(play) - words == set()
        for role in play.get("roles") or []:
            assert set(role) - set(RoleInclude.fattributes) - {"role"} == set()
        for group, values in (play.get("module_defaults") or {}).items():
            if group.startswith("group/" + OURS):
                spec = {name: option for member in GROUPS[group.rpartition(".")[2]] for name, option in taken(member)["argument_spec"].items()}
                assert faults(values, {name: {**option, "required": False} for name, option in spec.items()}) == []
    for task in tasks(document):
        done = action(task)
        assert done, "not written whole: %s" % task
        unknown = {key for key in task if key != done[0] and not key.startswith("with_")} - set(Handler.fattributes) - set(Block.fattributes)
        assert unknown == set()
        if done[0].startswith(OURS):
            spec = taken(done[0][len(OURS):])
            known = {key: value for key, value in spec.items() if key != "supports_check_mode"}
            assert faults(done[1] or {}, **known) == []
            for text in references(done[0][len(OURS):], done[1] or {}):
                assert parse(text)


def test_ansible_takes_the_plays_and_tasks_of_all_blocks(tmp_path):
    """In one run; those with modules and roles from elsewhere, which need not be there, are left out."""
    (tmp_path / "ansible_collections/stowage").mkdir(parents=True)
    (tmp_path / "ansible_collections/stowage/oci").symlink_to(ROOT)
    found = []
    for document in [yaml.safe_load(block.values[0]) for block in YAML]:
        book = plays(document) or ([{"hosts": "all", "tasks": document}] if list(tasks(document)) else [])
        names = set(re.findall(r"\b([a-z0-9_]+\.[a-z0-9_]+)\.[a-z0-9_]+:", yaml.safe_dump(book, width=sys.maxsize)))
        own = [role["role"] for play in book for role in play.get("roles") or [] if not role["role"].startswith(OURS)]
        if names <= {"ansible.builtin", OURS[:-1]} and not own:
            found += book
    (tmp_path / "plays.yml").write_text(yaml.safe_dump(found, sort_keys=False), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("ansible-playbook")), "--syntax-check", "-i", "localhost,", "plays.yml"]
    environ = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(tmp_path), "ANSIBLE_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(found) > 20


def test_there_are_tasks_of_each_module():
    found = {action(task)[0] for block in YAML for task in tasks(yaml.safe_load(block.values[0])) if action(task)}
    assert {OURS + path.stem for path in (ROOT / "plugins/modules").glob("*.py")} - found == set()
