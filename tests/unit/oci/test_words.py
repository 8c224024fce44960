# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import re

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci.words import expand, heredocs, names

VALUES = {"x": "debian", "empty": "", "path": "a/b/c.tar.gz", "v": "1.2.3"}


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("", ""),
        ("alpine:3", "alpine:3"),
        ("$x:12", "debian:12"),
        ("${x}12", "debian12"),
        ("$nothing", ""),
        ("$", "$"),
        ("a$/b", "a$/b"),
        ("$1x", "x"),
        ("$$x", "x"),
        (r"\$x", "$x"),
        (r"\\$x", r"\debian"),
        ("tail\\", "tail"),
        ("'$x'", "$x"),
        ('"$x"', "debian"),
        (r'"\$x \" \\ \n"', r'$x " \ \n'),
        ("'a'\"b\"c", "abc"),
        ("a<b", "a<b"),
        ("a << b", "a << b"),
        ("${x:-y}", "debian"),
        ("${empty:-y}", "y"),
        ("${empty-y}", ""),
        ("${no-y}", "y"),
        ("${no:-${x}:1}", "debian:1"),
        ("${no:-'}'}", "}"),
        (r"${no:-\}}", "}"),
        ("${x:+y}", "y"),
        ("${empty:+y}", ""),
        ("${empty+y}", "y"),
        ("${no+y}", ""),
        ("${x?wrong}", "debian"),
        ("${x:?wrong}", "debian"),
        ("${empty?wrong}", ""),
        ("${path#*/}", "b/c.tar.gz"),
        ("${path##*/}", "c.tar.gz"),
        ("${path%.*}", "a/b/c.tar"),
        ("${path%%.*}", "a/b/c"),
        ("${path#z}", "a/b/c.tar.gz"),
        ("${v%?}", "1.2."),
        (r"${v#1\.}", "2.3"),
        ("${no#x}", ""),
        ("${v/./-}", "1-2.3"),
        ("${v//./-}", "1-2-3"),
        (r"${path//\//_}", "a_b_c.tar.gz"),
        ("${v//[0-9]/n}", "1.2.3"),
        ("${no/a/b}", ""),
        (r"${v//./\1}", r"1\12\13"),
    ],
)
def test_expands_as_builders_do(text, expanded):
    assert expand(text, VALUES) == expanded


def test_the_escape_character_is_the_callers():
    assert expand(r"c:\$x`$x", VALUES, "`") == r"c:\debian$x"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("${x", "a substitution is not ${name}, nor a form of it that builders know, in '${x'"),
        ("${", "a substitution is not ${name}, nor a form of it that builders know, in '${'"),
        ("${}", "a substitution is not ${name}, nor a form of it that builders know, in '${}'"),
        ("${:-x}", "a substitution is not ${name}, nor a form of it that builders know, in '${:-x}'"),
        ("${x^}", "a substitution is not ${name}, nor a form of it that builders know, in '${x^}'"),
        ("${x:0:1}", "${x:0 is a substitution that builders do not know, in '${x:0:1}'"),
        ("${x:", "there is no } in '${x:'"),
        ("${x:-y", "there is no } in '${x:-y'"),
        ("${x/a}", "there is no / in '${x/a}'"),
        ("'x", 'there is no second \' in "\'x"'),
        ('"x', "there is no second \" in '\"x'"),
        ("${no?}", "no: is not allowed to be unset"),
        ("${empty:?}", "empty: is not allowed to be empty"),
        ("${no:?give it}", "no: give it"),
    ],
)
def test_says_what_no_builder_expands(text, why):
    with pytest.raises(InvalidInput, match="^%s$" % re.escape(why)):
        expand(text, VALUES)


def test_names_the_variables():
    assert names("$a-${b:-$c}/${d}") == {"a", "b", "c", "d"}
    assert names("$1 ${} \\ $") == set()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("RUN <<EOF", [("EOF", False)]),
        ("RUN <<-EOF", [("EOF", True)]),
        ("RUN <<- EOF", []),
        ("RUN << -EOF", [("-EOF", False)]),
        ("RUN <<'EOF'", [("EOF", False)]),
        ('RUN <<-"EOF" cat', [("EOF", True)]),
        ("RUN 3<<EOF", [("EOF", False)]),
        ("RUN <<  EOF  > foo", [("EOF", False)]),
        ("COPY <<A <<-B /to", [("A", False), ("B", True)]),
        ("RUN <<eo'f'", [("eof", False)]),
        (r"RUN <<'e'o\'f", [("eo'f", False)]),
        ("RUN <<'one two'", [("one two", False)]),
        ("RUN <<$EOF", [("$EOF", False)]),
        ("RUN <<${EOF}", [("${EOF}", False)]),
        ("RUN <<${EOF:-x}", [("${EOF:-x}", False)]),
        ("RUN <<EOF ${x:0:1}", [("EOF", False)]),
        ("RUN <<EOF ${x?no} ${x#y}", [("EOF", False)]),
        ("RUN '<<EOF'", []),
        ('RUN "<<EOF \\" \\n"', []),
        ("RUN <<<EOF", []),
        ("RUN cat<<EOF", []),
        ("RUN <<", []),
        ("RUN echo it's <<EOF", []),
        ("RUN echo ${x[@]} <<EOF", []),
        ("RUN echo $((1<<2))", []),
    ],
)
def test_finds_the_documents_that_follow_a_line(line, found):
    assert heredocs(line) == found
