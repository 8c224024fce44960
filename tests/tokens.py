# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A token server for a real registry (distribution, spec/auth/token.md, oauth.md and jwt.md).

    with TokenServer(folder, {"ann": Account("secret")}) as tokens:
        with engines.registry(root, tokens=tokens.settings) as registry:
            ...
"""

from __future__ import annotations

import base64
import datetime
import json
import secrets
import threading
import time
import urllib.parse
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Mapping, NamedTuple

import engines
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

SERVICE = "stowage"
ISSUER = "stowage tests"


class Account(NamedTuple):
    """``actions`` are those of the distribution project's scopes: pull, push, delete and, for the catalog, *."""

    password: str
    actions: frozenset[str] = frozenset(["pull", "push", "delete", "*"])


class Issued(NamedTuple):
    """One token: how it was asked for (``basic``, ``anonymous``, ``password`` or ``refresh_token``), by whom, for what, and what it grants."""

    how: str
    account: str
    scopes: tuple[str, ...]
    granted: tuple[str, ...]


@dataclass
class TokenServer:
    """Listens on the loopback while it is a context. Without an account one may pull repositories that begin with ``public/``.

    ``lifetime`` are the seconds after which the registry takes a token no more (it adds 60 of its own), ``stated`` those that
    clients are told. ``issued`` is what was given out, in order; ``identity`` makes an identity token as a login would.
    """

    folder: Path
    accounts: Mapping[str, Account]
    lifetime: float = 300
    stated: float = 300
    issued: list[Issued] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        certificate = _certificate(self._key)
        self._chain = base64.b64encode(certificate.public_bytes(serialization.Encoding.DER)).decode()
        bundle = self.folder / "tokens.pem"
        bundle.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self._identities: dict[str, str] = {}
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.tokens = self  # type: ignore[attr-defined]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self.settings = engines.Tokens(f"http://127.0.0.1:{self._server.server_address[1]}/token", SERVICE, ISSUER, bundle)

    def __enter__(self) -> TokenServer:
        self._thread.start()
        return self

    def __exit__(self, *_exception: Any) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def identity(self, account: str) -> str:
        token = secrets.token_hex()
        self._identities[token] = account
        return token

    def get(self, query: Mapping[str, list[str]], authorization: str) -> tuple[int, dict[str, Any]]:
        """A token for whoever Basic names; with offline_token an identity token too."""
        account = self._basic(authorization) if authorization else ""
        if account is None or query.get("service") != [SERVICE]:
            return _refusal()
        more = {"refresh_token": self.identity(account)} if account and query.get("offline_token") == ["true"] else {}
        return 200, {**self._issue("basic" if account else "anonymous", account, query.get("scope", [])), **more}

    def post(self, form: Mapping[str, list[str]]) -> tuple[int, dict[str, Any]]:
        """OAuth2: a token for a password or for an identity token."""
        one = {key: values[0] for key, values in form.items()}
        how = one.get("grant_type", "")
        account = None
        if how == "refresh_token":
            account = self._identities.get(one.get("refresh_token", ""))
        elif how == "password" and self._knows(one.get("username", ""), one.get("password", "")):
            account = one["username"]
        if account is None or one.get("service") != SERVICE or not one.get("client_id"):
            return _refusal()
        answer = self._issue(how, account, one.get("scope", "").split())
        return 200, {"access_token": answer["token"], "expires_in": answer["expires_in"]}

    def _basic(self, authorization: str) -> str | None:
        scheme, _blank, encoded = authorization.partition(" ")
        name, _colon, password = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        return name if self._knows(name, password) else None

    def _knows(self, name: str, password: str) -> bool:
        return name in self.accounts and self.accounts[name].password == password

    def _issue(self, how: str, account: str, scopes: list[str]) -> dict[str, Any]:
        access = [granted for scope in scopes for granted in self._granted(account, scope)]
        now = int(time.time())
        claims = {
            "iss": ISSUER, "sub": account, "aud": SERVICE, "exp": now + int(self.lifetime), "nbf": now - 3600, "iat": now, "jti": secrets.token_hex(),
            "access": access,
        }
        granted = tuple(f"{one['type']}:{one['name']}:{','.join(one['actions'])}" for one in access)
        self.issued.append(Issued(how, account, tuple(scopes), granted))
        return {"token": self._signed(claims), "expires_in": self.stated}

    def _granted(self, account: str, scope: str) -> list[dict[str, Any]]:
        kind, _colon, rest = scope.partition(":")
        name, _colon, actions = rest.rpartition(":")
        allowed = self.accounts[account].actions if account else {"pull"} if name.startswith("public/") else set()
        granted = [action for action in actions.split(",") if action in allowed]
        return [{"type": kind, "name": name, "actions": granted}] if granted else []

    def _signed(self, claims: dict[str, Any]) -> str:
        text = ".".join(_base64(json.dumps(part).encode()) for part in ({"typ": "JWT", "alg": "RS256", "x5c": [self._chain]}, claims))
        return text + "." + _base64(self._key.sign(text.encode(), padding.PKCS1v15(), hashes.SHA256()))


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        self._answer(self.server.tokens.get(query, self.headers.get("Authorization", "")))  # type: ignore[attr-defined]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(self.server.tokens.post(urllib.parse.parse_qs(body.decode())))  # type: ignore[attr-defined]

    def log_message(self, format: str, *args: Any) -> None:  # pylint: disable=redefined-builtin
        pass

    def _answer(self, answer: tuple[int, dict[str, Any]]) -> None:
        body = json.dumps(answer[1]).encode()
        self.send_response(answer[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _refusal() -> tuple[int, dict[str, Any]]:
    return 401, {"errors": [{"code": "UNAUTHORIZED", "message": "authentication required"}]}


def _certificate(key: rsa.RSAPrivateKey) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, ISSUER)])
    now = datetime.datetime.now(datetime.timezone.utc)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=1))
    return builder.not_valid_after(now + datetime.timedelta(days=2)).sign(key, hashes.SHA256())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
