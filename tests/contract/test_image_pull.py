# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_pull on real engines with a real registry, in the clear, with passwords and over TLS."""

from __future__ import annotations

import base64
import http.client
import json
import re
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.plugins.modules import image_pull
from ansible_collections.stowage.oci.tests.unit import images, loading
from ansible_collections.stowage.oci.tests.unit.images import Made, MadeIndex, image, index, layer
from ansible_collections.stowage.oci.tests.unit.running import Result, fail, four_times, run

BASE = layer({"etc/os": b"base"}, "gzip")
CONFIG = {"Cmd": ["/app"], "Env": ["PATH=/bin"], "Labels": {"who": "me"}}
OLD = image([BASE, layer({"app": b"1"}, "gzip")], config=CONFIG)
NEW = image([BASE, layer({"app": b"2"}, "gzip")], config=CONFIG)
ARM = image([layer({"app": b"3"}, "gzip")], config=CONFIG, platform="linux/arm64/v8")
MULTI = index([OLD, ARM, images.attestation(OLD)])
SAME = image(OLD.layers, config=CONFIG, docker=True)


def publish(registry: engines.Registry, name: str, item: Made | MadeIndex, known: str = "") -> str:
    """Put an image or index into a registry, whoever answers there; its digest. `known` is user:password."""
    repository, _colon, tag = name.rpartition(":")
    secure = registry.url.startswith("https")
    connection = (
        http.client.HTTPSConnection(registry.host, context=ssl._create_unverified_context()) if secure else http.client.HTTPConnection(registry.host)
    )

    def call(method: str, path: str, body: bytes = b"", kind: str = "application/octet-stream") -> Any:
        headers = {"Content-Type": kind, **({"Authorization": "Basic " + base64.b64encode(known.encode()).decode()} if known else {})}
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.read()
        assert answer.status < 300, said
        return answer

    parts = [*getattr(item, "children", ()), item]
    manifests = {one.digest: item.blobs[one.digest] for one in parts}
    for digest, data in item.blobs.items():
        if digest not in manifests:
            place = call("POST", f"/v2/{repository}/blobs/uploads/").headers["Location"]
            call("PUT", f"{place}&digest={digest}", data)
    for one in parts:
        reference = tag if one is item else one.digest
        call("PUT", f"/v2/{repository}/manifests/{reference}", manifests[one.digest], one.descriptor()["mediaType"])
    connection.close()
    return item.digest


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A home without credentials."""
    for name in ("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "DOCKER_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path))


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[engines.Registry]:
    """A registry that wants a password."""
    with engines.registry(tmp_path_factory.mktemp("closed") / "data", htpasswd={"ann": "secret"}) as found:
        yield found


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[engines.Registry, Path]]:
    """A registry over TLS, and its certificate, which signs itself."""
    folder = tmp_path_factory.mktemp("secure")
    cert, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=registry"]
    subprocess.run([*command, "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert], check=True, capture_output=True)
    with engines.registry(folder / "data", tls=engines.TLS(cert, cert, key)) as found:
        yield found, cert


def params(engine: engines.Engine, *names: str, **more: Any) -> dict[str, Any]:
    return {"images": list(names), "engine_host": engine.url, "plain_http": True, "retries": 1, **more}


def pull(engine: engines.Engine, *names: str, **more: Any) -> tuple[Result, Result]:
    """Four times; the entries of the first and of the second real run, alone if there is one image."""
    real, again = four_times(image_pull, **params(engine, *names, **more))
    return real["images"][0], again["images"][0]


def refused(pattern: str, engine: engines.Engine, *names: str, **more: Any) -> None:
    for check in (True, False, True, False):
        result = fail(image_pull, check, **params(engine, *names, **more))
        assert re.search(pattern, result["msg"]), result["msg"]


def identity(engine: engines.Engine, made: Made, target: MadeIndex | None = None) -> str:
    return (target or made).digest if engine.store == "containerd" else made.config_digest


def layers(engine: engines.Engine, name: str) -> list[str]:
    return engine.json("GET", f"/images/{name}/json")["RootFS"].get("Layers")


def tags(engine: engines.Engine) -> set[str]:
    return {tag for found in engine.json("GET", "/images/json") for tag in found["RepoTags"] or [] if "@" not in tag and tag != "<none>:<none>"}


def test_has_what_a_tag_names_now(engine, registry):
    name = f"{registry.host}/pull/tag-{engine.kind}:1"
    for made, reason in ((OLD, "absent"), (NEW, "other_digest")):
        digest = publish(registry, name.partition("/")[2], made)
        done, again = pull(engine, name)
        assert (done["action"], done["reason"], done["digest"]) == ("pulled", reason, digest)
        assert (done["image_id"], done["config_digest"]) == (identity(engine, made), made.config_digest)
        assert (again["action"], again["reason"], again["digest"]) == ("kept", "same_digest", digest)
        assert layers(engine, name) == made.diff_ids
    assert tags(engine) == {name}


def test_reads_dockers_own_types_too(engine, registry):
    name = f"{registry.host}/pull/docker-{engine.kind}:1"
    digest = publish(registry, name.partition("/")[2], SAME)
    assert pull(engine, name)[0]["digest"] == digest
    digest = publish(registry, name.partition("/")[2], index([NEW, ARM], docker=True))
    assert pull(engine, name)[0]["digest"] == digest
    assert layers(engine, name) == NEW.diff_ids


def test_several_images_and_one_that_is_not_there(engine, registry):
    names = [f"{registry.host}/pull/several-{engine.kind}-{number}:1" for number in range(6)]
    for name in names[:5]:
        publish(registry, name.partition("/")[2], OLD)
    refused(f"several-{engine.kind}-5:1: {registry.host} has no such image .*: look at its repository and tag", engine, *names)
    assert tags(engine) == set(names[:5])
    assert pull(engine, *names[:5])[0]["reason"] == "same_digest"


def test_goes_from_platform_to_platform(engine, registry):
    name = f"{registry.host}/pull/platform-{engine.kind}:1"
    digest = publish(registry, name.partition("/")[2], MULTI)
    done, again = pull(engine, name, platform="linux/arm64")
    assert (done["digest"], done["image_id"], again["reason"]) == (digest, identity(engine, ARM, MULTI), "same_digest")
    assert layers(engine, name) == ARM.diff_ids
    done, again = pull(engine, name)
    assert (done["reason"], done["image_id"]) == ("other_platform", identity(engine, OLD, MULTI))
    assert layers(engine, name) == OLD.diff_ids
    assert again["reason"] == ("same_content" if engine.store == "classic" else "same_digest")
    # The containerd store keeps both, and the other ones the last.
    done, _again = pull(engine, name, platform="linux/arm64")
    assert done["reason"] == ("same_digest" if engine.store == "containerd" else "other_platform")


def test_says_which_platforms_there_are(engine, registry):
    for kind, item in (("index", index([ARM])), ("image", ARM)):
        name = f"{registry.host}/pull/{kind}-{engine.kind}:1"
        publish(registry, name.partition("/")[2], item)
        refused(f"{kind}-{engine.kind}:1 is not there for linux/s390x: name .*: linux/arm64", engine, name, platform="linux/s390x")
    refused(f"index-{engine.kind}:1 is not there for linux/amd64: name .* platform: linux/arm64$", engine, name.replace("/image-", "/index-"))
    assert tags(engine) == set()
    assert pull(engine, name)[0]["image_id"] == identity(engine, ARM)


def test_one_platform_for_a_digest_on_the_classic_store(classic, registry):
    name = f"{registry.host}/pull/one-{classic.kind}"
    digest = publish(registry, f"{name.partition('/')[2]}:1", MULTI)
    pull(classic, f"{name}@{digest}")
    refused("is an image for linux/amd64 on this host, and Docker's classic store has one platform", classic, f"{name}@{digest}", platform="arm64")
    assert layers(classic, f"{name}@{digest}") == OLD.diff_ids


def test_asks_nobody_for_a_digest_that_is_there(engine, tmp_path):
    with engines.registry(tmp_path / "registry") as registry:
        name = f"{registry.host}/pull/digest"
        digest = publish(registry, "pull/digest:1", MULTI)
        done, _again = pull(engine, f"{name}:9@{digest}")
        assert (done["reason"], done["image_id"], done["digest"]) == ("absent", identity(engine, OLD, MULTI), digest)
        pull(engine, f"{name}:1")
    for text in (f"{name}@{digest}", f"{name}:9@{digest}"):
        assert pull(engine, text)[0]["reason"] == "same_digest"
    assert pull(engine, f"{name}:1", policy="missing")[0]["reason"] == "present"
    assert tags(engine) == {f"{name}:1"}
    refused("pull/digest:1: (the engine at .* could not ask .* for it|no answer from) .*[Cc]onnection refused", engine, f"{name}:1")


@pytest.mark.parametrize("by", ["the engine", "image_load"])
def test_an_image_from_an_archive_is_not_pulled_again(engine, registry, tmp_path, by):
    name = f"{registry.host}/pull/archive-{engine.kind}:1"
    publish(registry, name.partition("/")[2], SAME)
    made = OLD._replace(names=(name,))
    if by == "image_load":
        loading.load(images.write_layout(tmp_path / "bundle", [made]), engine_host=engine.url, staging_dir=str(tmp_path / "staging"))
    else:
        engine.call("POST", "/images/load", images.tar(images.docker_archive([made])))
    before = engine.json("GET", f"/images/{name}/json")["Id"]
    done, _again = pull(engine, name)
    assert (done["action"], done["reason"], done["image_id"]) == ("kept", "same_content", before)
    assert engine.json("GET", f"/images/{name}/json")["Id"] == before


def test_without_requests_docker_does_what_it_can(docker, registry, monkeypatch):
    name = f"{registry.host}/pull/bare-{docker.kind}:1"
    publish(registry, name.partition("/")[2], SAME)
    docker.call("POST", "/images/load", images.tar(images.docker_archive([OLD._replace(names=(name,))])))
    monkeypatch.setitem(sys.modules, "requests", None)
    done = run(image_pull, **params(docker, name))
    assert (done["images"][0]["action"], done["changed"]) == ("pulled", docker.store == "containerd")
    # The containerd store has the layers' content from the archive, and leaves them where they are.
    assert pull(docker, name)[0]["reason"] == ("incomplete" if docker.store == "containerd" else "same_digest")

    publish(registry, name.partition("/")[2], NEW)
    checked, done = (run(image_pull, check, **params(docker, name)) for check in (True, False))
    assert (checked["changed"], checked["diff"]) == (done["changed"], done["diff"]) and done["changed"]
    assert layers(docker, name) == (NEW.diff_ids if docker.store == "classic" else None)


def test_without_requests_the_classic_store_goes_from_platform_to_platform(classic, registry, monkeypatch):
    name = f"{registry.host}/pull/bare-platform-{classic.kind}:1"
    publish(registry, name.partition("/")[2], MULTI)
    monkeypatch.setitem(sys.modules, "requests", None)
    for platform, made in (("linux/amd64", OLD), ("linux/arm64", ARM), ("linux/amd64", OLD)):
        checked, done = (run(image_pull, check, **params(classic, name, platform=platform)) for check in (True, False))
        assert (checked["changed"], checked["diff"]) == (done["changed"], done["diff"]) and done["changed"]
        assert layers(classic, name) == made.diff_ids


def test_an_image_that_is_half_there_is_repaired(containerd, registry):
    name = f"{registry.host}/pull/half:1"
    publish(registry, name.partition("/")[2], OLD)
    half = images.layout([OLD._replace(names=(name,))], docker=True, without=[OLD.layers[1].digest])
    containerd.call("POST", "/images/load", images.tar(half))
    assert not layers(containerd, name)
    assert pull(containerd, name)[0]["reason"] == "incomplete"
    assert layers(containerd, name) == OLD.diff_ids


def test_opens_a_registry_with_what_the_user_knows(engine, closed, tmp_path):
    name = f"{closed.host}/pull/closed-{engine.kind}:1"
    publish(closed, name.partition("/")[2], OLD, "ann:secret")
    refused(f"closed-{engine.kind}:1: {closed.host} wants .*: give username and password, or log in", engine, name)
    refused(f"closed-{engine.kind}:1: {closed.host} refuses the credentials from username and password", engine, name, username="ann", password="guess")
    assert tags(engine) == set()
    assert pull(engine, name, username="ann", password="secret")[0]["action"] == "pulled"

    publish(closed, name.partition("/")[2], NEW, "ann:secret")
    known = {"auths": {closed.host: {"auth": base64.b64encode(b"ann:secret").decode()}}}
    (tmp_path / "config.json").write_text(json.dumps(known))
    assert pull(engine, name)[0]["reason"] == "other_digest"


def test_asks_over_tls(engine, secure):
    registry, cert = secure
    name = f"{registry.host}/pull/tls-{engine.kind}:1"
    publish(registry, name.partition("/")[2], OLD)
    # Podman's own trust is set up on its host; here it is told not to look.
    trust = {"validate_certs": False} if engine.store == "podman" else {"ca_cert": str(cert)}
    done, again = pull(engine, name, plain_http=False, **trust)
    assert (done["action"], done["config_digest"], again["reason"]) == ("pulled", OLD.config_digest, "same_digest")
    if engine.store == "podman":
        refused(f"the certificate of {registry.host} does not verify .*: give its CA as ca_cert", engine, name, plain_http=False)
        assert pull(engine, name, plain_http=False, ca_cert=str(cert))[0]["reason"] == "same_digest"
        publish(registry, name.partition("/")[2], NEW)
        known = params(engine, name, plain_http=False, ca_cert=str(cert))
        message = fail(image_pull, **known)["msg"]
        assert message.endswith(f": give the engine its CA, as /etc/containers/certs.d/{registry.host}/ca.crt"), message


def test_says_that_a_registry_over_tls_has_no_such_image(engine, secure):
    """Docker 28 asks a registry that it takes for insecure again without TLS, and tells only what came of that."""
    registry, cert = secure
    trust = {"validate_certs": False} if engine.store == "podman" else {"ca_cert": str(cert)}
    refused(f"tls-none:1: {registry.host} has no such image", engine, f"{registry.host}/pull/tls-none:1", plain_http=False, **trust)


def test_podman_tells_the_digest_as_which_an_image_came(podman, registry):
    name = f"{registry.host}/pull/came:1"
    for item in (MULTI, index([ARM, NEW])):
        digest = publish(registry, name.partition("/")[2], item)
        pull(podman, name)
        assert pull(podman, name, policy="missing")[0]["digest"] == digest
