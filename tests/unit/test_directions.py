# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The house's own rules: which room may import which, and which files must agree (ARCHITECTURE.md, "Rooms and directions")."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sysconfig
from pathlib import Path

import pytest
from ansible_collections.stowage.oci.plugins.module_utils import _options

ROOT = Path(__file__).resolve().parents[2]
PLUGINS = ROOT / "plugins"
FILES = sorted(path for path in PLUGINS.rglob("*.py"))
UTILS = {"_errors", "_process", "_oci", "_plan", "_engine", "_registry", "_flow", "_options", "_module"}
CONTROLLER = ("action", "lookup", "filter", "plugin_utils")

# What a room may import besides files of its own; those in ALONE do not import even these.
MAY = {
    "_errors": set(), "_process": set(), "_options": {"_errors"}, "doc_fragments": set(), "_oci": {"_errors", "_process"}, "_plan": {"_oci", "_errors"},
    "_engine": {"_oci", "_errors", "_process"}, "_registry": {"_oci", "_errors", "_process"}, "_module": {"_errors", "_options"}, "_flow": UTILS - {"_options"},
    "modules": UTILS, "plugin_utils": UTILS, **dict.fromkeys(("action", "lookup"), UTILS | {"plugin_utils"}),
    "_server": {"_errors"}, "filter": UTILS | {"plugin_utils", "_server"},
}
ALONE = {"modules", "action", "lookup", "filter", "doc_fragments"}
# What is not in the standard library, and the rooms that may import it; what is in LATE they import when they use it.
OUTSIDE = {
    "ansible": {"_module"} | set(CONTROLLER), "requests": {"_registry"}, "zstandard": {"_oci"}, "compression": {"_oci"},
    **dict.fromkeys(("bcrypt", "cryptography", "tomllib", "yaml"), set(CONTROLLER)),
}
LATE = {"requests", "zstandard", "compression", "bcrypt", "cryptography", "yaml"}


def name(path):
    """module_utils._oci.digest"""
    return ".".join(path.relative_to(PLUGINS).with_suffix("").parts)


def room(module):
    parts = module.split(".")
    return parts[1] if parts[0] == "module_utils" else parts[0]


NAMES = {name(path) for path in FILES}


def imports(path):
    """Pairs of an imported module and its statement; those of the collection as ``name`` has them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module, node
        elif isinstance(node, ast.ImportFrom):
            package = name(path).split(".")[: -node.level] + (node.module.split(".") if node.module else [])
            for alias in node.names:
                deeper = ".".join(package + [alias.name])
                yield deeper if deeper in NAMES else ".".join(package), node


INSIDE = {name(path): {module for module, _node in imports(path) if module in NAMES} for path in FILES}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_follow_the_arrows(path):
    here = room(name(path))
    for module, node in imports(path):
        top = module.split(".")[0]
        if module in NAMES:
            assert room(module) in MAY[here] or (room(module) == here and here not in ALONE), module
        elif top in OUTSIDE:
            assert here in OUTSIDE[top], module
            assert node.col_offset or top not in LATE, "%s is imported before it is needed" % module
        else:
            assert top != "ansible_collections", "relative imports alone are bundled for a host: %s" % module
            spec = importlib.util.find_spec(top)
            assert spec, module
            origin = spec.origin or ""
            assert origin in ("", "built-in", "frozen") or Path(sysconfig.get_path("stdlib")) in Path(origin).parents, module
            assert "site-packages" not in origin, module


def test_no_file_imports_itself_in_a_circle():
    left = {module: set(targets) for module, targets in INSIDE.items()}
    while left:
        free = {module for module, targets in left.items() if not targets & left.keys()}
        assert free, "a circle among %s" % sorted(left)
        for module in free:
            del left[module]


def test_a_host_to_which_blobs_are_sent_compiles_no_more_than_it_needs():
    """Modules come without bytecode: what they import at once is compiled in every run, and most runs find nothing to do."""
    paths = {name(path): path for path in FILES}
    at_once, left = set(), ["modules.image_load"]
    while left:
        at_once.add(left[-1])
        targets = [module for module, node in imports(paths[left.pop()]) if module in NAMES and not node.col_offset]
        left += [module for module in targets if module not in at_once]
    late = {"module_utils._oci.%s" % one for one in ("archive", "files", "tar", "compression")}
    late |= {"module_utils._engine.probe", "module_utils._flow.archived", "module_utils._plan.names"}
    assert late <= NAMES and not late & at_once


def test_one_file_knows_ansible_module():
    words = re.compile(r"AnsibleModule|fail_json|exit_json|ansible\.module_utils\.basic")
    assert [name(path) for path in FILES if words.search(path.read_text(encoding="utf-8"))] == ["module_utils._module"]


def test_no_package_below_plugins_has_an_init_file():
    assert not list(PLUGINS.rglob("__init__.py"))


# Files that must agree


def groups():
    """Option groups by name: each that is not all of one module's options."""
    modules = {path.stem.replace("image_", "").upper() for path in (PLUGINS / "modules").glob("*.py")}
    return {key: value for key, value in vars(_options).items() if key.isupper() and isinstance(value, dict) and key not in modules}


def documented(text):
    """Options of a doc fragment with their types and defaults, as YAML writes them."""
    found = {}
    for line in text.splitlines():
        option = re.fullmatch(r"  (\w+):", line)
        fact = re.fullmatch(r"    (type|default|elements): (.+)", line)
        if option:
            found[option.group(1)] = {}
        elif fact:
            found[list(found)[-1]][fact.group(1)] = fact.group(2)
    return found


def test_every_option_group_is_a_doc_fragment():
    fragments = {path.stem for path in (PLUGINS / "doc_fragments").glob("*.py")}
    assert {key.lower() for key in groups()} == fragments - {"attributes"}


@pytest.mark.parametrize("group", sorted(groups()))
def test_an_option_group_equals_its_fragment(group):
    package = "ansible_collections.stowage.oci.plugins.doc_fragments."
    fragment = importlib.import_module(package + group.lower()).ModuleDocFragment.DOCUMENTATION
    spec = {
        option: {key: str(facts[key]).lower() if key == "default" else facts[key] for key in ("type", "default", "elements") if key in facts}
        for option, facts in groups()[group].items()
    }
    assert documented(fragment) == spec


@pytest.mark.parametrize(("option", "least"), _options.LEAST)
def test_the_lowest_number_of_an_option_is_documented(option, least):
    fragments = [path.read_text(encoding="utf-8") for path in (PLUGINS / "doc_fragments").glob("*.py")]
    found = [match.group(1) for match in (re.search(r"^  %s:\n((?:    .*\n)+)" % option, text, re.M) for text in fragments) if match]
    assert len(found) == 1 and "At least V(%d)" % least in found[0]


@pytest.mark.parametrize("path", sorted((PLUGINS / "modules").glob("*.py")), ids=name)
def test_every_module_documents_what_it_supports(path):
    text = path.read_text(encoding="utf-8")
    attributes = re.search(r"^attributes:\n((?:  .*\n)+)", text, re.M)
    supports = dict(re.findall(r"^  (\w+):\n    support: (\w+)", attributes.group(1), re.M))
    assert supports["check_mode"] == "full"
    assert set(supports) == {"check_mode", "diff_mode", "idempotent"}
    assert "  - stowage.oci.attributes\n" in text


ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())


def loaded(path):
    yaml = pytest.importorskip("yaml")
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def specified(role):
    """The options of all entry points of a role by name."""
    specs = loaded(role / "meta/argument_specs.yml")["argument_specs"]
    return {option: facts for spec in specs.values() for option, facts in spec["options"].items()}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_defaults_of_a_role_are_those_that_are_documented(role):
    documented = {option: facts["default"] for option, facts in specified(role).items() if "default" in facts}
    assert loaded(role / "defaults/main.yml") == documented


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_variable_of_a_role_is_documented_or_internal(role):
    """Internal ones have two underscores after the name of the role; what the role gives back stands in a description as C(name)."""
    told = set(re.findall(r"C\((\w+)\)", (role / "meta/argument_specs.yml").read_text(encoding="utf-8")))
    known = set(specified(role)) | told
    files = [path for part in ("tasks", "templates", "vars", "handlers") for path in (role / part).rglob("*") if path.is_file()]
    assert files
    for path in files:
        used = set(re.findall(r"(?<![\w.])%s_(?!_)\w+" % role.name, path.read_text(encoding="utf-8")))
        assert used <= known, "%s: %s" % (path.relative_to(ROOT), sorted(used - known))


SOURCES = [
    path
    for pattern in ("*.py", "*.yml", "*.toml", "*.txt", "Makefile", ".ci/*")
    for path in ROOT.glob(pattern if "/" in pattern else "**/" + pattern)
    if not any(part in (".cache", ".venv", ".ansible", "output") for part in path.relative_to(ROOT).parts)
]


@pytest.mark.parametrize("path", sorted(SOURCES), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_states_licence_and_owner(path):
    head = path.read_text(encoding="utf-8")[:500]
    assert "SPDX-License-Identifier: GPL-3.0-or-later" in head
    if path.suffix == ".py":
        assert "Copyright: stowage.oci contributors" in head


WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def test_every_command_of_a_workflow_is_one_of_ours():
    """What CI runs can be run by hand: a target of the Makefile that is there."""
    targets = set(re.findall(r"^([a-z]+(?: [a-z]+)*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    targets = {target for line in targets for target in line.split()}
    called = [target for path in WORKFLOWS for target in re.findall(r"run: make (\S+)$", path.read_text(encoding="utf-8"), re.M)]
    assert sorted(called) == ["matrix", "test", "venv"] and set(called) <= targets


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_may_read_alone_and_names_the_versions_that_it_uses(path):
    assert loaded(path)["permissions"] == {"contents": "read"}
    used = re.findall(r"uses: (\S+)", path.read_text(encoding="utf-8"))
    assert used and all(re.fullmatch(r"[\w/-]+@([0-9a-f]{40}|v\d+\.\d+\.\d+)", one) for one in used)


def test_the_oldest_ansible_core_is_the_same_everywhere():
    oldest = re.search(r'^CORES = \{"([\d.]+)"', (ROOT / "dev/pythons.py").read_text(encoding="utf-8"), re.M).group(1)
    assert 'requires_ansible: ">=%s.0"' % oldest in (ROOT / "meta/runtime.yml").read_text(encoding="utf-8")
    assert "ansible-core>=%s," % oldest in (ROOT / "dev/requirements.txt").read_text(encoding="utf-8")
    for role in ROLES:
        assert 'min_ansible_version: "%s"' % oldest in (role / "meta/main.yml").read_text(encoding="utf-8")
