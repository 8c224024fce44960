# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""TLS towards registries: whose certificates they may show, and the one that we show them.

From the system's CAs, the engines' certs.d and the options ca_cert, client_cert and client_key.
"""

from __future__ import annotations

import glob
import os
import ssl
import typing as t

from .._errors import InvalidInput

FOLDERS = ("~/.config/containers/certs.d", "~/.config/docker/certs.d", "/etc/containers/certs.d", "/etc/docker/certs.d")


Pair = t.Tuple[str, t.Optional[str]]
"""Paths of a certificate and of its key, or of one file that holds both."""


def context(host: str, ca_cert: t.Optional[str], verify: bool, client: t.Optional[Pair] = None, folders: t.Optional[t.Sequence[str]] = None) -> ssl.SSLContext:
    """TLS towards ``host`` (with its port, if it has one).

    ``ca_cert`` and each ``*.crt`` of a folder named after the host (docker, "Verify repository client with certificates";
    containers-certs.d(5)) are trusted besides the system's CAs; ``client`` or else a ``*.cert`` with its ``*.key`` there is shown to who
    asks for one. Raises InvalidInput that names a file which is not what it should be.
    """
    trust = ssl.create_default_context()
    # An authority made as Docker's guide says has no key usage, and Python 3.13 would refuse it for that.
    trust.verify_flags &= ~ssl.VERIFY_X509_STRICT
    found = [os.path.join(os.path.expanduser(folder), glob.escape(host)) for folder in (FOLDERS if folders is None else folders)]
    shown = [client] if client else [(path, path[:-4] + "key") for folder in found for path in sorted(glob.glob(folder + "/*.cert"))]
    for cert, key in shown[:1]:
        try:
            trust.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            files = " and ".join(filter(None, (cert, key)))
            raise InvalidInput("%s: cannot use it as a client's certificate and key in PEM (%s)" % (files, error.strerror or error)) from None
    # urllib3 compares the names itself then, and before its version 2 cannot leave it to Python where the host is an address.
    trust.check_hostname = False
    if not verify:
        trust.verify_mode = ssl.CERT_NONE
        return trust
    for path in [path for folder in found for path in sorted(glob.glob(folder + "/*.crt"))] + [ca_cert] * bool(ca_cert):
        try:
            trust.load_verify_locations(cafile=path)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput("%s: cannot use it as CA certificates in PEM (%s)" % (path, error.strerror or error)) from None
    return trust
