# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build on real engines: what is a cause to build, and what is none."""

from __future__ import annotations

import os
from pathlib import Path

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci import hashes
from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.contract.building import BASE, FROM, LABEL, Host, cached, full, prepared, shell
from ansible_collections.stowage.oci.tests.contract.test_image_pull import publish
from ansible_collections.stowage.oci.tests.unit.running import run

APP = {
    "Dockerfile": FROM + "ARG WORD=none\nARG OTHER=none\nCOPY . /app/\n",
    ".dockerignore": "*.log\n",
    "app.txt": "hello\n",
    "sub/tool": "#!/bin/sh\n",
    "old": "old\n",
}


@pytest.fixture
def host(engine: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    found = prepared(engine, tmp_path, monkeypatch)
    found.write(APP)
    return found


def own(host: Host) -> str:
    """The builder that this engine's own API gives."""
    return "podman" if host.engine.store == "podman" else "buildkit"


def test_builds_once(host):
    host.write({"Dockerfile": APP["Dockerfile"] + "RUN echo word is $WORD > /word; cat /word\n"})
    tags = ["app:1", "registry.invalid/team/app:1"]
    done = host.task(tags=tags)
    assert (done["reason"], done["builder"], len(host.builds())) == ("app:1 names no image", own(host), 1)
    assert [image["action"] for image in done["images"]] == ["built", "tagged"]
    assert "word is none" in done["log"]
    image_id = done["images"][0]["image_id"]
    assert [host.id(tag) for tag in tags] == [image_id, image_id]
    assert done["images"][0]["digest"] == (None if host.engine.store == "classic" else done["images"][1]["digest"])
    assert done["images"][0]["config_digest"] == (None if host.engine.store == "containerd" else image_id)
    assert host.holds("app:1") == {".dockerignore", "Dockerfile", "app.txt", "old", "sub/tool"}
    assert host.engine.run(full("app:1"), "cat", "/word") == "word is none\n"
    assert host.labels("app:1")[LABEL] == done["build_digest"]
    assert host.kept(tags=tags) == image_id


def test_what_is_no_cause(host):
    image_id = host.built("app:1 names no image")
    os.utime(host.folder / "app.txt", (1, 1))
    os.utime(host.folder / "sub", (1, 1))
    assert host.kept() == image_id
    os.chown(host.folder / "app.txt", 12, 34)
    assert host.kept() == image_id
    host.write({"a.log": "ignored\n"})
    assert host.kept() == image_id
    (host.folder / "old").rename(host.folder / "older")
    (host.folder / "older").rename(host.folder / "old")
    assert host.kept() == image_id
    assert host.kept(build_args={"NOBODY": "declares it"}, network="host", cache=False, hash_cache=False) == image_id


def test_what_of_the_context_is_a_cause(host):
    ids = [host.built("app:1 names no image")]
    (host.folder / "app.txt").write_text("hallo\n")
    ids.append(host.built("the context changed: changed app.txt"))
    (host.folder / "sub/tool").chmod(0o755)
    ids.append(host.built("the context changed: changed sub/tool"))
    host.write({"sub/new": "new\n"})
    ids.append(host.built("the context changed: added sub/new"))
    (host.folder / "old").unlink()
    ids.append(host.built("the context changed: removed old"))
    host.write({"a.txt": "", "b.txt": "", "c.txt": "", "app.txt": "hello again\n"})
    (host.folder / "sub/new").unlink()
    ids.append(host.built("the context changed: added a.txt, b.txt, c.txt; changed app.txt; removed sub/new"))
    host.write({"Dockerfile": APP["Dockerfile"] + "ENV A=b\n"})
    ids.append(host.built("the Dockerfile changed; the context changed: changed Dockerfile"))
    host.write({"a.txt": "not ignored\n"})
    ids.append(host.built("the context changed: changed a.txt", hash_cache=True))
    host.write({"a.txt": "other\n"})
    ids.append(host.built("the context changed", hash_cache=False))
    assert len(set(ids)) == len(ids)


def test_what_of_the_options_is_a_cause(host):
    host.write({"Dockerfile": FROM.strip() + " AS first\nENV FIRST=1\n" + APP["Dockerfile"] + "ENV WORD=$WORD\n"})
    ids = [host.built("app:1 names no image")]
    options = {"build_args": {"WORD": "a", "NOBODY": 1}}
    ids.append(host.built("the argument WORD is new", **options))
    options["build_args"]["WORD"] = True
    ids.append(host.built("the argument WORD changed", **options))
    assert host.labels("app:1").get("who") is None
    options["labels"] = {"who": "me"}
    ids.append(host.built("the option labels is new", **options))
    assert host.labels("app:1")["who"] == "me"
    options["target"] = "first"
    ids.append(host.built("the argument WORD is gone; the option target is new", **options))
    ids.append(host.built("the argument WORD is new; the option labels is gone; the option target is gone", build_args=options["build_args"]))
    assert "WORD=true" in host.engine.json("GET", f"/images/{full('app:1')}/json")["Config"]["Env"]
    architecture = host.engine.json("GET", "/images/%s/json" % BASE)["Architecture"]
    host.built("the argument WORD is gone; the option platform is new", platform=f"linux/{architecture}")
    assert len(set(ids[:5])) == 5 and ids[5] == ids[2]


def test_a_base_that_another_image_took_the_name_of(host):
    first = host.built("app:1 names no image")
    host.load(shell(BASE, word="other"))
    assert host.built(f"the base {BASE} is another image now") != first
    host.load(shell(BASE))
    host.built(f"the base {BASE} is another image now")


def test_a_base_that_has_gone_since(host):
    first = host.built("app:1 names no image")
    host.engine.call("DELETE", f"/images/{BASE}?force=1")
    assert host.kept() == first
    (host.folder / "app.txt").write_text("hallo\n")
    assert BASE.split("/", maxsplit=1)[0] in host.refused()


def test_bases_from_a_registry(host, registry):
    names = [f"{registry.host}/build/{name}-{host.engine.kind}:1" for name in ("base", "copied")]
    publish(registry, names[0].partition("/")[2], shell(word="first"))
    publish(registry, names[1].partition("/")[2], shell(word="copied"))
    host.write({"Dockerfile": "ARG FROM\nFROM $FROM\nCOPY --from=%s /bin/sh /copied\nCOPY . /app\n" % names[1]})
    options = {"build_args": {"FROM": names[0]}}
    first = host.built("app:1 names no image", **options)
    assert set(names) <= set(host.names())
    host.asked.clear()
    assert host.kept(pull=True, **options) == first
    assert host.pulls() == 0

    publish(registry, names[0].partition("/")[2], shell(word="moved"))
    assert host.kept(**options) == first
    assert host.built(f"the base {names[0]} is another image now", pull=True, **options) != first
    assert "BASE=moved" in host.engine.json("GET", f"/images/{full('app:1')}/json")["Config"]["Env"]
    assert host.kept(**options) == host.kept(pull=True, **options)

    publish(registry, names[1].partition("/")[2], shell(word="moved too"))
    host.built(f"the base {names[1]} is another image now", pull=True, **options)
    host.engine.call("DELETE", f"/images/{names[0]}?force=1")
    host.kept(**options)
    (host.folder / "app.txt").write_text("hallo\n")
    publish(registry, names[0].partition("/")[2], shell(word="moved again"))
    host.built(f"the context changed: changed app.txt; the base {names[0]} is another image now", **options)


def test_a_base_of_one_digest(host, registry):
    name = f"{registry.host}/build/digest-{host.engine.kind}"
    digest = publish(registry, name.partition("/")[2] + ":1", shell(word="first"))
    host.write({"Dockerfile": f"FROM {name}:1@{digest}\nCOPY . /app/\n"})
    host.built("app:1 names no image")
    publish(registry, name.partition("/")[2] + ":1", shell(word="moved"))
    host.kept(pull=True)


def test_a_base_that_nobody_has(host, registry):
    host.write({"Dockerfile": f"FROM {registry.host}/build/nothing:1\n"})
    assert f"{registry.host} has no such image" in host.refused()


def test_tags_that_go_and_move(host):
    first = host.built("app:1 names no image")
    host.engine.call("DELETE", f"/images/{full('app:1')}?noprune=1")
    again = host.task()
    assert (again["reason"], again["changed"], len(host.builds())) == ("app:1 names no image", True, 1)

    host.load(shell("docker.io/library/app:1", word="other"))
    assert host.built("app:1 names an image that does not say what it was built from") == first or host.engine.store == "podman"
    image_id = host.id("app:1")

    host.load(shell("docker.io/library/app:2", word="other"))
    tags = ["app:1", "app:2", "app:3"]
    done = host.task(tags=tags)
    assert (done["changed"], done["builder"], host.builds()) == (True, None, [])
    assert [image["action"] for image in done["images"]] == ["kept", "tagged", "tagged"]
    assert [host.id(tag) for tag in tags] == [image_id] * 3
    host.kept(tags=tags)

    host.load(shell("docker.io/library/app:1", word="other"))
    done = host.task(tags=tags)
    assert (done["changed"], host.builds()) == (True, [])
    assert [image["action"] for image in done["images"]] == ["tagged", "kept", "kept"]
    assert host.kept(tags=tags) == image_id


def test_a_pruned_cache_is_no_cause(host):
    first = host.built("app:1 names no image")
    if host.engine.store != "podman":
        host.engine.call("POST", "/build/prune?all=1")
    for path in cached():
        path.unlink()
    assert host.kept() == first


def test_rebuild_always(host):
    host.write({"Dockerfile": APP["Dockerfile"] + "RUN date +%s > /when; sleep 1.1\n"})
    first = host.built("app:1 names no image")
    done = host.task(rebuild="always")
    assert (done["reason"], done["changed"], len(host.builds())) == ("rebuild is always", False, 1)
    assert done["images"][0]["image_id"] == first == host.id("app:1")
    done = host.task(rebuild="always", cache=False)
    assert (done["changed"], len(host.builds())) == (True, 1)
    assert host.id("app:1") != first


def test_without_a_stamp(host):
    done = host.task(stamp=False)
    assert (done["changed"], len(host.builds())) == (True, 1)
    assert LABEL not in host.labels("app:1")
    again = host.task(stamp=False)
    assert (again["reason"], again["changed"], len(host.builds())) == ("without a stamp the engine's cache decides", False, 1)
    (host.folder / "app.txt").write_text("hallo\n")
    assert host.task(stamp=False)["changed"] and len(host.builds()) == 1
    host.built("app:1 names an image that does not say what it was built from")


def test_what_the_host_remembers(host, monkeypatch):
    monkeypatch.setattr(hashes, "_SETTLED", 0)  # files are as good as old
    host.built("app:1 names no image", hash_cache=False)
    assert cached() == []
    host.kept()
    assert len(cached()) == 2
    assert {path.stat().st_mode & 0o777 for path in cached()} == {0o600}
    for path in cached():
        path.write_text("{")
    host.kept()
    (host.folder / "app.txt").write_text("hallo\n")
    host.built("the context changed: changed app.txt")


def test_no_tags(host):
    assert host.refused(tags=[]) == "tags: name at least one reference for the image"
    assert run(image_build, **host.params())["changed"]
