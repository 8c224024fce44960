# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The containerd store names an image by its manifest: that it has this config is told by all that inspect shows of it."""

from __future__ import annotations

import json
from typing import Any

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.image import fingerprint_of_inspect, parse_config
from ansible_collections.stowage.oci.tests.unit import images
from ansible_collections.stowage.oci.tests.unit.images import Made, image, layer

BASE = layer({"etc/name": b"base"})
TOP = layer({"app": b"1"}, "gzip")
RICH: dict[str, Any] = {
    "User": "1000:1000",
    "ExposedPorts": {"80/tcp": {}, "53/udp": {}},
    "Env": ["PATH=/bin", "EMPTY=", "ODD=<&>\u2028é"],
    "Entrypoint": ["/bin/sh", "-c"],
    "Cmd": ["echo", ""],
    "Volumes": {"/data": {}},
    "WorkingDir": "/srv",
    "Labels": {"org.example.a": "1", "empty": "", "long": "x" * 5000},
    "StopSignal": "SIGQUIT",
    "StopTimeout": 30,
    "Shell": ["/bin/bash", "-c"],
    "OnBuild": ["RUN echo one", "COPY . /"],
    "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 5000000000, "Timeout": 1000000, "StartPeriod": 1000000, "Retries": 3},
    "ArgsEscaped": True,
}
CONFIGS = {
    "rich": {"config": RICH},
    "minimal": {},
    "docker's own fields": {
        "config": dict(
            RICH, Hostname="abc", Domainname="d", AttachStdin=False, AttachStdout=True, AttachStderr=True, Tty=True, OpenStdin=True, StdinOnce=True,
            Image="sha256:" + "0" * 64,
        ),
        "container": "0" * 64, "docker_version": "20.10.24", "author": "somebody", "comment": "imported",
        "history": [{"created_by": "one"}, {"created_by": "two"}],
        "container_config": {"Cmd": ["x"]},
    },
    "empty fields": {"config": {"Cmd": None, "Env": [], "Labels": {}, "User": "", "OnBuild": None, "Volumes": None, "Healthcheck": None}},
    "health of a start": {"config": {"Healthcheck": {"Test": ["CMD", "true"], "StartInterval": 2000000000}}},
    "health that is off": {"config": {"Healthcheck": {"Test": ["NONE"]}}},
    "health without times": {"config": {"Healthcheck": {"Test": ["CMD", "true"], "Interval": 0, "Retries": 0}}},
    "no created": {"created": None},
    "fraction": {"created": "2024-05-01T10:00:00.123456789Z"},
    "fraction that ends in zeros": {"created": "2024-05-01T10:00:00.120000000Z"},
    "fraction of nothing": {"created": "2024-05-01T10:00:00.000Z"},
    "zone": {"created": "2024-05-01T10:00:00+02:00"},
    "zone and fraction": {"created": "2024-05-01T10:00:00.500-07:30"},
    "zone of nothing": {"created": "2024-05-01T10:00:00+00:00"},
    "the epoch": {"created": "1970-01-01T00:00:00Z"},
    "no time at all": {"created": "0001-01-01T00:00:00Z"},
    "arm": {"platform": "linux/arm/v6", "config": {"Cmd": ["/app"]}},
    "arm without a variant": {"platform": "linux/arm", "config": {"Cmd": ["/app"]}},
    "arm64": {"platform": "linux/arm64/v8", "config": {"Cmd": ["/app"]}},
    "the system's version": {"config": {"Cmd": ["/app"]}, "os.version": "10.0.1", "os.features": ["win32k"]},
    "fields that nobody knows": {"config": {"Cmd": ["/app"]}, "org.example": 1},
}


def made(name: str, docker: bool) -> Made:
    return image([BASE, TOP], ["docker.io/library/app:1"], docker=docker, **CONFIGS[name])


def loaded(engine: engines.Engine, one: Made) -> dict[str, Any]:
    """What the engine shows of an image of which it was told nothing else."""
    engine.call("POST", "/images/load", images.tar(images.layout([one._replace(names=())], docker=True)))
    return engine.json("GET", f"/images/{one.digest}/json")


@pytest.mark.parametrize("docker", [False, True], ids=["oci", "docker"])
@pytest.mark.parametrize("name", CONFIGS)
def test_inspect_shows_the_fingerprint_of_the_config(containerd, name, docker):
    one = made(name, docker)
    shown = loaded(containerd, one)
    assert shown["Id"] == one.digest
    assert shown["RootFS"]["Layers"] == one.diff_ids
    assert fingerprint_of_inspect(shown) == parse_config(one.config, "config").fingerprint


# Those in one line say the same; docker's own fields are no part of an image to this store.
ALIKE = [
    {"rich", "docker's own fields"},
    {"minimal", "empty fields", "fraction of nothing", "zone of nothing"},
    {"no created", "no time at all"},
    {"the system's version", "fields that nobody knows"},
]


def test_another_config_has_another_fingerprint():
    groups: dict[str, set[str]] = {}
    for name in CONFIGS:
        groups.setdefault(parse_config(made(name, False).config, "config").fingerprint, set()).add(name)
    assert sorted(map(sorted, (group for group in groups.values() if len(group) > 1))) == sorted(map(sorted, ALIKE))


def test_an_engine_leaves_out_the_stop_timeout_alone(containerd):
    shown = loaded(containerd, made("rich", False))
    assert {key for key in RICH if key not in shown["Config"]} == {"StopTimeout"}
    config = json.loads(made("rich", False).config)["config"]
    assert {key: shown["Config"][key] for key in RICH if key != "StopTimeout"} == {key: config[key] for key in RICH if key != "StopTimeout"}
