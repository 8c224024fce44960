# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file of accounts, with hashes that can be read: the tests of the filter have real ones."""

from __future__ import annotations

import itertools
import re

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidInput
from ansible_collections.stowage.oci.plugins.module_utils._server import accounts

_numbers = itertools.count()


def hashed(password, cost="10"):
    """Of bcrypt's form; it says the password, and no two are alike."""
    return "$2b$%s$%s" % (cost, ("%s.%d" % (password, next(_numbers))).ljust(53, "."))


def proves(password, found):
    return found[7:].startswith(password + ".")


def renewed(users, current=""):
    return accounts.renewed(users, current, proves, hashed)


def names(text):
    return [line.split(":")[0] for line in text.splitlines()]


def test_nothing_changes_where_nothing_is_to_change():
    text = renewed({"zoe": "secretz", "ann": "secreta"})
    assert names(text) == ["ann", "zoe"] and text.endswith("\n")
    assert renewed({"ann": "secreta", "zoe": "secretz"}, text) == text


def test_one_password_changes_one_line_in_its_place():
    users = {"ann": "one", "bob": "two", "cid": "three"}
    before = renewed(users).splitlines()
    after = renewed({**users, "bob": "new"}, "\n".join(before)).splitlines()
    assert [before[0], before[2]] == [after[0], after[2]]
    assert names(after[1]) == ["bob"] and proves("new", after[1].split(":")[1])


def test_lines_keep_their_places_and_new_ones_follow_by_name():
    text = "".join("%s:%s\n" % (name, hashed("x")) for name in ("zoe", "bob"))
    after = renewed(dict.fromkeys(("bob", "cid", "ann", "zoe"), "x"), text)
    assert names(after) == ["zoe", "bob", "ann", "cid"] and after.startswith(text)


def test_accounts_that_are_gone_lose_their_line():
    text = renewed({"ann": "x", "bob": "y"})
    assert renewed({"bob": "y"}, text) == text.splitlines(True)[1]
    assert renewed({}, text) == ""


def test_lines_that_are_no_accounts_are_left_out():
    good = "ann:" + hashed("x")
    assert renewed({"ann": "x"}, "# accounts\n\nann\n%s\nann:%s\nrubbish\n:%s\n" % (good, hashed("x"), hashed("x"))).count("ann") == 1
    assert renewed({"ann": "x"}, "# accounts\n\n%s\nann:%s\nrubbish\n:%s\n" % (good, hashed("x"), hashed("x"))) == good + "\n"


@pytest.mark.parametrize(
    "found", ["", "$apr1$JI4wh3am$AmhephVqLTUyAVpFQeHZC0", "x", "{SHA}abc", hashed("x")[:-1], hashed("x") + " ", hashed("x", "31"), hashed("x", "3")]
)
def test_a_hash_that_distribution_would_not_read_is_made_anew(found):
    text = renewed({"ann": "x"}, "ann:%s\n" % found)
    assert text != "ann:%s\n" % found and proves("x", text.split(":")[1])


@pytest.mark.parametrize(
    ("password", "message"),
    [
        ("", "the password of ann is empty"),
        (None, "the password of ann is empty"),
        (12345, "the password of ann is no text; put it in quotes"),
        (True, "the password of ann is no text"),
        (["a"], "the password of ann is no text"),
        ("sécret", "the password of ann has a character that is not printable ASCII"),
        ("top\nsecret", "the password of ann has a character that is not printable ASCII"),
        ("x" * 73, "the password of ann is longer than 72 characters"),
    ],
)
def test_says_which_password_cannot_be_one_and_not_what_it_is(password, message):
    with pytest.raises(InvalidInput, match=message) as caught:
        renewed({"bob": "fine", "ann": password})
    assert str(caught.value).startswith("registry_users: ")
    assert not password or str(password) not in str(caught.value)


@pytest.mark.parametrize("password", ["x", "x" * 72, "a b:c#d\"'\\$~"])
def test_takes_all_that_is_printable(password):
    assert names(accounts.renewed({"ann": password}, "", proves, lambda password: "made")) == ["ann"]


@pytest.mark.parametrize("name", ["", "a:b", "#ann", " ann", "ann ", "änn", "a\tb", "a\nb", 7, None])
def test_says_what_cannot_be_a_name(name):
    with pytest.raises(InvalidInput, match="^registry_users: %s cannot be a name" % re.escape(repr(name))):
        renewed({name: "secret"})


@pytest.mark.parametrize("name", ["a", "ann", "ann smith", "ann@example.com", "a#b", "ci-bot_1", "~", "!"])
def test_takes_other_names(name):
    assert names(renewed({name: "x"})) == [name]


@pytest.mark.parametrize("users", [["ann"], "ann", None])
def test_accounts_are_a_dict(users):
    with pytest.raises(InvalidInput, match="^registry_users must be passwords by names"):
        renewed(users)
