# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a server answers as a registry does, with the certificate that it was given."""

from __future__ import annotations

import base64
import http.client
import os
import re
import ssl
import time
from typing import Any, Dict, Optional

import explain
import variants
from api import Connection
from settings import Config, Failure, Settings, read
from unit import Unit
from variants import Address

API = "Docker-Distribution-Api-Version"


def ready(settings: Settings, unit: Unit, seconds: float, config: Optional[Config] = None) -> Dict[str, Any]:
    """Wait until the public server answers; Failure with its log's end if it does not."""
    config = config or read(settings.config)
    at = variants.address(config)
    start = time.monotonic()
    while True:
        reason, state = lacking(config, at), unit.state()
        if reason is None and state == "active":
            return {"changed": False, "address": str(at), "seconds": round(time.monotonic() - start, 1)}
        if state == "failed" or time.monotonic() - start > seconds:
            reason = reason or "another program answers at %s" % str(at)
            what = "%s is not ready after %d seconds: %s. The unit is %s." % (unit.name, time.monotonic() - start, reason, state)
            raise Failure(explain.failed(what, unit.log(), config))
        time.sleep(0.1)


def lacking(config: Config, at: Address) -> Optional[str]:
    """What the server at this address lacks to be the registry of this configuration; None if nothing."""
    tls = (config.get("http") or {}).get("tls") or {}
    where = "%s://%s/v2/" % ("https" if tls else "http", at)
    connection = Connection(at, bool(tls), timeout=5)
    try:
        connection.connect()
        if tls.get("certificate") and connection.certificate() != certificate(tls["certificate"]):
            return "%s presents another certificate than that of %s" % (where, tls["certificate"])
        try:
            connection.request("GET", "/v2/")
            answer = connection.getresponse()
            body = answer.read(500).decode(errors="replace").strip()
        except (ssl.SSLError, ConnectionError):
            if tls.get("clientcas"):
                return None  # it asks for a client's certificate, which is as far as one gets without
            raise
    except (OSError, http.client.HTTPException) as error:
        return "%s: %s" % (where, error or type(error).__name__)
    finally:
        connection.close()
    drained = [one["file"] for one in (config.get("health") or {}).get("file") or () if os.path.exists(one["file"])]
    if answer.status == 503 and drained:
        return "%s is drained while %s is there" % (where, drained[0])
    if answer.status not in (200, 401):
        return "%s answers %d %s" % (where, answer.status, body)
    return None if answer.headers.get(API) == "registry/2.0" else "%s answers, but is no registry" % where


def certificate(path: str) -> bytes:
    """The first certificate of a PEM file, as DER."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise Failure("The certificate %s cannot be read: %s" % (path, error))
    found = re.search("-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----", text, re.S)
    if not found:
        raise Failure("%s holds no certificate." % path)
    return base64.b64decode(found.group(1))
