# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Garbage collection by the program that keeps a registry, on a real one."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone
from typing import Iterator

import pytest
from ansible_collections.stowage.oci.tests.contract import kept
from ansible_collections.stowage.oci.tests.unit import images, keeping
import api  # of the program, after kept
from variants import tcp

BASE = images.layer({"base": b"base" * 1000}, "gzip")
AMD = images.image([BASE, images.layer({"app": b"amd"})])
ARM = images.image([BASE, images.layer({"app": b"arm"})], platform="linux/arm64")
MULTI = images.index([AMD, ARM, images.attestation(AMD)])
OLD = images.image([BASE, images.layer({"app": b"old"})])
NEW = images.image([BASE, images.layer({"app": b"new"})])


@pytest.fixture
def host() -> Iterator[kept.Host]:
    with kept.host() as made:
        yield made.start()


def test_what_has_no_tag_goes_and_an_image_of_several_platforms_stays(host: kept.Host) -> None:
    host.push("team/multi:1", MULTI)
    host.push("team/app:1", OLD)
    host.push("team/app:1", NEW)
    before = host.blobs()
    gone = {OLD.digest, OLD.config_digest, OLD.layers[1].digest}
    expected = {
        "changed": True,
        "manifests": [{"repository": "team/app", "digest": OLD.digest, "why": "no tag, index or subject reaches it"}],
        "tags": [], "kept_tags": [], "blobs": 3, "bytes": sum(before[digest] for digest in gone), "unsized": 0,
    }
    assert host.done("collect", "--dry-run") == expected
    assert host.service.calls == [] and host.blobs() == before and host.has("team/app", OLD)

    assert host.done("collect") == expected

    assert set(host.blobs()) == set(before) - gone
    assert host.service.served == [str(host.folder / "run/readonly.json"), str(host.config_path)]
    for name in ("team/multi:1", "team/app:1"):
        host.pull(name)
    host.push("team/app:old", OLD)
    host.pull("team/app:old")
    host.service.calls.clear()
    nothing = dict(expected, changed=False, manifests=[], blobs=0, bytes=0)
    assert host.done("collect", "--dry-run") == nothing
    assert host.done("collect") == nothing
    assert host.service.calls == [], "nothing is restarted for nothing"


def refer(to: images.Made, what: bytes) -> images.Made:
    """A signature, say: an artifact whose subject is an image."""
    made = images.artifact(subject=to.descriptor())
    content = images.Layer(what, what, "")
    manifest = json.loads(made.manifest)
    manifest["layers"] = [content.descriptor()]
    return made._replace(layers=(content,), manifest=images.dump(manifest))


def test_what_refers_to_an_image_stays_and_goes_with_it(host: kept.Host) -> None:
    signature, of_signature = refer(NEW, b"signature"), None
    of_signature = refer(signature, b"of the signature")
    stale = refer(OLD, b"stale")
    tagged = refer(OLD, b"in a tag")
    for item in (OLD, NEW):
        host.push("app:1", item)
    for item in (signature, of_signature, stale):
        host.push("app", item)
    fallback = images.index([tagged])
    host.push("app:" + OLD.digest.replace(":", "-"), fallback)
    host.push("app:" + NEW.digest.replace(":", "-") + ".sig", images.index([signature]))
    result = host.done("collect")
    assert {one["digest"]: one["why"] for one in result["manifests"]} == {
        OLD.digest: "no tag, index or subject reaches it",
        stale.digest: f"it refers to {OLD.digest}, which goes",
        fallback.digest: f"its tags go: {OLD.digest.replace(':', '-')}",
        tagged.digest: f"it is part of {fallback.digest}, which goes",
    }
    assert result["tags"] == [{"repository": "app", "tag": OLD.digest.replace(":", "-"), "why": f"it describes {OLD.digest}, which goes"}]
    assert host.tags("app") == ["1", NEW.digest.replace(":", "-") + ".sig"]
    for item in (NEW, signature, of_signature):
        assert host.has("app", item)
    assert not any(host.has("app", item) for item in (OLD, stale, tagged, fallback))


def test_an_index_goes_with_what_it_alone_holds(host: kept.Host) -> None:
    inner = images.index([ARM, OLD])
    outer = images.index([AMD, inner])
    other = images.index([OLD, NEW])
    host.push("deep:1", outer)
    host.push("deep:1", other)
    host.push("elsewhere:1", ARM)
    expected = host.done("collect", "--dry-run")
    assert host.done("collect") == expected
    assert {one["digest"]: one["why"] for one in expected["manifests"]} == {
        outer.digest: "no tag, index or subject reaches it",
        inner.digest: f"it is part of {outer.digest}, which goes",
        AMD.digest: f"it is part of {outer.digest}, which goes",
        ARM.digest: f"it is part of {inner.digest}, which goes",
    }
    order = [one["digest"] for one in expected["manifests"]]
    assert order.index(outer.digest) < order.index(inner.digest) < order.index(ARM.digest)
    assert set(host.blobs()) == {digest for item in (other, ARM) for digest in item.blobs}
    host.pull("deep:1")
    host.pull("elsewhere:1")


def test_an_index_that_lacks_a_platform_and_repositories_without_anything(host: kept.Host) -> None:
    for number in range(3):
        host.push(f"empty/{number}:1", AMD)
        assert host.call("DELETE", f"/v2/empty/{number}/manifests/{AMD.digest}")[0] == 202
    host.push("sparse:1", MULTI)
    assert host.call("DELETE", f"/v2/sparse/manifests/{ARM.digest}")[0] == 202
    assert host.call("GET", "/v2/empty/1/tags/list")[1] == b'{"name":"empty/1","tags":null}\n'
    result = host.done("collect")
    assert result["manifests"] == [] and result["changed"] and result["blobs"] == 2  # ARM's config and its own layer; the index names its manifest
    host.pull("sparse@" + AMD.digest)
    host.push("empty/1:1", ARM)
    host.pull("empty/1:1")


def test_an_empty_registry_has_no_garbage(host: kept.Host) -> None:
    assert host.done("collect") == {"changed": False, "manifests": [], "tags": [], "kept_tags": [], "blobs": 0, "bytes": 0, "unsized": 0}


def dated(created: str | None) -> images.Made:
    return images.image([BASE, images.layer({"made": str(created).encode()})], created=created)


def test_retention(host: kept.Host) -> None:
    now = datetime.now(timezone.utc)
    for number in range(8, 12):
        host.push(f"app:1.{number}", dated((now - timedelta(days=20 - number)).isoformat()))
    host.push("app:latest", dated((now - timedelta(days=20 - 9)).isoformat()))
    host.push("app:undated", dated(None))
    young = images.image([BASE], created=now.isoformat())
    host.push("app:2", images.index([young, dated("0001-01-01T00:00:00Z")]))
    host.push("other:1.1", OLD)
    rule = {"repositories": "app", "tags": r"1\..*", "keep": 1, "days": None}
    host.settings["retain"] = [rule, {"repositories": ".*", "tags": "undated|2", "keep": None, "days": 1}]
    host.configure()
    expected = host.done("collect", "--dry-run")
    assert host.done("collect") == expected
    why = r"let go by {repositories: app, tags: 1\..*, keep: 1}"
    assert expected["tags"] == [{"repository": "app", "tag": tag, "why": why} for tag in ("1.10", "1.8")]
    same = "it is the same manifest as latest, and the registry deletes manifests, not tags"
    assert expected["kept_tags"] == [{"repository": "app", "tag": "1.9", "why": same}]
    assert host.tags("app") == ["1.11", "1.9", "2", "latest", "undated"]
    for tag in host.tags("app"):
        host.pull(f"app:{tag}")
    host.pull("other:1.1")


@pytest.fixture
def littered(host: kept.Host) -> kept.Host:
    host.push("app:1", OLD)
    host.push("app:1", NEW)
    return host


def program(host: kept.Host, when_collecting: str) -> None:
    """A program that does something else where blobs would be deleted."""
    script = host.folder / "program"
    script.write_text(f'case "$*" in "garbage-collect /"*) {when_collecting};; esac\nexec docker-registry "$@"\n')
    host.settings["program"] = ["/bin/sh", str(script)]
    host.configure()


def test_a_collection_that_fails_leaves_a_server_that_takes_pushes(littered: kept.Host) -> None:
    program(littered, "echo no luck >&2; exit 3")
    assert littered.refused("collect") == "garbage-collect ended with code 3.\nThe log ends:\nno luck"
    assert littered.service.served[-1] == str(littered.config_path) and littered.writable()
    assert not littered.has("app", OLD), "what was deleted by then is"
    assert os.listdir(littered.folder / "run") == ["keeper.lock"]
    littered.settings["program"] = ["/usr/bin/docker-registry"]
    littered.configure()
    assert littered.done("collect")["blobs"] == 3
    littered.push("app:old", OLD)
    littered.pull("app:old")


def test_a_collection_that_is_ended_leaves_a_server_that_takes_pushes(littered: kept.Host) -> None:
    marker = littered.folder / "marker"
    program(littered, f"touch {marker}; exec sleep 600")
    answers: list[tuple[bool, bool]] = []

    def interrupt() -> None:
        kept.wait_for(marker.exists)
        answers.append((littered.writable(), littered.has("app", NEW)))
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=interrupt)
    thread.start()
    message = littered.refused("collect")
    thread.join()
    assert "collect was interrupted" in message
    assert answers == [(False, True)], "it takes no pushes meanwhile, and serves"
    assert littered.writable() and os.listdir(littered.folder / "run") == ["keeper.lock"]


def test_no_server_outlives_a_run_that_is_killed(littered: kept.Host) -> None:
    marker = littered.folder / "marker"
    script = littered.folder / "program"
    script.write_text(f'echo $$ >>{marker}\ncase "$1" in garbage-collect) exec sleep 600;; esac\nexec docker-registry "$@"\n')
    littered.settings["program"] = ["/bin/sh", str(script)]
    littered.configure()
    process = subprocess.Popen([sys.executable, keeping.FOLDER, "--settings", littered.settings_path, "collect", "--dry-run"])
    kept.wait_for(lambda: marker.exists() and len(marker.read_text().split()) == 2)
    pids = marker.read_text().split()
    assert all(os.path.exists(f"/proc/{pid}") for pid in pids)
    process.kill()
    process.wait()
    kept.wait_for(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids))
    assert littered.writable()


def test_a_server_that_does_not_come_up_read_only_comes_back(littered: kept.Host) -> None:
    littered.service.broken = "readonly.json"
    assert "broken by the test" in littered.refused("collect")
    assert littered.writable() and littered.has("app", OLD)
    littered.service.broken = str(littered.config_path)
    assert littered.refused("collect").startswith("registry.service did not come back as a server that takes pushes.")


def test_the_next_run_puts_right_what_one_that_was_killed_left(littered: kept.Host) -> None:
    littered.done("collect")
    (littered.folder / "run/readonly.json").write_text(json.dumps({**littered.config, "storage": {
        **littered.config["storage"], "maintenance": {"readonly": {"enabled": True}}}}))
    (littered.folder / "run/readonly.json").chmod(0o644)
    littered.service.use(str(littered.folder / "run/readonly.json"))
    littered.service.restart()
    kept.wait_for(lambda: "failed" not in littered.keep("ready"))
    assert not littered.writable()
    assert littered.done("collect")["changed"] is False
    assert littered.writable() and not (littered.folder / "run/readonly.json").exists()


def test_two_never_run_at_once_and_a_server_that_is_stopped_stays_so(littered: kept.Host) -> None:
    (littered.folder / "run").mkdir(exist_ok=True)
    with open(littered.folder / "run/keeper.lock", "w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for arguments in (["collect"], ["backup", str(littered.folder / "copy.tar")], ["restore", str(littered.folder / "copy.tar")]):
            assert littered.refused(*arguments).startswith("Another collection, backup or restoration of this registry is at work")
    littered.service.stop()
    littered.service.calls.clear()
    assert littered.done("collect")["changed"] and littered.service.calls == [] and littered.service.state() == "inactive"


def test_what_cannot_be_collected_is_said(host: kept.Host) -> None:
    for changes, words in [
        ({"proxy": {"remoteurl": "https://upstream.example"}}, "passes on the images of https://upstream.example"),
        ({"storage": {"inmemory": {}}}, "keeps its images in memory"),
    ]:
        host.config_path.write_text(json.dumps({**host.config, **changes}))
        for options in ([], ["--dry-run"]):
            assert words in host.refused("collect", *options)
    for rule, words in [
        ({"repositories": ".*", "tags": ".*", "keep": None, "days": None}, "needs `keep` or `days`"),
        ({"repositories": "(", "tags": ".*", "keep": 1, "days": None}, "repositories of the rule {repositories: (, tags: .*, keep: 1} is no regular"),
    ]:
        host.config_path.write_text(json.dumps(host.config))
        host.settings["retain"] = [rule]
        host.settings_path.write_text(json.dumps(host.settings))
        assert words in host.refused("collect")
    assert host.service.calls == []


def test_without_untagged_only_what_the_rules_let_go_goes(host: kept.Host) -> None:
    host.push("app:1", OLD)
    host.push("app:1", NEW)
    host.push("app:2", MULTI)
    host.settings.update(untagged=False, retain=[{"repositories": ".*", "tags": "2", "keep": 0, "days": None}])
    host.configure()
    assert {one["digest"] for one in host.done("collect")["manifests"]} == {MULTI.digest, *(child.digest for child in MULTI.children)}
    assert host.has("app", OLD) and host.tags("app") == ["1"]


def test_a_host_takes_nothing_while_another_one_collects(littered: kept.Host) -> None:
    assert littered.done("hold") == {"changed": True}
    assert littered.done("hold") == {"changed": False}
    assert not littered.writable() and littered.has("app", NEW)
    assert littered.done("release") == {"changed": True}
    assert littered.done("release") == {"changed": False}
    assert littered.writable() and os.listdir(littered.folder / "run") == ["keeper.lock"]
    littered.service.broken = "readonly.json"
    assert "broken by the test" in littered.refused("hold")
    assert littered.writable()
    littered.service.stop()
    assert littered.done("hold") == {"changed": False}


def test_catalogs_of_several_pages(littered: kept.Host, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b/c", "d"):
        littered.push(f"{name}:1", NEW)
    monkeypatch.setattr(api, "PAGE", 2)
    with api.Api(tcp(littered.address)) as client:
        assert list(client.repositories()) == ["a", "app", "b/c", "d"]
        assert list(client.tags("app")) == ["1"] and list(client.tags("nowhere")) == []
