# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._errors import InvalidReference
from ansible_collections.stowage.oci.plugins.module_utils._oci.reference import misplaced, parse

D = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "registry", "repository", "tag", "digest"),
    [
        ("nginx", "docker.io", "library/nginx", "latest", None),
        ("nginx:1.27", "docker.io", "library/nginx", "1.27", None),
        ("docker.io/nginx", "docker.io", "library/nginx", "latest", None),
        ("index.docker.io/a/b:c", "docker.io", "a/b", "c", None),
        ("a/b/c", "docker.io", "a/b/c", "latest", None),
        ("localhost/app", "localhost", "app", "latest", None),
        ("localhost:5000/app:x", "localhost:5000", "app", "x", None),
        ("registry.example/a/b:1", "registry.example", "a/b", "1", None),
        ("Registry/app:1", "Registry", "app", "1", None),
        ("[2001:db8::1]/app", "[2001:db8::1]", "app", "latest", None),
        ("[2001:db8::1]:5000/app:1", "[2001:db8::1]:5000", "app", "1", None),
        ("192.0.2.1:443/app", "192.0.2.1:443", "app", "latest", None),
        ("nginx@" + D, "docker.io", "library/nginx", None, D),
        ("nginx:1@" + D, "docker.io", "library/nginx", "1", D),
        ("a__b/c.d/e-_f".replace("-_", "--"), "docker.io", "a__b/c.d/e--f", "latest", None),
        ("app:" + "T" * 128, "docker.io", "library/app", "T" * 128, None),
        ("app:_x.y-z", "docker.io", "library/app", "_x.y-z", None),
    ],
)
def test_takes_a_reference_apart(text, registry, repository, tag, digest):
    found = parse(text)
    assert found == (text, registry, repository, tag, digest)
    assert found.name == "%s/%s" % (registry, repository)
    assert parse(str(found))[1:] == found[1:]


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1@" + D, "docker.io/library/nginx:1@" + D),
        ("localhost/a@" + D, "localhost/a@" + D),
    ],
)
def test_writes_the_canonical_form(text, canonical):
    assert str(parse(text)) == canonical


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("nginx", "nginx at docker.io"),
        ("docker.io/nginx:1", "docker.io/nginx:1"),
        ("localhost:5000/app@" + D, "localhost:5000/app@" + D),
        ("index.docker.io/library/nginx", "index.docker.io/library/nginx at docker.io"),
    ],
)
def test_tells_the_registry_once(text, where):
    assert parse(text).where == where


def test_a_name_on_a_host_has_a_tag():
    assert parse("nginx:1@" + D).tagged == "docker.io/library/nginx:1"
    with pytest.raises(InvalidReference, match="^nginx@%s has no tag: an image on a host is named by repository and tag" % D):
        str(parse("nginx@" + D).tagged)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "an image reference is empty"),
        (None, "an image reference is empty"),
        (3, "3 is not an image reference: it is a number, and one reference is one text"),
        (True, "it is a truth value"),
        (["a", "b"], "['a', 'b'] is not an image reference: it is a list, and one reference is one text, for example nginx:1.27"),
        ({"a": 1}, "it is a dictionary"),
        (b"a", "it is of type bytes"),
        (["deploy:secret@host"], "['deploy:***@host']"),
        ("Nginx", "the repository 'library/Nginx' is made of a-z, 0-9, separated by . _ - or / (it must be lower case)"),
        ("registry.example/App:1", "(it must be lower case)"),
        ("nginx:", "the tag '' may have letters"),
        ("nginx:a b", "leave out the blanks, those after the commas of a list in one string too"),
        (" nginx", "' nginx' is not an image reference: leave out the blanks"),
        ("nginx:a&b", "the tag 'a&b' may have letters"),
        ("nginx:-x", "the tag '-x'"),
        ("nginx:é", "the tag 'é'"),
        ("nginx:" + "x" * 129, "at most 128 of them"),
        ("nginx@", "'' is not a digest"),
        ("nginx@sha256:abc", "a sha256 digest has 64 lower-case hex digits"),
        ("nginx@md5:" + "0" * 32, "digest algorithm md5 is not supported"),
        ("0" * 64, "64 hex digits are an image ID"),
        ("a//b", "is made of"),
        ("a/", "is made of"),
        ("/a", "is made of"),
        ("a___b", "is made of"),
        ("-a", "is made of"),
        ("a.b-.c/d:e", "'a.b-.c' is not a host name with an optional port"),
        ("host:port/app", "'host:port' is not a host name"),
        ("http://host/app", "'http://host/app' is not an image reference: leave out http://, a registry without TLS is asked with plain_http: true"),
        ("HTTPS://registry.example/app", "leave out HTTPS://, a registry without TLS"),
        ("docker://nginx", "'docker://nginx' is not an image reference: leave out docker://"),
        ("deploy:secret@host/app", "'deploy:***@host/app' is not an image reference: credentials do not belong in it: leave out what"),
        ("https://deploy:secret@host/app", "use username and password, or auth_file (a digest after an @ begins with sha256:); leave out https://,"),
        ("nginx\n", "leave out the blanks"),
        ("a" * 129 + "/" + "b" * 129, "the repository is longer than 255 characters"),
        ("../etc", "is not a host name"),
    ],
)
def test_says_which_part_is_wrong(text, why):
    with pytest.raises(InvalidReference) as caught:
        parse(text)
    assert why in str(caught.value) and "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_does_not_repeat_a_megabyte():
    with pytest.raises(InvalidReference) as caught:
        parse("A" * 1000000)
    assert len(str(caught.value)) < 500


def test_a_password_is_not_shown_where_a_long_text_is_cut():
    with pytest.raises(InvalidReference) as caught:
        parse("deploy:%s@host/app" % ("secret" * 100))
    assert "'deploy:***@host/app'" in str(caught.value)


@pytest.mark.parametrize("text", ["nginx", "registry.example:5000/app:1@" + D, "nginx@latest", "", "-"])
def test_what_is_no_more_than_wrong_is_not_misplaced(text):
    assert misplaced(text) is None
