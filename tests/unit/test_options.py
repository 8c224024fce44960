# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What options mean the same in all modules: the lowest numbers, and an empty list of images."""

from __future__ import annotations

import importlib

import pytest
from ansible_collections.stowage.oci.plugins.module_utils import _options
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times

APP = "localhost:1/app:1"
ENGINE, REGISTRY, PARALLEL = ("engine_timeout",), ("registry_timeout", "retries"), ("parallel",)
MODULES = {
    "image_pull": (dict(images=[APP]), ENGINE + REGISTRY + PARALLEL),
    "image_push": (dict(images=[APP]), ENGINE + REGISTRY + PARALLEL),
    "image_archive": (dict(images=[APP], path="bundle"), ENGINE + REGISTRY + PARALLEL),
    "image_load": (dict(src="bundle", remote_src=True), ENGINE),
    "image_copy": (dict(src="localhost:1", images=[APP], destination="localhost:2"), REGISTRY + PARALLEL),
    "image_tag": (dict(source=APP, tags=[APP]), ENGINE),
    "image_remove": (dict(images=[APP]), ENGINE + PARALLEL),
    "image_info": (dict(), ENGINE),
    "registry_search": (dict(registry="localhost:1"), REGISTRY + PARALLEL),
}


def lowest(option):
    return dict(_options.LEAST)[option]


@pytest.mark.parametrize(("module", "option"), [(module, option) for module, (_params, options) in MODULES.items() for option in options])
def test_too_low(module, option):
    tested = importlib.import_module("ansible_collections.stowage.oci.plugins.modules." + module)
    least = lowest(option)
    for check in (True, False):
        message = fail(tested, check=check, **dict(MODULES[module][0], **{option: least - 1}))["msg"]
        assert message == "%s: %d is too low: give %d or more" % (option, least - 1, least)


@pytest.mark.parametrize(("option", "least"), _options.LEAST)
def test_the_lowest_is_allowed(option, least):
    _options.check({option: least})


@pytest.mark.parametrize("module", ["image_pull", "image_push", "image_remove"])
def test_no_images_are_nothing_to_do(module):
    """So it is for image_load and image_copy; image_archive alone refuses it. Each has a test of its own."""
    tested = importlib.import_module("ansible_collections.stowage.oci.plugins.modules." + module)
    with FakeEngine("classic") as engine:
        real, _again = four_times(tested, images=[], engine_host=engine.url)
    assert (real["changed"], real["images"]) == (False, [])
