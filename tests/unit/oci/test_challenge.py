# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._oci.challenge import Challenge, bearer_or_basic, parse

BASIC = Challenge("basic", {"realm": "fleet"})
BEARER = Challenge("bearer", {"realm": "https://auth.example/token", "service": "fleet", "scope": "repository:a/b:pull,push"})


@pytest.mark.parametrize(
    ("header", "challenges"),
    [
        ('Basic realm="fleet"', [BASIC]),
        ('Bearer realm="https://auth.example/token",service="fleet",scope="repository:a/b:pull,push"', [BEARER]),
        ('bearer  Realm = "https://auth.example/token" ,\tSERVICE=fleet, scope="repository:a/b:pull,push"', [BEARER]),
        ('Bearer realm="https://auth.example/token",service="fleet",scope="repository:a/b:pull,push", Basic realm="fleet"', [BEARER, BASIC]),
        ('Basic realm="fleet", Bearer realm="https://auth.example/token",service=fleet,scope="repository:a/b:pull,push"', [BASIC, BEARER]),
        ("Basic", [Challenge("basic", {})]),
        ('Negotiate dG9rZW4=, Basic realm="fleet"', [Challenge("negotiate", {}), BASIC]),
        (r'Basic realm="a \"quoted\\\" word"', [Challenge("basic", {"realm": 'a "quoted\\" word'})]),
        ('Basic realm="fleet", realm="another"', [BASIC]),
        ('Basic realm=""', [Challenge("basic", {"realm": ""})]),
        ("", []),
        ('realm="fleet"', []),
        ('Basic realm="never closed', [Challenge("basic", {}), Challenge("never", {}), Challenge("closed", {})]),
        (",,, =", []),
    ],
)
def test_reads_every_challenge(header, challenges):
    assert parse(header) == tuple(challenges)


@pytest.mark.parametrize(
    ("challenges", "answered"),
    [
        ([BASIC], BASIC),
        ([BEARER], BEARER),
        ([BASIC, BEARER], BEARER),
        ([BEARER, BASIC], BEARER),
        ([Challenge("bearer", {}), BASIC], BASIC),
        ([Challenge("negotiate", {})], None),
        ([Challenge("bearer", {"service": "fleet"})], None),
        ([], None),
    ],
)
def test_answers_bearer_before_basic(challenges, answered):
    assert bearer_or_basic(challenges) == answered
