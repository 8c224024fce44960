# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A password that was written into a reference is refused everywhere, and shown nowhere: not in what Ansible tells of the call either."""

from __future__ import annotations

import json

import pytest

from ansible_collections.stowage.oci.plugins.module_utils import _options
from ansible_collections.stowage.oci.plugins.module_utils._errors import masked
from ansible_collections.stowage.oci.plugins.modules import (
    image_archive,
    image_copy,
    image_info,
    image_load,
    image_pull,
    image_push,
    image_remove,
    image_tag,
    registry_search,
)
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import image, layer, write_layout
from ansible_collections.stowage.oci.tests.unit.running import fail

pytestmark = pytest.mark.usefixtures("alone")

APP = image([layer({"app": b"1"})], names=["docker.io/library/app:1"])
DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("deploy:geheim@host/app", "deploy:***@host/app"),
        ("deploy:geheim@host/app:1@" + DIGEST, "deploy:***@host/app:1@" + DIGEST),
        ("deploy:geheim@host", "deploy:***@host"),
        ("deploy:geh/eim@host/app", "deploy:***@host/app"),
        ("deploy:geh@eim@host/app", "deploy:***@host/app"),
        ("deploy:geh eim@host:5000", "deploy:***@host:5000"),
        (":geheim@host/app", ":***@host/app"),
        ("https://deploy:geheim@host", "https://deploy:***@host"),
        ("https://deploy:5000/geheim@host.example/app", "https://deploy:***@host.example/app"),
        ("https://geheim@host", "https://***@host"),
        ("geheim@host/app", "***@host/app"),
        ("geheim@registry.example", "***@registry.example"),
        ("geheim@192.0.2.1", "***@192.0.2.1"),
        ("geheim@localhost", "***@localhost"),
        # It may be a tag. It may also be a password.
        ("nginx:1.27@latest", "nginx:***@latest"),
        (["deploy:geheim@host", "app"], ["deploy:***@host", "app"]),
        ({"deploy:geheim@host/": "geheim@host/"}, {"deploy:***@host/": "***@host/"}),
    ],
)
def test_a_password_is_masked(text, shown):
    assert masked(text) == shown == masked(shown)


@pytest.mark.parametrize(
    "text",
    [
        "", "nginx", "nginx:1.27", "nginx:1.27@" + DIGEST, "nginx@" + DIGEST, "localhost:5000/app:1@" + DIGEST, "nginx:1@sha256", "nginx:1@md5:0",
        "nginx:1@" + "0" * 64, "nginx@latest", "nginx@1.27", "team/app@latest", "localhost:5000/app@latest", "localhost:5000/app:1@latest",
        "[2001:db8::1]:5000/app@latest", "https://host/app@latest", "/srv/a:b@c/x.tar", None, 7, True,
    ],
)
def test_what_is_no_password_stays(text):
    assert masked(text) == text


MODULES = [
    (image_pull, dict(images=["{}/app"])),
    (image_pull, dict(name="{}/app")),
    (image_push, dict(images=["{}/app"])),
    (image_tag, dict(source="{}/app", tags=["app:2"])),
    (image_tag, dict(source="app:1", tags=["{}/app"])),
    (image_remove, dict(images=["{}/app"])),
    (image_info, dict(images=["{}/app"])),
    (image_archive, dict(path="/tmp/bundle.tar", images=["{}/app"])),
    (image_archive, dict(path="/tmp/bundle.tar", images=["{}/app"], source="engine")),
    (image_copy, dict(src="registry.example", images=["{}/app"], destination="registry.example")),
    (image_copy, dict(src="{}", images=["app"], destination="registry.example")),
    (image_copy, dict(src="{}/bundle.tar", images=["app"], destination="registry.example")),
    (image_copy, dict(src="registry.example", images=["app"], destination="{}")),
    (registry_search, dict(registry="{}", query="app")),
    (registry_search, dict(registry="host.example", query="{}/app")),
    (registry_search, dict(registry="host.example", api="gitlab", scope="{}/app")),
]


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("user", ["deploy:geheim@", "https://deploy:geheim@", "https://geheim@"])
@pytest.mark.parametrize(("module", "options"), MODULES)
def test_every_module_refuses_it_and_does_not_show_it(module, options, user, check):
    with FakeEngine("classic") as engine:
        engine.hold(APP)
        given = {key: [one.format(user + "host.example") for one in value] if isinstance(value, list) else value.format(user + "host.example")
                 for key, value in options.items()}
        if module not in (image_copy, registry_search):
            given["engine_host"] = engine.url
        failed = fail(module, check, **given)
        assert engine.count("POST", ".*") == engine.count("DELETE", ".*") == 0
    said = json.dumps(failed)
    assert "geheim" not in said and user.replace("geheim", "***") in failed["msg"], failed["msg"]
    assert "credentials do not belong in it: leave out what is before the @" in failed["msg"]
    assert user.replace("geheim", "***") in json.dumps(failed["invocation"])


@pytest.mark.parametrize("options", [dict(images=["deploy:geheim@host/app"]), dict(names={"app:1": "deploy:geheim@host/app"})])
def test_loading_does_not_show_it(options, tmp_path):
    src = str(write_layout(tmp_path / "bundle.tar", [APP]))
    with FakeEngine("classic") as engine:
        failed = fail(image_load, src=src, remote_src=True, engine_host=engine.url, **options)
    assert "geheim" not in json.dumps(failed) and "deploy:***@host/app" in failed["msg"]


URL = "https://ann:geheim@host/x.tar"


@pytest.mark.parametrize(
    ("module", "option", "options"),
    [
        (image_archive, "path", dict(path=URL, images=["app"])),
        (image_archive, "path", dict(path=URL, state="absent")),
        (image_archive, "base", dict(path="/tmp/a:b@c/none.tar", base=["/x", URL], images=["app"])),
        (image_load, "src", dict(src=URL, remote_src=True)),
        (image_load, "base", dict(src="/x", base=[URL], remote_src=True)),
        (image_copy, "base", dict(src="/x", base=[URL], destination="host.example")),
    ],
)
def test_a_url_is_no_path_and_not_shown(module, option, options):
    failed = fail(module, **options)
    assert failed["msg"] == "%s: https://ann:***@host/x.tar is no path, and URLs are not read: give a file or folder" % option
    assert "geheim" not in json.dumps(failed)


def test_a_path_is_not_masked():
    params = dict(path="ann:b@host/d", src="ann:b@host.example", base=["ann:b@host/d"], engine_host="unix:///run/a:b@host/d")
    given = dict(params)
    _options.discreet(params)
    _options.check(params)
    assert params == given


def test_an_engine_takes_no_password(monkeypatch):
    failed = fail(image_info, images=["app"], engine_host="tcp://ann:geheim@host:2375")
    assert "'tcp://ann:***@host:2375' is not an engine's address: engines know no user and password, so leave out what is before" in failed["msg"]
    assert "geheim" not in json.dumps(failed)
    monkeypatch.setenv("DOCKER_HOST", "tcp://ann:geheim@host:2375")
    assert "leave out what is before the @; one that wants to know us takes a certificate" in fail(image_info, images=["app"])["msg"]


def test_every_option_that_names_images_is_masked():
    for option in ("images", "name", "names", "source", "tags", "destination", "registry", "query", "scope"):
        params = {option: "deploy:geheim@host", "password": "a:b@c", "src": "a:b@c"}
        _options.discreet(params)
        assert params == {option: "deploy:***@host", "password": "a:b@c", "src": "a:b@c"}
