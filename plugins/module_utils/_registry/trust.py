# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose certificates a registry may show: the system's CAs, the engines' certs.d and the ca_cert option."""

from __future__ import annotations

import glob
import os
import ssl
import typing as t

from .._errors import InvalidInput

FOLDERS = ("~/.config/containers/certs.d", "~/.config/docker/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")


def context(host: str, ca_cert: t.Optional[str], verify: bool, folders: t.Sequence[str] = FOLDERS) -> ssl.SSLContext:
    """TLS towards ``host`` (with its port, if it has one).

    ``ca_cert`` and each ``*.crt`` of a folder named after the host (docker, "Verify repository client with certificates";
    containers-certs.d(5)) are trusted besides the system's CAs. Raises InvalidInput that names a file which is no PEM.
    """
    trust = ssl.create_default_context()
    # urllib3 compares the names itself then, and before its version 2 cannot leave it to Python where the host is an address.
    trust.check_hostname = False
    if not verify:
        trust.verify_mode = ssl.CERT_NONE
        return trust
    files = [path for folder in folders for path in sorted(glob.glob(os.path.join(os.path.expanduser(folder), glob.escape(host), "*.crt")))]
    for path in files + [ca_cert] * bool(ca_cert):
        try:
            trust.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput("%s: cannot use it as CA certificates in PEM (%s)" % (path, error.strerror or error)) from None
    return trust
