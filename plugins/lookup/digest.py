# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: digest
short_description: The digests that image references name in their registries now
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Asks each registry, from the controller, for the digest of the manifest or index that a reference names. No layer and, without
    O(platform), no manifest is read; Docker Hub does not count it as a pull.
  - Several references are asked for side by side. One that cannot be had fails the lookup.
  - Of an option that can be given in several ways, that of the lookup itself counts, then the variable, which may be a template,
    then the environment of the controller. An option that there is not is an error.
  - Needs C(requests) on the controller.
extends_documentation_fragment:
  - stowage.oci.registry
options:
  _terms:
    description:
      - References as for C(docker pull), C([registry[:port]/]repository[:tag][@digest]). V(nginx) is C(docker.io/library/nginx:latest).
        Of one with a digest it is made sure that the registry has it.
      - At least one has to be given. An empty list of them gives an empty list.
    type: list
    elements: str
    required: true
  platform:
    description:
      - Give the digest of the manifest for this platform, for example V(linux/arm64), and not that of the index that has it. A
        reference that names an image for another platform is an error.
    type: str
  username:
    vars:
      - name: stowage_oci_username
    env:
      - name: STOWAGE_OCI_USERNAME
  password:
    vars:
      - name: stowage_oci_password
    env:
      - name: STOWAGE_OCI_PASSWORD
  auth_file:
    vars:
      - name: stowage_oci_auth_file
    env:
      - name: STOWAGE_OCI_AUTH_FILE
  ca_cert:
    vars:
      - name: stowage_oci_ca_cert
    env:
      - name: STOWAGE_OCI_CA_CERT
seealso:
  - plugin: stowage.oci.pin
    plugin_type: filter
  - module: stowage.oci.image_pull
"""

EXAMPLES = r"""
- name: Show what a tag names now
  ansible.builtin.debug:
    msg: "{{ lookup('stowage.oci.digest', 'nginx:1.27') }}"

- name: Give all hosts the same image, whatever becomes of its tag while they are worked on
  stowage.oci.image_pull:
    name: "{{ image | stowage.oci.pin(digest) }}"
  vars:
    image: registry.example.com/app:2
    digest: "{{ lookup('stowage.oci.digest', image, username='deploy', password=registry_password) }}"

- name: Know the digests of several images for one platform
  ansible.builtin.set_fact:
    digests: "{{ query('stowage.oci.digest', 'nginx:1.27', 'redis:7', platform='linux/arm64') }}"
"""

RETURN = r"""
_raw:
  description: The digests, in the order of the references.
  type: list
  elements: str
  sample: ["sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f"]
"""

import difflib
import typing as t

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..module_utils._errors import InvalidInput, NotInRegistry, StowageError, shown
from ..module_utils._flow.asking import all_at_once
from ..module_utils._oci import image as _image
from ..module_utils._oci import platform as _platform
from ..module_utils._oci.choice import choose
from ..module_utils._oci.reference import parse
from ..module_utils._options import check
from ..module_utils._registry.client import Client
from ..module_utils._registry.keychain import Keychain
from ..module_utils._registry.session import Session

BY_VARIABLE = ("username", "password", "auth_file", "ca_cert")
"""Options that a variable may give, and one of the environment."""


class LookupModule(LookupBase):
    def run(self, terms: t.List[t.Any], variables: t.Any = None, **kwargs: t.Any) -> t.List[str]:
        self.set_options(var_options=self._resolved(variables or {}, kwargs), direct=kwargs)
        options = self.get_options()
        texts = self._flatten(terms)
        try:
            if not terms:
                raise InvalidInput("no reference is given: write lookup('stowage.oci.digest', 'nginx:1.27')")
            _known(kwargs, options)
            check(options)
            wanted = _platform.parse(options["platform"]) if options["platform"] else None
            references = [parse(text) for text in texts]
            client = Client(Session(options, Keychain.of(options, {one.registry for one in references})))
            asked = all_at_once(lambda text: digest(client, text, wanted), texts)
            return [asked[text].result() for text in texts]
        except StowageError as error:
            raise AnsibleLookupError(str(error)) from None

    def _resolved(self, variables: t.Mapping[str, t.Any], given: t.Container[str]) -> t.Dict[str, t.Any]:
        """The variables that options come from, if they are not given; Ansible hands them over as templates."""
        names = ["stowage_oci_%s" % option for option in BY_VARIABLE if option not in given]
        return {name: self._templar.template(variables[name]) for name in names if name in variables}


def _known(given: t.Iterable[str], options: t.Iterable[str]) -> None:
    """Raises InvalidInput for an option that there is not; Ansible itself passes over it."""
    names = sorted(set(options) - {"_terms"})
    for name in given:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            raise InvalidInput("there is no option %s: %s" % (shown(name), "%s may be meant" % near[0] if near else "there are " + ", ".join(names)))


def digest(client: Client, text: str, wanted: t.Optional[_platform.Platform]) -> str:
    """Of what the reference names now, or of the image of it for a platform."""
    reference = parse(text)
    if wanted is None:
        return str(client.resolve(reference).digest)
    manifest = client.image(reference, wanted, named=True)
    config = _image.parse_config(client.raw_config(reference, manifest), reference.where)
    choose(wanted, [config.platform], reference.where, NotInRegistry, named=True)
    return str(manifest.digest)
