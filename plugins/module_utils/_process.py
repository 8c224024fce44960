# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Programs that we start: for filters and builds through which bytes stream, and for helpers that are asked a question.

The run_command of modules does neither: it keeps all that is printed until the program has ended, and the controller has no module.
"""

from __future__ import annotations

import subprocess
import typing as t

PIPE, STDOUT = subprocess.PIPE, subprocess.STDOUT
TimedOut = subprocess.TimeoutExpired


if t.TYPE_CHECKING:
    _Popen = subprocess.Popen[bytes]
else:
    _Popen = subprocess.Popen  # before Python 3.9 it has no [bytes]


class Process(_Popen):
    """One that runs; OSError if it cannot be started."""


class Done(t.NamedTuple):
    code: int
    out: bytes
    err: bytes


def ask(
    command: t.Sequence[str], question: bytes = b"", timeout: t.Optional[float] = None, env: t.Optional[t.Mapping[str, str]] = None
) -> Done:
    """What it answers; raises OSError, or TimedOut after so many seconds, when it is dead."""
    with Process(list(command), stdin=PIPE, stdout=PIPE, stderr=PIPE, env=None if env is None else dict(env)) as process:
        try:
            out, err = process.communicate(question, timeout)
        except BaseException:
            process.kill()
            raise
    return Done(process.returncode, out, err)
