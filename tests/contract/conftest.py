# SPDX-License-Identifier: GPL-3.0-or-later
# Copyright: stowage.oci contributors
"""Contract tests see real engines and a real registry."""

from ansible_collections.stowage.oci.tests.contract.subjects import subject_  # noqa: F401  # pylint: disable=unused-import
from ansible_collections.stowage.oci.tests.real import *  # noqa: F401,F403  # pylint: disable=wildcard-import,unused-wildcard-import
