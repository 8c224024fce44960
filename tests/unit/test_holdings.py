# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a host holds, in the terms of each store."""

from __future__ import annotations

import json

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci import holdings
from ansible_collections.stowage.oci.plugins.module_utils._oci.digest import Digest
from ansible_collections.stowage.oci.plugins.module_utils._oci.holdings import ChainHoldings, DescriptorHoldings, DiffIdHoldings, Layer
from ansible_collections.stowage.oci.plugins.module_utils._oci.image import chain_ids
from ansible_collections.stowage.oci.plugins.module_utils._oci.manifest import OCI_LAYER, Descriptor


def digest(text):
    return Digest.of(text.encode())


def layer(name, size=10):
    """A layer ``name``, in a gzip blob."""
    return Layer(Descriptor(OCI_LAYER + "+gzip", digest(name + ".gz"), size), digest(name))


A, B, C = layer("a"), layer("b"), layer("c")


def chains(*layers):
    return ChainHoldings(frozenset(chain_ids(one.diff_id for one in layers)))


@pytest.mark.parametrize(
    ("there", "asked", "held"),
    [
        ((), (A, B), (False, False)),
        ((A,), (A, B), (True, False)),
        ((A, B), (A, B), (True, True)),
        ((A, B), (A,), (True,)),
        ((A, B), (B,), (False,)),
        ((A, B), (A, C, B), (True, False, False)),
        ((B, A), (A, B), (False, False)),
        ((A, B), (A, B, A), (True, True, False)),
        ((A,), (), ()),
    ],
)
def test_the_classic_store_knows_a_layer_on_top_of_what_it_lay_on(there, asked, held):
    assert [one is not None for one in chains(*there).held(asked)] == list(held)


def test_the_classic_store_takes_any_descriptor():
    assert chains(A).held([A]) == [A.descriptor]


def test_the_classic_store_learns_every_prefix():
    learned = chains().plus([A, B], [A.descriptor, B.descriptor])
    assert [one is not None for one in learned.held([A, C])] == [True, False]
    assert [one is not None for one in learned.held([A, B, C])] == [True, True, False]


def test_podman_knows_a_layer_wherever_it_lies():
    there = DiffIdHoldings(frozenset([B.diff_id]))
    assert there.held([A, B, A]) == [None, Descriptor(OCI_LAYER, B.diff_id, 10), None]
    assert there.plus([A], [A.descriptor]).held([B, A]) == [Descriptor(OCI_LAYER, one.diff_id, 10) for one in (B, A)]


def test_the_containerd_store_wants_its_own_descriptor():
    own = Descriptor(OCI_LAYER, digest("a.plain"), 30)
    there = DescriptorHoldings({A.diff_id: own})
    assert there.held([A, B]) == [own, None]


def test_the_containerd_store_keeps_the_descriptor_that_it_has():
    own, other = Descriptor(OCI_LAYER, digest("a.plain"), 30), Descriptor(OCI_LAYER, digest("b.plain"), 40)
    assert DescriptorHoldings({A.diff_id: own}).plus([A, B], [A.descriptor, other]).held([A, B]) == [own, other]


@pytest.mark.parametrize(
    "there", [chains(A, B), DiffIdHoldings(frozenset([A.diff_id, C.diff_id])), DescriptorHoldings({A.diff_id: A.descriptor, C.diff_id: C.descriptor})]
)
def test_what_is_held_survives_its_journey(there):
    """As much of it as matters: one who asks for the same images is answered the same."""
    told = json.loads(json.dumps(there.json([[A, B], [B]])))
    again = type(there).parse(told)
    assert [again.held(layers) for layers in ([A, B], [B])] == [there.held(layers) for layers in ([A, B], [B])]
    assert len(told) == (2 if isinstance(there, ChainHoldings) else 1)
    assert type(there).parse(there.json([])).held([A]) == [None]


def test_notes_come_back_as_they_went():
    notes = holdings.notes(digest("config"), [A.diff_id, B.diff_id, A.diff_id], [A.descriptor, B.descriptor, A.descriptor])
    assert notes[holdings.CONFIG_KEY] == digest("config")
    assert all(isinstance(value, str) for value in notes.values())
    assert holdings.noted(notes) == [(A.diff_id, A.descriptor), (B.diff_id, B.descriptor), (A.diff_id, A.descriptor)]
    assert holdings.described(notes) == {A.diff_id: A.descriptor, B.diff_id: B.descriptor}


@pytest.mark.parametrize(
    "annotations",
    [
        None,
        {},
        {"other": "x"},
        {holdings.LAYERS_KEY: ""},
        {holdings.LAYERS_KEY: "{"},
        {holdings.LAYERS_KEY: "5"},
        {holdings.LAYERS_KEY: "null"},
        {holdings.LAYERS_KEY: '[["a"]]'},
        {holdings.LAYERS_KEY: json.dumps([[A.diff_id, OCI_LAYER, "no digest", 1]])},
        {holdings.LAYERS_KEY: json.dumps([[A.diff_id, OCI_LAYER, A.diff_id, "many"]])},
    ],
)
def test_notes_of_strangers_are_nothing(annotations):
    assert holdings.noted(annotations) == []
