# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_pull, whole, against engines and a registry in memory."""

from __future__ import annotations

import base64
import importlib.util
import json
import re
import sys
import threading

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._flow import asking
from ansible_collections.stowage.oci.plugins.modules import image_pull
from ansible_collections.stowage.oci.tests.unit.fakes.engine import Stream
from ansible_collections.stowage.oci.tests.unit.fakes.site import ASKED, serve
from ansible_collections.stowage.oci.tests.unit.images import artifact, image, index, layer
from ansible_collections.stowage.oci.tests.unit.running import fail, four_times, run

pytestmark = pytest.mark.usefixtures("alone")

BASE = layer({"etc/os": b"base"}, "gzip")
APP = image([BASE, layer({"app": b"1"}, "gzip")], config={"Cmd": ["/app"]})
NEW = image([BASE, layer({"app": b"2"}, "gzip")], config={"Cmd": ["/app"]})
ARM = image([BASE], platform="linux/arm64/v8")
SAME = image(APP.layers, docker=True, config={"Cmd": ["/app"]})
MULTI = index([APP, ARM])


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


@pytest.fixture(name="classic", params=[False, True])
def _classic(request):
    site = serve("classic", old=request.param)
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


def only(result):
    assert len(result["images"]) == 1
    return result["images"][0]


def refused(pattern, params, checks=(True, False, True, False)):
    """All of these runs fail with this message; the last result."""
    for check in checks:
        result = fail(image_pull, check, **params)
        assert re.search(pattern, result["msg"]), result["msg"]
    return result


def side(site, text, digest, image_id):
    return {"images": [{"reference": site.name(text), "digest": digest, "image_id": image_id}]}


# What is pulled


def test_pulls_what_is_absent(site):
    digest = site.offer("app:1", APP)
    result, again = four_times(image_pull, **site.params("app:1"))
    expected = {"reference": site.name("app:1"), "image_id": site.identity(APP), "digest": digest, "config_digest": APP.config_digest}
    assert only(result) == dict(expected, changed=True, action="pulled", reason="absent")
    assert result["diff"] == {"before": side(site, "app:1", None, None), "after": side(site, "app:1", digest, site.identity(APP))}
    kept = dict(only(result), changed=False, action="kept", reason="same_digest")
    assert only(again) == dict(kept, config_digest=None if site.containerd else APP.config_digest)
    assert site.pulled() == 1


def test_pulls_what_has_changed(site):
    site.offer("app:1", APP)
    run(image_pull, **site.params("app:1"))
    digest = site.offer("app:1", NEW)
    result, _again = four_times(image_pull, **site.params("app:1"))
    assert (only(result)["action"], only(result)["reason"]) == ("pulled", "other_digest")
    assert result["diff"] == {
        "before": side(site, "app:1", APP.digest, site.identity(APP)),
        "after": side(site, "app:1", digest, site.identity(NEW)),
    }
    assert site.engine.image_id(site.name("app:1")) == site.identity(NEW)


def test_pulls_the_hosts_platform_of_an_index(site):
    digest = site.offer("app:1", MULTI)
    result, _again = four_times(image_pull, **site.params("app:1"))
    assert (only(result)["digest"], only(result)["image_id"]) == (digest, site.identity(APP, MULTI))


def test_pulls_by_digest_and_makes_no_tag(site):
    site.offer("app:1", APP)
    result, again = four_times(image_pull, **site.params("app:9@" + APP.digest))
    assert only(result)["image_id"] == site.identity(APP)
    assert only(again)["reason"] == "same_digest"
    assert site.engine.image_id(site.name("app:9")) is None


def test_works_on_several_images_and_names_each_once(site):
    for number in range(5):
        site.offer("app-%d:1" % number, image([layer({"app": b"%d" % number}, "gzip")]))
    names = ["app-%d:1" % number for number in range(5)]
    result, _again = four_times(image_pull, **site.params(*(names + names[:2])))
    assert [entry["reference"] for entry in result["images"]] == [site.name(text) for text in names]
    assert site.pulled() == 5


def test_images_may_be_called_name(site):
    site.offer("app:1", APP)
    params = site.params()
    params["name"] = params.pop("images") + [site.name("app:1")]
    assert only(four_times(image_pull, **params)[0])["action"] == "pulled"


# What is not asked


def test_a_digest_that_is_there_is_not_asked_for(site, bare):
    site.offer("app:1", MULTI)
    site.engine.pull(site.name("app@" + MULTI.digest))
    for text in ("app@" + MULTI.digest, "app:9@" + MULTI.digest):
        result, _again = four_times(image_pull, **site.params(text))
        assert (only(result)["action"], only(result)["reason"], only(result)["digest"]) == ("kept", "same_digest", MULTI.digest)
    assert site.asked() == 0 and site.pulled() == 0


def test_what_is_there_is_not_asked_for_if_that_is_enough(site, bare):
    site.engine.hold(APP._replace(names=(site.name("app:1"),)))
    result, _again = four_times(image_pull, **site.params("app:1", policy="missing"))
    assert (only(result)["action"], only(result)["reason"]) == ("kept", "present")
    assert site.asked() == 0


def test_what_is_not_there_is_pulled_even_then(site):
    site.offer("app:1", APP)
    assert only(four_times(image_pull, **site.params("app:1", policy="missing"))[0])["action"] == "pulled"
    site.offer("app:1", NEW)
    assert only(four_times(image_pull, **site.params("app:1", policy="missing"))[0])["reason"] == "present"


def held(site, number):
    """So many images that are on the host as they are in the registry; their names."""
    names = ["app-%d:1" % one for one in range(number)]
    for text in names:
        site.offer(text, APP)
        site.engine.pull(site.name(text))
    return names


def test_unchanged_images_cost_one_look_and_one_question_each(docker, bare):
    names = held(docker, 50)
    assert not run(image_pull, **docker.params(*names))["changed"]
    assert docker.engine.count("GET", "/images/.*/json") == 50
    assert docker.engine.count("GET", ASKED) == 50
    assert len(docker.engine.calls) == 102 and docker.registry.calls == []


def test_loads_no_client_of_registries_where_the_engine_asks(docker, monkeypatch):
    names = held(docker, 2)
    monkeypatch.setitem(sys.modules, asking.__name__.replace("_flow.asking", "_registry.client"), None)
    spec = importlib.util.find_spec(asking.__name__)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert not run(image_pull, **docker.params(*names))["changed"]


def test_podman_asks_with_one_head_each():
    site = serve("podman")
    names = held(site, 50)
    assert not run(image_pull, **site.params(*names))["changed"]
    assert [call.method for call in site.registry.calls] == ["HEAD"] * 50
    assert {call.path for call in site.registry.calls} == {"/v2/app-%d/manifests/1" % number for number in range(50)}
    assert site.engine.count("GET", "/images/.*/json") == 50 and len(site.engine.calls) == 52
    site.close()


def test_questions_are_asked_side_by_side_however_many_images_are_pulled_so(site):
    """None is answered before all that may be asked at once have been."""
    names = held(site, asking.QUESTIONS)
    barrier = threading.Barrier(asking.QUESTIONS, timeout=30)
    site.engine.after("GET", ASKED, barrier.wait, times=asking.QUESTIONS)
    answer = site.registry.serve
    site.registry.serve = lambda call, body: (barrier.wait(), answer(call, body))[1]
    assert not run(image_pull, **site.params(*names, parallel=1))["changed"]
    assert site.asked() == asking.QUESTIONS


def test_pulls_no_more_side_by_side_than_is_said(site):
    names = ["app-%d:1" % number for number in range(6)]
    for text in names:
        site.offer(text, APP)
    barrier, lock, now, most = threading.Barrier(3, timeout=30), threading.Lock(), [0], [0]
    handle = site.engine.handle

    def counted(call, body):
        if call.method != "POST":
            return handle(call, body)
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        barrier.wait()
        answer = handle(call, body)
        with lock:
            now[0] -= 1
        return answer

    site.engine.handle = counted
    assert run(image_pull, **site.params(*names, parallel=3))["changed"]
    assert (most, site.pulled()) == ([3], 6)


@pytest.mark.parametrize("item", [MULTI, index([ARM, APP])])
def test_podman_tells_the_digest_as_which_an_image_came(item):
    """It has an image of an index under two."""
    site = serve("podman")
    site.offer("app:1", item)
    site.engine.pull(site.name("app:1"))
    assert only(four_times(image_pull, **site.params("app:1", policy="missing"))[0])["digest"] == item.digest
    site.offer("app:1", index([APP]))
    assert only(four_times(image_pull, **site.params("app:1"))[0])["digest"] == item.digest
    site.offer("app:1", NEW)
    result, _again = four_times(image_pull, **site.params("app:1"))
    assert result["diff"]["before"] == side(site, "app:1", item.digest, APP.config_digest)
    site.close()


# The same content


def test_an_image_from_an_archive_is_not_pulled_again(site):
    site.engine.hold(APP._replace(names=(site.name("app:1"),)))
    digest = site.offer("app:1", SAME)
    assert digest != APP.digest and SAME.config_digest == APP.config_digest
    before = site.engine.image_id(site.name("app:1"))
    result, _again = four_times(image_pull, **site.params("app:1"))
    assert (only(result)["action"], only(result)["reason"], only(result)["image_id"]) == ("kept", "same_content", before)
    assert site.pulled() == 0


def test_an_index_that_changed_elsewhere_is_the_same_content(site):
    site.offer("app:1", MULTI)
    run(image_pull, **site.params("app:1"))
    site.offer("app:1", index([APP, image([layer({"app": b"3"})], platform="linux/arm64")]))
    assert only(four_times(image_pull, **site.params("app:1"))[0])["reason"] == "same_content"
    assert site.pulled() == 1


def test_the_same_content_is_not_the_same_digest(site):
    site.engine.hold(APP._replace(names=(site.name("app:1"),)))
    digest = site.offer("app:1", SAME)
    result, _again = four_times(image_pull, **site.params("app:1@" + digest))
    assert (only(result)["action"], only(result)["digest"]) == ("pulled", digest)


def test_without_requests_docker_pulls_to_find_out_and_the_image_stays(docker, bare):
    docker.engine.hold(APP._replace(names=(docker.name("app:1"),)))
    docker.offer("app:1", SAME)
    checked = run(image_pull, True, **docker.params("app:1"))
    done = run(image_pull, **docker.params("app:1"))
    assert checked["changed"] and only(done)["action"] == "pulled"
    assert done["changed"] is docker.containerd
    assert only(four_times(image_pull, **docker.params("app:1"))[0])["reason"] == "same_digest"


def test_without_requests_check_mode_and_the_real_run_still_say_the_same(docker, bare):
    docker.offer("app:1", APP)
    checked = run(image_pull, True, **docker.params("app:1"))
    done = run(image_pull, **docker.params("app:1"))
    assert (checked["changed"], checked["diff"]) == (done["changed"], done["diff"]) and done["changed"]
    assert done["diff"]["after"] == side(docker, "app:1", APP.digest, APP.digest if docker.containerd else None)
    assert only(done)["image_id"] == docker.identity(APP)


def test_a_registry_that_docker_reaches_and_the_module_does_not_is_tried_once(docker):
    names = ["app-%d:1" % number for number in range(3)]
    for text in names:
        docker.engine.hold(NEW._replace(names=(docker.name(text),)))
        docker.offer(text, APP)
    docker.registry.answer("GET", "/v2/.*", 503, times=9)
    checked = run(image_pull, True, **docker.params(*names, parallel=1))
    done = run(image_pull, **docker.params(*names, parallel=1))
    assert (checked["changed"], checked["diff"]) == (done["changed"], done["diff"])
    assert [entry["action"] for entry in done["images"]] == ["pulled"] * 3
    assert len(docker.registry.calls) == 2


def test_what_a_mirror_has_and_the_registry_has_not_is_pulled(docker):
    names = ["app-%d:1" % number for number in range(2)]
    for text in names:
        docker.engine.hold(NEW._replace(names=(docker.name(text),)))
        docker.engine.offer(docker.name(text), APP)
    docker.registry.offer(names[1], APP)
    done = run(image_pull, **docker.params(*names, parallel=1))
    assert [entry["action"] for entry in done["images"]] == ["pulled"] * 2
    assert docker.registry.count("GET", "/v2/app-0/.*") == 1
    assert docker.registry.count("GET", "/v2/app-1/.*") > 0


# Platforms


@pytest.mark.parametrize("store", ["classic", "podman"])
def test_another_platform_is_pulled_beside_what_is_there(store):
    site = serve(store)
    site.offer("app:1", MULTI)
    run(image_pull, **site.params("app:1"))
    result, again = four_times(image_pull, **site.params("app:1", platform="linux/arm64"))
    assert (only(result)["reason"], only(result)["image_id"]) == ("other_platform", ARM.config_digest)
    assert only(again)["reason"] == ("same_digest" if site.podman else "same_content")
    result, _again = four_times(image_pull, **site.params("app:1"))
    assert (only(result)["reason"], only(result)["image_id"]) == ("other_platform", APP.config_digest)
    site.close()


def test_the_containerd_store_is_asked_for_the_platform():
    site = serve("containerd")
    site.offer("app:1", MULTI)
    run(image_pull, **site.params("app:1"))
    inspect = "/images/%s/json" % site.name("app:1")
    lacks = {"message": "image with reference app:1 was found but does not provide the specified platform (linux/arm64)"}
    site.engine.after("GET", inspect, lambda: site.engine.answer("GET", inspect, 404, lacks))
    result = run(image_pull, True, **site.params("app:1", platform="linux/arm64"))
    assert (only(result)["reason"], result["changed"]) == ("other_platform", True)
    queries = [json.loads(call.query["platform"]) for call in site.engine.calls if call.path == inspect and call.query]
    assert queries == [{"os": "linux", "architecture": "arm64"}]
    site.close()


def test_an_old_containerd_store_cannot_tell_its_platforms():
    site = serve("containerd", old=True)
    site.offer("app:1", MULTI)
    message = "platform linux/arm64: the containerd store of the engine at .* does not tell which platforms it has .API 1.41.: use Docker 28"
    refused(message, site.params("app:1", platform="linux/arm64"))
    assert only(run(image_pull, **site.params("app:1", platform="linux/amd64")))["action"] == "pulled"
    site.close()


def test_the_classic_store_has_one_platform_for_a_digest(classic):
    classic.offer("app:1", MULTI)
    run(image_pull, **classic.params("app@" + MULTI.digest))
    message = "app@%s is an image for linux/amd64 on this host, and Docker's classic store has one platform for a digest: remove it" % MULTI.digest
    refused(message, classic.params("app@" + MULTI.digest, platform="linux/arm64"))


@pytest.mark.parametrize("item", [ARM, index([ARM])])
def test_says_that_a_wanted_platform_is_not_there(site, item):
    site.offer("app:1", item)
    message = "%s/app:1 is not there for linux/s390x: name one of these with platform, or leave it away: linux/arm64$" % site.registry.host
    refused(message, site.params("app:1", platform="linux/s390x"))
    assert site.pulled() == 0


def test_says_that_the_hosts_platform_is_not_there(site):
    site.offer("app:1", index([ARM]))
    refused("/app:1 is not there for linux/amd64: name one of these with platform: linux/arm64", site.params("app:1"))
    assert site.pulled() == 0


def test_an_image_of_one_platform_is_taken_as_it_is(site):
    site.offer("app:1", ARM)
    assert only(four_times(image_pull, **site.params("app:1"))[0])["image_id"] == site.identity(ARM)


# Who may


def test_a_username_opens_the_registry(closed):
    closed.offer("app:1", APP)
    result, _again = four_times(image_pull, **closed.params("app:1", username="ann", password="secret"))
    assert only(result)["action"] == "pulled"


def test_the_users_own_login_opens_the_registry(closed, alone):
    closed.offer("app:1", APP)
    known = {"auth": base64.b64encode(b"ann:secret").decode()}
    (alone / ".docker").mkdir()
    (alone / ".docker/config.json").write_text(json.dumps({"auths": {closed.registry.host: known}}))
    assert only(four_times(image_pull, **closed.params("app:1"))[0])["action"] == "pulled"


def test_says_that_a_password_is_wrong(closed):
    closed.offer("app:1", APP)
    message = "app:1: %s refuses the credentials from username and password .*: they are wrong, or give no access to app$" % closed.registry.host
    result = refused(message, closed.params("app:1", username="ann", password="guess-me"))
    assert "guess-me" not in json.dumps(result)


def test_says_that_a_password_is_wanted(closed):
    closed.offer("app:1", APP)
    message = "wants credentials, .*: none were given, and there are none for it in .*/config.json.*: give username and password, or log in$"
    refused("app:1: %s %s" % (closed.registry.host, message), closed.params("app:1"))


def test_a_username_is_not_shown_to_two_registries(site):
    site.offer("app:1", APP)
    params = site.params("app:1", username="ann", password="secret")
    refused("would be shown to %s and docker.io: make a task of each" % site.registry.host, dict(params, images=params["images"] + ["nginx"]))
    assert site.asked() == 0


# What goes wrong


def test_one_failure_does_not_stop_the_others(site):
    site.offer("app:1", APP)
    site.offer("new:1", NEW)
    params = site.params("app:1", "nowhere:1", "new:1")
    params["images"].insert(1, "not/A/reference")
    message = "not/A/reference'? is not an image reference: .*; .*/nowhere:1: %s has no such image" % site.registry.host
    for check in (True, False):
        result = refused(message, params, [check])
        assert [entry["action"] for entry in result["images"]] == ["pulled", "failed", "failed", "pulled"]
        assert result["changed"]
    assert site.engine.image_id(site.name("new:1")) == site.identity(NEW)
    for check in (True, False):
        assert [entry["action"] for entry in refused(message, params, [check])["images"]] == ["kept", "failed", "failed", "kept"]


def test_says_that_the_registry_is_down(site):
    site.registry.close()
    site.engine.answer("GET", ASKED, 500, {"message": "Get: dial tcp: connect: connection refused"}, times=4)
    message = "app:1: the engine at .* could not ask .* for it .*connection refused.: see whether that registry runs"
    if site.podman:
        message = r"app:1: no answer from %s in 5 tries \(Connection refused\): see whether it runs" % site.registry.url
    refused(message, site.params("app:1"))


def test_says_which_python_lacks_requests_where_podman_needs_it(bare):
    site = serve("podman")
    site.offer("app:1", APP)
    refused("needs the Python library requests, and %s has none" % sys.executable, site.params("app:1"))
    site.close()


def test_says_what_is_no_image(site):
    site.offer("chart:1", artifact())
    refused("chart:1 is no image, but application/vnd.cncf.helm.config", site.params("chart:1"))


def test_an_engine_that_only_says_that_it_pulled_is_not_believed(site):
    site.offer("app:1", APP)
    for path in ("/images/create", "/libpod/images/pull"):
        site.engine.answer("POST", path, 200, Stream([{"status": "Download complete"}]))
    refused("app:1: the engine at .* reported no error, and has no such image: look at its log", site.params("app:1"), [False])


def test_an_engine_that_pulled_something_else_is_not_believed(site):
    site.offer("app:1", APP)
    run(image_pull, **site.params("app:1"))
    site.offer("app:1", NEW)
    for path in ("/images/create", "/libpod/images/pull"):
        site.engine.answer("POST", path, 200, Stream([{"status": "Download complete"}]))
    message = "app:1: %s promised %s, and the engine at .* has %s after the pull: the tag was moved meanwhile, or a mirror is behind: run again"
    refused(message % (site.registry.host, NEW.digest, APP.digest), site.params("app:1"), [False])


def test_says_what_the_engine_says_of_a_pull_that_breaks(site):
    site.offer("app:1", APP)
    for path in ("/images/create", "/libpod/images/pull"):
        site.engine.answer("POST", path, 200, Stream([{"error": "write: no space left on device"}]))
    refused("app:1: the engine at .* could not have it from .* .write: no space left on device", site.params("app:1"), [False])
    assert site.engine.image_id(site.name("app:1")) is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("unable to copy: reading manifest 1 in x/app: manifest unknown", "app:1: %s has no such image .*: look at its repository and tag"),
        ("reading manifest 1 in x/app: name unknown: repository name not known to registry", "app:1: %s has no such image"),
        ("reading manifest 1 in x/app: unauthorized: authentication required", "app:1: %s wants credentials, .*: give username and password"),
        ("Requesting bearer token: invalid status code from registry 403 (Forbidden)", "could not have it from %s .*403"),
        ("pinging container registry x: x509: certificate signed by unknown authority", "give the engine its CA, as /etc/containers/certs.d/%s/ca.crt"),
        ("http: server gave HTTP response to HTTPS client", "could not have it from %s .*: it speaks no TLS: set plain_http"),
        ("dial tcp: lookup x on 127.0.0.11:53: no such host", "could not have it from %s .*: look at the registry's name, and at how the engine's host"),
        ("no image found in image index for architecture amd64", "could not have it from %s .no image found in image index"),
    ],
)
@pytest.mark.parametrize("how", ["as a status", "as a message", "in the end"])
def test_says_what_podman_says_of_a_pull(words, message, how):
    """With 200 and an error, from the start or in the end, or with 500: which it is differs from version to version."""
    site = serve("podman")
    site.offer("app:1", APP)
    said = [{"stream": "Trying to pull"}, {"error": words}][how != "in the end":]
    answer = (500, {"cause": "cause", "message": words, "response": 500}) if how == "as a status" else (200, Stream(said))
    site.engine.answer("POST", "/libpod/images/pull", *answer)
    refused(message % site.registry.host, site.params("app:1"), [False])
    site.close()


@pytest.fixture(name="half")
def _half():
    """An image on the containerd store of which a layer's blob is missing."""
    site = serve("containerd")
    site.offer("app:1", APP)
    run(image_pull, **site.params("app:1"))
    site.engine.store.content.pop(APP.layers[1].digest)
    yield site
    site.close()


@pytest.mark.parametrize("how", [{}, {"policy": "missing"}, {"platform": "linux/amd64"}])
def test_an_image_that_is_half_there_is_completed(half, how):
    result, again = four_times(image_pull, **half.params("app:1", **how))
    assert (only(result)["action"], only(result)["reason"], result["changed"]) == ("pulled", "incomplete", False)
    assert only(again)["reason"] == ("present" if "policy" in how else "same_digest")


def test_an_image_that_the_store_leaves_half_there_has_not_changed(half):
    half.engine.answer("POST", "/images/create", 200, Stream([{"status": "Status: Image is up to date"}]), times=2)
    result, again = four_times(image_pull, **half.params("app:1"))
    assert only(result) == only(again)
    assert (only(again)["action"], only(again)["reason"], only(again)["changed"]) == ("pulled", "incomplete", False)


def test_an_image_that_is_half_there_may_be_another(half):
    half.offer("app:1", NEW)
    result, again = four_times(image_pull, **half.params("app:1"))
    assert (only(result)["reason"], result["changed"], only(again)["reason"]) == ("other_digest", True, "same_digest")


@pytest.mark.parametrize(
    ("option", "value", "message"), [("platform", "vax", "vax'? is not a platform"), ("policy", "always", "value of policy must be one of")]
)
def test_says_which_option_is_malformed(site, option, value, message):
    refused(message, site.params("app:1", **{option: value}))
