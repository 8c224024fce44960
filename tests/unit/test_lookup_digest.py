# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup digest against a registry in memory; that Ansible finds its options is for tests/integration/test_pin.py."""

from __future__ import annotations

import re
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

from ansible.errors import AnsibleLookupError
from ansible_collections.stowage.oci.plugins.lookup.digest import BY_VARIABLE, DOCUMENTATION, LookupModule
from ansible_collections.stowage.oci.plugins.module_utils._options import REGISTRY
from ansible_collections.stowage.oci.tests.unit.fakes.registry import FakeRegistry
from ansible_collections.stowage.oci.tests.unit.images import artifact, image, index, layer

pytestmark = pytest.mark.usefixtures("alone")

APP = image([layer({"app": b"1"}, "gzip")])
ARM = image([layer({"app": b"2"}, "gzip")], platform="linux/arm64/v8")
MULTI = index([APP, ARM])


@pytest.fixture(name="registry")
def _registry():
    with FakeRegistry() as registry:
        yield registry


class Lookup(LookupModule):
    """With the defaults of the option group, as ``_load_name`` is what Ansible's loader gives."""

    def set_options(self, task_keys=None, var_options=None, direct=None):
        self._options = dict({name: facts.get("default") for name, facts in REGISTRY.items()}, platform=None, plain_http=True)
        # What is no option is passed over, as Ansible does it.
        self._options.update((name, value) for name, value in (direct or {}).items() if name in self._options)

    def get_options(self, hostvars=None):
        return self._options


def ask(*terms, **options):
    return Lookup().run(list(terms), {}, **options)


def refused(pattern, *terms, **options):
    with pytest.raises(AnsibleLookupError, match=pattern):
        ask(*terms, **options)


def test_says_what_references_name_now(registry):
    names = ["app-%d:1" % number for number in range(40)]
    made = [image([layer({"app": b"%d" % number})]) for number in range(40)]
    for text, one in zip(names, made):
        registry.offer(text, one)
    references = ["%s/%s" % (registry.host, text) for text in names]
    digests = ask(*references)
    assert digests == [one.digest for one in made]
    assert {type(one) for one in digests} == {str}
    assert {call.method for call in registry.calls} == {"HEAD"} and len(registry.calls) == 40
    assert ask(references[:2], references[1]) == [made[0].digest, made[1].digest, made[1].digest]
    assert ask([]) == [] and len(registry.calls) == 43


def test_a_digest_is_made_sure_of(registry):
    registry.offer("app:1", APP)
    assert ask("%s/app@%s" % (registry.host, APP.digest)) == [APP.digest]
    refused("app@.*: %s has no such image" % registry.host, "%s/app@%s" % (registry.host, ARM.digest))


def test_says_the_digest_for_a_platform(registry):
    registry.offer("app:1", MULTI)
    registry.offer("arm:1", ARM)
    name = registry.host + "/app:1"
    assert ask(name) == [MULTI.digest]
    assert [ask(name, platform=one) for one in ("linux/amd64", "arm64")] == [[APP.digest], [ARM.digest]]
    assert ask(registry.host + "/arm:1", platform="linux/arm64") == [ARM.digest]
    refused("app:1 is not there for linux/s390x: name one of these with platform, or leave it away: linux/amd64, linux/arm64", name, platform="linux/s390x")
    refused("arm:1 is not there for linux/amd64: name .* with platform, or leave it away: linux/arm64$", registry.host + "/arm:1", platform="linux/amd64")
    refused("'vax' is not a platform", name, platform="vax")


def test_says_what_is_no_image_for_any_platform(registry):
    digest = registry.offer("chart:1", artifact())
    assert ask(registry.host + "/chart:1") == [digest]
    refused("chart:1 is no image, but", registry.host + "/chart:1", platform="linux/amd64")


def test_says_what_is_not_there(registry):
    registry.offer("app:1", APP)
    refused("^%s/app:2: %s has no such image" % (registry.host, registry.host), registry.host + "/app:1", registry.host + "/app:2")
    refused("not/A/reference'? is not an image reference", "not/A/reference")


def test_nothing_is_asked_before_all_is_understood(registry):
    registry.offer("app:1", APP)
    name = registry.host + "/app:1"
    refused(r"^no reference is given: write lookup\('stowage.oci.digest', 'nginx:1.27'\)$")
    refused("^there is no option plattform: platform may be meant$", name, plattform="linux/arm64")
    refused("^there is no option retires: retries may be meant$", name, retires=1)
    refused("^there is no option colour: there are auth_file, ca_cert, client_cert, .*, username, validate_certs$", name, colour="red")
    refused("it is a number, and one reference is one text", name, 7)
    refused("it is a dictionary", name, {"name": name})
    refused(r"^'ann:\*\*\*@%s' is not an image reference: credentials do not belong in it" % name, name, "ann:secret@" + name)
    refused("leave out http://, a registry without TLS is asked with plain_http: true", name, "http://" + name)
    refused("leave out the blanks, those after the commas", "%s, %s" % (name, name))
    assert not registry.calls


def test_the_options_that_variables_give_are_documented():
    documented = re.findall(r"^  (\w+):\n    vars:\n      - name: (\w+)\n    env:\n      - name: (\w+)\n", DOCUMENTATION, re.M)
    assert documented == [(option, "stowage_oci_" + option, "STOWAGE_OCI_" + option.upper()) for option in BY_VARIABLE]


def test_opens_a_registry_with_what_the_user_knows():
    with FakeRegistry("bearer") as registry:
        registry.offer("app:1", APP)
        name = registry.host + "/app:1"
        assert ask(name, username="ann", password="secret") == [APP.digest]
        refused("app:1: %s refuses the credentials from username and password" % registry.host, name, username="ann", password="guess")
        refused("wants credentials, or has no such repository", name)
        refused("would be shown to .* and docker.io", name, "nginx", username="ann", password="secret")


def test_says_which_python_lacks_requests(registry, monkeypatch):
    monkeypatch.setitem(sys.modules, "requests", None)
    refused("needs the Python library requests, and .* has none", registry.host + "/app:1")


def test_refuses_numbers_that_are_too_low(registry):
    refused("^retries: -1 is too low: give 0 or more$", registry.host + "/app:1", retries=-1)
    refused("^registry_timeout: 0 is too low: give 1 or more$", registry.host + "/app:1", registry_timeout=0)
