# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import BadDockerfile
from ansible_collections.stowage.oci.plugins.module_utils._oci.dockerfile import parse

AMD = {"BUILDPLATFORM": "linux/amd64", "TARGETPLATFORM": "linux/arm64", "TARGETARCH": "arm64"}


def read(text):
    return parse(text if isinstance(text, bytes) else text.encode("utf-8"), "Dockerfile")


def images(text, args=None, target=None, every=False):
    """References, a platform after a blank."""
    return [" ".join(filter(None, base)) for base in read(text).bases(AMD if args is None else args, target, every)]


@pytest.mark.parametrize(
    ("text", "bases"),
    [
        # lines
        ("FROM debian:12", ["debian:12"]),
        ("\ufeffFROM debian:12\n", ["debian:12"]),
        ("from debian:12\r\nrun true\r\n", ["debian:12"]),
        ("\n  \n# words\n\t FROM\tdebian:12  \n", ["debian:12"]),
        ("FROM \\\n  debian:12", ["debian:12"]),
        ("FROM \\  \t\n\n  # words\n\n  debian:12 \\\n  AS x", ["debian:12"]),
        ("FROM \\\ndebian:12 \\", ["debian:12"]),
        ("\\\nFROM a", ["a"]),
        ("# FROM b \\\nFROM a", ["a"]),
        ("FROM a\nRUN echo \\\n# FROM b\nFROM c", ["a"]),
        ("FROM a\nRUN echo \\\\\nFROM c", ["c"]),
        ("FROM a\nRUN echo \\ \\\nFROM c", ["a"]),
        ("FROM a\nRUN echo \\\n\n\n FROM c", ["a"]),
        ("FROM a\nNONSENSE FROM\nMAINTAINER FROM x", ["a"]),
        ("FROM a\nLABEL x='\nFROM b\n'", ["b"]),
        (b"FROM a\nLABEL x=\xff\xfe", ["a"]),
        # directives
        ("# escape=`\nFROM a\nRUN dir c:\\\nFROM b", ["b"]),
        ("# ESCAPE = ` \nFROM `\na\nRUN dir `\nFROM b", ["a"]),
        ("  #escape=`\nFROM `\na", ["a"]),
        ("# syntax=docker/dockerfile:1\n# check=skip=all\n# escape=`\nFROM `\na", ["a"]),
        ("#!/usr/bin/env docker\n# escape=`\nFROM `\na", ["a"]),
        ("# a word\n# escape=`\nFROM \\\na", ["a"]),
        ("\n# escape=`\nFROM \\\na", ["a"]),
        ("# escape=`\n# escape=\\\nFROM `\na", ["a"]),
        # documents
        ("FROM a\nRUN <<EOF\nFROM b\nEOF\n", ["a"]),
        ("FROM a\nRUN <<EOF\r\nFROM b\r\nEOF\r\n", ["a"]),
        ("FROM a\nRUN <<-EOF\n\tFROM b\n\t\tEOF\nCOPY --from=c x y", ["a", "c"]),
        ("FROM a\nCOPY <<A <<'B' /to\nFROM b\nA\nFROM b\nB\nCOPY --from=c x y", ["a", "c"]),
        ("FROM a\nRUN python3 \\\n <<EOF\nFROM b \\\nEOF\nCOPY --from=c x y", ["a", "c"]),
        ("FROM a\nONBUILD RUN <<EOF\nFROM b\nEOF", ["a"]),
        ("FROM a\nUSER <<EOF\nFROM b\nEOF", ["b"]),
        ('FROM a\nRUN ["<<EOF"]\nFROM b\nEOF', ["b"]),
        ("FROM a\nRUN [ <<EOF ]\nFROM b\nEOF", ["a"]),
        ("FROM a\nRUN echo $((1 << 2))\nFROM b", ["b"]),
        ("FROM a\nCOPY <<A <<B /to\nFROM b\nA\nFROM c", ["c"]),
        # stages
        ("FROM a AS x\nFROM b", ["b"]),
        ("FROM a AS x\nFROM x", ["a"]),
        ("FROM a AS X\nFROM x", ["a"]),
        ("FROM a as x\nFROM X", ["a"]),
        ("FROM a AS x\nFROM b AS x\nFROM x", ["b"]),
        ("FROM x AS x\nFROM x AS x", ["x"]),
        ("FROM a\nFROM 0", ["a"]),
        ("FROM 0", ["0"]),
        ("FROM scratch", []),
        ("FROM a x", ["a"]),
        ("FROM a AS x\nFROM b AS y\nFROM scratch\nCOPY --from=x a b\nCOPY --from=1 a b", ["a", "b"]),
        ("FROM a AS x\nFROM scratch\nCOPY --chown=1:1 --from=X a b", ["a"]),
        ("FROM scratch\nCOPY --from=later a b\nFROM b AS later\nFROM 0", ["b"]),
        ("FROM a\nCOPY --from=7 a b", ["a"]),
        ("FROM a\nCOPY --from=scratch a b", ["a"]),
        ("FROM a\nCOPY --from=b x y\nADD --from=d x y\ncopy --from=c:1@sha256:0 x y", ["a", "b", "c:1@sha256:0"]),
        ("FROM a\nCOPY --from='b' --chmod=\"7\\\"7\" x y\nCOPY --from=\\c x y", ["a", "b", "c"]),
        ('FROM a\nCOPY --from=b ["x", "y"]', ["a", "b"]),
        ("FROM a\nCOPY x --from=b y", ["a"]),
        ("FROM a\nCOPY --from= x y\nCOPY --from x y", ["a"]),
        ("FROM a\nRUN --from=b true", ["a"]),
        ("FROM a\nRUN --mount=type=bind,from=b,target=/x --mount=from=c true", ["a", "b", "c"]),
        ("FROM a AS x\nFROM b\nRUN --mount=FROM=x,target=/x true", ["a", "b"]),
        ("FROM a\nRUN --mount=type=cache,target=/x true\nRUN --network=none --mount true", ["a"]),
        # what ONBUILD keeps
        ("FROM a\nONBUILD COPY --from=b x y", ["a"]),
        ("FROM a AS x\nONBUILD COPY --from=b x y\nFROM x", ["a", "b"]),
        ("FROM a AS x\nONBUILD COPY --from=b x y\nFROM x AS y\nFROM y", ["a", "b"]),
        # variables
        ("ARG V=12\nFROM debian:$V", ["debian:12"]),
        ("arg V='1 2'\nARG W=\"x$V\"\nFROM a${W#x1?}", ["a2"]),
        ("ARG A=1 B C=$A-\\$\\ 2\nFROM a:${C%??2}${B:-3}", ["a:1-3"]),
        ("ARG V=1\nARG V=${V}2\nFROM a:$V", ["a:12"]),
        ("ARG V=1\nARG V\nFROM a:$V", ["a:1"]),
        ("FROM ${V:-a}", ["a"]),
        ('FROM "a"', ["a"]),
        ("ARG S=x\nFROM a AS x\nFROM b AS y\nFROM $S", ["a"]),
        ("FROM a AS arm64\nFROM b AS amd64\nFROM $TARGETARCH", ["a"]),
        ("FROM --platform=linux/s390x a", ["a linux/s390x"]),
        ("FROM --platform=$BUILDPLATFORM a AS x\nFROM a\nCOPY --from=x a b", ["a linux/amd64", "a"]),
        ("ARG BUILDPLATFORM=linux/s390x\nFROM --platform=${BUILDPLATFORM} a", ["a linux/s390x"]),
        ("ARG BUILDPLATFORM\nFROM --platform=${BUILDPLATFORM} a", ["a linux/amd64"]),
        ("ARG P=linux/s390x\nFROM --platform=${P} a", ["a linux/s390x"]),
        ("FROM --platform=$NOTHING a", ["a"]),
        ("FROM --platform=$BUILDPLATFORM scratch", []),
        ("ARG X\nFROM ${X}\nFROM b", ["b"]),
        # podman
        ("ARG V=1\nFROM a AS x\nFROM b\nARG V\nARG W=x\nCOPY --from=$W a b\nCOPY --from=c:$V a b\nCOPY --from=$N a b", ["a", "b", "c:1"]),
    ],
)
def test_names_the_images_of_the_last_stage(text, bases):
    assert images(text) == bases


def test_what_json_cannot_read_is_not_json():
    assert images("FROM a\nRUN %s <<EOF\nFROM b\nEOF" % ("[" * 100000)) == ["a"]


CHAIN = "FROM a AS x\nFROM b AS y\nFROM x AS z\nCOPY --from=c 1 2\nFROM scratch\nCOPY --from=last 1 2\nFROM d AS last"


@pytest.mark.parametrize(
    ("target", "every", "bases"),
    [
        (None, False, ["d"]),
        ("", False, ["d"]),
        ("z", False, ["a", "c"]),
        ("Z", False, ["a", "c"]),
        ("1", False, ["b"]),
        ("3", False, ["d"]),
        ("x", True, ["a"]),
        ("z", True, ["a", "b", "c"]),
        (None, True, ["a", "b", "c", "last", "d"]),
    ],
)
def test_names_the_images_of_a_target(target, every, bases):
    assert images(CHAIN, target=target, every=every) == bases


@pytest.mark.parametrize(
    ("args", "target", "bases"),
    [
        ({}, None, ["one:1"]),
        ({"V": "2"}, None, ["one:2"]),
        ({"V": ""}, None, ["one:"]),
        ({"OTHER": "two:"}, None, ["one:1"]),
        ({"IMAGE": "two@", "V": "3"}, None, ["two@3"]),
        ({}, "s", ["s"]),
    ],
)
def test_arguments_name_images(args, target, bases):
    text = "ARG V=1\nARG IMAGE=one:\nFROM $TARGETSTAGE AS s\nFROM $IMAGE$V$OTHER\nARG OTHER=x"
    assert images(text, args, target) == bases


def test_the_stage_that_is_built_is_a_variable():
    assert images("FROM a AS default-x\nFROM b AS s-x\nFROM ${TARGETSTAGE}-x") == ["a"]
    assert images("FROM a AS default-x\nFROM b AS s-x\nFROM ${TARGETSTAGE}-x AS s") == ["b"]


def test_a_stage_of_podman_has_the_arguments_that_it_declares():
    assert images("ARG G=1\nFROM a\nARG L=2\nARG M=$L\nARG A\nARG N\nCOPY --from=x$A$M$N$G 1 2", {"A": "9", "G": "5"}) == ["a", "x92"]


@pytest.mark.parametrize(
    ("text", "target", "arguments"),
    [
        ("FROM a", None, set()),
        ("ARG A=1\nFROM a", None, set()),
        ("ARG A=1\nFROM a:$A", None, {"A"}),
        ("ARG A=1\nARG B=$A\nARG C=$B-$N\nARG D=$A\nFROM a:$C", None, {"A", "B", "C"}),
        ("ARG A=1\nARG B=$A\nFROM a\nARG B", None, {"A", "B"}),
        ("ARG B=1\nFROM a\nARG A=$B C", None, {"A", "C"}),
        ("FROM a:${A:-1}", None, set()),
        ("FROM a AS x\nARG A\nFROM b\nARG B", None, {"B"}),
        ("FROM a AS x\nARG A\nFROM b\nARG B", "x", {"A"}),
        ("FROM a AS x\nARG A\nFROM b\nARG B\nCOPY --from=x 1 2", None, {"A", "B"}),
        ("FROM a AS x\nONBUILD ARG A\nARG B\nFROM x", None, {"A", "B"}),
        ("FROM a\nONBUILD ARG A", None, set()),
        ("FROM --platform=$BUILDPLATFORM a:$TARGETARCH\nARG TARGETOS\nRUN echo $HTTP_PROXY $A", None, {"BUILDPLATFORM", "TARGETARCH", "TARGETOS"}),
        ("FROM a\nARG HTTP_PROXY='x y' Q=\"a b\\\" c\" E=\\ R", None, {"HTTP_PROXY", "Q", "E"}),
    ],
)
def test_names_the_arguments_that_are_used(text, target, arguments):
    assert read(text).arguments(target) == arguments


def test_arguments_decide_which_stages_are_built():
    found = read("ARG S=x\nFROM a AS x\nARG A\nFROM a AS y\nARG B\nRUN --network=none true\nFROM $S")
    assert found.arguments() == {"S", "A"}
    assert found.arguments(args={"S": "y"}) == {"S", "B"}
    assert found.needs() == set()
    assert found.needs(args={"S": "y"}) == {"network"}


@pytest.mark.parametrize(
    ("body", "needs"),
    [
        ("RUN true\nCOPY --chown=1:1 a b\nADD http://h/a.tar b\nADD a.git b", set()),
        ("RUN --mount=target=/x true", {"mount"}),
        ("RUN --mount=type=cache,target=/x true", {"mount"}),
        ('RUN --mount="type=SECRET,id=x" true', {"mount", "secret"}),
        ("RUN --mount=type=ssh true", {"mount", "ssh"}),
        ("RUN --network=none true", {"network"}),
        ("RUN --security=insecure true", {"security"}),
        ("RUN --device=x true", {"device"}),
        ("RUN <<EOF\nEOF", {"heredoc"}),
        ("COPY <<EOF x\nEOF", {"heredoc"}),
        ("COPY --link a b", {"copy_link"}),
        ("COPY --link=false a b", set()),
        ("COPY --chmod=755 a b", {"copy_chmod"}),
        ("COPY --exclude=*.o --parents a b", {"exclude", "parents"}),
        ("ADD --link --chmod=1 --exclude=x a b", {"copy_link", "copy_chmod", "exclude"}),
        ("ADD --checksum=sha256:0 https://h/x y", {"add_checksum"}),
        ("ADD --unpack=true a b", {"add_unpack"}),
        ("ADD --keep-git-dir=true x y", {"add_git"}),
        ("ADD https://h/x.git#v1 y", {"add_git"}),
        ("ADD git@h:x y", {"add_git"}),
        ("ENV --mount=x <<EOF\nEOF", set()),
        ("ONBUILD RUN --network=none <<EOF\nEOF", set()),
        ("ONBUILD RUN --network=none <<EOF\nEOF\nFROM x", {"network", "heredoc"}),
        ("RUN --mount=target=/x true\nFROM a", set()),
        ("ARG TARGETARCH", {"platform_args"}),
        ("ARG TARGETARCH=amd64", set()),
        ("FROM --platform=$BUILDPLATFORM b", {"platform_args"}),
    ],
)
def test_names_what_not_every_builder_can(body, needs):
    assert read("FROM a AS x\n" + body).needs() == needs


def test_a_default_needs_no_builder_that_knows_platforms():
    assert read("ARG BUILDPLATFORM=linux/amd64\nFROM --platform=$BUILDPLATFORM b").needs() == set()


@pytest.mark.parametrize(
    ("line", "syntax", "needs"),
    [
        ("# syntax=docker/dockerfile:1", "docker/dockerfile:1", set()),
        ("#SYNTAX = docker.io/docker/dockerfile:1.7-labs extra ", "docker.io/docker/dockerfile:1.7-labs", set()),
        ("# syntax=registry.example/mirror/dockerfile-upstream@sha256:0", "registry.example/mirror/dockerfile-upstream@sha256:0", set()),
        ("# syntax=a/b\n# syntax=c/d", "a/b", {"frontend"}),
        ("# check=skip=all", None, set()),
        ("#", None, set()),
    ],
)
def test_names_its_language(line, syntax, needs):
    found = read(line + "\nFROM a")
    assert (found.syntax, found.needs()) == (syntax, needs)


def test_another_language_has_no_stages():
    found = read("# syntax=mopp/frontend\napiVersion: v1\n")
    assert found.stages == ()
    assert (found.bases({}), found.arguments(), found.needs("x")) == ([], set(), {"frontend"})


def test_tells_its_stages():
    found = read("ARG A=1 B\n\nFROM --platform=$P a:$A as Build\nARG C\nRUN --network=none <<X\nX\nCOPY --from=b 1 2\nFROM c")
    assert found.globals == {"A": "1", "B": None}
    one, two = found.stages
    assert (one.base, one.name, one.platform, one.line) == ("a:$A", "build", "$P", 3)
    assert (one.copies, one.args, one.needs) == (("b",), {"C"}, {"network", "heredoc"})
    assert (two.base, two.name, two.platform, two.line) == ("c", None, None, 8)
    assert (two.copies, two.args, two.needs) == ((), set(), set())


NO_FROM = "Dockerfile has no FROM: it must say from which image it builds, for example FROM debian:12, or FROM scratch"
UNSET = "FROM $B${A} names no image: declare A and B with ARG before the first FROM, and give a default there or a build argument"


@pytest.mark.parametrize(
    ("text", "target", "why"),
    [
        ("", None, NO_FROM),
        ("RUN true\nARG A", None, NO_FROM),
        ("# syntax=docker/dockerfile:1", None, NO_FROM),
        ("# escape=x\nFROM a", None, "Dockerfile, line 1: the escape character is \\ or `, not 'x'"),
        ("FROM a\n FROM --platform=x\n", None, "Dockerfile, line 2: FROM names no image; to start from none write FROM scratch"),
        ("ARG A\nARG B=\n\nFROM $B${A}\nARG A=1", None, "Dockerfile, line 4: " + UNSET),
        ('FROM ""', None, 'Dockerfile, line 1: FROM "" names no image'),
        ("FROM ${A:?wanted}", None, "Dockerfile, line 1: A: wanted"),
        ("\nARG A=${\nFROM a", None, "Dockerfile, line 2: a substitution is not ${name}, nor a form of it that builders know, in '${'"),
        ("FROM --platform='x a", None, "Dockerfile, line 1: FROM names no image; to start from none write FROM scratch"),
        ("FROM a AS build\nFROM b AS run", "biuld", "Dockerfile has no stage 'biuld': it has build, run; did you mean build?"),
        ("FROM a AS build", "Test", "Dockerfile has no stage 'Test': it has build"),
        ("FROM a", "1", "Dockerfile has no stage '1': it has none with a name"),
    ],
)
def test_refuses_what_leaves_the_images_open(text, target, why):
    with pytest.raises(BadDockerfile, match="^%s$" % re.escape(why)):
        images(text, {}, target)


TWO = b"# escape=`\nARG A\nFROM a AS one\r\nRUN true `\n FROM no\rFROM no\n\n# of the next\nFROM b AS two\nRUN echo 2"


@pytest.mark.parametrize("target", ["one", "ONE", "0"])
def test_a_labelled_dockerfile_ends_with_its_target(target):
    assert parse(TWO, "here").labelled(TWO, target, {}) == TWO[:TWO.index(b"FROM b")] + b"\n" * (not TWO[:TWO.index(b"FROM b")].endswith(b"\n"))


@pytest.mark.parametrize("target", ["two", "1", None])
def test_the_last_stage_is_whole(target):
    assert parse(TWO, "here").labelled(TWO, target, {}) == TWO + b"\n"


@pytest.mark.parametrize(
    ("directive", "line"),
    [
        (b"", rb'LABEL "a b"="\$x \"y\" \\ `"'),
        (b"# escape=`\n", rb'LABEL "a b"="`$x `"y`" \ ``"'),
    ],
    ids=["backslash", "backtick"],
)
def test_labels_are_written_as_they_are(directive, line):
    text = directive + b"FROM a"
    labelled = parse(text, "here").labelled(text, None, {"a b": '$x "y" \\ `', "c": "1"})
    assert labelled == text + b"\n" + line + b'\nLABEL "c"="1"\n'


STAGES = b"ARG V=1\nFROM a AS one\nRUN 1\n# of two\nFROM b AS two\nRUN 2\nFROM $V AS three\nCOPY --from=one /a /b\nFROM c"


@pytest.mark.parametrize(
    ("target", "left"),
    [
        ("one", b"ARG V=1\nFROM a AS one\nRUN 1\n# of two\n"),
        ("three", b"ARG V=1\nFROM a AS one\nRUN 1\n# of two\nFROM $V AS three\nCOPY --from=one /a /b\n"),
        (None, b"ARG V=1\nFROM c\n"),
    ],
)
def test_a_reduced_dockerfile_has_the_stages_that_are_needed(target, left):
    assert parse(STAGES, "here").reduced(STAGES, target, {"V": "d"}) == left


@pytest.mark.parametrize("text", [b"FROM a\nFROM b\nFROM c\nCOPY --from=1 /a /b\n", b"FROM a AS one\nFROM one\n", b"FROM a"])
def test_a_dockerfile_that_cannot_be_reduced_stays(text):
    assert parse(text, "here").reduced(text, None, {}) == text
