# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds by the command lines of Docker and Podman, for what no call of an engine can do.

A context comes as tar on their standard input. What is secret reaches them in files that only we read or in the
environment, never as an argument.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import signal
import tempfile
import threading
import typing as t

from .._errors import EngineError, InvalidInput
from .._process import PIPE, STDOUT, Process, ask
from .build import Built, Order, podman_steps, verified
from .buildlog import Log
from .engine import Engine
from .transport import Tls

Environ = t.Mapping[str, str]


class Folder(t.NamedTuple):
    """A context that a program reads itself, with the ignore file that it finds, and a Dockerfile that may lie anywhere."""

    path: str
    dockerfile: str


Context = t.Union[t.Iterable[bytes], Folder]

_NUMBERED = re.compile(r"#(\d+) (.*)")
_TIMED = re.compile(r"^\d+\.\d+ ?")
_PROGRESS = re.compile(r"(?:DONE [\d.]+s|CANCELED|\.\.\.|sha256:[0-9a-f]{64})$")
_ERROR = re.compile(r"(?:ERROR|Error): (.*)")
_OWN = re.compile(r"(?:DOCKER|BUILDX|CONTAINERS?|BUILDAH|XDG)_|(?:PATH|HOME|TMPDIR)$|LD_")
"""Names of variables that the programs go by themselves."""


def docker_form(environ: Environ) -> t.Optional[str]:
    """How Docker's program reaches BuildKit here: ``buildx``, ``build`` (before 23.0, which has it built in), or None."""
    program = shutil.which("docker", path=environ.get("PATH"))
    if not program:
        return None
    if _asked([program, "buildx", "version"], environ) is not None:
        return "buildx"
    found = re.search(r" (\d+)\.", _asked([program, "--version"], environ) or "")
    return "build" if found and int(found.group(1)) < 23 else None


def has_podman(environ: Environ) -> bool:
    return shutil.which("podman", path=environ.get("PATH")) is not None


def docker_cli(engine: Engine, order: Order, context: Context, environ: Environ, tls: t.Optional[Tls] = None) -> Built:
    """By BuildKit inside of Docker, with a session. Raises EngineError if its program is not there, and whatever ``context`` raises."""
    form = docker_form(environ)
    if form is None:
        raise EngineError("no program docker with BuildKit on this host: install docker-cli with its plugin buildx")
    with tempfile.TemporaryDirectory(prefix="stowage-build-") as folder:
        result = os.path.join(folder, "result")
        if form == "buildx":
            # Whatever builder the user chose: the engine's own. Provenance would give each build on the containerd store another ID.
            command = ["docker", "buildx", "build", "--builder", "default", "--load", "--provenance=false", "--metadata-file", result]
        else:
            command = ["docker", "build", "--iidfile", result]
        command += ["--progress=plain", *_arguments(order, folder, context)]
        env = dict(_environ(order, environ), DOCKER_HOST=engine.url, DOCKER_BUILDKIT="1", **_tls(tls, folder))
        log, error = _run(command, env, context, plain)
        return _came_of(engine, result, error, log)


def podman_cli(engine: Engine, order: Order, context: t.Iterable[bytes], environ: Environ) -> Built:
    """By the podman of this host, in the storage that it shares with the service: as a client of the service it knows no ssh, and
    puts secrets into what COPY sees. Raises as ``docker_cli`` does.
    """
    if not has_podman(environ):
        raise EngineError("no program podman on this host: install it")
    with tempfile.TemporaryDirectory(prefix="stowage-build-") as folder:
        result = os.path.join(folder, "result")
        form = "docker" if order.timestamp is None else "oci"
        command = ["podman", "build", "--layers", "--format", form, "--iidfile", result, *_arguments(order, folder, context)]
        if order.timestamp is not None:
            command[2:2] = ["--timestamp", str(order.timestamp)]
        env = _environ(order, environ)
        for name in ("CONTAINER_HOST", "CONTAINER_CONNECTION"):
            env.pop(name, None)
        read = _Podman()
        log, error = _run(command, env, context, read)
        read.end(log, error)
        return _came_of(engine, result, error, log)


# Arguments, files and environment


def _arguments(order: Order, folder: str, context: Context) -> t.List[str]:
    found = ["--file", context.dockerfile if isinstance(context, Folder) else order.dockerfile]
    if not order.cache:
        found.append("--no-cache")
    for option, value in (("--target", order.target), ("--platform", order.platform), ("--network", order.network)):
        found += [option, value] if value else []
    for option, values in (("--ssh", order.ssh), ("--cache-from", order.cache_from), ("--cache-to", order.cache_to)):
        for value in values:
            found += [option, value]
    for name in order.args:
        found += ["--build-arg", name]
    for pair in order.labels.items():
        found += ["--label", "%s=%s" % pair]
    for number, (key, secret) in enumerate(order.secrets.items()):
        found += ["--secret", "id=%s,src=%s" % (key, _written(folder, "secret-%d" % number, secret))]
    return found + [context.path if isinstance(context, Folder) else "-"]


def _environ(order: Order, environ: Environ) -> t.Dict[str, str]:
    """With the build arguments, whose values a list of processes would show."""
    for name in order.args:
        if _OWN.match(name):
            raise InvalidInput("the build argument %s cannot go through a program that reads a variable of that name itself: rename it" % name)
    return dict(environ, **order.args)


def _tls(tls: t.Optional[Tls], folder: str) -> t.Dict[str, str]:
    if not tls:
        return {}
    for name in ("ca", "cert", "key"):
        path = getattr(tls, name)
        if path:
            os.symlink(os.path.abspath(path), os.path.join(folder, name + ".pem"))
    return {"DOCKER_CERT_PATH": folder, "DOCKER_TLS_VERIFY" if tls.verify else "DOCKER_TLS": "1"}


def _written(folder: str, name: str, data: bytes) -> str:
    path = os.path.join(folder, name)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(data)
    return path


def _came_of(engine: Engine, result: str, error: t.Optional[str], log: Log) -> Built:
    if error:
        # What a program says when the engine is gone is not about the build: this raises then.
        with engine.transport.request("GET", "/_ping") as answer:
            answer.read()
    return verified(engine, _result(result), error, log)


def _result(path: str) -> t.Optional[str]:
    """The ID that the program wrote there, if it came so far: bare, or among other facts."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read().strip()
        return json.loads(text)["containerimage.digest"] if text.startswith("{") else text
    except (OSError, ValueError, KeyError):
        return None


# Running

Reader = t.Callable[[Log, str], None]


def _asked(command: t.List[str], environ: Environ) -> t.Optional[str]:
    try:
        done = ask(command, env=environ)
    except OSError:
        return None
    return None if done.code else done.out.decode("utf-8", "replace")


def _run(command: t.List[str], environ: Environ, context: Context, read: Reader) -> t.Tuple[Log, t.Optional[str]]:
    """What the program prints, and its error if it ends with one. Raises whatever ``context`` raises, once the program is dead."""
    log = Log()
    said: t.List[str] = []
    with Process(command, env=environ, stdin=PIPE, stdout=PIPE, stderr=STDOUT, start_new_session=True) as process:
        feed = t.cast(t.IO[bytes], process.stdin)

        def listen() -> None:
            for line in process.stdout or ():
                text = line.decode("utf-8", "replace").rstrip("\r\n")
                said[:] = (said + [text])[-20:]
                read(log, text)

        listener = threading.Thread(target=listen, daemon=True)
        listener.start()
        try:
            with contextlib.suppress(BrokenPipeError):  # who ends before all is read says why
                for chunk in () if isinstance(context, Folder) else context:
                    feed.write(chunk)
                feed.close()
            code = process.wait()
        except BaseException:
            # Dead before its input ends: a tar that is cut between two files looks whole.
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            process.wait()
            listener.join()
            with contextlib.suppress(OSError):
                feed.close()
    return log, _error(said, code) if code else None


def _error(said: t.Sequence[str], code: int) -> str:
    lines = [line.strip() for line in said if line.strip()]
    found = [match.group(1) for match in map(_ERROR.match, lines) if match]
    return (found or lines or ["the program ended with exit code %d" % code])[-1]


def plain(log: Log, line: str) -> None:
    """Reads BuildKit's plain progress: ``#5 [2/3] RUN make``, ``#5 0.123 output``, ``#5 ERROR: why``."""
    numbered = _NUMBERED.match(line)
    if not numbered:
        if line.strip():
            log.write("", line.encode() + b"\n")
        return
    key, text = numbered.groups()
    if not log.knows(key):
        log.step(key, text)
    elif text.startswith("ERROR: "):
        log.fail(key)
    elif not _PROGRESS.match(text):
        log.write(key, _TIMED.sub("", text, count=1).encode() + b"\n")


class _Podman:
    """Reads what Podman prints as its service sends it, but for the error, which is its last line: a step may print one like it."""

    def __init__(self) -> None:
        self._steps = podman_steps()
        self._held: t.Optional[str] = None

    def __call__(self, log: Log, line: str) -> None:
        if self._held is not None:
            self._steps(log, {"stream": self._held + "\n"})
        self._held = line if _ERROR.match(line) else None
        if self._held is None:
            self._steps(log, {"stream": line + "\n"})

    def end(self, log: Log, error: t.Optional[str]) -> None:
        self._steps(log, {"error": error} if error else {"stream": self._held or ""})
