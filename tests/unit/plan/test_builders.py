# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._plan.builders import BUILDERS, CAPABLE, beside, choose

DOCKER, MODERN, OLD, PODMAN = ("classic", (1, 51)), ("containerd", (1, 51)), ("containerd", (1, 44)), ("podman", (1, 41))


def asked(answer):
    """What is told of programs; asking for one when nothing hangs on it is a waste."""

    def there(builder):
        assert builder in ("docker_cli", "podman_cli")
        return answer

    return there


def never(builder):
    raise AssertionError("%s was looked for" % builder)


@pytest.mark.parametrize(
    ("engine", "needs", "wished", "builder"),
    [
        (DOCKER, {}, "auto", "buildkit"),
        (DOCKER, {"features": "mount"}, "auto", "buildkit"),
        (DOCKER, {"hidden": ""}, "auto", "classic"),
        (DOCKER, {"base_id": ""}, "auto", "classic"),
        (DOCKER, {}, "classic", "classic"),
        (MODERN, {"timestamp": ""}, "auto", "buildkit"),
        (MODERN, {"timestamp": "", "docker_format": ""}, "auto", "buildkit"),
        (PODMAN, {}, "auto", "podman"),
        (PODMAN, {"secrets": "", "timestamp": "", "hidden_beside_tar": ""}, "auto", "podman"),
    ],
)
def test_what_an_engine_can_do_by_its_api_needs_no_program(engine, needs, wished, builder):
    assert choose(*engine, needs, wished, never) == builder


@pytest.mark.parametrize(
    ("engine", "needs", "wished", "builder"),
    [
        (DOCKER, {"secrets": ""}, "auto", "docker_cli"),
        (DOCKER, {"features": "mount", "hidden": ""}, "auto", "docker_cli"),
        (MODERN, {}, "docker_cli", "docker_cli"),
        (PODMAN, {"ssh": ""}, "auto", "podman_cli"),
        (PODMAN, {"cache_to": ""}, "podman_cli", "podman_cli"),
    ],
)
def test_a_program_is_taken_for_what_it_alone_can_do(engine, needs, wished, builder):
    assert choose(*engine, needs, wished, asked(True)) == builder


@pytest.mark.parametrize(
    ("engine", "needs", "wished", "words"),
    [
        (
            DOCKER, {"secrets": ""}, "auto",
            "the command docker with BuildKit (packages docker-cli and docker-buildx) is needed for secrets, and this host has none: install it",
        ),
        (PODMAN, {}, "podman_cli", "the command podman on the host of the engine is needed, and this host has none: install it"),
        (
            DOCKER, {"timestamp": ""}, "auto",
            "no builder of this engine, which is Docker with the classic store, can do timestamp: Docker 26 or later can, with the containerd "
            "store, and Podman can",
        ),
        (OLD, {"timestamp": ""}, "buildkit", "builder: buildkit cannot do timestamp; no builder of this engine can"),
        (
            PODMAN, {"timestamp": "", "docker_format": ""}, "auto",
            "no builder of this engine, which is Podman, can do HEALTHCHECK or SHELL in an image with timestamp, which Podman writes in OCI's format",
        ),
        (
            DOCKER, {"features": "mount", "hidden_beside_tar": ""}, "auto",
            "no builder of this engine, which is Docker with the classic store, can do what the Dockerfile uses (mount) and a Dockerfile that is "
            "not in the tar of the context",
        ),
        (DOCKER, {"secrets": "", "ssh": ""}, "classic", "builder: classic cannot do secrets and ssh; docker_cli can"),
        (DOCKER, {}, "podman", "builder: podman is none of this engine, which is Docker with the classic store: take auto, or one of buildkit, "
                               "classic, docker_cli"),
        (PODMAN, {}, "buildkit", "builder: buildkit is none of this engine, which is Podman: take auto, or one of podman, podman_cli"),
    ],
)
def test_says_why_nobody_can(engine, needs, wished, words):
    with pytest.raises(InvalidInput) as caught:
        choose(*engine, needs, wished, asked(False))
    assert str(caught.value) == words


def test_the_table_speaks_of_builders_that_there_are():
    assert {builder for able in CAPABLE.values() for builder in able} <= set(BUILDERS)


def test_a_dockerfile_in_sight_needs_nothing_beside_it():
    assert beside("buildkit", None, None) == (None, {})
    assert beside("classic", None, b"*.log") == (None, {})
    assert beside("podman", None, b"*.log") == (None, {".containerignore": b".containerignore\n"})


def test_a_hidden_dockerfile_has_a_name_that_the_builder_leaves_out():
    name, files = beside("classic", b"FROM scratch", b"*.log")
    assert files == {name: b"FROM scratch", ".dockerignore": b"*.log\n" + name.encode() + b"\n"}

    alone, files = beside("classic", b"FROM scratch", None)
    assert alone == name and files[".dockerignore"] == b".dockerignore\n" + name.encode() + b"\n"

    assert beside("podman", b"FROM scratch", b"*.log")[1][".containerignore"] == b".containerignore\n" + name.encode() + b"\n"
    assert beside("classic", b"FROM other", None)[0] != name
