# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Docker does with these patterns is held by tests/contract/test_build_ignore.py; here each rule has its row."""

from __future__ import annotations

import os
import warnings

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._oci.ignore import Ignore

PATHS = [
    ".hidden", "!bang", "#hash", "[x]", "a.txt", "afoo", "b.txt", "back\\slash", "caf\xe9", "d", "d/a.txt", "d/foo", "d/sub", "d/sub/a.txt",
    "d/sub/keep", "d2", "d2/a.txt", "foo", "foo+bar", "foo2", "foo2/keep", "line\nbreak.txt", "n\udcff.txt", "sp ace", "st*ar", "x",
]
BELOW_D = "d/a.txt d/foo d/sub d/sub/a.txt d/sub/keep"

# Patterns, and which of PATHS they leave out, separated by blanks ("sp ace" and the line break as they can be written here).
TABLE = [
    ("", ""),
    ("a.txt", "a.txt"),
    ("/a.txt", "a.txt"),
    ("//a.txt", "a.txt"),
    ("./a.txt", "a.txt"),
    ("d/../a.txt", "a.txt"),
    ("../a.txt", ""),
    ("/../a.txt", "a.txt"),
    ("  a.txt \t", "a.txt"),
    ("\xa0a.txt\u3000", "a.txt"),
    ("a.txt/", "a.txt"),
    ("a.txt\r\nb.txt\r\n", "a.txt b.txt"),
    ("\ufeffa.txt", "a.txt"),
    ("# a.txt\n\n   \nb.txt", "b.txt"),
    ("#hash", ""),
    (" #hash", "#hash"),
    ("\\#hash", "#hash"),
    ("\\!bang", "!bang"),
    ("!bang", ""),
    ("*.txt\n!a.txt", "b.txt line?break.txt n\udcff.txt"),
    ("*.txt\n! /a.txt", "b.txt line?break.txt n\udcff.txt"),
    ("!a.txt\na.txt", "a.txt"),
    ("a.txt\n!a.txt\na.txt", "a.txt"),
    (".", ""),
    ("/", ""),
    ("..", ""),
    ("?", "d d/a.txt d/foo d/sub d/sub/a.txt d/sub/keep x"),
    ("d", "d " + BELOW_D),
    ("d/", "d " + BELOW_D),
    ("d/*", BELOW_D),
    ("d/**", BELOW_D),
    ("d**", "d d2 d2/a.txt " + BELOW_D),
    ("d\n!d/sub", "d d/a.txt d/foo"),
    ("d\n!d/sub\nd/sub/keep", "d d/a.txt d/foo d/sub/keep"),
    ("d\n!**/keep", "d d/a.txt d/foo d/sub d/sub/a.txt"),
    ("**/*.txt", "a.txt b.txt d/a.txt d/sub/a.txt d2/a.txt line?break.txt n\udcff.txt"),
    ("*/a.txt", "d/a.txt d2/a.txt"),
    ("**/a.txt", "a.txt d/a.txt d/sub/a.txt d2/a.txt"),
    ("d/**/a.txt", "d/a.txt d/sub/a.txt"),
    ("**foo", "afoo d/foo foo"),
    ("**/foo", "d/foo foo"),
    ("foo**", "foo foo+bar foo2 foo2/keep"),
    ("foo+bar", "foo+bar"),
    ("(a.txt)", ""),
    ("a.txt|b.txt", ""),
    ("[ab].txt", "a.txt b.txt"),
    ("[^b].txt", "a.txt"),
    ("[!b].txt", "b.txt"),
    ("[a-b].txt", "a.txt b.txt"),
    ("[[:alpha:]].txt", "a.txt b.txt"),
    ("[[&&~].txt", ""),
    ("\\[x\\]", "[x]"),
    ("[[]x]", "[x]"),
    ("st\\*ar", "st*ar"),
    ("back\\\\slash", "back\\slash"),
    ("sp ace", "sp?ace"),
    ("caf\xe9", "caf\xe9"),
    ("caf?", "caf\xe9"),
    ("n?.txt", "n\udcff.txt"),
    ("n\udcff.txt", "n\udcff.txt"),
    ("line?break.txt", "line?break.txt"),
    ("\\d", ""),  # to Docker it is a digit
    ("d\\d", "d2 d2/a.txt"),
    ("\\bd\\b", "d " + BELOW_D),
    ("d\n!d/foo\nd*", "d d/a.txt d/sub d/sub/a.txt d/sub/keep d2 d2/a.txt"),  # d* was not asked about d, so that it does not count below d
]


@pytest.mark.parametrize("text, expected", TABLE, ids=[repr(text) for text, expected in TABLE])
def test_what_patterns_leave_out(text, expected):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ignore = Ignore(os.fsencode(text), "here")
    found = [path for path in PATHS if ignore.excludes(path)]
    assert found == [path.replace("sp?ace", "sp ace").replace("line?break", "line\nbreak") for path in sorted(expected.split(" ")) if path]


def test_no_order_of_questions_changes_an_answer():
    text = b"d\n!d/sub\nd*\n!**/keep"
    asked = Ignore(text, "here")
    assert [asked.excludes(path) for path in reversed(PATHS)] == [Ignore(text, "here").excludes(path) for path in reversed(PATHS)]


def test_a_star_leaves_out_everything():
    ignore = Ignore(b"*", "here")
    assert all(ignore.excludes(path) for path in PATHS)
    assert all(Ignore(b"**", "here").excludes(path) for path in PATHS)


@pytest.mark.parametrize("text, folder, hidden", [
    ("d", "d", True),
    ("d", "e", False),
    ("d\n!d/sub/keep", "d", False),
    ("d\n!d/sub/keep", "d/sub", False),
    ("d\n!d/sub/keep", "d/other", True),
    ("d\n!d/sub/*", "d/sub", False),
    ("d\n!d/sub/**", "d/sub", False),
    ("d\n!d/sub/", "d/su", True),
    ("d\n!other", "d", True),
    ("d\n!**/keep", "d/sub", False),
    ("d\n!d?", "d/sub", False),
])
def test_folders_that_need_not_be_entered(text, folder, hidden):
    assert Ignore(text.encode(), "here").hides_all_below(folder) is hidden


@pytest.mark.parametrize("text, line, why", [
    ("a\n!", 2, "nothing follows the !"),
    ("!/", 1, "nothing follows the !"),
    ("[a-", 1, "a bracket or a backslash that nothing ends"),
    ("a[", 1, "a bracket or a backslash that nothing ends"),
    ("[]", 1, "a bracket or a backslash that nothing ends"),
    ("[^]", 1, "a bracket or a backslash that nothing ends"),
    ("[-a]", 1, "a bracket or a backslash that nothing ends"),
    ("[a-]", 1, "a bracket or a backslash that nothing ends"),
    ("a.txt\\ ", 1, "a bracket or a backslash that nothing ends"),
    ("[b-a]", 1, "bad character range b-a"),
    ("\\x41", 1, "a backslash before x"),
    ("[\\b]", 1, "a backslash before b"),
    ("\\\xe9", 1, "a backslash before \xe9"),
    ("[[:alpha:][:nonsense:]]", 1, "no set of characters is called [:nonsense:]"),
])
def test_refuses_what_docker_refuses(text, line, why):
    with pytest.raises(InvalidInput) as caught:
        Ignore(text.encode(), "app/.dockerignore")
    pattern = text.split("\n")[-1]
    assert str(caught.value).startswith("app/.dockerignore, line %d: the pattern %r is none that Docker reads (%s" % (line, pattern, why))
