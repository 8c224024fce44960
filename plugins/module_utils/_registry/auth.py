# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Answer the challenges of registries: Basic, and Bearer with tokens from a token server (distribution, spec/auth/token.md)."""

from __future__ import annotations

import json
import threading
import time
import typing as t
import urllib.parse

from .._errors import RegistryDenied, RegistryError, shown
from .._oci import challenge as _challenge
from .._oci.challenge import Challenge
from .._oci.reference import Reference
from .transport import Answer, Http
from .keychain import Credential, Keychain

_SAFETY_SECONDS = 10


class Auth:
    """What each registry wants to see is learned from its first 401; tokens are kept by registry and scope until they end."""

    def __init__(self, http: Http, keychain: Keychain, plain_http: bool) -> None:
        self._http = http
        self._keychain = keychain
        self._schemes = ("https", "http") if plain_http else ("https",)
        self._challenges: t.Dict[str, Challenge] = {}
        self._tokens: t.Dict[t.Tuple[str, t.Tuple[str, ...]], t.Tuple[str, float]] = {}
        self._lock = threading.Lock()

    def header(self, reference: Reference, scopes: t.Tuple[str, ...]) -> t.Dict[str, str]:
        """What the registry is known to want for these scopes (``repository:NAME:pull``); nothing before it has asked.

        Raises RegistryDenied or RegistryError if the token server says no.
        """
        challenge = self._challenges.get(reference.registry)
        if challenge is None:
            return {}
        credential = self._keychain.find(reference)
        if challenge.scheme == "basic":
            return {"Authorization": credential.basic} if credential and credential.username else {}
        with self._lock:
            token, until = self._tokens.get((reference.registry, scopes), ("", 0.0))
        if time.monotonic() >= until:
            token, seconds = self._token(reference, challenge, scopes, credential)
            with self._lock:
                self._tokens[reference.registry, scopes] = (token, time.monotonic() + seconds - _SAFETY_SECONDS)
        return {"Authorization": "Bearer " + token}

    def challenged(self, reference: Reference, scopes: t.Tuple[str, ...], refused: t.Mapping[str, str], www_authenticate: str) -> t.Dict[str, str]:
        """After a 401: another header to try, or none if ``refused`` was all that we have."""
        challenge = _challenge.bearer_or_basic(_challenge.parse(www_authenticate))
        if challenge is None:
            return {}
        with self._lock:
            self._challenges[reference.registry] = challenge
            self._tokens.pop((reference.registry, scopes), None)
        header = self.header(reference, scopes)
        return {} if header == refused else header

    def denied(self, reference: Reference, answer: Answer) -> RegistryDenied:
        """The sentence for a 401 or 403 that we have no further answer to."""
        return self._keychain.denied(reference, reason(answer))

    def _token(self, reference: Reference, challenge: Challenge, scopes: t.Tuple[str, ...], credential: t.Optional[Credential]) -> t.Tuple[str, float]:
        """A token and the seconds it is good for."""
        realm = challenge.parameters["realm"]
        try:
            server = urllib.parse.urlsplit(realm)
        except ValueError:
            server = urllib.parse.urlsplit("")
        where = "%s, the token server of %s," % (shown(server.netloc), reference.registry)
        if server.scheme not in self._schemes or not server.netloc:
            raise RegistryError("%s: %s is not asked, as %s is no https address" % (reference.spelling, where, shown(realm)))
        service = challenge.parameters.get("service", "")
        if credential and not credential.username:
            form = {"grant_type": "refresh_token", "client_id": "stowage.oci", "service": service, "scope": " ".join(scopes)}
            form["refresh_token"] = credential.secret
            answer = self._http.request(reference.spelling, "POST", realm, form=form)
        else:
            query = "&".join(filter(None, (server.query, urllib.parse.urlencode([("service", service)] + [("scope", scope) for scope in scopes]))))
            headers = {"Authorization": credential.basic} if credential else {}
            answer = self._http.request(reference.spelling, "GET", server._replace(query=query).geturl(), headers)
        if answer.status in (401, 403):
            raise self.denied(reference, answer)
        try:
            document = json.loads(answer.body.decode("utf-8"))
            token = document.get("token") or document["access_token"]
            return "" + token, float(document.get("expires_in") or 60)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise RegistryError("%s: %s answers no token (%s)" % (reference.spelling, where, reason(answer))) from None


def reason(answer: Answer) -> str:
    """What an answer of 400 or more says went wrong: the registry's own words, else its status (distribution-spec, "Error Codes")."""
    try:
        error = json.loads(answer.body.decode("utf-8"))["errors"][0]
        return "%s: %s" % (shown(error["code"]), shown(error.get("message") or "HTTP %d" % answer.status))
    except (AttributeError, IndexError, KeyError, TypeError, ValueError):
        return "HTTP %d" % answer.status
