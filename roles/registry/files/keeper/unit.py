# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The service of the server, as systemd keeps it."""

from __future__ import annotations

import os
import shlex
import subprocess
from typing import Dict, Optional

from settings import Failure


class Unit:
    """Starts and stops a unit; ``use`` has it serve another configuration until the next boot at most."""

    def __init__(self, name: str, folder: str = "/run/systemd/system") -> None:
        self.name = name
        self._drop_in = os.path.join(folder, name + ".d", "50-read-only.conf")

    def state(self) -> str:
        """Such as "active" or "failed"."""
        return self._ask("systemctl", "is-active", self.name).strip() or "unknown"

    def log(self) -> str:
        return self._ask("journalctl", "-u", self.name, "-n", "20", "-o", "cat", "--no-pager")

    def environment(self) -> Dict[str, str]:
        """What the unit sets beside its configuration's path."""
        words = shlex.split(self._ask("systemctl", "show", "-p", "Environment", "--value", self.name))
        return {name: value for name, equals, value in (word.partition("=") for word in words) if equals and name != "STOWAGE_CONFIG"}

    def start(self) -> None:
        self._do("start", self.name)

    def stop(self) -> None:
        self._do("stop", self.name)

    def restart(self) -> None:
        self._ask("systemctl", "reset-failed", self.name)  # whose limit of starts would count these too
        self._do("restart", self.name)

    def in_use(self) -> bool:
        """Whether it serves another configuration."""
        return os.path.exists(self._drop_in)

    def use(self, config: Optional[str]) -> None:
        """The configuration from the next start on; None is its own."""
        if config is None:
            if self.in_use():
                os.unlink(self._drop_in)
        else:
            os.makedirs(os.path.dirname(self._drop_in), exist_ok=True)
            with open(self._drop_in + ".new", "w", encoding="utf-8") as file:
                file.write("[Service]\nEnvironment=STOWAGE_CONFIG=%s\n" % config)
            os.replace(self._drop_in + ".new", self._drop_in)
        self._do("daemon-reload")

    def _do(self, *command: str) -> None:
        try:
            done = subprocess.run(("systemctl",) + command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        except OSError as error:
            raise Failure("systemctl %s: %s. The registry's service is kept by systemd." % (" ".join(command), error))
        if done.returncode:
            raise Failure("systemctl %s: %s" % (" ".join(command), done.stdout.decode(errors="replace").strip()))

    def _ask(self, *command: str) -> str:
        try:
            return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.decode(errors="replace")
        except OSError as error:
            return str(error)
