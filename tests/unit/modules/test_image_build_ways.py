# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""image_build, whole, against engines in memory: contexts, builders, secrets, and all that goes wrong."""

from __future__ import annotations

import json
import os
import re
import tarfile

import pytest

from ansible_collections.stowage.oci.plugins.modules import image_build
from ansible_collections.stowage.oci.tests.unit.building import INPUTS, OTHER, PREFERRED, four_times, reason, refused
from ansible_collections.stowage.oci.tests.unit.images import pack, tar
from ansible_collections.stowage.oci.tests.unit.running import outcome, run

pytestmark = pytest.mark.usefixtures("alone")


# Contexts


def test_a_dockerfile_that_is_not_in_the_context(yard):
    outside = yard.home / "other.Dockerfile"
    outside.write_text("FROM %s\nCOPY . /app\n" % yard.base)
    done, _again = four_times(**yard.params(dockerfile="../other.Dockerfile"))
    assert done["builder"] == ("podman" if yard.site.podman else "classic")
    assert sorted(name for name in yard.files() if name.startswith("app")) == ["app/Dockerfile", "app/file"]


def test_a_dockerfile_that_is_ignored_in_the_context(yard):
    yard.write(".dockerignore", "Dockerfile\n.dockerignore\n")
    done, _again = four_times(**yard.params())
    assert done["builder"] == ("podman" if yard.site.podman else "classic")
    assert [name for name in yard.files() if name.startswith("app")] == ["app/file"]


def test_an_ignore_file_that_is_sent_arrives(yard):
    yard.write(".dockerignore", "Dockerfile\n")
    run(image_build, **yard.params())
    arrived = yard.files()["app/.dockerignore"]
    assert arrived == b"Dockerfile\n" if yard.site.podman else re.fullmatch(rb"Dockerfile\n\n\.dockerfile\.[0-9a-f]{16}\n", arrived)


def test_buildkit_cannot_have_a_hidden_dockerfile(docker_yard):
    docker_yard.write(".dockerignore", "Dockerfile\n")
    message = "builder: buildkit cannot do a Dockerfile that is not in the context, or ignored there; classic or docker_cli can"
    refused(message, docker_yard.params(builder="buildkit"))


def test_a_dockerfile_from_the_task_alone(yard):
    done, _again = four_times(**yard.params(path=None, dockerfile_inline="FROM %s\nRUN echo hello\n" % yard.base))
    assert done["builder"] == PREFERRED[yard.engine.store.name] and "hello" in done["log"]
    done, _again = four_times(**yard.params(path=None, dockerfile_inline="FROM %s\nRUN echo bye\n" % yard.base))
    assert done["reason"] == "the Dockerfile changed"


def test_a_dockerfile_from_the_task_with_a_context(yard):
    done, _again = four_times(**yard.params(dockerfile_inline="FROM %s\nCOPY . /app\n" % yard.base))
    assert done["builder"] == ("podman" if yard.site.podman else "classic")
    assert yard.files()["app/file"] == b"1"


@pytest.mark.parametrize("kind", ["", "gzip"])
def test_a_tar_is_a_context(yard, kind):
    archive = yard.home / "context.tar"
    archive.write_bytes(tar({"Dockerfile": ("FROM %s\nCOPY . /app\n" % yard.base).encode(), "file": b"1", ".dockerignore": b"nothing\n"}))
    path = pack(archive, kind) if kind else archive
    done, _again = four_times(**yard.params(path=str(path)))
    assert done["builder"] == PREFERRED[yard.engine.store.name] and yard.files()["app/file"] == b"1"
    path = yard.home / "next.tar"
    path.write_bytes(tar({"Dockerfile": ("FROM %s\nCOPY . /app\n" % yard.base).encode(), "file": b"2", ".dockerignore": b"nothing\n"}))
    assert reason(yard, path=str(path)) == "the context changed: changed file"


def test_a_dockerfile_beside_a_tar(yard):
    archive = yard.home / "context.tar"
    archive.write_bytes(tar({"file": b"1"}))
    outside = yard.write("../beside", "FROM %s\nCOPY . /app\n" % yard.base)
    done, _again = four_times(**yard.params(path=str(archive), dockerfile=os.path.normpath(outside)))
    assert done["builder"] == ("podman" if yard.site.podman else "classic")
    if not yard.site.podman:
        message = "builder: docker_cli cannot do a Dockerfile that is not in the tar of the context; classic can"
        refused(message, yard.params(path=str(archive), dockerfile=os.path.normpath(outside), builder="docker_cli", rebuild="always"))


def test_a_context_that_changes_while_it_is_sent_is_no_image(yard):
    yard.engine.after("GET", "/images/(docker.io/library/)?app:1/json", lambda: yard.write("file", "2"))
    result = refused("/context/file: changed while the build context was read: build again once nobody writes to it", yard.params(), [False])
    assert "images" not in result and yard.engine.image_id("app:1") is None


# Builders


def test_a_builder_may_be_named(docker_yard):
    done, _again = four_times(**docker_yard.params(builder="classic"))
    assert done["builder"] == "classic" and docker_yard.engine.builds[0].query["version"] == "1"


@pytest.mark.parametrize(
    ("store", "named", "message"),
    [
        ("classic", "podman", "builder: podman is none of this engine, which is Docker with the classic store: take auto, or one of buildkit"),
        ("podman", "buildkit", "builder: buildkit is none of this engine, which is Podman: take auto, or one of podman, podman_cli"),
    ],
)
def test_says_that_a_builder_is_of_another_engine(yards, store, named, message):
    refused(message, yards(store).params(builder=named))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ({"secrets": [{"id": "a", "value": "hunter2"}]}, "for secrets"),
        ({"ssh": ["default"]}, "for ssh"),
        ({"cache_from": ["app:cache"], "cache_to": ["type=inline"]}, "for cache_from and cache_to"),
        ({"builder": "docker_cli"}, ""),
    ],
)
def test_says_which_program_is_missing_and_what_for(docker_yard, monkeypatch, more, what):
    monkeypatch.setenv("PATH", str(docker_yard.home))
    words = "the command docker with BuildKit (packages docker-cli and docker-buildx) is needed%s, and this host has none: install it"
    refused(re.escape(words % (what and " " + what)), docker_yard.params(**more))


OLD_PROGRAM = "#!/bin/sh\n[ \"$1\" = --version ] && echo Docker version 20.10.24 && exit 0\nexit 1\n"


def test_a_docker_without_buildx_exports_no_cache(docker_yard, monkeypatch):
    program = docker_yard.home / "docker"
    program.write_text(OLD_PROGRAM)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:/bin:/usr/bin" % docker_yard.home)
    refused("the command docker with BuildKit .* is needed for cache_to", docker_yard.params(cache_to=["type=inline"]))
    assert run(image_build, check=True, **docker_yard.params(cache_from=["app:cache"]))["builder"] == "docker_cli"


def test_a_builder_that_cannot_is_refused_before_there_is_anything_to_build(podman_yard):
    four_times(**podman_yard.params())
    refused("builder: buildkit is none of this engine", podman_yard.params(builder="buildkit"))


def test_says_that_podman_lacks_its_program(podman_yard, monkeypatch):
    monkeypatch.setenv("PATH", str(podman_yard.home))
    refused("the command podman on the host of the engine is needed for ssh, and this host has none", podman_yard.params(ssh=["default"]))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# syntax=example.com/frontend:1\nFROM %s\n", "no builder of this engine, which is Podman, can do the # syntax of the Dockerfile"),
        ("FROM %s\nHEALTHCHECK NONE\n", "can do HEALTHCHECK or SHELL in an image with timestamp, which Podman writes in OCI's format"),
    ],
)
def test_says_what_podman_cannot_do(podman_yard, text, message):
    podman_yard.write("Dockerfile", text % podman_yard.base)
    refused(message, podman_yard.params(timestamp="1"))


def test_says_that_the_classic_builder_knows_no_mounts(docker_yard):
    docker_yard.write("Dockerfile", "FROM %s\nRUN --mount=type=cache,target=/c true\n" % docker_yard.base)
    message = r"builder: classic cannot do what the Dockerfile uses \(.*mount.*\); buildkit or docker_cli can"
    refused(message, docker_yard.params(builder="classic"))


STUB = """#!/bin/sh
[ "$2" = version ] && exit 0
printf '%s\\n' "$@" > "$STUB/arguments"
while [ $# -gt 0 ]; do
    [ "$1" = --metadata-file ] || [ "$1" = --iidfile ] && result=$2
    [ "$1" = --file ] && cp "$2" "$STUB/Dockerfile"
    last=$1; shift
done
[ "$last" = - ] && cat > "$STUB/tar"
[ -z "$WRITES" ] || echo more > "$WRITES"
printf '%s' "$IMAGE" > "$result"
"""


@pytest.fixture(name="program")
def _program(alone, monkeypatch):
    """Programs that keep what they are given, and say that an image came of it."""
    for name in ("docker", "podman"):
        (alone / name).write_text(STUB)
        (alone / name).chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (alone, os.environ["PATH"]))
    monkeypatch.setenv("STUB", str(alone))

    def made(identity):
        monkeypatch.setenv("IMAGE", identity)
        return alone

    return made


def test_a_program_gets_the_context_and_no_secret_as_an_argument(yard, program):
    yard.engine.hold(OTHER._replace(names=("docker.io/library/other:1",)))
    there = program(yard.engine.image_id("other:1"))
    more = {"secrets": [{"id": "token", "value": "hunter2"}], "secret_build_args": {"VERSION": "hunter3"}, "ssh": ["default"]}
    done = run(image_build, **yard.params(**more))
    assert done["builder"] == ("podman_cli" if yard.site.podman else "docker_cli")
    assert yard.engine.image_id("app:1") == yard.engine.image_id("other:1") and yard.builds == 0
    arguments = (there / "arguments").read_text()
    assert "hunter" not in arguments and "--secret\nid=token,src=" in arguments and "--ssh\ndefault" in arguments
    with tarfile.open(str(there / "tar")) as archive:
        assert {"Dockerfile", "file"} <= set(archive.getnames())


@pytest.mark.parametrize("inline", [True, False])
def test_docker_reads_a_folder_itself_where_the_dockerfile_is_hidden(docker_yard, program, inline):
    docker_yard.engine.hold(OTHER._replace(names=("docker.io/library/other:1",)))
    there = program(docker_yard.engine.image_id("other:1"))
    text = "FROM %s\nRUN true\n" % docker_yard.base
    (docker_yard.home / "outside").write_text(text)
    done = run(image_build, **docker_yard.params(builder="docker_cli", **({"dockerfile_inline": text} if inline else {"dockerfile": "../outside"})))
    assert done["builder"] == "docker_cli" and not (there / "tar").exists()
    assert (there / "arguments").read_text().splitlines()[-1] == str(docker_yard.path)
    assert (there / "Dockerfile").read_text() == text


def test_docker_reads_a_folder_that_changes(docker_yard, program, monkeypatch):
    docker_yard.engine.hold(OTHER._replace(names=("docker.io/library/other:1",)))
    program(docker_yard.engine.image_id("other:1"))
    monkeypatch.setenv("WRITES", str(docker_yard.path / "file"))
    params = docker_yard.params(builder="docker_cli", dockerfile_inline="FROM %s\nCOPY . /app\n" % docker_yard.base)
    refused("/context: changed while the build read it: build again once nobody writes to it", params, [False])
    assert docker_yard.engine.image_id("app:1") is None


# What goes wrong


def test_a_step_that_fails_is_named_with_what_it_printed(yard):
    run(image_build, **yard.params())
    before = yard.engine.image_id("app:1")
    yard.write("Dockerfile", "FROM %s\nRUN echo well\nRUN echo so far && exit 3\n" % yard.base)
    told = run(image_build, True, **yard.params())
    result = refused("^app:1: the build failed at .*RUN echo so far.*3.*; it printed last: so far$", yard.params(), [False])
    assert (result["changed"], result["images"], result["builder"]) == (False, [], PREFERRED[yard.engine.store.name])
    assert (result["reason"], result["build_digest"]) == (told["reason"], told["build_digest"])
    assert "well" in result["log"] and "so far" in result["log"]
    assert yard.engine.image_id("app:1") == before


def test_a_step_that_fails_in_silence(one_yard):
    one_yard.write("Dockerfile", "FROM %s\nRUN false\n" % one_yard.base)
    assert "printed last" not in refused("app:1: the build failed at .*RUN false", one_yard.params(), [False])["msg"]


def test_all_of_a_log_is_there_if_the_build_failed_and_else_its_end(yard):
    lines = "".join("RUN echo line %d\n" % number for number in range(30))
    yard.write("Dockerfile", "FROM %s\n%s" % (yard.base, lines))
    log = run(image_build, **yard.params())["log"]
    assert len(log) == 20 and "line 29" in log and "line 1" not in log
    yard.write("Dockerfile", "FROM %s\nRUN true\n%sRUN false\n" % (yard.base, lines))
    log = refused("RUN false", yard.params(), [False])["log"]
    assert {"line %d" % number for number in range(30)} <= set(log)


def test_says_what_the_builder_says_of_a_dockerfile_that_it_cannot_read(yard):
    yard.write("Dockerfile", "FROM %s\nRUM true\n" % yard.base)
    result = refused("app:1: the build failed.*nknown instruction: .?RUM", yard.params(), [False])
    assert result["images"] == [] and yard.engine.image_id("app:1") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [("RUN true\n", "Dockerfile has no FROM"), ("FROM $NONE\n", "Dockerfile, line 1: FROM .*NONE names no image"), ("", "Dockerfile has no FROM")],
)
def test_says_that_a_dockerfile_names_no_image(one_yard, text, message):
    one_yard.write("Dockerfile", text)
    refused(message, one_yard.params())
    assert one_yard.builds == 0


def test_says_that_there_is_no_such_stage(one_yard):
    one_yard.write("Dockerfile", "FROM %s AS build\n" % one_yard.base)
    refused("Dockerfile has no stage 'biuld': it has build; did you mean build.", one_yard.params(target="biuld"))


@pytest.mark.parametrize("after", [None, 100])
def test_says_that_the_engine_went_away(yard, after):
    yard.engine.break_build(after)
    refused("the engine at %s .*broke" % re.escape(yard.engine.url), yard.params(), [False])
    assert yard.engine.image_id("app:1") is None


def test_says_that_the_engine_refuses_the_build(yard):
    yard.engine.answer("POST", "(/v.*)?(/libpod)?/build", 500, {"message": "no space left on device"})
    refused("app:1: the build failed: no space left on device", yard.params(), [False])


def test_says_that_the_engine_refuses_a_tag(yard):
    yard.engine.answer("POST", "/images/.*/tag", 500, {"message": "read-only file system"})
    refused("read-only file system", yard.params(), [False])


@pytest.mark.parametrize(
    ("target", "named"), [("../up", "link"), ("sub/../../up", "link"), ("..", "link"), ("..up", None), ("sub/../up", None), ("/up", None)]
)
def test_says_why_podman_may_refuse_a_context(podman_yard, target, named):
    (podman_yard.path / "link").symlink_to(target)
    podman_yard.engine.answer("POST", "/build", 500, {"message": ""})
    message = refused("app:1: the build failed", podman_yard.params(), [False])["msg"]
    advice = ": Podman takes no context with a link that leads out of it, as link does: make it absolute, or leave it out by .dockerignore"
    assert message.endswith(advice) == bool(named)


# Secrets


def test_no_secret_is_shown(podman_yard):
    podman_yard.write("Dockerfile", "FROM %s\nARG KEY\nRUN echo $KEY\nRUN echo file-secret\n" % podman_yard.base)
    file = podman_yard.home / "secret"
    file.write_text("file-secret\nx\n")
    secrets = [{"id": "a", "src": str(file)}, {"id": "b", "value": "value-secret"}]
    params = podman_yard.params(secrets=secrets, secret_build_args={"KEY": "arg-secret"})
    for text in (None, "FROM %s\nARG KEY\nRUN echo $KEY value-secret && echo file-secret && false\n" % podman_yard.base):
        if text:
            podman_yard.write("Dockerfile", text)
        for check in (True, False):
            result = outcome(image_build, check, params)
            assert bool(result.get("failed")) == bool(text and not check)
            assert not re.search("(file|value|arg)-secret", json.dumps(result))
        assert any("********" in line for line in result["log"])
    assert podman_yard.engine.builds[0].query["buildargs"] == {"KEY": "arg-secret"}
    kept = "".join(path.read_text() for path in podman_yard.cache.iterdir())
    assert "secret" not in kept


def test_a_secret_argument_is_a_cause_as_any_other(podman_yard):
    run(image_build, **podman_yard.params(secret_build_args={"VERSION": "hunter2"}))
    assert "pbkdf2:" in podman_yard.config()["Labels"][INPUTS]
    assert reason(podman_yard, secret_build_args={"VERSION": "hunter2"}) is None
    assert reason(podman_yard, secret_build_args={"VERSION": "hunter3"}) == "the argument VERSION changed"


# The same image anywhere


@pytest.mark.parametrize("store", ["containerd", "podman"])
@pytest.mark.parametrize("said", ["1700000000", "source"])
def test_a_timestamp_makes_two_builds_the_same(yards, monkeypatch, store, said):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    yard = yards(store)
    params = yard.params(timestamp=said, cache=False)
    done, _again = four_times(**params)
    again = run(image_build, **dict(params, rebuild="always"))
    assert done["images"][0]["image_id"] == again["images"][0]["image_id"] and not again["changed"]
    assert reason(yard, timestamp="1700000000") is None
    assert reason(yard, timestamp="1700000001") == "the option timestamp changed"


def test_says_that_the_classic_store_cannot_do_it(yards):
    message = "no builder of this engine, which is Docker with the classic store, can do timestamp: Docker 26 or later can"
    refused(message, yards("classic").params(timestamp="1"))


# What is written wrongly


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tags": []}, "tags: name at least one reference for the image"),
        ({"tags": ["app:1@sha256:" + "a" * 64]}, "a digest follows from what an image is and cannot be given to one: write app:1$"),
        ({"tags": ["not/A/reference"]}, "not/A/reference.* is not an image reference"),
        ({"build_args": {"A": {"b": 1}}}, "build_args: the value of A is a dict: write a string"),
        ({"build_args": {"A": None}}, "build_args: the value of A is missing: write a string"),
        ({"secret_build_args": {"A": [1]}}, "secret_build_args: the value of A is a list: write a string"),
        ({"labels": {"a": None}}, "labels: the value of a is missing: write a string"),
        ({"timestamp": "yesterday"}, "timestamp: it is yesterday: give seconds since 1970"),
        ({"timestamp": "-1"}, "timestamp: it is -1: give seconds since 1970"),
        ({"timestamp": ""}, "timestamp: it is '': give seconds since 1970"),
        ({"timestamp": "source"}, "timestamp: SOURCE_DATE_EPOCH is not set where the module runs: give seconds since 1970"),
        ({"platform": "vax"}, "vax'? is not a platform"),
        ({"secrets": [{"id": "a", "value": "1"}, {"id": "a", "value": "2"}]}, "secrets: there are two of the id a"),
        ({"secrets": [{"id": "a", "src": "/nowhere/secret"}]}, "secrets: /nowhere/secret cannot be read: No such file or directory"),
        ({"secrets": [{"id": "a,src=/etc", "value": "1"}]}, "secrets: 'a,src=/etc' is no id: it is made of letters, digits and . _ -"),
        ({"secrets": [{"id": "a"}]}, "one of the following is required: src, value found in secrets"),
        ({"secrets": [{"id": "a", "src": "/a", "value": "b"}]}, "parameters are mutually exclusive: src.value found in secrets"),
        ({"path": None}, "one of the following is required: path, dockerfile_inline"),
        ({"dockerfile": "a", "dockerfile_inline": "FROM scratch"}, "parameters are mutually exclusive: dockerfile.dockerfile_inline"),
        ({"path": "/nowhere/context"}, "path: there is no /nowhere/context on this host: give the folder or tar of the context"),
        ({"dockerfile": "none"}, "/context/none cannot be read: No such file or directory"),
        ({"rebuild": "never"}, "value of rebuild must be one of"),
        ({"builder": "kaniko"}, "value of builder must be one of"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, dict) else "",
)
def test_says_which_option_is_wrong(yards, monkeypatch, more, message):
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    yard = yards("classic")
    params = dict(yard.params(), **more)
    refused(message, {name: value for name, value in params.items() if value is not None})
    assert yard.builds == 0
