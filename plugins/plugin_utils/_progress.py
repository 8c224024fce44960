# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A line every few seconds while a host takes long, on standard error, so that no output format is disturbed."""

from __future__ import annotations

import threading
import time
import typing as t

from ansible import constants as C
from ansible.utils.display import Display

from ..module_utils._oci.extent import human

QUIET_SECONDS = 5
EVERY_SECONDS = 4


class Progress:
    """Counts what has been done for one host; shows it from a thread of its own while the ``with`` block runs.

    ``doing`` is what the host is waited for right now; it is shown as it is.
    """

    def __init__(self, host: str, quiet: bool = False) -> None:
        self._host = host
        self._quiet = quiet
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._show, daemon=True)
        self._started = self._sending_since = time.monotonic()
        self._blobs = self._all_blobs = 0
        self._bytes = self._all_bytes = self._staged = 0
        self.doing = ""

    def __enter__(self) -> Progress:
        if not self._quiet and wanted():
            self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def start(self, sizes: t.Sequence[int], staged: t.Sequence[int]) -> None:
        """What is to be sent: the bytes of each blob, and how many of them are there from an earlier run."""
        self._blobs, self._all_blobs = sum(map(int.__eq__, sizes, staged)), len(sizes)
        self._bytes, self._all_bytes = sum(staged), sum(sizes)
        self._staged, self._sending_since = self._bytes, time.monotonic()

    def add(self, size: int, last: bool) -> None:
        """Bytes that have been sent; ``last`` if they were a blob's."""
        self._bytes += size
        self._blobs += last

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._started

    def _show(self) -> None:
        wait: float = QUIET_SECONDS
        while not self._end.wait(wait):
            Display().display(self.line(), color=C.COLOR_VERBOSE, stderr=True)
            wait = EVERY_SECONDS

    def line(self) -> str:
        """``web1: sending layer 3 of app:1 - 2 of 4 blobs, 12.0 MB of 80.0 MB, 6.1 MB/s, 8 s``"""
        facts = []
        if self._all_blobs:
            facts = ["%d of %d blobs" % (self._blobs, self._all_blobs), "%s of %s" % (human(self._bytes), human(self._all_bytes))]
            if self._bytes < self._all_bytes:
                facts.append("%s/s" % human((self._bytes - self._staged) / max(time.monotonic() - self._sending_since, 0.001)))
        return "%s: %s - %s" % (self._host, self.doing, ", ".join(facts + ["%d s" % self.seconds]))


def wanted() -> bool:
    """Whether the callback that writes to the screen is set to speak of hosts where all is well (``display_ok_hosts``)."""
    return C.config.get_plugin_options("callback", C.DEFAULT_STDOUT_CALLBACK).get("display_ok_hosts") is not False
