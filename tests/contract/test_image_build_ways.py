# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build on real engines: every shape of a context, every place of a Dockerfile, every builder, and what goes wrong."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import Any, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._flow import context
from ansible_collections.stowage.oci.plugins.module_utils._plan import builders
from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.contract.building import BASE, FROM, Host, full, prepared, shell
from ansible_collections.stowage.oci.tests.contract.test_build_engine import kill_during
from ansible_collections.stowage.oci.tests.real import spread
from ansible_collections.stowage.oci.tests.unit.running import fail, run

COPY = FROM + "COPY . /app/\n"
NEW = "app:1 names no image"
EACH = [spread(kind, kind, name) for kind in engines.KINDS for name in (builders.OF_PODMAN if kind.startswith("podman") else builders.OF_DOCKER)]
SECRET, OTHER = "hush-hush-4711", "psst-psst-4712"
NAMES = ["sp ace", "new\nline", "not-utf-8-\udcff", "quo\"te", "back\\slash", "#hash", "n" * 255, "d" * 150 + "/" + "n" * 149]


@pytest.fixture
def host(engine: engines.Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return prepared(engine, tmp_path, monkeypatch)


def mains(host: Host) -> list[str]:
    """The builders by this engine's API."""
    return ["podman"] if host.engine.store == "podman" else ["classic", "buildkit"]


# Contexts


def test_names_that_nobody_expects(host):
    host.write({"Dockerfile": COPY})
    for name in [*NAMES, "A" * 200]:
        (host.folder / name).parent.mkdir(exist_ok=True)
        (host.folder / name).write_bytes(os.fsencode(name))
    host.built(NEW)
    found = host.engine.run(full("app:1"), "find", "/app", "-type", "f", "-print0").rstrip("\0").split("\0")
    assert set(found) == {"/app/Dockerfile", *("/app/" + os.fsencode(name).decode(errors="replace") for name in [*NAMES, "A" * 200])}
    (host.folder / NAMES[1]).write_text("changed")
    host.built("the context changed: changed 'new\\nline'")
    (host.folder / NAMES[2]).write_text("changed")
    host.built("the context changed: changed 'not-utf-8-\\udcff'")


def test_links_are_kept_as_links(host):
    host.write({"Dockerfile": COPY, "secret": ""})
    os.symlink("/etc/hostname", host.folder / "out")
    os.symlink("nowhere", host.folder / "dangling")
    host.built(NEW)
    assert host.engine.run(full("app:1"), "find", "/app", "-type", "l").split() == ["/app/dangling", "/app/out"]
    (host.folder / "out").unlink()
    os.symlink("/etc/passwd", host.folder / "out")
    host.built("the context changed: changed out")


def test_a_link_above_the_context_is_a_link_except_for_podman(host):
    host.write({"Dockerfile": COPY})
    os.symlink("../../above", host.folder / "above")
    if host.engine.store == "podman":
        assert re.search("app:1: the build failed", host.fails()["msg"])
        return
    host.built(NEW)
    assert host.engine.run(full("app:1"), "find", "/app", "-type", "l").split() == ["/app/above"]


def test_sockets_are_left_out_and_pipes_and_devices_arrive(host):
    host.write({"Dockerfile": COPY})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(host.folder / "socket"))
        os.mkfifo(host.folder / "pipe")
        os.mknod(host.folder / "null", 0o20640, os.makedev(1, 3))
        host.built(NEW, builder=mains(host)[0])
        (host.folder / "socket").unlink()
        host.kept()
    found = [host.engine.run(full("app:1"), "find", "/app", "-type", kind).split() for kind in "pcs"]
    assert found == [["/app/pipe"], ["/app/null"], []]


@pytest.mark.parametrize("kind", ["", "gz"])
def test_a_tar_is_as_good_as_what_it_unpacks_to(host, tmp_path, kind):
    host.write({"Dockerfile": COPY, "app.txt": "hello\n", "sub/tool": ""})

    def packed() -> str:
        with tarfile.open(tmp_path / "context.tar", "w:" + kind) as archive:
            archive.add(host.folder, ".")
        return str(tmp_path / "context.tar")

    path = packed()
    first = host.built(NEW, path=path)
    assert host.holds("app:1") == {"Dockerfile", "app.txt", "sub/tool"}
    assert host.kept() == first
    (host.folder / "app.txt").write_text("hallo\n")
    assert host.kept(path=path) == first
    assert host.built("the context changed: changed app.txt", path=packed()) == host.kept()
    assert host.refused(path=path, dockerfile="other").startswith("dockerfile: there is no other in ")
    (tmp_path / "context.tar").write_bytes((tmp_path / "context.tar").read_bytes()[:-9000 if not kind else -20])
    assert str(tmp_path / "context.tar") in host.refused(path=path)


def test_what_is_no_context(host, tmp_path):
    host.write({"app.txt": "hello\n"})
    assert host.refused(path=str(tmp_path / "none")).startswith(f"path: there is no {tmp_path}/none on this host")
    assert host.refused().startswith("dockerfile: there is neither Dockerfile nor Containerfile in ")
    assert host.refused(dockerfile="other").startswith(f"dockerfile: {host.folder}/other cannot be read: No such file")
    assert "tar" in host.refused(path=str(host.folder / "app.txt"), dockerfile_inline=FROM)


def test_a_context_that_changes_while_it_is_sent(host, monkeypatch):
    host.write({"Dockerfile": COPY, "large": "x" * 3_000_000, "late": "x"})
    packed = context.packed

    def changing(*args: Any) -> Iterator[bytes]:
        for number, piece in enumerate(packed(*args)):
            yield piece
            if number == 0:
                (host.folder / "late").write_text("y")

    with monkeypatch.context() as patch:
        patch.setattr(context, "packed", changing)
        assert f"{host.folder}/late: changed while the build context was read: build again" in host.fails()["msg"]
    host.built(NEW)


def test_a_file_that_may_not_be_read(host, monkeypatch):
    """Who is root may read all: so be somebody else while the folder is read."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    measured = context.measured

    def modestly(*args: Any) -> Any:
        os.seteuid(65534)
        try:
            return measured(*args)
        finally:
            os.seteuid(0)

    monkeypatch.setattr(context, "measured", modestly)
    try:
        folder.chmod(0o755)
        (folder / "Dockerfile").write_text(COPY)
        (folder / "hidden").write_text("")
        (folder / "hidden").chmod(0o600)
        said = host.refused(path=str(folder))
        assert said == f"{folder}/hidden: cannot be read (Permission denied): let this user read it, or leave it out with a line in .dockerignore"
        (folder / ".dockerignore").write_text("hidden\n")
        host.built(NEW, path=str(folder))
    finally:
        shutil.rmtree(folder)


# Places of a Dockerfile


def test_a_dockerfile_that_is_nowhere(host):
    first = host.built(NEW, path=None, dockerfile_inline=FROM + "RUN echo a > /word\n")
    assert host.engine.run(first, "cat", "/word") == "a\n"
    host.built("the Dockerfile changed", path=None, dockerfile_inline=FROM + "RUN echo b > /word\n")


def test_a_dockerfile_that_copy_does_not_see(host, tmp_path):
    host.write({"app.txt": "hello\n", "a.log": ""})
    host.built(NEW, dockerfile_inline=COPY)
    assert host.holds("app:1") == {"app.txt", "a.log"}

    (tmp_path / "Dockerfile").write_text(COPY + "ENV A=b\n")
    for dockerfile in (str(tmp_path / "Dockerfile"), "../Dockerfile"):
        host.built("app:%d names no image" % len(dockerfile), tags=["app:%d" % len(dockerfile)], dockerfile=dockerfile)
        assert host.holds("app:%d" % len(dockerfile)) == {"app.txt", "a.log"}

    host.write({"Containerfile": COPY + "ENV A=c\n", ".dockerignore": "*.log\nContainerfile\n.dockerignore\n"})
    host.built("app:3 names no image", tags=["app:3"])
    assert host.holds("app:3") == {"app.txt"}

    (tmp_path / "Dockerfile.dockerignore").write_text("app.txt\n")
    host.built("the context changed: added .dockerignore, Containerfile; removed app.txt", tags=["app:13"], dockerfile="../Dockerfile")
    assert host.holds("app:13") - {".dockerignore"} == {"Containerfile", "a.log"}


def test_a_hidden_dockerfile_with_a_stage_that_nothing_needs(host):
    host.write({"app.txt": "hello\n"})
    text = FROM.replace("\n", " AS broken\n") + "RUN false\n" + COPY
    host.built(NEW, dockerfile_inline=text)
    assert host.holds("app:1") == {"app.txt"}


def test_an_ignore_file_of_its_own(host):
    ignore = "*.log\n*Dockerfile*\n!app.Dockerfile\n.dockerignore\n"
    host.write({"app.Dockerfile": COPY, "app.Dockerfile.dockerignore": ignore, ".dockerignore": "*.txt\n", "app.txt": "hello\n", "a.log": ""})
    host.built(NEW, dockerfile="app.Dockerfile")
    assert host.holds("app:1") == {"app.txt", "app.Dockerfile"}


# Builders


@pytest.mark.parametrize("engine, name", EACH, indirect=["engine"])
def test_each_builder(host, name):
    host.write({"Dockerfile": COPY + "RUN cat /app/app.txt > /out; cat /proc/net/dev > /net\nENV A=b\n", "app.txt": "hello\n"})
    done = host.task(builder=name)
    assert (done["builder"], done["changed"]) == (name, True)
    assert host.engine.run(full("app:1"), "cat", "/out") == "hello\n"
    assert [line.split(":")[0].strip() for line in host.engine.run(full("app:1"), "cat", "/net").splitlines()[2:]] == ["lo"]
    host.builds()
    host.kept()
    (host.folder / "app.txt").write_text("hallo\n")
    assert "the context changed: changed app.txt" == host.task(builder=name)["reason"]
    assert host.engine.run(full("app:1"), "cat", "/out") == "hallo\n"


def test_a_builder_of_another_engine(host):
    host.write({"Dockerfile": COPY})
    for name in builders.OF_DOCKER if host.engine.store == "podman" else builders.OF_PODMAN:
        assert host.refused(builder=name).startswith(f"builder: {name} is none of this engine, which is ")


def test_another_platform(host):
    host.write({"Dockerfile": "FROM scratch\nCOPY . /app/\n"})
    host.built(NEW, platform="linux/arm64")
    assert host.engine.json("GET", f"/images/{full('app:1')}/json")["Architecture"] == "arm64"
    done = host.task()
    # Podman's own cache does not look at the platform where no base has one: that takes a second build.
    assert (done["reason"], done["changed"]) == ("the option platform is gone", True)
    assert len(host.builds()) == (2 if host.engine.store == "podman" else 1)
    assert host.engine.json("GET", f"/images/{full('app:1')}/json")["Architecture"] == "amd64"


@pytest.mark.parametrize("cause", [{"secrets": [{"id": "a", "value": SECRET}]}, {"ssh": ["default"]}, {"cache_to": ["type=inline"]}])
def test_what_this_builder_cannot_do(host, cause):
    host.write({"Dockerfile": COPY})
    (option,) = cause
    able = [name for name in builders.CAPABLE[option] if name in (builders.OF_PODMAN + builders.OF_DOCKER)]
    unable = [name for name in mains(host) if name not in able]
    for name in unable:
        said = host.refused(builder=name, **cause)
        assert re.fullmatch(f"builder: {name} cannot do {option}; .*_cli can", said), said
    assert unable or option == "secrets"


def test_no_program_that_could(host, monkeypatch, tmp_path):
    host.write({"Dockerfile": COPY})
    monkeypatch.setenv("PATH", str(tmp_path))
    program = "podman" if host.engine.store == "podman" else "docker"
    said = host.refused(ssh=["default"])
    assert re.fullmatch(f"the command {program}.* is needed for ssh, and this host has none: install it", said), said
    host.built(NEW)


def test_a_hidden_dockerfile_is_too_much_for_buildkit(docker28, tmp_path, monkeypatch):
    host = prepared(docker28, tmp_path, monkeypatch)
    said = host.refused(dockerfile_inline=COPY, builder="buildkit")
    assert said == (
        "builder: buildkit cannot do a Dockerfile that is not in the context, or ignored there; classic or docker_cli can"
    )


# Secrets


def test_a_secret_is_nowhere(host, tmp_path):
    (tmp_path / "secret").write_text(OTHER + "\n")
    mount = "".join("--mount=type=secret,id=%s " % name for name in ("one", "two"))
    host.write({"Dockerfile": COPY + f"RUN {mount}cat /run/secrets/one /run/secrets/two; wc -c /run/secrets/one\n"})
    secrets = [{"id": "one", "value": SECRET}, {"id": "two", "src": str(tmp_path / "secret")}]
    result = run(image_build, **host.params(secrets=secrets))
    assert result["builder"] == ("podman" if host.engine.store == "podman" else "docker_cli")
    assert f"{len(SECRET)} /run/secrets/one" in result["log"] and any("****" in line for line in result["log"])
    saved = host.engine.call("GET", f"/images/get?names={full('app:1')}")
    history = host.engine.json("GET", f"/images/{full('app:1')}/history")
    for secret in (SECRET, OTHER):
        assert secret.encode() not in saved
        assert secret not in json.dumps([result["log"], result["images"], result["diff"], history, host.started])
        assert not any(secret in path.read_text() for path in Path(os.environ["XDG_CACHE_HOME"]).rglob("*.json"))
    assert host.holds("app:1") == {"Dockerfile"}
    host.builds()
    host.kept(secrets=[{"id": "one", "value": "another secret"}, {"id": "two", "src": str(tmp_path / "secret")}])

    host.write({"Dockerfile": COPY + f"RUN {mount}cat /run/secrets/one /run/secrets/two; exit 3\n"})
    failed = host.fails(secrets=secrets)
    assert SECRET not in json.dumps([failed["msg"], failed["log"]]) and OTHER not in json.dumps([failed["msg"], failed["log"]])
    assert host.refused(secrets=[{"id": "one", "src": str(tmp_path / "none")}]).startswith(f"secrets: {tmp_path}/none cannot be read")


def test_a_secret_argument_is_not_told(host):
    host.write({"Dockerfile": COPY + "ARG KEY\nRUN echo it is $KEY\n"})
    result = run(image_build, **host.params(secret_build_args={"KEY": SECRET}))
    assert SECRET not in json.dumps({key: value for key, value in result.items() if key != "invocation"})
    assert SECRET not in json.dumps(result.get("invocation"))
    assert SECRET not in json.dumps(host.labels("app:1"))
    host.builds()
    host.kept(secret_build_args={"KEY": SECRET})
    host.built("the argument KEY changed", secret_build_args={"KEY": OTHER})


# Times


def test_two_hosts_make_one_image(host, tmp_path, monkeypatch):
    host.write({"Dockerfile": COPY + "RUN date +%s > /dev/null; echo a > /a\n", "app.txt": "hello\n"})
    options = {"timestamp": "1700000000", "cache": False}
    if host.engine.store == "classic":
        said = host.refused(**options)
        assert said.endswith(
            "which is Docker with the classic store, can do timestamp: Docker 26 or later can, with the containerd store, and Podman can"
        )
        return
    first = host.built(NEW, **options)
    assert host.engine.json("GET", f"/images/{full('app:1')}/json")["Created"].startswith("2023-11-14T22:13:20")
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    assert host.kept(timestamp="source") == first
    monkeypatch.setenv("PATH", os.defpath)
    with engines.start(host.engine.kind, tmp_path / "other") as engine:
        other = Host(engine, host.folder)
        other.load(shell(BASE))
        assert run(image_build, **other.params(**options))["images"][0]["image_id"] == first
    host.built("the option timestamp changed", timestamp="1700000001")
    assert host.refused(timestamp="today") == "timestamp: it is today: give seconds since 1970"


def test_podmans_form_for_times_has_no_healthcheck(podman, tmp_path, monkeypatch):
    host = prepared(podman, tmp_path, monkeypatch)
    host.write({"Dockerfile": COPY + "HEALTHCHECK CMD true\n"})
    assert "HEALTHCHECK or SHELL in an image with timestamp" in host.refused(timestamp="1")


# What goes wrong


@pytest.mark.parametrize("engine, name", EACH, indirect=["engine"])
def test_a_step_that_fails(host, name):
    host.write({"Dockerfile": COPY})
    first = host.built(NEW, builder=name)
    host.write({"Dockerfile": COPY + "RUN %s echo last words; exit 3\n" % " ".join("echo line %d;" % number for number in range(30))})
    failed = host.fails(builder=name)
    assert re.search("app:1: the build failed at .*RUN echo line 0.*; it printed last: .*last words", failed["msg"], re.DOTALL), failed["msg"]
    assert "3" in failed["msg"] and failed["builder"] == name
    assert {f"line {number}" for number in range(30)} <= set(failed["log"])
    assert host.id("app:1") == first
    host.write({"Dockerfile": COPY})
    assert host.kept() == first


def test_what_is_no_dockerfile(host):
    host.write({"Dockerfile": FROM + "FOO bar\n"})
    assert re.search("app:1: the build failed.*unknown instruction: \"?FOO", host.fails()["msg"], re.IGNORECASE | re.DOTALL)
    host.write({"Dockerfile": "RUN true\n"})
    assert f"{host.folder}/Dockerfile" in host.refused()
    host.write({"Dockerfile": COPY})
    assert "other" in host.refused(target="other")


def test_a_file_to_copy_that_is_not_there(host):
    host.write({"Dockerfile": FROM + "COPY none /app/\n"})
    assert re.search("app:1: the build failed at .*COPY none.*", host.fails()["msg"], re.DOTALL)


@pytest.mark.parametrize("kind", ["docker-28", "podman-4"])
def test_an_engine_that_dies_in_the_middle(tmp_path, monkeypatch, kind):
    with engines.start(kind, tmp_path / "engine") as engine:
        host = prepared(engine, tmp_path, monkeypatch)
        host.write({"Dockerfile": COPY + "RUN sleep 47.12\n"})
        killer = threading.Thread(target=lambda: kill_during("sleep 47.12", engine))
        killer.start()
        result = fail(image_build, **host.params())
        killer.join()
        assert re.search("engine at unix://.*engine.sock", result["msg"]), result["msg"]
        engine.start()
        assert set(host.names()) == {BASE}
        host.write({"Dockerfile": COPY})
        host.built(NEW)
