#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
# Make .venv, if it is not there, from the first Python that ansible-core 2.19 runs on, and install these requirements in it.
# usage: dev/bootstrap.sh REQUIREMENTS.txt
set -eu
cd "$(dirname "$0")/.."

new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

if [ ! -x .venv/bin/pip ]; then
    for python in python3 python3.13 python3.12 python3.11 none; do
        new_enough "$python" && break
    done
    if [ "$python" = none ]; then
        echo "no Python 3.11 or later on the PATH" >&2
        exit 1
    fi
    "$python" -c 'import ensurepip' 2>/dev/null ||
        "$python" dev/debs.py "$("$python" -c 'import sys; print("python3.%d-venv" % sys.version_info[1])')"
    "$python" -m venv --clear .venv
fi
.venv/bin/pip install --quiet --disable-pip-version-check --requirement "$1"
