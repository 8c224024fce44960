#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
# The program's own words, or the path of a configuration, or any other command.
case "$1" in
    *.yml | *.yaml) exec registry serve "$@" ;;
    serve | garbage-collect | help | -*) exec registry "$@" ;;
    *) exec "$@" ;;
esac
