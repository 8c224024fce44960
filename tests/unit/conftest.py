# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible_collections.stowage.oci.plugins.module_utils._registry import transport


@pytest.fixture
def alone(monkeypatch, tmp_path):
    """A home without credentials, no proxy, and no pauses between tries: nothing of the machine shows. The home's path."""
    monkeypatch.setattr(transport, "_PAUSE_SECONDS", 0.001)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    for name in ("DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    return tmp_path
