# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A server of one's own on a socket that root and the registry's user alone reach, and what the program prints of its garbage."""

from __future__ import annotations

import ctypes
import fcntl
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import contextmanager
from typing import Any, Callable, Dict, Iterator, NamedTuple, Optional, Sequence, Tuple

import explain
import ready
from settings import Config, Failure, Settings, account, write
from variants import Address

START_SECONDS = 60
STOP_SECONDS = 20
PR_SET_PDEATHSIG = 1


class Program(NamedTuple):
    """How the program is run: its command, as whom (None: as we are), in which environment."""

    command: Sequence[str]
    user: Optional[str]
    environment: Dict[str, str]

    def start(self, *args: str, **options: Any) -> "subprocess.Popen[bytes]":
        environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "OTEL_TRACES_EXPORTER": "none"}
        environment.update(self.environment)
        try:
            return subprocess.Popen(
                list(self.command) + list(args), stdin=subprocess.DEVNULL, env=environment, cwd="/", preexec_fn=_becoming(self.user), **options
            )
        except OSError as error:
            raise Failure("%s cannot be run: %s" % (" ".join(self.command), error))

    def ids(self) -> Optional[Tuple[int, int]]:
        """Whose files it reads and writes; None if that is not told."""
        who = account(self.user)
        if who:
            return who[:2]
        found = [re.fullmatch(r"--user=(\d+):(\d+)", word) for word in self.command]
        return next(((int(one.group(1)), int(one.group(2))) for one in found if one), None)

    def mounting(self, path: str) -> "Program":
        """The same, if it is a container's: with a folder more that it may write to."""
        command = list(self.command)
        if self.user is None and "run" in command:
            command.insert(command.index("run") + 1, "--volume=%s:%s" % (path, path))
        return self._replace(command=command)


def _becoming(user: Optional[str]) -> Callable[[], None]:
    """What a child does before it is the program: it becomes the user, and ends when we end."""
    who = account(user)
    libc = ctypes.CDLL(None)

    def become() -> None:
        if who:
            os.setgroups(who[2])
            os.setgid(who[1])
            os.setuid(who[0])
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)

    return become


def run_folder(settings: Settings) -> str:
    if not os.path.isdir(settings.run):
        os.makedirs(settings.run)
        os.chmod(settings.run, 0o711)
    return settings.run


@contextmanager
def folder(settings: Settings, program: Program) -> Iterator[str]:
    """A folder in the run folder, for the program's user alone, gone at the end."""
    path = tempfile.mkdtemp(prefix="keeper-", dir=run_folder(settings))
    who = program.ids()
    if who:
        os.chown(path, *who)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def lock(settings: Settings) -> Iterator[None]:
    """One at a time."""
    with open(os.path.join(run_folder(settings), "keeper.lock"), "w", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure("Another collection, backup or restoration of this registry is at work: try again when it is done.")
        yield


@contextmanager
def serving(
    program: Program, where: str, config: Callable[[str], Config], like: str, what: str, seconds: float = START_SECONDS
) -> Iterator["Served"]:
    """Serve what ``config`` makes of a socket's path, from the folder ``where``, until the end; Failure that says ``what`` was tried."""
    address = Address(os.path.join(where, "socket"))
    made = config(address.path or "")
    path, log = os.path.join(where, "config.json"), os.path.join(where, "log")
    write(path, made, like, program.user)
    with open(log, "wb") as file:
        process = program.mounting(where).start("serve", path, stdout=file, stderr=file)
    served = Served(address, made, log)
    try:
        limit = time.monotonic() + seconds
        while True:
            reason = ready.lacking(made, address)
            if reason is None:
                break
            ended = process.poll() is not None
            if ended or time.monotonic() > limit:
                reason = "it ended with code %s" % process.returncode if ended else reason
                raise Failure(explain.failed("%s: %s." % (what, reason), served.log(), made))
            time.sleep(0.05)
        yield served
    finally:
        _end(process)
        if os.path.exists(address.path or ""):
            os.unlink(address.path or "")


class Served(NamedTuple):
    """A server that runs."""

    address: Address
    config: Config
    log_path: str

    def log(self) -> str:
        with open(self.log_path, "rb") as file:
            return file.read().decode(errors="replace")


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def garbage(program: Program, where: str, config: Config, like: str, dry_run: bool) -> Iterator[str]:
    """The lines of a plain garbage collection: never with -m, which destroys images of several platforms (distribution#3178)."""
    path, log = os.path.join(where, "collect.json"), os.path.join(where, "collect.log")
    write(path, config, like, program.user)
    with open(log, "wb") as file:
        process = program.mounting(where).start("garbage-collect", *(["--dry-run"] if dry_run else []), path, stdout=subprocess.PIPE, stderr=file)
    try:
        for line in process.stdout or ():
            yield line.decode(errors="replace").rstrip()
        process.wait()
    finally:
        if process.poll() is None:
            _end(process)
        if process.stdout:
            process.stdout.close()
    if process.returncode:
        with open(log, "rb") as file:
            text = file.read().decode(errors="replace")
        if re.search(r"Path not found: /docker/registry/v2/(repositories|blobs)$", text, re.M):
            return  # nothing was ever pushed
        raise Failure(explain.failed("garbage-collect ended with code %d." % process.returncode, text, config))
