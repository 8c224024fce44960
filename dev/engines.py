# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Throw-away container engines and registries for tests, demo and bench.

    with engines.start("docker-28", root) as engine:
        engine.call("POST", "/images/load", open("busybox.tar", "rb"))
        print(engine.run("busybox:1", "echo", "hello"))

Each runs in mount and process namespaces of its own, with a /run, /dev/shm and /var/lib that nobody else sees: it writes
nothing outside `root`, and when the first process of the namespace ends the kernel ends all others and their mounts.
That process reads a pipe from us, so an engine does not outlive its starter, whatever ended that one.

By hand: `python3 dev/engines.py start docker-28` prints the address and stays until Ctrl-C.
"""

from __future__ import annotations

import argparse
import ctypes
import http.client
import json
import os
import secrets
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Mapping, NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import debs  # noqa: E402

KINDS = ("docker-20.10", "docker-28", "docker-28-containerd", "podman-4")

START_SECONDS = 60
STOP_SECONDS = 20

# PID 1 of the namespaces. $1: the folder that it sees as /var/lib. The rest: the server's command, which gets no part of our pipe.
INIT = """
mount -nt tmpfs -o mode=755 tmpfs /run && mount -nt tmpfs -o mode=1777 tmpfs /dev/shm && mount -n --bind "$1" /var/lib || exit 1
shift
exec 3<&0
"$@" 3<&- </dev/null & server=$!
{ cat <&3 >/dev/null; kill -TERM $server; } &
wait $server
"""

NETWORK = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "network")
"""What runs a command in a network of its own, which has a loopback alone."""

# Podman under its two addresses; one service listens on one. crun takes no hybrid control groups, and an ordinary user may make none: show it none.
PODMAN = """
mount -nt tmpfs tmpfs /sys/fs/cgroup || exit 1
test -z "$2" || podman system service --time 0 "$2" &
exec podman system service --time 0 "$1"
"""


class Recipe(NamedTuple):
    """How a kind of engine is had: `version` is what its /version must begin with, `major` that of an unpacked Docker."""

    family: str
    packages: tuple[str, ...]
    version: str = ""
    major: int | None = None
    containerd: bool = False


# docker and podman: whatever this machine's distribution has.
RECIPES = {
    "docker": Recipe("docker", ("docker.io",)),
    "docker-20.10": Recipe("docker", ("docker.io",), "20.10."),
    "docker-28": Recipe("docker", ("runc",), "28.", major=28),
    "docker-28-containerd": Recipe("docker", ("runc",), "28.", major=28, containerd=True),
    "podman": Recipe("podman", ("podman", "crun")),
    "podman-4": Recipe("podman", ("podman", "crun"), "4."),
}


class TLS(NamedTuple):
    """Paths of a server's PEM files. `ca` signs the clients that an engine lets in; a registry asks for none."""

    ca: Path
    cert: Path
    key: Path


class Tokens(NamedTuple):
    """Whose Bearer tokens a registry takes: the token server's address, what both call themselves, and the PEM file of its CA."""

    realm: str
    service: str
    issuer: str
    bundle: Path


class StartError(Exception):
    """A server did not come up, or is not the one that was asked for. The text ends with the end of its log."""


class CallError(Exception):
    """An engine refused a call, or a container ended with another exit code than 0."""


@dataclass
class Process:
    """A server in namespaces of its own; `answers` tells whether it is up. All that it writes is below `root`."""

    name: str
    root: Path
    command: list[str]
    environ: dict[str, str]
    answers: Callable[[], bool]
    pid: int = 0
    _holder: Any = field(default=None, repr=False)

    @property
    def log(self) -> Path:
        """What the server and its helpers print, over all its starts."""
        return self.root / "log"

    def start(self) -> None:
        """Start the server and wait until it answers; StartError if it ends, or after START_SECONDS."""
        lib = self.root / "lib"
        lib.mkdir(exist_ok=True)
        with open(self.log, "ab") as log:
            self._holder = subprocess.Popen(  # pylint: disable=consider-using-with
                [*_unshare(), "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", INIT, "init", lib, *self.command],
                stdin=subprocess.PIPE, stdout=log, stderr=log, env=self.environ, cwd=self.root, start_new_session=True,
            )
        try:
            self._await()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """Ask the server to end, and end what it leaves; its files stay for another start()."""
        if self._holder:
            self._holder.stdin.close()
            try:
                self._holder.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
            self._holder = None

    def kill(self) -> None:
        """End the server and all that it started at once, as a power cut does; its files stay for another start()."""
        if self._holder:
            if self._holder.poll() is None:
                for pid in _children(self._holder.pid) or [self._holder.pid]:
                    os.kill(pid, signal.SIGKILL)
            self._holder.stdin.close()
            self._holder.wait()
            self._holder = None

    def _await(self) -> None:
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            code = self._holder.poll()
            if code is not None or time.monotonic() > end:
                tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
                how = f"does not answer after {START_SECONDS} s" if code is None else f"ended with exit code {code}"
                raise StartError(f"{self.name} {how}. The end of its log:\n{tail}")
            time.sleep(0.05)
        self.pid = _children(_children(self._holder.pid)[0])[0]


@dataclass
class Engine:
    """A running engine. `store` is 'classic', 'containerd' or 'podman'; `tcp` its second address, if one was asked for."""

    kind: str
    family: str
    root: Path
    process: Process
    tcp: str | None = None
    store: str = ""
    version: str = ""

    @property
    def socket(self) -> Path:
        return self.root / "engine.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    @property
    def pid(self) -> int:
        """The engine's process, in the numbers of this machine."""
        return self.process.pid

    @property
    def log(self) -> Path:
        return self.process.log

    def start(self) -> None:
        """Start the engine and learn what it is; StartError if it does not come up, or has another version than its kind says."""
        self.process.start()
        self.version = self.json("GET", "/version")["Version"]
        wanted = RECIPES[self.kind].version
        if not self.version.startswith(wanted):
            self.process.kill()
            raise StartError(f"{self.kind} was asked for, and this machine has {self.family} {self.version}")
        details = self.json("GET", "/info").get("DriverStatus") or []
        snapshotter = ["driver-type", "io.containerd.snapshotter.v1"] in details
        self.store = "podman" if self.family == "podman" else "containerd" if snapshotter else "classic"

    def stop(self) -> None:
        """Ask the engine to end; its images stay for another start()."""
        self.process.stop()

    def kill(self) -> None:
        """End the engine at once, as a power cut does; its images stay for another start()."""
        self.process.kill()

    def restart(self) -> None:
        """As after a reboot of its machine: images stay, what ran is gone."""
        self.stop()
        self.start()

    def wipe(self) -> None:
        """Remove all containers, images and what builds left in a cache; names first, since the engines differ in what an ID with two names removes.

        What the classic builder made on its way it removes with the last of its children, not before.
        """
        for container in self.json("GET", "/containers/json?all=1"):
            self.call("DELETE", f"/containers/{container['Id']}?force=1")
        while images := self.json("GET", "/images/json?all=1"):
            names = [name for image in images for name in image["RepoTags"] or [] if "@" not in name and name != "<none>:<none>"]
            parents = {image.get("ParentId") for image in images}
            for name in names or [image["Id"] for image in images if image["Id"] not in parents][:1]:
                self.call("DELETE", f"/images/{name}?force=1")
        if self.family == "docker":
            self.call("POST", "/build/prune?all=1")

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> bytes:
        """The body of the answer; CallError for a status of 400 and above. `body`: None, JSON as dict, bytes, a file or an iterator."""
        headers = dict(headers or {})
        if isinstance(body, dict):
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            answer = response.read()
        finally:
            connection.close()
        if response.status >= 400:
            raise CallError(f"{method} {path}: {response.status} {answer.decode(errors='replace').strip()}")
        return answer

    def json(self, method: str, path: str, body: Any = None) -> Any:
        """The answer to a call, parsed."""
        return json.loads(self.call(method, path, body))

    def run(self, image: str, *command: str, binds: Mapping[Path | str, str] | None = None) -> str:
        """Run a command (or the image's own) in a container without network and return its stdout; CallError with all that it
        printed if it ends with another exit code than 0. `binds`: path here -> path in the container."""
        container = self.json("POST", "/containers/create", {
            "Image": image,
            **({"Cmd": list(command)} if command else {}),
            "HostConfig": {
                "NetworkMode": "none", "Binds": [f"{here}:{there}" for here, there in (binds or {}).items()],
            },
        })["Id"]
        try:
            self.call("POST", f"/containers/{container}/start")
            code = self.json("POST", f"/containers/{container}/wait")["StatusCode"]
            streams = _demultiplex(self.call("GET", f"/containers/{container}/logs?stdout=1&stderr=1"))
        finally:
            self.call("DELETE", f"/containers/{container}?force=1")
        if code:
            raise CallError(f"{' '.join(command) or image} ended with exit code {code}: {streams[1]}{streams[2]}")
        return streams[1]


@dataclass
class Registry:
    """A running registry that keeps its blobs in the folder `blobs`. `host` is what image names begin with."""

    root: Path
    host: str
    url: str
    process: Process
    blobs: Path

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def log(self) -> Path:
        return self.process.log


@contextmanager
def start(
    kind: str, root: Path, *, tcp_port: int | None = None, tls: TLS | None = None, networks: bool = False
) -> Iterator[Engine]:
    """Run an engine of this kind below the folder `root`, which is made, and removed at the end with all that is in it.

    `tcp_port`: listen on this port of 127.0.0.1 too (0: a free one), with `tls` (Docker only) for clients that its ca signed.
    `networks` (Docker only): containers may have networks with each other; the engine is in one of its own, from which nothing is reached.
    Raises debs.Unavailable if the engine cannot be had here, StartError if it does not come up.
    """
    recipe = RECIPES[kind]
    debs.ensure([*recipe.packages, *([] if os.geteuid() == 0 else ["uidmap"])])
    with _folder(root) as root:
        tcp = None if tcp_port is None else f"127.0.0.1:{tcp_port or free_port()}"
        prepare = _podman if recipe.family == "podman" else _docker
        command, environ = prepare(root, recipe, tcp, tls, networks)
        engine = Engine(kind, recipe.family, root, Process(kind, root, command, environ, lambda: pings(root, tcp)), tcp and f"tcp://{tcp}")
        try:
            engine.start()
            yield engine
        finally:
            engine.kill()
            drop_cgroups(root)


@contextmanager
def registry(
    root: Path,
    *,
    port: int = 0,
    tls: TLS | None = None,
    htpasswd: Mapping[str, str] | None = None,
    tokens: Tokens | None = None,
    delete: bool = True,
    read_only: bool = False,
    blobs: Path | None = None,
) -> Iterator[Registry]:
    """Run Debian's docker-registry below the folder `root` on a port of 127.0.0.1 (0: a free one).

    `htpasswd`: user name -> password, asked for with Basic; `tokens`: asked for with Bearer; without both everybody may read
    and write. `delete` and `read_only`: what it allows. `blobs`: the folder of another registry, whose images it has too.
    """
    debs.ensure(["docker-registry"])
    with _folder(root) as root:
        host = f"127.0.0.1:{port or free_port()}"
        blobs = blobs or root / "blobs"
        http_options: dict[str, Any] = {"addr": host, "secret": secrets.token_hex()}
        storage = {
            "filesystem": {"rootdirectory": str(blobs)},
            "delete": {"enabled": delete},
            "maintenance": {"readonly": {"enabled": read_only}},
        }
        config: dict[str, Any] = {"version": 0.1, "log": {"level": "info"}, "storage": storage, "http": http_options}
        if tls:
            http_options["tls"] = {"certificate": str(tls.cert), "key": str(tls.key)}
        if htpasswd:
            (root / "htpasswd").write_text("".join(f"{user}:{bcrypt(password)}\n" for user, password in htpasswd.items()))
            config["auth"] = {"htpasswd": {"realm": "stowage", "path": str(root / "htpasswd")}}
        if tokens:
            given = {"realm": tokens.realm, "service": tokens.service, "issuer": tokens.issuer, "rootcertbundle": str(tokens.bundle)}
            config["auth"] = {"token": given}
        (root / "config.yml").write_text(json.dumps(config))
        command = [_program("docker-registry"), "serve", str(root / "config.yml")]
        with _serving("docker-registry", root, command, host, tls) as process:
            yield Registry(root, host, f"{'https' if tls else 'http'}://{host}", process, blobs)


@contextmanager
def crane_registry(root: Path, *, port: int = 0) -> Iterator[Registry]:
    """Run `crane registry serve`, another maker's registry, below the folder `root` on a port of 127.0.0.1 (0: a free one)."""
    crane = debs.crane()
    with _folder(root) as root:
        host = f"127.0.0.1:{port or free_port()}"
        blobs = root / "blobs"
        blobs.mkdir()
        command = [str(crane), "registry", "serve", "--address", host, "--disk", str(blobs)]
        with _serving("crane registry", root, command, host) as process:
            yield Registry(root, host, f"http://{host}", process, blobs)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def bcrypt(password: str) -> str:
    """The password as htpasswd -B would write it: docker-registry reads no other form."""
    crypt = ctypes.CDLL("libcrypt.so.1").crypt
    crypt.restype = ctypes.c_char_p
    salt = secrets.token_hex(10) + ".u"  # 22 characters of bcrypt's own base 64; only two bits of the last one count
    return crypt(password.encode(), f"$2y$05${salt}".encode()).decode()


def _docker(root: Path, recipe: Recipe, tcp: str | None, tls: TLS | None, networks: bool) -> tuple[list[str], dict[str, str]]:
    config: dict[str, Any] = {
        "hosts": [f"unix://{root}/engine.sock", *([f"tcp://{tcp}"] if tcp else [])],
        "data-root": str(root / "data"),
        "exec-root": "/run/docker",
        "pidfile": "/run/docker.pid",
        "storage-driver": "overlayfs" if recipe.containerd else "overlay2",
        "bridge": "none",
        "iptables": networks,
        "ip6tables": False,
        "ip-forward": networks,
        "insecure-registries": ["127.0.0.0/8"],
        "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "cgroup-parent": f"/{_cgroup(root)}",
        "features": {"containerd-snapshotter": recipe.containerd},
        "tls": bool(tls),
    }
    if tls:
        config.update(tlsverify=True, tlscacert=str(tls.ca), tlscert=str(tls.cert), tlskey=str(tls.key))
    environ = _environ(root)
    if recipe.major:
        tree = debs.docker(recipe.major)
        # A runc of another suite may need a newer libc than this system's: its own comes first, and alone.
        (root / "bin").mkdir()
        (root / "bin/runc").symlink_to(_program("runc"))
        environ["PATH"] = f"{root}/bin:{tree}/usr/bin:{tree}/usr/sbin:{environ['PATH']}"
        dockerd = f"{tree}/usr/sbin/dockerd"
    else:
        dockerd = _program("dockerd")
        config["deprecated-key-path"] = str(root / "key.json")
    (root / "daemon.json").write_text(json.dumps(config, indent=2))
    command = [dockerd, "--config-file", str(root / "daemon.json")]
    return [*NETWORK, *command] if networks else command, environ


def programs(engine: Engine) -> dict[str, str]:
    """An environment in which `docker` or `podman` is a program of this engine's version; podman is one that works in its storage."""
    folder = engine.root / "programs"
    folder.mkdir(exist_ok=True)
    environ = {"PATH": f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    if engine.family == "podman":
        settings = " ".join(f"{name}={value}" for name, value in engine.process.environ.items() if name != "PATH")
        enter = f'nsenter --target {engine.pid} --mount --pid --wd="$PWD" env {settings} {_program("podman")} "$@"'
        (folder / "podman").write_text(f"#!/bin/sh\nexec {enter}\n")
        (folder / "podman").chmod(0o755)
        return environ
    major = RECIPES[engine.kind].major
    tree = debs.docker(major) / "usr" if major else Path(_program("dockerd")).resolve().parents[1]
    (folder / "docker").unlink(missing_ok=True)
    (folder / "docker").symlink_to(tree / "bin/docker")
    (folder / ".docker").mkdir(exist_ok=True)
    (folder / ".docker/config.json").write_text(json.dumps({"cliPluginsExtraDirs": [str(tree / "libexec/docker/cli-plugins")]}))
    return environ


def _podman(root: Path, recipe: Recipe, tcp: str | None, tls: TLS | None, networks: bool) -> tuple[list[str], dict[str, str]]:
    if tls or networks:
        raise ValueError(f"podman {recipe.version} has no TLS and no networks here")
    files = {
        "storage.conf": f'[storage]\ndriver = "overlay"\ngraphroot = "{root}/storage"\nrunroot = "/run/containers/storage"\n',
        "containers.conf": f'[engine]\nruntime = "crun"\nevents_logger = "file"\n[engine.runtimes]\ncrun = ["{root}/crun"]\n'
                           '[containers]\ncgroups = "disabled"\n',
        "registries.conf": '[[registry]]\nlocation = "127.0.0.1"\ninsecure = true\n',
    }
    for name, text in files.items():
        (root / name).write_text(text)
    # A build's RUN would join a control group whatever containers.conf says.
    (root / "crun").write_text(f'#!/bin/sh\nexec {_program("crun")} --cgroup-manager=disabled "$@"\n')
    (root / "crun").chmod(0o755)
    environ = {
        **_environ(root),
        "CONTAINERS_CONF": str(root / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(root / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(root / "registries.conf"),
    }
    return ["sh", "-c", PODMAN, "podman", f"unix://{root}/engine.sock", f"tcp://{tcp}" if tcp else ""], environ


def _program(name: str) -> str:
    path = debs.which(name)
    if not path:
        raise debs.Unavailable(f"no program {name} on this machine")
    return path


def _environ(root: Path) -> dict[str, str]:
    """The environment of a server: nothing of the user's own settings but the PATH."""
    for name in ("home", "tmp"):
        (root / name).mkdir()
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
    return {"PATH": path, "HOME": f"{root}/home", "TMPDIR": f"{root}/tmp", "XDG_RUNTIME_DIR": "/run", "LC_ALL": "C.UTF-8"}


@contextmanager
def _folder(root: Path) -> Iterator[Path]:
    """Make the folder, and remove it at the end whatever happens: SIGTERM too comes as KeyboardInterrupt meanwhile."""
    root = root.resolve()
    if root.is_relative_to("/run") or root.is_relative_to("/var/lib"):
        raise ValueError(f"{root}: an engine sees another /run and /var/lib than this")
    root.mkdir(parents=True)
    ours = threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    if ours:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield root
    finally:
        subprocess.run([*_unshare(), "rm", "-rf", root], check=True)
        if ours:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _unshare() -> list[str]:
    """The command that gives an ordinary user the rights that the rest needs, in a user namespace with all IDs that he may use."""
    if os.geteuid() == 0:
        return ["unshare"]
    return ["unshare", "--user", "--map-root-user", "--map-auto"]


def drop_cgroups(root: Path) -> None:
    """Remove the control groups that an ended engine leaves: empty folders outside its own."""
    for pattern in (_cgroup(root), f"*/{_cgroup(root)}"):
        for top in Path("/sys/fs/cgroup").glob(pattern):
            for folder, _folders, _files in os.walk(top, topdown=False):
                os.rmdir(folder)


def _cgroup(root: Path) -> str:
    """The control group, of that name alone, of all containers of the engine in this folder."""
    return f"stowage-{root.stat().st_ino}"


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def pings(root: Path, tcp: str | None = None) -> bool:
    """Whether the engine in this folder answers, on both of its addresses if it has two."""
    connection = _UnixConnection(root / "engine.sock", timeout=5)
    try:
        if tcp:
            host, port = tcp.split(":")
            socket.create_connection((host, int(port))).close()
        connection.request("GET", "/_ping")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


@contextmanager
def _serving(name: str, root: Path, command: list[str], host: str, tls: TLS | None = None) -> Iterator[Process]:
    process = Process(name, root, command, _environ(root), lambda: _serves(host, tls))
    try:
        process.start()
        yield process
    finally:
        process.kill()


def _serves(host: str, tls: TLS | None) -> bool:
    # Is it up? Whether its certificate is good is for its clients to say.
    connection = http.client.HTTPSConnection(host, context=ssl._create_unverified_context()) if tls else http.client.HTTPConnection(host)
    try:
        connection.request("GET", "/v2/")
        return connection.getresponse().status in (200, 401)
    except OSError:
        return False
    finally:
        connection.close()


def _demultiplex(frames: bytes) -> dict[int, str]:
    """The text of stdout (1) and stderr (2) from a container's log: frames of an 8 byte head (stream, 3 zeros, length) and bytes."""
    streams = {1: b"", 2: b""}
    at = 0
    while at < len(frames):
        stream, length = struct.unpack_from(">B3xI", frames, at)
        streams[stream] += frames[at + 8:at + 8 + length]
        at += 8 + length
    return {stream: text.decode(errors="replace") for stream, text in streams.items()}


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path, timeout: float = 600) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def main() -> None:
    parser = argparse.ArgumentParser(description="Run a throw-away engine until Ctrl-C.")
    start_parser = parser.add_subparsers(required=True).add_parser("start")
    start_parser.add_argument("kind", choices=RECIPES)
    start_parser.add_argument("--root", type=Path, help="a folder to make for it; default: one below the temp folder")
    options = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever starts us in the background has it ignored
    with ExitStack() as stack:
        root = options.root or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="stowage-"))) / "engine"
        try:
            engine = stack.enter_context(start(options.kind, root))
            print(engine.url, flush=True)
            signal.pause()
        except KeyboardInterrupt:
            pass
        except (debs.Unavailable, StartError) as error:
            sys.exit(str(error))


if __name__ == "__main__":
    main()
