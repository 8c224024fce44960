# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The public server takes nothing for a time, and serves on."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager
from typing import Any, Dict, Iterator

import private
import ready
import variants
from settings import Failure, Settings, read, write
from unit import Unit

SECONDS = 60
STOPPED = ("inactive", "failed")


class Interrupted(BaseException):
    """SIGTERM."""


def heed_signals() -> None:
    """SIGTERM ends the work as Ctrl-C does: through all that has to be put right."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(_number: int, _frame: Any) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise Interrupted("interrupted")


@contextmanager
def read_only(settings: Settings, unit: Unit) -> Iterator[None]:
    """Whatever happens, it takes pushes again at the end. A server that is stopped stays so."""
    if unit.state() in STOPPED:
        yield
        return
    failure = ""
    try:
        _close(settings, unit)
        yield
    except Failure as error:
        failure = "%s\n" % error
        raise
    finally:
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            writable(settings, unit)
        except Failure as error:
            raise Failure("%s%s" % (failure, error))
        finally:
            signal.signal(signal.SIGTERM, before)


def _close(settings: Settings, unit: Unit) -> None:
    path = os.path.join(private.run_folder(settings), "readonly.json")
    config = variants.read_only(read(settings.config))
    write(path, config, settings.config, settings.user)
    unit.use(path)
    unit.restart()
    ready.ready(settings, unit, SECONDS, config)


def hold(settings: Settings, unit: Unit) -> Dict[str, Any]:
    """Take nothing until ``release``: for another host that collects the garbage of the same storage."""
    with private.lock(settings):
        if unit.in_use() or unit.state() in STOPPED:
            return {"changed": False}
        try:
            _close(settings, unit)
        except BaseException:
            writable(settings, unit)
            raise
        return {"changed": True}


def release(settings: Settings, unit: Unit) -> Dict[str, Any]:
    with private.lock(settings):
        held = unit.in_use()
        recover(settings, unit)
        return {"changed": held}


def writable(settings: Settings, unit: Unit) -> None:
    try:
        unit.use(None)
        unit.restart()
        ready.ready(settings, unit, SECONDS)
    except Failure as error:
        raise Failure("%s did not come back as a server that takes pushes. %s" % (unit.name, error))
    finally:
        path = os.path.join(settings.run, "readonly.json")
        if os.path.exists(path):
            os.unlink(path)


def recover(settings: Settings, unit: Unit) -> None:
    """Put right what a run that was killed left."""
    if unit.in_use():
        writable(settings, unit)
