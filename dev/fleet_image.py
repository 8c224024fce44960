# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""The image of the fleet's hosts: a Debian with systemd, engines and clients, and a local APT repository of what roles install.

apt, with this machine's own mirror and settings, fetches every package once into a pool; debootstrap and the image's own apt
install from that pool alone. The finished image is a tar in the cache, keyed by its whole recipe.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

sys.path.insert(0, str(Path(__file__).parent))
import debs  # noqa: E402

SUITES = ("bookworm", "trixie")

INSTALLED = (
    "busybox-static", "ca-certificates", "crun", "curl", "dbus", "docker.io", "fuse-overlayfs", "iproute2", "iptables", "kmod", "openssl", "podman",
    "procps", "python3", "python3-apt", "skopeo", "systemd", "systemd-sysv", "netavark", "aardvark-dns", "python3-requests",
)
"""What every host has from the start."""

OFFERED = (
    "docker-registry", "redis-server", "redis-tools", "apache2-utils", "python3-bcrypt", "swift-proxy", "swift-account", "swift-container", "swift-object",
    "memcached",
)
"""What roles and verifications install on a host out of the image's own repository."""

MORE = {"bookworm": (), "trixie": ("docker-cli", "nftables")}
"""What a suite has as packages of their own, installed too."""

REPOSITORY = "/srv/packages"
"""Where the image has its repository."""

# An engine mounts these read-only for its containers; systemd and the engine inside must write there.
INIT = """#!/bin/sh
for mount in $(awk '$5 ~ "^/(sys|proc/sys)$|^/sys/fs/cgroup" {print $5}' /proc/self/mountinfo); do
    mount -o remount,bind,rw "$mount"
done
mount --make-rshared /
exec /lib/systemd/systemd
"""

FILES = {
    "sbin/fleet-init": INIT,
    "etc/apt/apt.conf.d/50fleet": 'APT::Install-Recommends "false";\nAcquire::Languages "none";\n',
    "etc/apt/sources.list": f"deb [trusted=yes] file:{REPOSITORY} ./\n",
}

MASKED = ("systemd-modules-load.service", "systemd-udevd.service", "getty@.service", "console-getty.service", "apt-daily.timer", "apt-daily-upgrade.timer")

CHANGES = ('ENTRYPOINT ["/sbin/fleet-init"]', 'VOLUME ["/var/lib/docker", "/var/lib/containers"]', "ENV container=docker LC_ALL=C.UTF-8")
"""What the image says of itself."""

POLICY = "#!/bin/sh\nexit 101\n"


def key(recipe: bytes | None = None) -> str:
    """What an image is called by in the cache: its whole recipe is this file."""
    return hashlib.sha256(recipe or Path(__file__).read_bytes()).hexdigest()[:16]


def name(suite: str) -> str:
    """The image's name in an engine."""
    return f"localhost/fleet/{suite}:{key()}"


def archive(suite: str) -> Path:
    """The tar of the image's root file system, made if the cache lacks it; Unavailable says why it cannot be made."""
    debs.ensure(["debootstrap", "dpkg-dev"])
    target = debs.CACHE / "fleet" / f"{suite}-{key()}.tar"
    with debs.lock(f"fleet-image-{suite}"):
        if not target.exists():
            target.parent.mkdir(exist_ok=True)
            with TemporaryDirectory(dir=debs.CACHE) as folder:
                made = _make(suite, Path(folder))
                for old in target.parent.glob(f"{suite}-*.tar"):
                    old.unlink()
                made.rename(target)
    return target


def _make(suite: str, folder: Path) -> Path:
    (folder / "apt").mkdir()
    apt = debs.Suite(folder / "apt", suite)
    wanted = [*INSTALLED, *MORE[suite]]
    pool = folder / "pool"
    apt.closure([*apt.required(), "apt", "usr-is-merged", *wanted, *OFFERED], pool)
    _index(pool, suite)
    root = folder / "root"
    debs.run(["debootstrap", "--variant=minbase", "--no-check-gpg", suite, root, f"file://{pool}"])
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "sbin/fleet-init").chmod(0o755)
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    repository = root / REPOSITORY[1:]
    shutil.copytree(pool, repository, ignore=shutil.ignore_patterns("dists"))
    (repository / "Packages").write_text(_scan(repository))
    _install(root, wanted)
    installed = set(debs.run(["chroot", root, "dpkg-query", "-W", "-f", "${Package}\n"]).split())
    for deb in repository.glob("*.deb"):
        if deb.name.split("_")[0] in installed:
            deb.unlink()
    (repository / "Packages").write_text(_scan(repository))
    _release(repository, "Packages")
    debs.run(["chroot", root, "apt-get", "update", "-qq"])
    for unit in MASKED:
        (root / "etc/systemd/system" / unit).unlink(missing_ok=True)
        (root / "etc/systemd/system" / unit).symlink_to("/dev/null")
    (root / "etc/machine-id").write_text("")  # each host makes its own
    tar = folder / "image.tar"
    left_out = [f"--exclude=./{path}/*" for path in ("usr/share/doc", "usr/share/locale", "usr/share/man", "var/cache/apt", "var/log/apt")]
    debs.run(["tar", "-C", root, "--numeric-owner", "--xattrs", *left_out, "-cf", tar, "."])
    return tar


def _install(root: Path, packages: list[str]) -> None:
    policy = root / "usr/sbin/policy-rc.d"
    policy.write_text(POLICY)
    policy.chmod(0o755)
    environ = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
    for command in (["update", "-qq"], ["install", "-qq", *packages], ["clean"]):
        debs.run(["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", 'mount -t proc proc "$0/proc" && exec chroot "$0" apt-get "$@"',
                  root, *command], env=environ)
    policy.unlink()


def _index(pool: Path, suite: str) -> None:
    """Make the folder of packages a mirror for debootstrap."""
    architecture = debs.run(["dpkg", "--print-architecture"]).strip()
    top = pool / "dists" / suite
    listed = f"main/binary-{architecture}/Packages"
    (top / listed).parent.mkdir(parents=True)
    (top / listed).write_text(_scan(pool))
    _release(top, listed, f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: {architecture}\n")


def _scan(folder: Path) -> str:
    """The list of the packages in a folder."""
    return debs.run(["dpkg-scanpackages", "--multiversion", "--hash", "sha256", "."], cwd=folder)


def _release(folder: Path, listed: str, fields: str = "") -> None:
    """Write the Release of a repository: it vouches for its list of packages."""
    text = (folder / listed).read_bytes()
    (folder / "Release").write_text(f"{fields}Date: Thu, 01 Jan 1970 00:00:00 UTC\nSHA256:\n {hashlib.sha256(text).hexdigest()} {len(text)} {listed}\n")


if __name__ == "__main__":
    try:
        print(archive(*sys.argv[1:] or SUITES[:1]))
    except debs.Unavailable as error:
        sys.exit(str(error))
