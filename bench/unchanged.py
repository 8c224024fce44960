# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images that are declared and as the registry has them: one task of image_pull, and a loop over the peer's module that asks the registry
too, community.docker's with `pull: always` or containers.podman's with `force`, each in a play. The floor is a play of one `ping`.
"""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Iterator, NamedTuple

import bench
import content
import engines

TITLE = "images declared, and unchanged"

OURS, PEER, FORCED, FLOOR = "image_pull", "docker_image_pull", "podman_image", "floor"
"""FORCED says that it changed something, whatever it did."""


class Site(NamedTuple):
    """A kind of engine: how many images are declared, and how many times the floor the most of them may take."""

    title: str
    peer: str
    counts: tuple[int, ...]
    at_most: float | None = None


SITES = {
    "docker-28": Site("classic store", PEER, (1, 20, 50), 1.5),
    "docker-28-containerd": Site("containerd store", PEER, (1, 20, 50), 2),
    "podman-4": Site("Podman", FORCED, (20,)),
}


def cases(folder: Path, stack: ExitStack) -> Iterator[bench.Case]:
    registry = stack.enter_context(engines.registry(folder / "registry"))
    images = [_image(registry, f"team-{number % 5}/app-{number:02}") for number in range(50)]
    for kind, site in SITES.items():
        with engines.start(kind, folder / kind) as engine:
            bench.measure(_play(folder, engine, OURS, images))
            for count in site.counts:
                contenders = [_contender(folder, engine, name, images[:count]) for name in (OURS, site.peer, FLOOR)]
                aims = (bench.Aim(OURS, FLOOR, site.at_most),) if site.at_most and count == len(images) else ()
                yield bench.Case(f"{site.title}: {count} image{'s' * (count > 1)}", contenders, aims, main=count != 20 or kind == "podman-4")


def _image(registry: engines.Registry, repository: str) -> str:
    """Five layers, three of them those of all."""
    seeds = [f"base {number}" for number in range(3)] + [f"{repository} {number}" for number in range(2)]
    name = f"{repository}:1"
    content.tag(registry, name, content.put_image(registry, repository, [content.put_layer(registry, repository, seed, 1000) for seed in seeds]))
    return f"{registry.host}/{name}"


def _contender(folder: Path, engine: engines.Engine, name: str, images: list[str]) -> bench.Contender:
    def check(printed: str) -> None:
        assert re.search(f"ok=1 +changed={name == FORCED:d} ", printed), printed

    return bench.Contender(name, lambda: _play(folder, engine, name, images), check)


def _play(folder: Path, engine: engines.Engine, name: str, images: list[str]) -> bench.Command:
    tasks: dict[str, dict[str, Any]] = {
        OURS: {"stowage.oci.image_pull": {"engine_host": engine.url, "images": images, "plain_http": True}},
        PEER: {
            "community.docker.docker_image_pull": {"docker_host": engine.url, "name": "{{ item }}", "pull": "always"}, "loop": images,
        },
        FORCED: {"containers.podman.podman_image": {"name": "{{ item }}", "force": True}, "loop": images},
        FLOOR: {"ansible.builtin.ping": {}},
    }
    command = bench.play(folder, tasks[name])
    environ = engines.programs(engine)
    return bench.Command(["env", *(f"{key}={value}" for key, value in environ.items()), *command.argv])
