# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every builder on every engine that has it. No registry answers, so all bases are what the engine holds."""

from __future__ import annotations

import json
import os
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._engine import build, programs
from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Transport
from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineError, InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import parse
from ansible_collections.stowage.oci.plugins.module_utils._plan import builders
from ansible_collections.stowage.oci.plugins.module_utils._process import Process
from ansible_collections.stowage.oci.tests.contract.building import shell
from ansible_collections.stowage.oci.tests.real import spread
from ansible_collections.stowage.oci.tests.unit.images import docker_archive, tar

BASE = "registry.invalid/stowage/base:1"
ON_DOCKER = [(kind, name) for kind in engines.KINDS[:3] for name in builders.OF_DOCKER]
ON_PODMAN = [("podman-4", name) for name in builders.OF_PODMAN]
SECRET = b"hush-hush-4711"


def able(need: str) -> pytest.MarkDecorator:
    """For those that can do this alone."""
    pairs = [spread(pair[0], pair) for pair in ON_DOCKER + ON_PODMAN if pair[1] in builders.CAPABLE[need]]
    return pytest.mark.parametrize("builder", pairs, indirect=True, ids="-".join)


@dataclass
class Builder:
    """A builder on an engine that holds the base alone."""

    name: str
    real: engines.Engine
    engine: Engine
    environ: dict

    def build(self, files=None, *, context=None, **order) -> build.Built:
        """``files`` are the context, unless one is given; Podman's has what is beside every context of it."""
        _name, beside = builders.beside(self.name, None, None)
        context = [tar({**beside, **files})] if context is None else context
        order = build.Order(network="none", **order)
        if self.name in (builders.DOCKER_CLI, builders.PODMAN_CLI):
            return getattr(programs, self.name)(self.engine, order, context, self.environ)
        return getattr(build, self.name)(self.engine, order, context)

    def ids(self) -> set:
        return {one["Id"] for one in self.engine.images(every=True)}

    def holds(self, image_id: str) -> list:
        """The files below /out."""
        return sorted(self.real.run(image_id, "find", "/out", "-type", "f").split())

    def saved(self, image_id: str) -> bytes:
        with self.engine.export([image_id]) as answer:
            return answer.read()


@pytest.fixture(scope="session")
def base() -> bytes:
    """A shell, in an archive as `docker save` writes it."""
    return tar(docker_archive([shell(BASE)]))


def prepared(real: engines.Engine, name: str, base: bytes) -> Builder:
    if real.family == "docker":
        real.call("POST", "/build/prune?all=1")
    real.call("POST", "/images/load", base)
    return Builder(name, real, Engine(Transport(real.url, 60)), engines.programs(real))


@pytest.fixture(params=[spread(pair[0], pair) for pair in ON_DOCKER + ON_PODMAN], ids="-".join)
def builder(request, running, base) -> Builder:
    kind, name = request.param
    real = running(kind)
    real.wipe()
    return prepared(real, name, base)


APP = {
    "Dockerfile": b"FROM registry.invalid/stowage/base:1 AS app\nARG WORD\nCOPY word /out/word\nRUN echo built $WORD; cat /out/word\n"
                  b"HEALTHCHECK CMD true\nFROM app\nRUN false\n",
    "word": b"hello\n",
}
ORDER = {"target": "app", "args": {"WORD": "abc"}, "labels": {"a.b": "c d"}}


def test_a_build_has_no_name_and_a_second_one_changes_nothing(builder):
    before = builder.ids()
    first = builder.build(APP, **ORDER)
    assert first.error is None
    assert {"built abc", "hello"} <= set(first.log.lines)
    found = builder.engine.inspect(first.image_id)
    assert (found["Id"], found["RepoTags"], found["Config"]["Labels"]["a.b"]) == (first.image_id, [], "c d")
    assert first.image_id not in before and builder.real.run(first.image_id, "cat", "/out/word") == "hello\n"
    if builder.name not in builders.OF_PODMAN:  # whose compatible inspect never shows it
        assert found["Config"]["Healthcheck"]
    second = builder.build(APP, **ORDER)
    assert second.image_id == first.image_id and "built abc" not in second.log.lines
    assert "built abc" in builder.build(APP, **ORDER, cache=False).log.lines
    changed = builder.build({**APP, "word": b"other\n"}, **ORDER)
    assert changed.error is None and changed.image_id != first.image_id
    builder.engine.tag(first.image_id, parse("app:1"))
    assert builder.engine.inspect("docker.io/library/app:1")["Id"] == first.image_id


def test_a_failing_run_is_named_and_heard(builder):
    before = builder.ids()
    built = builder.build({"Dockerfile": b"FROM registry.invalid/stowage/base:1\nRUN echo one && echo two >&2 && exit 3\n"})
    assert built.image_id is None and "3" in built.error
    step, said = built.log.failing()
    assert "RUN echo one && echo two >&2 && exit 3" in step and sorted(said) == ["one", "two"]
    assert not any(one["RepoTags"] for one in builder.engine.images() if one["Id"] not in before)


def test_what_cannot_be_built(builder):
    built = builder.build({"Dockerfile": b"FROM registry.invalid/stowage/nothing:1\n"})
    assert built.image_id is None and "registry.invalid" in built.error
    assert "registry.invalid/stowage/nothing:1" in built.log.failing()[0]
    built = builder.build({"Dockerfile": b"FROM scratch\nFOO bar\n"})
    assert built.image_id is None and "unknown instruction: " in built.error.lower()
    assert not built.error.startswith("failed to")
    for order in ({"dockerfile": "other"}, {"target": "other"}):
        built = builder.build(APP, **order)
        assert built.image_id is None and "other" in built.error


class Changed(Exception):
    pass


def test_a_context_that_changes_ends_the_build(builder):
    before = builder.ids()

    def context():
        data = tar({**APP, "large": os.urandom(3_000_000)})
        yield data[:2_000_000]
        raise Changed("word")

    with pytest.raises(Changed, match="word"):
        builder.build(context=context(), **ORDER)
    assert builder.ids() == before
    assert builder.build(APP, **ORDER).error is None


@pytest.mark.parametrize("ignore", [None, b"*.log\n"])
@able("hidden_beside_tar")
def test_a_dockerfile_beside_the_context_is_not_in_it(builder, ignore):
    files = {"word": b"hello\n", "a.log": b"sent, as who packs decides\n"}
    if ignore:
        files[".dockerignore"] = ignore
    name, beside = builders.beside(builder.name, b"FROM registry.invalid/stowage/base:1\nCOPY . /out/\n", ignore)
    built = builder.build(context=[tar({**files, **beside})], dockerfile=name)
    assert built.error is None
    assert builder.holds(built.image_id) == sorted("/out/" + name for name in files)
    if ignore:
        more = "" if builder.name in builders.OF_PODMAN else "\n%s\n" % name
        assert builder.real.run(built.image_id, "cat", "/out/.dockerignore") == ignore.decode() + more


@pytest.mark.parametrize("where", ["beside", "ignored"])
def test_dockers_program_reads_a_folder_for_a_dockerfile_that_is_not_in_it(docker, base, tmp_path, where):
    builder = prepared(docker, builders.DOCKER_CLI, base)
    folder = tmp_path / "context"
    folder.mkdir()
    for name, text in {"word": "hello\n", "a.log": "", ".dockerignore": "*.log\nDockerfile\n"}.items():
        (folder / name).write_text(text)
    dockerfile = (folder if where == "ignored" else tmp_path) / "Dockerfile"
    dockerfile.write_text("FROM registry.invalid/stowage/base:1\nCOPY . /out/\n")
    built = builder.build(context=programs.Folder(str(folder), str(dockerfile)))
    assert built.error is None
    assert builder.holds(built.image_id) == ["/out/.dockerignore", "/out/word"]


@able("secrets")
def test_a_secret_is_nowhere_but_in_the_step(builder, monkeypatch):
    commands = []
    begin = Process.__init__
    monkeypatch.setattr(Process, "__init__", lambda self, command, **more: commands.append(command) or begin(self, command, **more))
    files = {
        "Dockerfile": b"FROM registry.invalid/stowage/base:1\nARG KEY\nCOPY . /out/\nRUN --mount=type=secret,id=word wc -c /run/secrets/word\n",
        "word": b"hello\n",
    }
    order = {"secrets": {"word": SECRET}, "args": {"KEY": "hidden"}}
    built = builder.build(files, **order)
    assert built.error is None
    assert "%d /run/secrets/word" % len(SECRET) in built.log.lines
    assert builder.holds(built.image_id) == ["/out/Dockerfile", "/out/word"]
    assert SECRET not in builder.saved(built.image_id)
    for shown in (built.log.lines, builder.engine.history(built.image_id), commands):
        assert SECRET.decode() not in json.dumps(shown)
    assert bool(commands) == (builder.name in (builders.DOCKER_CLI, builders.PODMAN_CLI)) and "hidden" not in json.dumps(commands)
    assert builder.build(files, **order).image_id == built.image_id


# Below the folder of a test's engine of the containerd store a socket's path would be too long.
@pytest.mark.parametrize(
    "builder", [("docker-20.10", "docker_cli"), ("docker-28", "docker_cli"), ("podman-4", "podman_cli")], indirect=True, ids="-".join
)
def test_an_agent_reaches_the_step(builder, tmp_path):
    agent = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(agent)], stdout=subprocess.DEVNULL)
    try:
        while not agent.exists():
            time.sleep(0.01)
        files = {"Dockerfile": b"FROM registry.invalid/stowage/base:1\nRUN --mount=type=ssh test -S $SSH_AUTH_SOCK && echo there\n"}
        built = builder.build(files, ssh=["default=%s" % agent])
    finally:
        process.terminate()
        process.wait()
    assert built.error is None and "there" in built.log.lines


TIMES = {
    "Dockerfile": b"FROM registry.invalid/stowage/base:1\nCOPY word /out/\nRUN date > /dev/null; echo a > /out/a; sleep 1.1\nENV A=b\n",
    "word": b"hello\n",
}


@pytest.mark.parametrize("builder", [("docker-28-containerd", "buildkit"), *ON_PODMAN], indirect=True, ids="-".join)
def test_two_builds_without_cache_are_one_image(builder):
    made = []
    for _time in range(2):
        built = builder.build(TIMES, timestamp=1_700_000_000, cache=False)
        assert built.error is None
        assert builder.engine.inspect(built.image_id)["Created"].startswith("2023-11-14T22:13:20")
        assert builder.holds(built.image_id) == ["/out/a", "/out/word"]
        made.append(built.image_id)
        builder.engine.remove(built.image_id, force=True)
    assert made[0] == made[1]


@able("base_id")
def test_a_base_by_its_id(builder):
    base_id = builder.engine.inspect(BASE)["Id"]
    assert builder.build({"Dockerfile": b"FROM %s\nRUN echo hello\n" % base_id.encode()}).error is None


@able("features")
def test_a_cache_that_is_mounted(builder):
    files = {"Dockerfile": b"FROM registry.invalid/stowage/base:1\nRUN --mount=type=cache,target=/cache echo hello > /cache/word; cat /cache/word\n"}
    built = builder.build(files)
    assert built.error is None and "hello" in built.log.lines


@pytest.mark.parametrize("kind, name", [("docker-28", "classic"), ("docker-28", "buildkit"), ("docker-28", "docker_cli"), ("podman-4", "podman")])
def test_an_engine_that_dies_in_the_middle(tmp_path, base, kind, name):
    with engines.start(kind, tmp_path / kind) as real:
        builder = prepared(real, name, base)

        def context():
            data = tar({**APP, "large": os.urandom(3_000_000)})
            yield data[:2_000_000]
            real.kill()
            yield data[2_000_000:]

        with pytest.raises(EngineError, match="engine (answers )?at unix://.*engine.sock"):
            builder.build(context=context(), **ORDER)
        real.start()
        killer = threading.Thread(target=lambda: kill_during("sleep 47.11", real))
        killer.start()
        with pytest.raises(EngineError, match="engine (answers )?at unix://.*engine.sock"):
            builder.build({"Dockerfile": b"FROM registry.invalid/stowage/base:1\nRUN sleep 47.11\n"})
        killer.join()


def kill_during(command: str, real: engines.Engine) -> None:
    """Kill the engine as soon as something runs this."""
    wanted = command.replace(" ", "\0").encode() + b"\0"
    while not any(wanted == _command(folder) for folder in Path("/proc").glob("[0-9]*")):
        time.sleep(0.05)
    real.kill()


def _command(folder: Path) -> bytes:
    try:
        return (folder / "cmdline").read_bytes()
    except OSError:
        return b""


# Programs that are not there, or not to be used


def test_no_program_is_an_error_that_says_which(docker28, podman, base, tmp_path):
    nowhere = {"PATH": str(tmp_path)}
    assert programs.docker_form(nowhere) is None and not programs.has_podman(nowhere)
    for real, name, message in (
        (docker28, builders.DOCKER_CLI, "no program docker with BuildKit on this host"),
        (podman, builders.PODMAN_CLI, "no program podman on this host"),
    ):
        builder = prepared(real, name, base)
        builder.environ = nowhere
        with pytest.raises(EngineError, match=message):
            builder.build(APP)


def test_the_program_before_buildx_and_the_one_with_it(docker20, docker28):
    assert programs.docker_form(engines.programs(docker20)) == "build"
    assert programs.docker_form(engines.programs(docker28)) == "buildx"


@pytest.mark.parametrize("name", ["PATH", "DOCKER_HOST", "HOME"])
def test_an_argument_that_the_program_would_take_for_its_own(docker28, base, name):
    with pytest.raises(InvalidInput, match="the build argument %s cannot go through a program" % name):
        prepared(docker28, builders.DOCKER_CLI, base).build(APP, args={name: "x"})


def test_podmans_program_in_another_storage_is_found_out(podman, base, tmp_path):
    builder = prepared(podman, builders.PODMAN_CLI, base)
    script = tmp_path / "podman"
    script.write_text('#!/bin/sh\ncat > /dev/null\nwhile [ "$1" != --iidfile ]; do shift; done\necho sha256:%s > "$2"\n' % ("0" * 64))
    script.chmod(0o755)
    builder.environ["PATH"] = "%s:/usr/bin:/bin" % tmp_path
    assert builder.build(APP).error == "the builder says that it made sha256:%s, and the engine has no such image" % ("0" * 64)
