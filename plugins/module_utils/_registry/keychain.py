# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How we are known to registries: options, docker's config.json, containers' auth.json and credential helpers.

The files are described by docker login ("Credential stores") and containers-auth.json(5). A secret is never part of a
command line, a message or a repr.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import typing as t

from .._errors import InvalidInput, RegistryDenied, RegistryError, shown
from .._oci.reference import DOCKER_HUB, Reference
from .._process import TimedOut, ask

HUB_KEY = "https://index.docker.io/v1/"
"""How docker calls the account of Docker Hub, in files and to helpers."""

_HUB_HOSTS = ("index.docker.io", "registry-1.docker.io")
_TOKEN_USER = "<token>"


class Credential(t.NamedTuple):
    """``secret`` is a password, or an identity token if there is no ``username``; ``source`` says where it was found."""

    username: str
    secret: str
    source: str

    def __repr__(self) -> str:
        return "Credential(%r, from %s)" % (self.username, self.source)

    @property
    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(("%s:%s" % (self.username, self.secret)).encode("utf-8")).decode("ascii")

    def for_engine(self, registry: str) -> str:
        """The value of an X-Registry-Auth header (Engine API, "Authentication")."""
        known = {"username": self.username, "password": self.secret} if self.username else {"identitytoken": self.secret}
        known["serveraddress"] = HUB_KEY if registry == DOCKER_HUB else registry
        return base64.urlsafe_b64encode(json.dumps(known).encode("utf-8")).decode("ascii")


class Keychain:
    """Finds the credential of a repository, and knows what it means that a registry wants another."""

    def __init__(self, given: t.Optional[Credential], paths: t.Sequence[str], timeout: float, named: bool = False, several: bool = False) -> None:
        self._given = given
        self._files = [_File.read(path, timeout) for path in paths if os.access(path, os.R_OK)]
        self._looked = ("auth_file %s has none for it" if named else "none were given, and there are none for it in %s") % ", ".join(paths)
        self._several = several

    @classmethod
    def of(
        cls,
        options: t.Mapping[str, t.Any],
        registries: t.Iterable[str],
        podman: bool = False,
        environ: t.Optional[t.Mapping[str, str]] = None,
        apart: bool = True,
    ) -> Keychain:
        """From the option group ``registry``; else the files of docker and podman, those of ``podman`` first if that is asked.

        ``registries`` are those of the task: a username is for one of them, and raises InvalidInput if there are more, as
        does an ``auth_file`` that cannot be read and any file that is malformed. ``apart``: each could have a task of its own.
        """
        username, password, named = options["username"], options["password"], options["auth_file"]
        if (username is None) != (password is None):
            raise InvalidInput("username and password go together: %s is missing" % ("username" if username is None else "password"))
        hosts = sorted(set(registries))
        if username is not None:
            if len(hosts) > 1:
                todo = "make a task of each, or use auth_file" if apart else "use auth_file, or log in (docker login, podman login) to each"
                raise InvalidInput(
                    "username and password are for one registry and would be shown to %s: %s" % (" and ".join(hosts), todo)
                )
            return cls(Credential(username, password, "username and password"), [], 0)
        if named and not os.access(named, os.R_OK):
            raise InvalidInput("auth_file %s: there is no such file, or it may not be read: log in first, or name another" % named)
        paths = [named] if named else places(os.environ if environ is None else environ, podman)
        return cls(None, paths, options["registry_timeout"], bool(named), len(hosts) > 1)

    def find(self, reference: Reference) -> t.Optional[Credential]:
        """Raises RegistryError if a credential helper that a file names for this registry fails."""
        if self._given:
            return self._given
        names = list(_prefixes(reference.name))
        for file in self._files:
            credential = file.find(names)
            if credential:
                return credential
        return None

    def denied(self, reference: Reference, why: str) -> RegistryDenied:
        """The sentence for a refusal to which we have no further answer, whoever asked for us; ``why`` is in the registry's words.

        A reference without a repository is what belongs to the registry as a whole, such as its catalog.
        """
        said = (reference.spelling, reference.registry)
        credential = self.find(reference)
        if credential:
            return RegistryDenied(
                "%s: %s refuses the credentials from %s (%s): they are wrong, or give no access to %s"
                % (said + (credential.source, why, reference.repository or "that"))
            )
        todo = "give username and password, or log in"
        if self._several:
            todo = "put those of each registry into auth_file, or log in (docker login, podman login) to each"
        return RegistryDenied(
            "%s: %s wants credentials%s (%s): %s: %s"
            % (said + (", or has no such repository" if reference.repository else "", why, self._looked, todo))
        )


def places(environ: t.Mapping[str, str], podman: bool = False) -> t.List[str]:
    """Where docker login and podman login write, in the order in which they are read."""
    home = environ.get("HOME") or os.path.expanduser("~")
    runtime = environ.get("XDG_RUNTIME_DIR")
    docker = [os.path.join(environ.get("DOCKER_CONFIG") or os.path.join(home, ".docker"), "config.json")]
    private = os.path.join(runtime, "containers") if runtime else "/run/containers/%d" % os.geteuid()
    containers = [
        environ.get("REGISTRY_AUTH_FILE") or os.path.join(private, "auth.json"),
        os.path.join(environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config"), "containers", "auth.json"),
    ]
    return containers + docker if podman else docker + containers


class _File:
    """One config.json or auth.json: entries by normalised name, and the helpers that know the rest."""

    def __init__(self, path: str, document: t.Mapping[str, t.Any], timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._entries = {_normalised(key): entry for key, entry in _object(document, "auths", path).items()}
        self._helpers = {_normalised(key): str(program) for key, program in _object(document, "credHelpers", path).items()}
        self._store = document.get("credsStore")
        self._asked: t.Dict[t.Tuple[str, str], t.Optional[Credential]] = {}
        self._lock = threading.Lock()

    @classmethod
    def read(cls, path: str, timeout: float) -> _File:
        try:
            with open(path, "rb") as stream:
                document = json.loads(stream.read().decode("utf-8") or "{}")
        except (OSError, ValueError):
            document = None
        if not isinstance(document, dict):
            raise InvalidInput("%s: not a JSON object as docker login and podman login write it: repair it, or log in again" % path)
        return cls(path, document, timeout)

    def find(self, names: t.Sequence[str]) -> t.Optional[Credential]:
        """``names``: the repository, what is above it, the registry."""
        for name in names:
            found = (self._ask(self._helpers[name], name) if name in self._helpers else None) or self._entry(name)
            if found:
                return found
        return self._ask(self._store, names[-1]) if self._store else None

    def _entry(self, name: str) -> t.Optional[Credential]:
        entry = self._entries.get(name) or {}
        try:
            if entry.get("identitytoken"):
                return Credential("", entry["identitytoken"], self.path)
            if entry.get("auth"):
                username, colon, password = base64.b64decode(entry["auth"], validate=True).decode("utf-8").partition(":")
                if not colon:
                    raise ValueError
                return Credential(username, password.rstrip("\0"), self.path)
            if entry.get("username"):
                return Credential(entry["username"], entry["password"], self.path)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise InvalidInput("%s: the entry of %s is not base64 of user:password: log in to it again" % (self.path, name)) from None
        return None

    def _ask(self, helper: str, name: str) -> t.Optional[Credential]:
        """Run ``docker-credential-HELPER get`` once for a name; it reads the name and prints JSON (docker-credential-helpers)."""
        with self._lock:
            if (helper, name) not in self._asked:
                self._asked[helper, name] = self._run(helper, HUB_KEY if name == DOCKER_HUB else name)
            return self._asked[helper, name]

    def _run(self, helper: str, key: str) -> t.Optional[Credential]:
        program = "docker-credential-%s" % helper

        def failure(why: str) -> RegistryError:
            return RegistryError("the credential helper %s, which %s names for %s, %s: repair it, or log in again" % (program, self.path, key, why))

        if os.sep in helper:
            raise failure("is no program's name")
        try:
            done = ask([program, "get"], key.encode("utf-8"), self._timeout)
        except TimedOut:
            raise failure("did not answer for %s seconds" % self._timeout) from None
        except OSError as error:
            raise failure("cannot be run (%s)" % error.strerror) from None
        if done.code:
            words = (done.out + done.err).decode("utf-8", "replace").strip()
            if "credentials not found" in words.lower():
                return None
            raise failure("failed (%s)" % shown(words or "exit code %d" % done.code))
        try:
            answer = json.loads(done.out.decode("utf-8"))
            username, secret = answer["Username"], answer["Secret"]
        except (KeyError, TypeError, ValueError):
            raise failure("printed something else than Username and Secret in JSON") from None
        if not secret:
            return None
        return Credential("" if username == _TOKEN_USER else username, secret, "%s (%s)" % (program, self.path))


def _object(document: t.Mapping[str, t.Any], key: str, path: str) -> t.Dict[str, t.Any]:
    value = document.get(key) or {}
    if not isinstance(value, dict):
        raise InvalidInput("%s: %s is a JSON object in such files: repair it, or log in again" % (path, key))
    return value


def _normalised(key: str) -> str:
    """A file's key as a prefix of ``registry/repository``; docker writes URLs, where only the host counts."""
    bare = key.partition("://")[2] or key
    host, slash, path = bare.partition("/")
    if host in _HUB_HOSTS:
        host = DOCKER_HUB
    return host + (slash + path if slash and bare == key else "")


def _prefixes(name: str) -> t.Iterator[str]:
    while name:
        yield name
        name = name.rpartition("/")[0]
