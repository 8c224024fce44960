# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: pin
short_description: Pin an image reference to a digest
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Adds a digest to a reference, which names that image alone from then on. The tag stays for those who read it.
  - Asks nobody; the digest that a tag has now comes from the lookup P(stowage.oci.digest#lookup).
positional: _input, digest
options:
  _input:
    description:
      - A reference, C([registry[:port]/]repository[:tag][@digest]). One with another digest than O(digest) is an error.
      - One text, as is O(digest).
    type: str
    required: true
  digest:
    description:
      - The digest, V(sha256:) and 64 hex digits.
    type: str
    required: true
seealso:
  - plugin: stowage.oci.digest
    plugin_type: lookup
"""

EXAMPLES = r"""
- name: Pull what the tag names now, and on each host the same
  stowage.oci.image_pull:
    name: "{{ 'nginx:1.27' | stowage.oci.pin(lookup('stowage.oci.digest', 'nginx:1.27')) }}"
"""

RETURN = r"""
_value:
  description: The reference as it was written, with its tag (V(latest) if it had none) and the digest.
  type: str
  sample: nginx:1.27@sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput, masked, shown
from ..module_utils._oci.digest import Digest
from ..module_utils._oci.reference import parse


def pin(text: str, digest: t.Optional[str] = None) -> str:
    if not digest:
        raise AnsibleFilterError(
            "no digest to pin %s to: give it as in 'nginx:1.27' | stowage.oci.pin(lookup('stowage.oci.digest', 'nginx:1.27'))"
            % shown(masked(text))
        )
    try:
        reference, wanted = parse(text), Digest.parse(digest)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None
    if reference.digest:
        if reference.digest != wanted:
            raise AnsibleFilterError(
                "%s has another digest, and cannot be pinned to %s: leave one of them away" % (reference.spelling, wanted.short)
            )
        return str(text)
    tag = ":%s" % reference.tag
    return "%s%s@%s" % (text, "" if text.endswith(tag) else tag, wanted)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"pin": pin}
