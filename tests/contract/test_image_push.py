# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_push from real engines to a real registry, in the clear, with passwords and over TLS."""

from __future__ import annotations

import re
import sys
import urllib.request
from typing import Any

import engines
import pytest
from ansible_collections.stowage.oci.plugins.modules import image_push
from ansible_collections.stowage.oci.tests.contract.test_image_pull import (  # noqa: F401  # pylint: disable=unused-import
    ARM, CONFIG, MULTI, NEW, OLD, SAME, alone, closed, identity, params, publish, secure,
)
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.images import Made, index
from ansible_collections.stowage.oci.tests.unit.running import Result, fail, run

ACCEPT = ", ".join(one.descriptor()["mediaType"] for one in (OLD, SAME, MULTI, index([SAME], docker=True)))


def load(engine: engines.Engine, name: str, made: Made) -> None:
    engine.call("POST", "/images/load", images.tar(images.layout([made._replace(names=(name,))], docker=True)))


def get(engine: engines.Engine, name: str) -> None:
    """Pull, by the engine's own call."""
    if engine.store == "podman":
        engine.call("POST", f"/v4.0.0/libpod/images/pull?reference={name}&tlsVerify=false")
    else:
        repository, _colon, tag = name.rpartition(":")
        engine.call("POST", f"/images/create?fromImage={repository}&tag={tag}")


def tag(engine: engines.Engine, name: str, new: str) -> None:
    repository, _colon, tag_name = new.rpartition(":")
    engine.call("POST", f"/images/{name}/tag?repo={repository}&tag={tag_name}")


def held(registry: engines.Registry, name: str) -> tuple[str, dict[str, Any]]:
    """What the registry has: the digest, and the manifest."""
    repository, _colon, tag_name = name.partition("/")[2].rpartition(":")
    request = urllib.request.Request(f"{registry.url}/v2/{repository}/manifests/{tag_name}", headers={"Accept": ACCEPT})
    with urllib.request.urlopen(request) as answer:
        raw = answer.read()
    return images.sha256(raw), images.json.loads(raw)


def push(engine: engines.Engine, *names: str, **more: Any) -> tuple[Result, Result]:
    """Four times; the entries of the first and of the second real run, alone if there is one image.

    The digest of a manifest that the engine makes only as it pushes is not foretold.
    """
    results = [run(image_push, check, **params(engine, *names, **more)) for check in (True, False, True, False)]
    for foretold, done in (results[:2], results[2:]):
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        for early, late in zip(foretold["images"], done["images"]):
            assert early == (late if early["digest"] else dict(late, digest=None))
            assert early["digest"] or (early["action"] == "pushed" and engine.store != "containerd")
    assert not results[3]["changed"]
    return results[1]["images"][0], results[3]["images"][0]


def refused(pattern: str, engine: engines.Engine, *names: str, checks: tuple[bool, ...] = (True, False, True, False), **more: Any) -> None:
    for check in checks:
        result = fail(image_push, check, **params(engine, *names, **more))
        assert re.search(pattern, result["msg"]), result["msg"]


def test_the_registry_has_what_the_host_has(engine, registry):
    name = f"{registry.host}/push/tag-{engine.kind}:1"
    for made, reason in ((OLD, "absent"), (NEW, "other_content")):
        load(engine, name, made)
        done, again = push(engine, name)
        digest, manifest = held(registry, name)
        assert (done["action"], done["reason"], done["changed"], done["digest"]) == ("pushed", reason, True, digest)
        assert manifest["config"]["digest"] == made.config_digest
        assert done["image_id"] == identity(engine, made)
        assert done["config_digest"] == (None if engine.store == "containerd" else made.config_digest)
        # Podman does not note what it has pushed, but may have sent what it once was given.
        assert again["action"] == "kept"
        assert again["reason"] == "same_digest" or (engine.store, again["reason"]) == ("podman", "same_content")
        assert again["digest"] == digest == held(registry, name)[0]


@pytest.mark.parametrize("item", [OLD, SAME, MULTI, index([SAME, ARM], docker=True)], ids=["oci", "docker", "index", "list"])
def test_a_pulled_image_is_not_pushed_back(engine, registry, item):
    name = f"{registry.host}/push/back-{engine.kind}:1"
    digest = publish(registry, name.partition("/")[2], item)
    get(engine, name)
    done, _again = push(engine, name)
    assert (done["action"], done["reason"], done["digest"]) == ("kept", "same_digest", digest)
    assert held(registry, name)[0] == digest


@pytest.mark.parametrize("item", [SAME, index([SAME, ARM], docker=True)], ids=["image", "index"])
def test_a_loaded_image_is_not_pushed_where_its_content_is(engine, registry, item):
    name = f"{registry.host}/push/loaded-{engine.kind}:1"
    digest = publish(registry, name.partition("/")[2], item)
    load(engine, name, OLD)
    done, _again = push(engine, name)
    assert (done["action"], done["reason"], done["digest"]) == ("kept", "same_content", digest)
    assert done["config_digest"] == OLD.config_digest
    assert held(registry, name)[0] == digest


def test_what_one_engine_pushed_another_need_not(running, registry):
    """All four hold the same content, and each would make a manifest of its own."""
    name = f"{registry.host}/push/common:1"
    digests = set()
    for number, kind in enumerate(engines.KINDS):
        engine = running(kind)
        engine.wipe()
        load(engine, name, OLD)
        done, _again = push(engine, name)
        assert done["action"] == ("kept" if number else "pushed")
        digests.add(done["digest"])
    assert digests == {held(registry, name)[0]}


def test_several_images_and_one_that_is_not_there(engine, registry):
    names = [f"{registry.host}/push/several-{engine.kind}-{number}:1" for number in range(6)]
    for name in names[:5]:
        load(engine, name, OLD)
    missing = f"several-{engine.kind}-5:1: the engine at unix://.* has no such image to push"
    refused(missing, engine, *names)
    assert [held(registry, name)[1]["config"]["digest"] for name in names[:5]] == [OLD.config_digest] * 5
    assert push(engine, *names[:5])[0]["action"] == "kept"
    refused("a digest follows from what is pushed and cannot be pushed to: write .*:1$", engine, f"{names[0]}@{OLD.digest}")


def test_the_containerd_store_pushes_an_index_or_the_one_image_that_it_has(containerd, registry):
    origin, name = (f"{registry.host}/push/index-{what}:1" for what in ("from", "to"))
    digest = publish(registry, origin.partition("/")[2], index([OLD, ARM]))
    get(containerd, origin)
    tag(containerd, origin, name)
    done, again = push(containerd, name)
    assert (done["digest"], done["image_id"], again["reason"]) == (OLD.digest, digest, "same_digest")
    assert held(registry, name)[0] == OLD.digest
    containerd.call("POST", f"/images/create?fromImage={origin.rpartition(':')[0]}&tag=1&platform=linux/arm64")
    done, again = push(containerd, name)
    assert (done["reason"], done["digest"], again["reason"]) == ("other_content", digest, "same_digest")
    assert held(registry, name)[0] == digest


def test_of_an_index_with_attestations_the_image_is_pushed(containerd, registry):
    origin, name = (f"{registry.host}/push/attested-{what}:1" for what in ("from", "to"))
    publish(registry, origin.partition("/")[2], index([OLD, images.attestation(OLD)]))
    get(containerd, origin)
    tag(containerd, origin, name)
    assert push(containerd, name)[0]["digest"] == OLD.digest == held(registry, name)[0]


def test_without_requests_docker_does_what_it_can(docker, registry, monkeypatch):
    name = f"{registry.host}/push/bare-{docker.kind}:1"
    load(docker, name, OLD)
    monkeypatch.setitem(sys.modules, "requests", None)
    done, again = push(docker, name)
    assert (done["reason"], again["reason"]) == ("absent", "same_digest")
    if docker.store == "containerd":
        theirs = publish(registry, name.partition("/")[2], images.image(OLD.layers, config=CONFIG, comment="by another"))
    else:
        theirs = publish(registry, name.partition("/")[2], SAME)
    checked, done = (run(image_push, check, **params(docker, name)) for check in (True, False))
    assert (checked["changed"], checked["diff"]) == (done["changed"], done["diff"]) and done["changed"]
    assert held(registry, name)[0] == done["images"][0]["digest"] != theirs


def test_says_what_the_containerd_store_cannot_push_over(containerd, registry):
    """With docker-registry before 3.0; with every other kind of engine it goes well."""
    name = f"{registry.host}/push/over:1"
    digest = publish(registry, name.partition("/")[2], images.image(NEW.layers, config=CONFIG, docker=True))
    load(containerd, name, OLD)
    refused("could not push it to .*400 Bad Request.: it has a manifest of Docker's own type there, .* use another tag", containerd, name, checks=(False,))
    assert held(registry, name)[0] == digest


def test_says_that_a_registry_is_down(engine):
    name = f"127.0.0.1:{engines.free_port()}/push/down:1"
    load(engine, name, OLD)
    refused("push/down:1: (the engine at .* could not ask .* for it|no answer from) .*[Cc]onnection refused", engine, name)


def test_opens_a_registry_with_what_the_user_knows(engine, closed):
    name = f"{closed.host}/push/closed-{engine.kind}:1"
    load(engine, name, OLD)
    refused(f"closed-{engine.kind}:1: {closed.host} wants .*: give username and password, or log in", engine, name)
    refused(f"closed-{engine.kind}:1: {closed.host} refuses the credentials from username and password", engine, name, username="ann", password="guess")
    assert push(engine, name, username="ann", password="secret")[0]["action"] == "pushed"


def test_says_what_a_registry_for_readers_answers(engine, read_only):
    name = f"{read_only.host}/push/read-only-{engine.kind}:1"
    load(engine, name, OLD)
    refused(f"read-only-{engine.kind}:1: the engine at .* could not push it to {read_only.host} ", engine, name, checks=(False,))


def test_pushes_over_tls(engine, secure):
    registry, cert = secure
    name = f"{registry.host}/push/tls-{engine.kind}:1"
    load(engine, name, OLD)
    # Podman's own trust is set up on its host; here it is told not to look.
    trust = {"validate_certs": False} if engine.store == "podman" else {"ca_cert": str(cert)}
    done, again = push(engine, name, plain_http=False, **trust)
    assert (done["action"], again["action"]) == ("pushed", "kept")
    if engine.store == "podman":
        load(engine, name, NEW)
        refused(
            f"the engine at .* could not push it to {registry.host} .*: give the engine its CA, as /etc/containers/certs.d/{registry.host}/ca.crt",
            engine, name, plain_http=False, ca_cert=str(cert), checks=(False,),
        )
