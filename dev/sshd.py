# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An sshd on the loopback, by which this machine is another one for Ansible, for tests and bench."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Iterator

sys.path.insert(0, str(Path(__file__).parent))
import debs  # noqa: E402
import engines  # noqa: E402


@contextmanager
def start(root: Path) -> Iterator[dict[str, Any]]:
    """A machine that is reached over ssh as root: gives its variables for an inventory. All that it writes is below `root`.

    It is this one, in namespaces of its own: its /run and /var/lib are empty.
    """
    debs.ensure(["openssh-server"])
    root.mkdir(exist_ok=True)
    port = engines.free_port()
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", root / name], check=True)
    (root / "known_hosts").write_text(f"[127.0.0.1]:{port} {(root / 'host.pub').read_text()}")
    (root / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {root}/host\nAuthorizedKeysFile {root}/user.pub .ssh/authorized_keys\nPidFile none\n"
        "StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        "MaxStartups 100\n"
    )

    def answers() -> bool:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    command = ["sh", "-c", f"mkdir /run/sshd && exec {debs.which('sshd')} -D -e -f {root}/sshd_config"]
    process = engines.Process("sshd", root, command, dict(os.environ), answers)
    process.start()
    try:
        yield {
            "ansible_connection": "ssh",
            "ansible_host": "127.0.0.1",
            "ansible_port": port,
            "ansible_user": "root",
            "ansible_ssh_private_key_file": str(root / "user"),
            "ansible_ssh_common_args": f"-F none -o UserKnownHostsFile={root}/known_hosts -o IdentitiesOnly=yes",
        }
    finally:
        process.kill()
