# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and write what it took to a file, as JSON: seconds, seconds of CPU, MiB of its largest process.

By itself this is as small as a Python process can be: until a new process begins its own program, the kernel counts as its
memory what the one that started it has.
"""

import os
import sys
import time

report, command = sys.argv[1], sys.argv[2:]
start = time.monotonic()
child = os.fork()
if not child:
    try:
        os.execvp(command[0], command)
    finally:
        os._exit(127)
_pid, status, usage = os.wait4(child, 0)
seconds = time.monotonic() - start
with open(report, "w") as stream:
    stream.write("[%f, %f, %f]" % (seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024))
sys.exit(os.waitstatus_to_exitcode(status) and 1)
