# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Option groups: each is an argument_spec, and the doc fragment of the same name says what its options mean."""

from __future__ import annotations

import typing as t

ENGINE: t.Dict[str, t.Any] = dict(
    engine_host=dict(type="str"),
    engine_ca_cert=dict(type="path"),
    engine_client_cert=dict(type="path"),
    engine_client_key=dict(type="path", no_log=False),
    engine_validate_certs=dict(type="bool", default=True),
    engine_timeout=dict(type="int", default=600),
)

REGISTRY: t.Dict[str, t.Any] = dict(
    username=dict(type="str"),
    password=dict(type="str", no_log=True),
    auth_file=dict(type="path"),
    ca_cert=dict(type="path"),
    client_cert=dict(type="path"),
    client_key=dict(type="path", no_log=False),
    validate_certs=dict(type="bool", default=True),
    plain_http=dict(type="bool", default=False),
    registry_timeout=dict(type="int", default=60),
    retries=dict(type="int", default=4),
)

PARALLEL: t.Dict[str, t.Any] = dict(parallel=dict(type="int", default=4))

LOAD: t.Dict[str, t.Any] = dict(
    src=dict(type="path", required=True),
    remote_src=dict(type="bool", default=False),
    base=dict(type="list", elements="path", default=[]),
    images=dict(type="list", elements="str"),
    names=dict(type="dict", default={}),
    platform=dict(type="str"),
    staging_dir=dict(type="path"),
    wish=dict(type="dict"),
    **ENGINE
)
"""All of image_load's, here because the module and the action plugin check the same."""
