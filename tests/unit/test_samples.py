# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every sample that is documented came back from a run: of each module, filter and lookup there is a scene, of which the first value of a
key that tells something is its sample. What came back and is not documented fails here, as does what is documented and never comes.
"""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("documentation is read on controllers, which have Python 3.11 or later", allow_module_level=True)

import yaml
from ansible_collections.stowage.oci.tests.unit import scenes

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"

ANSIBLES = {"changed", "diff", "failed", "msg", "invocation"}
"""Keys that any result may have."""
OF_A_PATH = {"uid", "gid", "owner", "group", "mode", "state"}
"""And what Ansible adds to one with a ``path``."""
TYPES = {"str": str, "int": int, "bool": bool, "float": float, "list": list, "dict": dict}


def walk(documented, result, where=""):
    """Pairs of a documented key, with all keys above it, and a value of it; each value is of its type or null."""
    for key, option in documented.items():
        here = "%s.%s" % (where, key) if where else key
        if key not in result:
            assert option.get("returned") != "always", "%s does not always come" % here
            continue
        value, kind = result[key], TYPES[option["type"]]
        assert value is None or (isinstance(value, kind) and isinstance(value, bool) == (kind is bool)), "%s is no %s: %r" % (here, kind, value)
        assert (kind is list) == ("elements" in option), here
        if kind is list:
            assert {type(one) for one in value or ()} <= {TYPES[option["elements"]]}, here
        if "contains" in option:
            assert "sample" not in option, "%s: its parts have samples" % here
            yield here, None
            for one in value if kind is list else [value]:
                assert set(one) <= set(option["contains"]), "%s: not documented: %s" % (here, set(one) - set(option["contains"]))
                yield from walk(option["contains"], one, here)
        else:
            yield here, value


def keys(documented, where=""):
    """What is documented as a sample of each key; of one that has parts, None."""
    for key, option in documented.items():
        here = "%s.%s" % (where, key) if where else key
        if "contains" in option:
            yield here, None
            yield from keys(option["contains"], here)
        else:
            assert "sample" in option, "%s has no sample" % here
            yield here, option["sample"]


def tidy(result, names):
    text = json.dumps(result)
    for found, shown in names.items():
        text = text.replace(found, shown)
    return json.loads(text)


def compare(returned, scene):
    documented, came = yaml.safe_load(returned), {}
    for result, names in scene:
        result = tidy(result, names)
        extra = set(result) - set(documented) - ANSIBLES - (OF_A_PATH if "path" in result else set())
        assert extra == set(), "not documented: %s" % extra
        for key, value in walk(documented, result):
            if came.get(key) in (None, [], {}, ""):
                came[key] = value
    assert came == dict(keys(documented))


MODULES = sorted(path.stem for path in (PLUGINS / "modules").glob("*.py"))
OTHERS = sorted((path.parent.name, path.stem) for folder in ("filter", "lookup") for path in (PLUGINS / folder).glob("*.py"))


@pytest.mark.parametrize("name", MODULES)
def test_samples_of_modules(name, alone):
    module = importlib.import_module(scenes.PACKAGE + "modules." + name)
    compare(module.RETURN, getattr(scenes, name)(module, alone))


@pytest.mark.parametrize(("kind", "name"), OTHERS)
def test_samples_of_plugins(kind, name, alone):
    plugin = importlib.import_module(scenes.PACKAGE + kind + "." + name)
    compare(plugin.RETURN, getattr(scenes, name)(alone))
