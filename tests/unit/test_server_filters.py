# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the role registry, as Ansible finds them, with bcrypt as it is and the role's own defaults."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

import bcrypt
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.stowage.oci.plugins.filter import htpasswd as _htpasswd
from ansible_collections.stowage.oci.plugins.filter import registry_config as _registry_config
from ansible_collections.stowage.oci.tests.unit.test_server_config import PATHS, VARIABLES

htpasswd = _htpasswd.FilterModule().filters()["htpasswd"]
registry_config = _registry_config.FilterModule().filters()["registry_config"]


def loaded(name):
    return yaml.safe_load((Path(__file__).resolve().parents[2] / "roles/registry" / name).read_text(encoding="utf-8"))


DEFAULTS = {name.removeprefix("registry_"): value for name, value in loaded("defaults/main.yml").items()}


def test_the_tests_have_the_defaults_of_the_role():
    assert VARIABLES == {name: DEFAULTS[name] for name in VARIABLES}


def test_options_of_redis_have_the_defaults_that_are_documented():
    redis = loaded("meta/argument_specs.yml")["argument_specs"]["main"]["options"]["registry_redis"]
    defaults = {name: option["default"] for name, option in redis["options"].items() if "default" in option}
    bare = {**DEFAULTS, "redis": {"addr": "redis.example:6379"}}
    assert registry_config(bare, "3", PATHS) == registry_config({**bare, "redis": {**bare["redis"], **defaults}}, "3", PATHS)
    assert defaults == {"db": 0, "tls": False}


@pytest.mark.parametrize("version", ["2.8.2", "3.0.0"])
def test_all_of_the_defaults_make_a_configuration_that_is_json(version):
    found = registry_config(DEFAULTS, version, PATHS)
    assert json.loads(json.dumps(found)) == found and found["storage"]["filesystem"]


def test_says_what_is_wrong():
    with pytest.raises(AnsibleFilterError, match="^registry_port must be a whole number$"):
        registry_config({**DEFAULTS, "port": "x"}, "2.8", PATHS)
    for variables, paths in (("x", PATHS), (DEFAULTS, None)):
        with pytest.raises(AnsibleFilterError, match="^registry_config needs a dict of variables, and a dict of paths$"):
            registry_config(variables, "2.8", paths)
    with pytest.raises(AnsibleFilterError, match="^registry_users: the password of ann is empty$"):
        htpasswd({"ann": ""}, "")
    with pytest.raises(AnsibleFilterError, match="^the current accounts must be a text, empty if there are none$"):
        htpasswd({"ann": "x"}, None)


def test_hashes_are_those_of_bcrypt_and_stay():
    text = htpasswd({"ann": "secret-ann", "bob": "x" * 72}, "")
    lines = dict(line.split(":") for line in text.splitlines())
    assert bcrypt.checkpw(b"secret-ann", lines["ann"].encode()) and bcrypt.checkpw(b"x" * 72, lines["bob"].encode())
    assert all(line.startswith("$2b$10$") for line in lines.values())
    assert htpasswd({"bob": "x" * 72, "ann": "secret-ann"}, text) == text
    assert htpasswd({"ann": "other", "bob": "x" * 72}, text).splitlines()[1] == text.splitlines()[1]
    assert htpasswd({"ann": "other", "bob": "x" * 72}, text).splitlines()[0] != text.splitlines()[0]


def test_a_hash_of_another_tool_stays():
    """Apache's htpasswd writes $2y$, and cost 5."""
    text = "ann:%s\n" % bcrypt.hashpw(b"secret-ann", bcrypt.gensalt(5)).decode().replace("$2b$", "$2y$")
    assert htpasswd({"ann": "secret-ann"}, text) == text


def test_says_how_to_get_bcrypt(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcrypt", None)
    with pytest.raises(AnsibleFilterError, match="^the controller's Python lacks bcrypt: pip install bcrypt$"):
        htpasswd({"ann": "secret-ann"}, "")
