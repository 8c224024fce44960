# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib

import pytest

from ansible_collections.stowage.oci.plugins.module_utils._engine.layers import layers, matched

A, B = ("sha256:" + 64 * letter for letter in "ab")


def entry(command, size=0):
    return {"CreatedBy": command, "Size": size}


NOP = "/bin/sh -c #(nop) "


@pytest.mark.parametrize(
    "oldest_first, number, expected",
    [
        # Those with a size
        ([entry("COPY a", 5), entry("ENV a=b"), entry("RUN x", 7)], 2, ["COPY a", "RUN x"]),
        ([entry("COPY a", 5), entry("RUN true"), entry("RUN x", 7)], 2, ["COPY a", "RUN x"]),
        ([entry("", 5)], 1, [""]),
        # Empty layers: only an instruction that can make one
        ([entry("COPY a", 5), entry("ENV a=b"), entry("RUN true")], 2, ["COPY a", "RUN true"]),
        ([entry(NOP + "ADD file:1 in /", 5), entry(NOP + ' CMD ["sh"]'), entry("/bin/sh -c true")], 2, [NOP + "ADD file:1 in /", "/bin/sh -c true"]),
        ([entry(NOP + " WORKDIR /x"), entry(NOP + " ENV a=b")], 1, [NOP + " WORKDIR /x"]),
        ([entry("/bin/sh -c ENV=1 make"), entry("LABEL a=b")], 1, ["/bin/sh -c ENV=1 make"]),
        ([entry("CMDLET x"), entry("EXPOSE map[80/tcp:{}]"), entry('ENTRYPOINT ["/x"]'), entry("USER me"), entry("VOLUME [/v]")], 1, ["CMDLET x"]),
        # All of them
        ([entry("ENV a=b"), entry("bazel build")], 2, ["ENV a=b", "bazel build"]),
        ([], 0, []),
        # No telling
        ([], 1, None),
        ([entry("RUN true"), entry("RUN false"), entry("ENV a=b")], 1, None),
        ([entry("COPY a", 5), entry("COPY b", 5)], 1, None),
        ([entry("COPY a", 5)], 2, None),
    ],
)
def test_matched(oldest_first, number, expected):
    found = matched(oldest_first[::-1], number)
    assert (found and [one["CreatedBy"] for one in found]) == expected if expected != [] else found == []


def test_layers():
    noted = {"io.stowage.layers": '[["%s","application/vnd.oci.image.layer.v1.tar","%s",9]]' % (A, B)}
    document = {"RootFS": {"Type": "layers", "Layers": [A, B]}, "Descriptor": {"annotations": noted}}
    first, second = layers(document, [entry(" RUN x ", 7), entry("", 5)])

    assert first == (A, A, B, 5, None)
    assert second == (B, "sha256:" + hashlib.sha256(("%s %s" % (A, B)).encode()).hexdigest(), None, 7, "RUN x")


def test_layers_without_a_history_that_fits():
    assert [one[2:] for one in layers({"RootFS": {"Layers": [A, B]}}, [])] == [(None, None, None)] * 2


def test_a_half_loaded_image_has_none():
    assert layers({"RootFS": {}}, [entry("COPY a", 5)]) == ()
