# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds by the engines in memory and by the real ones, as our client reads them, held to the same: see test_fakes_hold.py."""

from __future__ import annotations

import functools
import io
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._engine import build
from ansible_collections.stowage.oci.plugins.module_utils._engine.engine import Engine
from ansible_collections.stowage.oci.plugins.module_utils._engine.transport import Transport
from ansible_collections.stowage.oci.plugins.module_utils._errors import EngineError
from ansible_collections.stowage.oci.tests.contract.subjects import APP, KINDS, ONE, Subject, TIME, layer_tars
from ansible_collections.stowage.oci.tests.unit.fakes.engine import FakeEngine
from ansible_collections.stowage.oci.tests.unit.images import Layer, compress, image, tar

BUSYBOX = Path("/bin/busybox")
BUILDERS = {"classic": build.classic, "buildkit": build.buildkit, "podman": build.podman}


@functools.lru_cache(maxsize=None)
def _program() -> Layer:
    """A shell: a real engine runs it for a RUN."""
    file, shell = tarfile.TarInfo("bin/busybox"), tarfile.TarInfo("bin/sh")
    file.size, file.mode = BUSYBOX.stat().st_size, 0o755
    shell.type, shell.linkname = tarfile.SYMTYPE, "busybox"
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        archive.addfile(file, io.BytesIO(BUSYBOX.read_bytes()))
        archive.addfile(shell)
    return Layer(out.getvalue(), compress(out.getvalue(), "gzip"), "gzip")


@dataclass
class Yard:
    """An engine that has ``shell:1``, and one of its builders; ``kind`` is BUILDERS' or ``podman, timestamp``."""

    subject: Subject
    kind: str

    @property
    def builder(self) -> str:
        return self.kind.partition(",")[0]

    def build(self, recipe: str, files: dict[str, bytes] | None = None, **order: Any) -> build.Built:
        order = dict({"timestamp": 1000} if "timestamp" in self.kind else {}, network="none", **order)
        context = tar(dict({"Dockerfile": recipe.encode()}, **files or {}))
        return BUILDERS[self.builder](self.subject.client(), build.Order(**order), [context])

    def made(self, *args: Any, **order: Any) -> str:
        """The ID, of what can be built."""
        built = self.build(*args, **order)
        assert built.error is None and built.image_id
        return built.image_id

    def config(self, image_id: str) -> Any:
        return self.subject.inspect(image_id)["Config"]

    def content(self, image_id: str) -> dict[str, bytes]:
        """The files of all layers but those of the base."""
        raw = self.subject.call("GET", f"/images/{image_id}/get")[1]
        found = {}
        for data in layer_tars(raw):
            with tarfile.open(fileobj=io.BytesIO(data)) as archive:
                files = [(member, archive.extractfile(member)) for member in archive if member.isfile()]
                found.update({member.name: file.read() for member, file in files if file and not member.name.startswith(("bin/", "etc/", "run/"))})
        return found


KINDS_OF = {"docker": ("classic", "buildkit"), "podman": ("podman", "podman, timestamp")}
# Without Docker 28 and the classic store, to save time: 20.10 has that store, and 28 with the other one those builders.
YARDS = [
    (f"{which} {engine}", kind)
    for engine in KINDS if engine != "docker-28" for kind in KINDS_OF[engine[:6]] for which in ("fake", "real")
]


def among(kind: str, engine: str = "") -> Any:
    """Those of YARDS that a test is for."""
    chosen = [yard for yard in YARDS if yard[1].startswith(kind) and engine in yard[0]]
    return pytest.mark.parametrize(("subject", "yard"), chosen, ids=map(", ".join, chosen), indirect=True)


everywhere = among("")


@pytest.fixture
def yard(subject, request):
    kind = request.param
    history = [dict(TIME, created_by="COPY shell")]
    made = image([_program()], names=["docker.io/library/shell:1"], history=history, config={"Env": ["PATH=/bin"], "Labels": {"base": "yes"}})
    assert subject.load(made)[0] == 200
    return Yard(subject, kind)


FIRST = """ARG WHICH=none
FROM docker.io/library/${WHICH}:1
ARG WORD=one
ENV SAID="$WORD two"
LABEL own=first both=file
RUN echo it says $WORD
COPY . /context/
CMD ["/bin/sh", "-c", "true"]
"""


@everywhere
def test_what_a_build_makes(yard):
    files = {"a": b"1", "d/b": b"2", "d/c": b"3"}
    order = {"args": {"WHICH": "shell", "WORD": "three"}, "labels": {"both": "query"}}
    built = yard.build(FIRST, files, **order)
    assert built.error is None and built.log.failing() is None
    assert "it says three" in built.log.lines
    assert any("RUN echo it says" in line for line in built.log.lines) and any("COPY . /context/" in line for line in built.log.lines)
    config = yard.config(built.image_id)
    assert {"base": "yes", "own": "first", "both": "query"}.items() <= config["Labels"].items()
    assert set(config["Labels"]) - {"base", "own", "both"} == ({"io.buildah.version"} if yard.builder == "podman" else set())
    assert (config["Env"], config["Cmd"]) == (["PATH=/bin", "SAID=three two"], ["/bin/sh", "-c", "true"])
    assert yard.content(built.image_id) == {"context/Dockerfile": FIRST.encode(), "context/a": b"1", "context/d/b": b"2", "context/d/c": b"3"}

    found = yard.subject.inspect(built.image_id)
    base = yard.subject.inspect("shell:1")
    assert found["Id"] == built.image_id and found["RepoTags"] == [] and not found["RepoDigests"]
    assert found["RootFS"]["Layers"][0] == base["RootFS"]["Layers"][0]
    assert len(found["RootFS"]["Layers"]) == (2 if yard.builder == "classic" else 3)
    assert bool(found["Parent"]) == (yard.builder != "buildkit")
    assert yard.subject.call("POST", f"/images/{built.image_id}/tag", repo="docker.io/library/tagged", tag="1")[0] == 201
    assert yard.subject.inspect("tagged:1")["Id"] == built.image_id
    # With a name it is deleted, whatever a builder remembers.
    assert yard.subject.call("DELETE", "/images/tagged:1")[0] == 200
    assert yard.subject.inspect(built.image_id) is None


@everywhere
def test_the_same_again(yard):
    order = {"args": {"WHICH": "shell"}, "labels": {"one": "label"}}
    first = yard.made(FIRST, {"a": b"1"}, **order)
    again = yard.build(FIRST, {"a": b"1"}, **order)
    assert again.image_id == first
    assert "it says one" not in again.log.lines
    assert any("cache" in line.lower() for line in again.log.lines)
    assert yard.made(FIRST, {"a": b"1"}, **dict(order, args={"WHICH": "shell", "UNUSED": "x"})) == first
    others = [
        yard.made(FIRST, {"a": b"2"}, **order),
        yard.made(FIRST, {"a": b"1", "b": b""}, **order),
        yard.made(FIRST, {"a": b"1"}, **dict(order, args={"WHICH": "shell", "WORD": "other"})),
        yard.made(FIRST, {"a": b"1"}, **dict(order, labels={"one": "other"})),
        yard.made(FIRST.replace("/bin/sh", "/bin/busybox"), {"a": b"1"}, **order),
    ]
    assert len({first, *others}) == 6
    assert yard.made(FIRST, {"a": b"1"}, **order) == first


@everywhere
def test_without_the_cache(yard):
    recipe = "FROM shell:1\nRUN echo word\nCOPY a /new/a\n"
    first = yard.made(recipe, {"a": b"1"})
    again = yard.build(recipe, {"a": b"1"}, cache=False)
    assert "word" in again.log.lines
    assert (again.image_id == first) == ("timestamp" in yard.kind)


@among("buildkit", "containerd")
def test_one_time_for_all(yard):
    recipe = "FROM shell:1\nRUN echo word\nCOPY a /new/a\n"
    one, two = [yard.made(recipe, {"a": b"1"}, timestamp=1000, cache=False) for _again in range(2)]
    assert yard.subject.inspect(two)["Created"] == "1970-01-01T00:16:40Z"
    assert one == two


@everywhere
def test_another_platform_than_the_engines(yard):
    name = yard.subject.offer("any:1", APP).replace("any", "only/here")
    history = [dict(TIME, created_by="COPY one")]
    yard.subject.load(image([ONE], names=[name], platform="linux/arm64", history=history))
    if (yard.builder, yard.subject.store) != ("classic", "containerd"):
        # That one has not unpacked its base.
        built = yard.build(f"FROM {name}\nCOPY Dockerfile /\n", platform="linux/arm64")
        assert built.error is None and yard.subject.inspect(built.image_id)["Architecture"] == "arm64"
    yard.subject.load(image([ONE], names=[name], history=history))
    built = yard.build(f"FROM {name}\nCOPY Dockerfile /\n", platform="linux/arm64")
    assert (built.error is None) == ((yard.builder, yard.subject.store) in [("classic", "classic"), ("buildkit", "containerd")])


@everywhere
def test_built_again_when_it_was_removed(yard):
    recipe = "FROM shell:1\nCOPY a /new/a\n"
    first = yard.made(recipe, {"a": b"1"})
    assert yard.subject.call("DELETE", f"/images/{first}")[0] == 200
    assert yard.subject.inspect(first) is None
    assert (yard.made(recipe, {"a": b"1"}) == first) == (yard.builder == "buildkit" or "timestamp" in yard.kind)


@everywhere
def test_stages(yard):
    recipe = """FROM shell:1 AS one
COPY a /made/a
FROM shell:1 AS other
RUN echo other
FROM one AS two
COPY b /made/
FROM scratch
COPY --from=two /made /
COPY --from=0 /made/a /again
COPY --from=docker.io/library/shell:1 /bin/busybox /tool
LABEL last=yes
"""
    files = {"a": b"1", "b": b"2"}
    built = yard.build(recipe, files)
    assert built.error is None
    assert ("other" in built.log.lines) == (yard.builder == "classic")
    assert yard.content(built.image_id) == {"a": b"1", "b": b"2", "again": b"1", "tool": BUSYBOX.read_bytes()}
    assert yard.config(built.image_id)["Labels"]["last"] == "yes"

    targeted = yard.made(recipe, files, target="two", labels={"more": "1"})
    assert yard.content(targeted) == {"made/a": b"1", "made/b": b"2"}
    labels = yard.config(targeted)["Labels"]
    # Podman puts the labels of a query into the last stage of the Dockerfile, whatever is built.
    assert labels["base"] == "yes" and ("more" in labels) == (yard.builder != "podman")
    missing = yard.build(recipe, files, target="three")
    assert missing.image_id is None and "three" in missing.error


@everywhere
def test_a_step_that_fails(yard):
    recipe = "FROM shell:1\nARG WORD=one\nRUN echo not this\nRUN echo before $WORD && false\nRUN echo after\n"
    built = yard.build(recipe)
    assert built.image_id is None
    step, last = built.log.failing()
    said = {"classic": "Step 4/5 : ", "buildkit": "[3/4] ", "podman": "STEP 4/5: "}[yard.builder]
    assert step == said + f"RUN echo before {'one' if yard.builder == 'buildkit' else '$WORD'} && false"
    assert last == ["before one"]
    assert "after" not in built.log.lines
    old = "executor failed running [/bin/sh -c echo before $WORD && false]: exit code: 1"
    new = 'process "/bin/sh -c echo before $WORD && false" did not complete successfully: exit code: 1'
    assert built.error == {
        "classic": "The command '/bin/sh -c echo before $WORD && false' returned a non-zero code: 1",
        "buildkit": old if yard.subject.old else new,
        "podman": 'building at STEP "RUN echo before $WORD && false": while running runtime: exit status 1',
    }[yard.builder]


@everywhere
def test_a_base_that_is_nowhere(yard):
    reference = yard.subject.offer("base:1", APP).replace("base:1", "no/base:1")
    built = yard.build(f"FROM {reference}\nCOPY Dockerfile /\n")
    assert built.image_id is None
    name = reference.rpartition(":")[0]
    podman = f"creating build container: initializing source docker://{reference}: reading manifest 1 in {name}: manifest unknown: manifest unknown"
    classic = f"manifest for {reference} not found: manifest unknown: manifest unknown"
    assert built.error == {
        "classic": f'failed to resolve reference "{reference}": {reference}: not found' if yard.subject.store == "containerd" else classic,
        "buildkit": ("" if yard.subject.old else f"{reference}: failed to resolve source metadata for {reference}: ") + f"{reference}: not found",
        "podman": podman,
    }[yard.builder]


@everywhere
def test_a_base_that_a_registry_has(yard):
    reference = yard.subject.offer("base:2", APP)
    found = yard.subject.inspect(yard.made(f"FROM {reference}\nCOPY Dockerfile /\n"))
    assert found["RootFS"]["Layers"][:2] == APP.diff_ids and found["Config"]["Labels"]["who"] == "me"
    assert (yard.subject.inspect(reference) is None) == (yard.builder == "buildkit")


@everywhere
def test_a_base_by_its_id(yard):
    built = yard.build(f"FROM {yard.subject.inspect('shell:1')['Id']}\nCOPY Dockerfile /\n")
    if yard.builder == "buildkit":
        assert built.image_id is None and "docker.io/library/sha256:" in built.error + "".join(built.log.lines)
    else:
        assert built.error is None and yard.config(built.image_id)["Labels"]["base"] == "yes"


@everywhere
def test_the_base_alone(yard):
    made, base = yard.made("FROM shell:1\n"), yard.subject.inspect("shell:1")
    assert (made == base["Id"]) == (yard.builder != "buildkit")


@pytest.mark.parametrize("recipe, words", [
    ("FROM scratch\nCOPPY a /\n", {"classic": "line 2: unknown instruction: COPPY", "podman": 'Unknown instruction: "COPPY"'}),
    ("FROM scratch\nCOPY a\n", {"classic": "line 2: COPY requires at least two arguments", "podman": "COPY requires at least"}),
    ("COPY a /\n", {"classic": "no build stage in current context", "podman": "no FROM statement found"}),
    ("", {"classic": "cannot be empty", "podman": "no contents in"}),
])
@everywhere
def test_what_is_no_dockerfile(yard, recipe, words):
    built = yard.build(recipe, {"a": b"1"})
    assert built.image_id is None
    assert words.get(yard.builder, words["classic"]) in built.error


@everywhere
def test_what_is_not_in_the_context(yard):
    built = yard.build("FROM scratch\nCOPY nothere /\n")
    assert built.image_id is None
    words = {
        "classic": "COPY failed: file not found in build context or excluded by .dockerignore: stat nothere: file does not exist",
        "buildkit": 'failed to compute cache key: "/nothere" not found: not found' if yard.subject.old else '"/nothere": not found',
        "podman": 'copier: stat: "/nothere": no such file or directory',
    }
    assert built.error.endswith(words[yard.builder])
    assert yard.builder == "classic" or built.log.failing() is None or "COPY nothere /" in built.log.failing()[0]
    missing = yard.build("FROM scratch\n", dockerfile="No")
    assert missing.image_id is None and "No" in missing.error


@everywhere
def test_what_is_ignored_by_the_engine(yard):
    """The client does that; what a builder does besides, it must reckon with."""
    files = {"hidden": b"FROM scratch\nCOPY . /\n", ".dockerignore": b"hidden\n.dockerignore\n", "a": b"1"}
    found = set(yard.content(yard.made("unused", files, dockerfile="hidden")))
    assert found == {"a", "Dockerfile"} | ({"hidden", ".dockerignore"} if yard.builder == "buildkit" else set())
    other = dict(files, **{".containerignore": b"hidden\n.containerignore\n"})
    found = set(yard.content(yard.made("unused", other, dockerfile="hidden")))
    expected = {"classic": {".containerignore"}, "buildkit": set(other), "podman": {".dockerignore"}}
    assert found == {"a", "Dockerfile"} | expected[yard.builder]


@everywhere
def test_where_files_go(yard):
    recipe = """FROM scratch
COPY a b* /all/
COPY d /tree
COPY d/x /file
COPY ["a", "./here"]
WORKDIR /work
COPY a .
COPY --from=docker.io/library/shell:1 /bin/busybox tool
"""
    found = yard.content(yard.made(recipe, {"a": b"1", "b1": b"2", "b2": b"3", "d/x": b"4", "d/e/y": b"5"}))
    assert found == {
        "all/a": b"1", "all/b1": b"2", "all/b2": b"3", "tree/x": b"4", "tree/e/y": b"5", "file": b"4", "here": b"1", "work/a": b"1",
        "work/tool": BUSYBOX.read_bytes(),
    }


@among("podman")
def test_secrets_are_not_of_the_context(yard):
    made = yard.made("FROM scratch\nCOPY . /\n", secrets={"key": b"value"})
    assert set(yard.content(made)) == {"Dockerfile"}


@everywhere
@pytest.mark.parametrize("body", [b"nonsense" * 200, tar({"Dockerfile": b"FROM scratch\nCOPY . /\n", "long": b"long" * 30000})[:50000]])
def test_what_is_no_context(yard, body):
    built = BUILDERS[yard.builder](yard.subject.client(), build.Order(), [body])
    assert built.image_id is None
    if yard.builder == "buildkit" and body.startswith(b"nonsense"):
        assert "unknown instruction: nonsense" in built.error.replace("NONSENSE", "nonsense")
    elif yard.builder != "podman":
        assert ("invalid tar header" if body.startswith(b"nonsense") else "unexpected EOF") in built.error


@everywhere
def test_a_context_that_is_cut_off(yard):
    def chunks():
        yield tar({"Dockerfile": b"FROM scratch\nCOPY . /\n", "long": b"long" * 30000})[:50000]
        raise KeyError("changed")

    before = {one["Id"] for one in yard.subject.call("GET", "/images/json", all="1")[1]}
    with pytest.raises(KeyError):
        BUILDERS[yard.builder](yard.subject.client(), build.Order(), chunks())
    assert {one["Id"] for one in yard.subject.call("GET", "/images/json", all="1")[1]} == before


# What a test asks of the fake alone


@pytest.fixture(params=["classic", "buildkit", "podman"])
def workshop(request):
    with FakeEngine("podman" if request.param == "podman" else "classic") as engine:

        def make(chunks: Any, **order: Any) -> build.Built:
            return BUILDERS[request.param](Engine(Transport(engine.url, 60)), build.Order(**order), chunks)

        yield engine, make


CONTEXT = tar({"Dockerfile": b"FROM scratch\nCOPY a /\n", "a": b"1"})


def test_a_fake_notes_what_came(workshop):
    engine, make = workshop
    assert make([CONTEXT], args={"A": "1"}, labels={"b": "2"}).image_id
    assert engine.count("POST", "/build") == len(engine.builds) == 1
    sent = engine.builds[0]
    assert (sent.query["buildargs"], sent.query["labels"], sent.query["dockerfile"]) == ({"A": "1"}, {"b": "2"}, "Dockerfile")
    assert sent.files == {"Dockerfile": b"FROM scratch\nCOPY a /\n", "a": b"1"} and sent.tree["a"].member.mode == 0o644


def test_a_fake_forgets_what_it_built(workshop):
    engine, make = workshop
    first = make([CONTEXT]).image_id
    assert make([CONTEXT]).image_id == first
    engine.prune_builds()
    assert make([CONTEXT]).image_id != first


@pytest.mark.parametrize("after", [600, None])
def test_a_fake_breaks_off(workshop, after):
    engine, make = workshop
    engine.break_build(after)
    with pytest.raises(EngineError):
        make([CONTEXT[:700], CONTEXT[700:]])
    assert make([CONTEXT]).image_id
    assert len(engine.builds) == (1 if after else 2)


def test_a_fake_asks_who_one_is(workshop):
    engine, make = workshop
    engine.offer("registry.test/base:1", APP)
    engine.demand("ann", "secret")
    context = [tar({"Dockerfile": b"FROM registry.test/base:1\nCOPY Dockerfile /\n"})]
    assert make(context).error
