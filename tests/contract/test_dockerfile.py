# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The images that we read from a Dockerfile are those that real builders need: with these alone they build, without one they do not."""

from __future__ import annotations

import json
import re
from typing import Any, Iterator

import engines
import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import BadDockerfile
from ansible_collections.stowage.oci.plugins.module_utils._oci.dockerfile import parse
from ansible_collections.stowage.oci.tests.unit.images import docker_archive, image, layer, tar

# Nobody listens there, so that what is not loaded cannot be had.
HOST = "127.0.0.1:1/"
IMAGES = {name: image([layer({name: name.encode()})], names=["%s%s:1" % (HOST, name)], history=[{"created_by": name}]) for name in "abcd"}

OLD, OLD_KIT, NEW, NEW_KIT, PODMAN = BUILDERS = (
    ("docker-20.10", 1), ("docker-20.10", 2), ("docker-28", 1), ("docker-28", 2), ("podman-4", 1),
)
ALL = set(BUILDERS)

# Text, where @a is an image; who builds it.
CASES = {
    "plain": ("FROM @a\nLABEL k=v", ALL),
    "signs and ends": ("\ufeff# words\r\n\r\n  from\t@a\r\nlabel k=v\r\n", ALL),
    "continued": ("FROM \\\n\n # words\n  @a \\  \nAS x\nLABEL k=\\\n# FROM @b\n\nFROM", ALL),
    "not continued": ("FROM @a\nLABEL k=x\\\\\nFROM @b\nLABEL k=v", ALL - {PODMAN}),
    "escape": ("# escape=`\nFROM `\n@a\nLABEL k=c:\\\nFROM `\n@b\nLABEL k=v", ALL),
    "no directive": ("# words\n# escape=`\nFROM \\\n@a\nLABEL k=v", ALL),
    "quotes": ('FROM "@a"\nLABEL k=v', ALL),
    "unused stage": ("FROM @a AS x\nLABEL k=v\nFROM @b\nLABEL k=v", ALL),
    "stage of a stage": ("FROM @a AS x\nLABEL k=v\nFROM x\nLABEL k=w", ALL),
    "copies": ("FROM @a AS base\nLABEL k=v\nFROM @b\nCOPY --from=base /a /x\nCOPY --from=0 /a /y\nCOPY --from=@c /c /z", ALL),
    "case": ("FROM @a AS Base\nLABEL k=v\nFROM @b\nCOPY --from=bASE /a /x", ALL - {PODMAN}),
    "scratch": ("FROM @a AS x\nLABEL k=v\nFROM scratch\nCOPY --from=x /a /x", ALL),
    "later": ("FROM @a AS x\nCOPY --from=y /b /x\nFROM @b AS y\nLABEL k=v\nFROM x\nLABEL k=v", {OLD_KIT}),
    "number": ("FROM @a\nLABEL k=v\nFROM 0\nLABEL k=w", {PODMAN}),
    "arguments": ("ARG N=a\nARG I=127.0.0.1:1/$N V\nFROM $I:${V:-1}\nLABEL k=v", ALL),
    "patterns": ("ARG N=xa\nFROM 127.0.0.1:1/${N#x}:${N:+1}\nLABEL k=v", {NEW, NEW_KIT}),
    "stage of a variable": ("ARG S=x\nFROM @a AS x\nLABEL k=v\nFROM @b AS y\nLABEL k=v\nFROM $S\nLABEL k=w", ALL - {PODMAN}),
    "copy of a variable": ("ARG N=b\nFROM @a\nARG N\nCOPY --from=127.0.0.1:1/$N:1 /b /x", {PODMAN}),
    "platform": ("FROM --platform=$BUILDPLATFORM @a\nLABEL k=v", ALL - {OLD, NEW}),
    "platform by default": ("ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM @a\nLABEL k=v", ALL),
    "another platform": ("ARG BUILDPLATFORM=linux/s390x\nFROM --platform=$BUILDPLATFORM @a\nLABEL k=v", ALL - {OLD_KIT, NEW_KIT}),
    "documents": ("FROM @a\nCOPY <<E <<-'F' /\nFROM @b\nE\nFROM @c\n\tF\nCOPY --from=@d /d /x", {NEW_KIT}),
    "onbuild": ("FROM @a AS x\nONBUILD COPY --from=@b /b /x\nFROM x\nLABEL k=v", ALL - {OLD_KIT}),
}
REFUSED = {
    "empty": "",
    "no from": "LABEL k=v\n",
    "no image": "FROM\nLABEL k=v",
    "unset": "ARG N\nFROM ${N}\nLABEL k=v",
    "stage argument": "FROM @a AS x\nARG N=@b\nFROM $N",
    "asked for": "FROM @a${N:?wanted}\nLABEL k=v",
    "not closed": "FROM @a${N\nLABEL k=v",
    "escape": "# escape=x\nFROM @a\nLABEL k=v",
}


def written(text: str) -> bytes:
    for name in IMAGES:
        text = text.replace("@" + name, "%s%s:1" % (HOST, name))
    return text.encode("utf-8")


class Builder:
    def __init__(self, engine: engines.Engine, version: int) -> None:
        self.engine, self.version = engine, version
        self.kind = (engine.kind, version)
        self.every = self.kind in (OLD, NEW)

    def load(self, names: set[str]) -> None:
        """These images and no others."""
        self.engine.wipe()
        for name in sorted(names):
            self.engine.call("POST", "/images/load", tar(docker_archive([IMAGES[name]])), {"Content-Type": "application/x-tar"})

    def builds(self, text: bytes, target: str = "") -> str:
        """Why not, or nothing."""
        query = "/build?version=%d&t=result:1&target=%s" % (self.version, target)
        try:
            answer = self.engine.call("POST", query, tar({"Dockerfile": text}), {"Content-Type": "application/x-tar"})
        except engines.CallError as error:
            return str(error)
        return next((line["error"] for line in map(json.loads, answer.splitlines()) if "error" in line), "")


@pytest.fixture(params=BUILDERS, ids=lambda builder: "%s-%d" % builder)
def builder(request: pytest.FixtureRequest, running: Any) -> Iterator[Builder]:
    yield Builder(running(request.param[0]), request.param[1])


@pytest.mark.parametrize("case", CASES)
def test_builds_with_the_images_that_it_names_and_no_less(builder, case):
    text, builders = written(CASES[case][0]), CASES[case][1]
    bases = parse(text, "Dockerfile").bases({"BUILDPLATFORM": "linux/amd64", "TARGETPLATFORM": "linux/amd64"}, every=builder.every)
    names = {base.reference[len(HOST)] for base in bases if base.reference.startswith(HOST)}
    builder.load(names)
    why = builder.builds(text)
    # The classic builder takes digits for the beginning of an ID that it has, if it has such a one.
    assert (why == "") == (builder.kind in builders) or (case == "number" and builder.every), why
    # Podman tries for seconds to pull what is not there: one case of it is enough.
    lacking = why == "" and len(names) > 1 and (builder.kind[0] != "podman-4" or case == "onbuild")
    for name in names if lacking else ():
        builder.load(names - {name})
        why = builder.builds(text)
        assert re.search("connection refused|no stage or image found", why), "it does not need %s: %s" % (name, why)


@pytest.mark.parametrize("case", REFUSED)
def test_what_we_refuse_nobody_builds(builder, case):
    text = written(REFUSED[case])
    with pytest.raises(BadDockerfile):
        parse(text, "Dockerfile").bases({})
    builder.load(set(IMAGES))
    assert builder.builds(text)
