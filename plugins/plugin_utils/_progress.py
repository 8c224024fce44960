# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line every few seconds while a host takes long, on standard error, so that no output format is disturbed."""

from __future__ import annotations

import threading
import time

from ansible import constants as C
from ansible.utils.display import Display

from ..module_utils._oci.files import human

QUIET_SECONDS = 5
EVERY_SECONDS = 4


class Progress:
    """Counts what has been done for one host; shows it from a thread of its own while the ``with`` block runs."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._started = self._sending_since = time.monotonic()
        self._sent_before = 0
        self.doing = "asking what it holds"
        self.blobs = self.all_blobs = 0
        self.bytes = self.all_bytes = 0

    def __enter__(self) -> Progress:
        if wanted():
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def start(self, blobs: int, size: int, staged: int) -> None:
        """What is to be sent in all, of which ``staged`` bytes are there from an earlier run."""
        self.blobs, self.all_blobs, self.bytes, self.all_bytes = 0, blobs, staged, size
        self._sent_before, self._sending_since = staged, time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def _show(self) -> None:
        wait: float = QUIET_SECONDS
        while not self._end.wait(wait):
            Display().display(self.line(), color=C.COLOR_VERBOSE, stderr=True)
            wait = EVERY_SECONDS

    def line(self) -> str:
        """``web1: sending layer 3 of app:1 — 2 of 4 blobs, 12.0 MB of 80.0 MB, 6.1 MB/s, 8 s``"""
        rate = (self.bytes - self._sent_before) / max(time.monotonic() - self._sending_since, 0.001)
        return "%s: %s - %d of %d blobs, %s of %s, %s/s, %d s" % (
            self._host, self.doing, self.blobs, self.all_blobs, human(self.bytes), human(self.all_bytes), human(rate), self.seconds
        )


def wanted() -> bool:
    """Whether the callback that writes to the screen is set to speak of hosts where all is well (``display_ok_hosts``)."""
    return C.config.get_plugin_options("callback", C.DEFAULT_STDOUT_CALLBACK).get("display_ok_hosts") is not False
