# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_push, whole, against engines and a registry in memory."""

from __future__ import annotations

import json
import re
import sys

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_push
from ansible_collections.stowage.oci.tests.unit.fakes.engine import Stream
from ansible_collections.stowage.oci.tests.unit.fakes.site import ASKED, serve
from ansible_collections.stowage.oci.tests.unit.images import artifact, attestation, image, index, layer
from ansible_collections.stowage.oci.tests.unit.running import fail, run

pytestmark = pytest.mark.usefixtures("alone")

# No engine but the containerd store sends layers as these are.
BASE = layer({"etc/os": b"base"})
APP = image([BASE, layer({"app": b"1"})], config={"Cmd": ["/app"]})
NEW = image([BASE, layer({"app": b"2"})], config={"Cmd": ["/app"]})
ARM = image([BASE], platform="linux/arm64/v8")
SAME = image(APP.layers, docker=True, config={"Cmd": ["/app"]})
MULTI = index([APP, ARM])
PUSH = "/images/.*/push"


@pytest.fixture(name="site", params=["classic", "containerd", "podman"])
def _site(request):
    site = serve(request.param)
    yield site
    site.close()


@pytest.fixture(name="docker", params=["classic", "containerd"])
def _docker(request):
    site = serve(request.param)
    yield site
    site.close()


@pytest.fixture(name="containerd")
def _containerd():
    site = serve("containerd")
    yield site
    site.close()


@pytest.fixture(name="closed", params=["classic", "containerd", "podman"])
def _closed(request):
    """A registry that wants a password."""
    site = serve(request.param, "basic")
    yield site
    site.close()


@pytest.fixture
def bare(monkeypatch):
    """A host whose Python has no requests."""
    monkeypatch.setitem(sys.modules, "requests", None)


def hold(site, text, made):
    site.engine.hold(made._replace(names=(site.name(text),)))


def four_times(site, *names, **more):
    """As running.four_times; the digest of a manifest that the engine makes only as it pushes is not foretold."""
    results = [run(image_push, check, **site.params(*names, **more)) for check in (True, False, True, False)]
    for foretold, done in (results[:2], results[2:]):
        assert (foretold["changed"], foretold["diff"]) == (done["changed"], done["diff"])
        for early, late in zip(foretold["images"], done["images"]):
            assert early == (late if early["digest"] else dict(late, digest=None))
            assert early["digest"] or (early["action"] == "pushed" and not site.containerd)
    assert not results[3]["changed"] and results[3]["diff"] == {"before": {"images": []}, "after": {"images": []}}
    return results[1], results[3]


def only(result):
    assert len(result["images"]) == 1
    return result["images"][0]


def refused(pattern, params, checks=(True, False, True, False)):
    for check in checks:
        result = fail(image_push, check, **params)
        assert re.search(pattern, result["msg"]), result["msg"]
    return result


def there(site, text):
    """The digest that the registry has."""
    repository, _colon, tag = text.rpartition(":")
    return site.registry.digest(repository, tag)


def side(site, text, digest, config_digest):
    return {"images": [{"reference": site.name(text), "digest": digest, "config_digest": config_digest}]}


# What is pushed


def test_pushes_what_is_absent(site):
    hold(site, "app:1", APP)
    result, again = four_times(site, "app:1")
    digest, config_digest = there(site, "app:1"), None if site.containerd else APP.config_digest
    assert (digest == APP.digest) is site.containerd
    expected = {"reference": site.name("app:1"), "image_id": site.identity(APP), "digest": digest, "config_digest": config_digest}
    assert only(result) == dict(expected, changed=True, action="pushed", reason="absent")
    foretold = digest if site.containerd else None
    assert result["diff"] == {"before": side(site, "app:1", None, None), "after": side(site, "app:1", foretold, config_digest)}
    # Podman does not note what it has pushed.
    assert only(again) == dict(expected, changed=False, action="kept", reason="same_content" if site.podman else "same_digest")
    assert site.pushed() == 1


def test_pushes_what_has_changed(site):
    hold(site, "app:1", APP)
    run(image_push, **site.params("app:1"))
    before = there(site, "app:1")
    hold(site, "app:1", NEW)
    result, _again = four_times(site, "app:1")
    assert (only(result)["action"], only(result)["reason"], only(result)["image_id"]) == ("pushed", "other_content", site.identity(NEW))
    assert result["diff"]["before"] == side(site, "app:1", before, APP.config_digest)
    assert there(site, "app:1") == only(result)["digest"] != before


def test_works_on_several_images_and_names_each_once(site):
    names = ["app-%d:1" % number for number in range(5)]
    for number, text in enumerate(names):
        hold(site, text, image([layer({"app": b"%d" % number})]))
    result, _again = four_times(site, *(names + names[:2]))
    assert [entry["reference"] for entry in result["images"]] == [site.name(text) for text in names]
    assert site.pushed() == 5


def test_images_may_be_called_name(site):
    hold(site, "app:1", APP)
    params = site.params()
    params["name"] = params.pop("images") + [site.name("app:1")]
    assert only(run(image_push, **params))["action"] == "pushed"


def test_what_is_no_image_is_overwritten(site):
    hold(site, "app:1", APP)
    site.offer("app:1", artifact())
    assert only(four_times(site, "app:1")[0])["reason"] == "other_content"


def test_an_index_without_this_platform_is_overwritten(site):
    hold(site, "app:1", APP)
    site.offer("app:1", index([ARM]))
    assert only(four_times(site, "app:1")[0])["reason"] == "other_content"


# What is not pushed


@pytest.mark.parametrize("item", [APP, MULTI])
def test_a_pulled_image_is_not_pushed_back(docker, bare, item):
    docker.offer("app:1", item)
    docker.engine.pull(docker.name("app:1"))
    result, _again = four_times(docker, "app:1")
    assert (only(result)["action"], only(result)["reason"], only(result)["digest"]) == ("kept", "same_digest", item.digest)
    assert docker.pushed() == 0 and docker.registry.calls == []


@pytest.mark.parametrize("item", [APP, MULTI])
def test_podman_asks_with_one_head_and_does_not_push_back(item):
    site = serve("podman")
    site.offer("app:1", item)
    site.engine.pull(site.name("app:1"))
    assert only(run(image_push, **site.params("app:1")))["reason"] == "same_digest"
    assert [call.method for call in site.registry.calls] == ["HEAD"] and site.pushed() == 0
    site.close()


@pytest.mark.parametrize("item", [SAME, index([SAME, ARM])])
def test_a_loaded_image_is_not_pushed_where_its_content_is(site, item):
    hold(site, "app:1", APP)
    digest = site.offer("app:1", item)
    result, _again = four_times(site, "app:1")
    assert (only(result)["action"], only(result)["reason"], only(result)["digest"]) == ("kept", "same_content", digest)
    assert only(result)["config_digest"] == APP.config_digest
    assert there(site, "app:1") == digest and site.pushed() == 0


def test_without_requests_docker_pushes_to_find_out(docker, bare):
    hold(docker, "app:1", APP)
    docker.offer("app:1", SAME)
    checked, done = (run(image_push, check, **docker.params("app:1")) for check in (True, False))
    assert checked["changed"] and only(done)["action"] == "pushed"
    assert (checked["diff"], done["changed"]) == (done["diff"], True)
    assert only(four_times(docker, "app:1")[0])["reason"] == "same_digest"


def test_what_was_there_after_all_is_no_change(bare):
    """Two hosts with the same engine make the same manifest."""
    site = serve("classic")
    hold(site, "app:1", APP)
    run(image_push, **site.params("app:1"))
    digest = there(site, "app:1")
    site.engine.lose(site.name("app:1"))
    hold(site, "app:1", APP)
    done = run(image_push, **site.params("app:1"))
    assert (only(done)["action"], only(done)["digest"], done["changed"]) == ("pushed", digest, False)
    site.close()


def test_unchanged_images_cost_one_look_and_one_question_each(docker, bare):
    names = ["app-%d:1" % number for number in range(20)]
    for text in names:
        docker.offer(text, APP)
        docker.engine.pull(docker.name(text))
    assert not run(image_push, **docker.params(*names))["changed"]
    assert docker.engine.count("GET", "/images/.*/json") == 20
    assert docker.engine.count("GET", ASKED) == 20
    assert len(docker.engine.calls) == 42 and docker.registry.calls == []


# Several platforms


def test_the_containerd_store_pushes_an_index_that_it_has_whole(containerd):
    containerd.offer("from:1", MULTI)
    containerd.engine.pull(containerd.name("from:1"))
    containerd.engine.store.content.update(ARM.blobs)
    containerd.engine.tag(containerd.name("from:1"), containerd.name("app:1"))
    containerd.offer("app:1", APP)
    result, _again = four_times(containerd, "app:1")
    assert (only(result)["reason"], only(result)["digest"], there(containerd, "app:1")) == ("other_content", MULTI.digest, MULTI.digest)


@pytest.mark.parametrize("item", [MULTI, index([APP, attestation(APP)])])
def test_of_an_index_that_is_not_all_there_its_one_image_is_pushed(containerd, item):
    containerd.offer("from:1", item)
    containerd.engine.pull(containerd.name("from:1"))
    containerd.engine.tag(containerd.name("from:1"), containerd.name("app:1"))
    result, again = four_times(containerd, "app:1")
    assert (only(result)["reason"], only(result)["digest"], only(result)["image_id"]) == ("absent", APP.digest, item.digest)
    assert only(again)["reason"] == "same_digest"


# Who may


def test_a_username_opens_the_registry(closed):
    hold(closed, "app:1", APP)
    assert only(four_times(closed, "app:1", username="ann", password="secret")[0])["action"] == "pushed"


def test_says_that_a_password_is_wrong(closed):
    hold(closed, "app:1", APP)
    message = "app:1: %s refuses the credentials from username and password .*: they are wrong, or give no access to app$" % closed.registry.host
    result = refused(message, closed.params("app:1", username="ann", password="guess-me"))
    assert "guess-me" not in json.dumps(result)


def test_says_that_a_password_is_wanted(closed):
    hold(closed, "app:1", APP)
    message = "wants credentials, .*: none were given, and there are none for it in .*/config.json.*: give username and password, or log in$"
    refused("app:1: %s %s" % (closed.registry.host, message), closed.params("app:1"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("denied: requested access to the resource is denied", "wants credentials, .*denied: .*, or log in; to push takes the right to write to app$"),
        ("unexpected status from POST request to http://x/v2/: 403 Forbidden", "wants credentials, .*403 Forbidden.: none were given, .*; to push takes the"),
        ("name unknown: The repository with name 'app' does not exist", "has no such repository, and makes none by itself .name unknown.*: create it there"),
    ],
)
def test_says_that_it_may_not_be_pushed_there(site, words, message):
    hold(site, "app:1", APP)
    site.engine.answer("POST", PUSH, 200, Stream([{"errorDetail": {"message": words}, "error": words}]))
    refused("app:1: %s %s" % (site.registry.host, message), site.params("app:1"), [False])


def test_says_that_who_may_read_may_not_write(site):
    hold(site, "app:1", APP)
    words = "denied: requested access to the resource is denied"
    site.engine.answer("POST", PUSH, 200, Stream([{"errorDetail": {"message": words}, "error": words}]))
    message = "app:1: %s refuses the credentials from username and password .*: they are wrong, .*; to push takes the right to write to app$"
    refused(message % site.registry.host, site.params("app:1", username="ann", password="secret"), [False])


# What goes wrong


def test_one_failure_does_not_stop_the_others(site):
    hold(site, "app:1", APP)
    hold(site, "new:1", NEW)
    params = site.params("app:1", "new:2", "new:1")
    params["images"].insert(1, "app:1@" + APP.digest)
    missing = "new:2: the engine at unix://.* has no such image to push: it has .*/new:1"
    message = "app:1@%s: a digest follows from what is pushed and cannot be pushed to: write app:1; .*%s" % (APP.digest, missing)
    for check in (True, False):
        result = refused(message, params, [check])
        assert [entry["action"] for entry in result["images"]] == ["pushed", "failed", "failed", "pushed"]
        assert result["changed"]
    for check in (True, False):
        result = refused(message, params, [check])
        assert [entry["action"] for entry in result["images"]] == ["kept", "failed", "failed", "kept"]
        assert not result["changed"]


def test_asks_no_registry_for_what_the_host_has_not(site):
    refused("app:1: the engine at unix://.* has no such image to push$", site.params("app:1"))
    assert site.asked() == 0


def test_says_that_an_image_is_half_there(containerd):
    containerd.offer("app:1", APP)
    containerd.engine.pull(containerd.name("app:1"))
    containerd.engine.store.content.pop(APP.layers[1].digest)
    refused("app:1: the engine at .* has only a part of it: load or pull it again", containerd.params("app:1"))


def test_says_that_the_registry_is_down(site):
    hold(site, "app:1", APP)
    site.registry.close()
    site.engine.answer("GET", ASKED, 500, {"message": "Get: dial tcp: connect: connection refused"}, times=4)
    message = "app:1: the engine at .* could not ask .* for it .*connection refused.: see whether that registry runs"
    if site.podman:
        message = r"app:1: no answer from %s in 5 tries \(Connection refused\): see whether it runs" % site.registry.url
    refused(message, site.params("app:1"))


@pytest.mark.parametrize("words", ["http: server gave HTTP response to HTTPS client", "tls: first record does not look like a TLS handshake"])
def test_says_how_docker_is_told_of_a_registry_without_tls(docker, words):
    hold(docker, "app:1", APP)
    docker.engine.answer("GET", ASKED, 500, {"message": "Get https://registry.example/v2/: " + words}, times=4)
    message = "could not ask .* for it .*%s.: it speaks no TLS: if that is meant so, list it in insecure-registries .*, as Docker heeds no plain_http" % words
    refused(message, docker.params("app:1"))


def test_says_how_an_engine_is_told_of_a_ca(site):
    hold(site, "app:1", APP)
    words = "Get https://registry.example/v2/: x509: certificate signed by unknown authority"
    site.engine.answer("POST", PUSH, 200, Stream([{"error": words}]))
    place = "containers" if site.podman else "docker"
    message = r"could not push it to .*authority\): give the engine its CA, as /etc/%s/certs.d/%s/ca.crt" % (place, site.registry.host)
    refused(message, site.params("app:1"), [False])


def test_says_what_the_containerd_store_cannot_push_over(containerd):
    hold(containerd, "app:1", APP)
    words = "unknown: unexpected status from HEAD request to http://127.0.0.1:5000/v2/app/manifests/1: 400 Bad Request"
    containerd.engine.answer("POST", PUSH, 200, Stream([{"error": words}]))
    refused("could not push it to .*it has a manifest of Docker's own type there, which this engine", containerd.params("app:1"), [False])


@pytest.mark.parametrize("words", ["read: connection reset by peer", "400 Bad Request: Client sent an HTTP request to an HTTPS server"])
def test_asks_itself_where_docker_says_only_what_it_was_told_without_tls(docker, words):
    hold(docker, "app:1", APP)
    docker.engine.answer("GET", ASKED, 500, {"message": words}, times=3)
    checked, done = (run(image_push, check, **docker.params("app:1")) for check in (True, False))
    assert [(only(one)["action"], only(one)["reason"]) for one in (checked, done)] == [("pushed", "absent")] * 2
    assert docker.registry.count("HEAD", "/v2/app/manifests/1") == 3


def test_tells_podman_alone_not_to_look_at_certificates(site):
    hold(site, "app:1", APP)
    run(image_push, **site.params("app:1"))
    queries = [call.query for call in site.engine.calls if re.fullmatch(PUSH, call.path)]
    assert queries == [{"tag": "1", "tlsVerify": "false"} if site.podman else {"tag": "1"}]


def test_says_what_the_engine_says_of_a_push_that_breaks(site):
    hold(site, "app:1", APP)
    for status, document in ((200, Stream([{"error": "unexpected EOF"}])), (500, {"message": "unexpected EOF"})):
        site.engine.answer("POST", PUSH, status, document)
        refused("app:1: the engine at .* could not push it to .* .unexpected EOF.: see whether that registry runs", site.params("app:1"), [False])


def test_an_engine_that_only_says_that_it_pushed_is_not_believed(site):
    hold(site, "app:1", APP)
    said = Stream([{"status": "1: digest: sha256:0 size: 7"}])
    site.engine.answer("POST", PUSH, 200, said)
    message = "app:1: the engine at .* reported no error, and %s has no such image after the push" % site.registry.host
    refused(message, site.params("app:1"), [False])
    digest = site.offer("app:1", NEW)
    site.engine.answer("POST", PUSH, 200, said)
    refused("has %s, which is another image after the push: somebody else pushed meanwhile, .* run again" % digest, site.params("app:1"), [False])


def test_says_which_python_lacks_requests_where_podman_needs_it(bare):
    site = serve("podman")
    hold(site, "app:1", APP)
    refused("needs the Python library requests, and %s has none" % sys.executable, site.params("app:1"))
    site.close()
