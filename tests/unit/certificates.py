# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for tests, made with the program openssl: an authority, and who it vouches for.

    ca = Authority(tmp_path / "ca")
    server = ca.issue("server", "127.0.0.1")      # server.cert, server.key
    client = ca.issue("client")
"""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path


class Certificate(t.NamedTuple):
    """Paths of PEM files."""

    cert: Path
    key: Path


class Authority:
    """``cert`` is the PEM file that whoever trusts it needs. Like those made by Docker's guide it has no key usage."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._own = self._request("ca", "-x509", "-days", "2", "-subj", "/CN=stowage test authority")
        self.cert = self._own.cert

    def issue(self, name: str, address: str = "") -> Certificate:
        """``address`` is the IP address of a server; without one the certificate is a client's."""
        request = self._request(name, "-subj", "/CN=%s" % name)
        signed = self._folder / (name + ".pem")
        purpose = "subjectAltName=IP:%s\nextendedKeyUsage=serverAuth\n" % address if address else "extendedKeyUsage=clientAuth\n"
        (self._folder / "extensions").write_text(purpose)
        _openssl(
            "x509", "-req", "-days", "2", "-in", request.cert, "-out", signed, "-CA", self._own.cert, "-CAkey", self._own.key,
            "-CAcreateserial", "-extfile", self._folder / "extensions",
        )
        return request._replace(cert=signed)

    def _request(self, name: str, *how: str) -> Certificate:
        made = Certificate(self._folder / (name + ".csr"), self._folder / (name + ".key"))
        _openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", made.key, "-out", made.cert, *how)
        return made


def _openssl(*args: t.Any) -> None:
    subprocess.run(["openssl"] + [str(arg) for arg in args], check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
