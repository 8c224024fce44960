# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: registry_config
short_description: Write the configuration of distribution's registry
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Makes distribution's configuration from the variables of the role P(stowage.oci.registry#role), which uses it.
  - It is made for one version. What that version cannot do is an error, and so are keys that it does not know, for distribution ignores them.
positional: _input, version, paths
options:
  _input:
    description:
      - The variables of the role that are defined, by their names without C(registry_).
    type: dict
    required: true
  version:
    description:
      - The version of distribution that will read it, V(2.8) or V(3) and as many more digits as you like.
    type: str
    required: true
  paths:
    description:
      - Where the files are that the registry reads, as it sees them, C(certificate), C(key), C(client_authority), C(htpasswd) and C(token_bundle).
        Those that the variables do not ask for may be left out.
    type: dict
    required: true
seealso:
  - plugin: stowage.oci.htpasswd
    plugin_type: filter
"""

EXAMPLES = r"""
# In the role, with all of its variables that are defined.
- name: Write the configuration
  ansible.builtin.copy:
    content: "{{ variables | stowage.oci.registry_config('2.8.2', paths) | to_nice_json }}"
    dest: /etc/registry/config.json
    mode: "0640"
  no_log: true
  vars:
    names: "{{ query('ansible.builtin.varnames', '^registry_[^_]') }}"
    variables: "{{ dict(names | map('regex_replace', '^registry_', '') | zip(query('ansible.builtin.vars', *names))) }}"
    paths:
      certificate: /etc/registry/certificate.pem
      key: /etc/registry/key.pem
      htpasswd: /etc/registry/htpasswd
"""

RETURN = r"""
_value:
  description: The configuration. Written as JSON it is YAML, which distribution reads.
  type: dict
  sample:
    version: 0.1
    log:
      level: info
      formatter: text
      accesslog:
        disabled: false
      fields:
        service: registry
    storage:
      filesystem:
        rootdirectory: /var/lib/registry
      delete:
        enabled: true
      redirect:
        disable: true
      maintenance:
        uploadpurging:
          enabled: true
          age: 168h
          interval: 24h
          dryrun: false
        readonly:
          enabled: false
      cache:
        blobdescriptor: inmemory
    http:
      addr: 0.0.0.0:5000
      headers:
        X-Content-Type-Options:
          - nosniff
      tls:
        certificate: /etc/stowage-registry/certificate
        key: /etc/stowage-registry/key
        minimumtls: tls1.2
      debug:
        addr: 127.0.0.1:5001
        prometheus:
          enabled: true
          path: /metrics
    health:
      storagedriver:
        enabled: true
        interval: 10s
        threshold: 3
      file:
        - file: /run/stowage-registry/drain
          interval: 2s
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._errors import InvalidInput
from ..module_utils._server import config


def registry_config(variables: t.Mapping[str, t.Any], version: str, paths: t.Mapping[str, str]) -> t.Dict[str, t.Any]:
    if not isinstance(variables, dict) or not isinstance(paths, dict):
        raise AnsibleFilterError("registry_config needs a dict of variables, and a dict of paths")
    try:
        return config.configuration(variables, version, paths)
    except InvalidInput as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"registry_config": registry_config}
