# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sessions with registries, as a module has them: its options of the group ``registry``, and what a test sets of them."""

from __future__ import annotations

import typing as t

from ansible_collections.stowage.oci.plugins.module_utils._registry.keychain import Keychain
from ansible_collections.stowage.oci.plugins.module_utils._registry.session import Session

OPTIONS: t.Dict[str, t.Any] = {
    "username": None, "password": None, "auth_file": None, "ca_cert": None, "client_cert": None, "client_key": None, "validate_certs": True,
    "plain_http": True, "registry_timeout": 5, "retries": 2,
}


def session(**options: t.Any) -> Session:
    """Over plain http, unless the options say otherwise; the files of the user that runs the tests are read."""
    given = dict(OPTIONS, **options)
    return Session(given, Keychain.of(given, []))
