# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: fleet_report
short_description: Tell which images a fleet has, where they drifted, and what its hosts share
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Puts together what M(stowage.oci.image_info) told of each host. The playbook C(stowage.oci.report) makes a page of it.
  - Hosts of one platform drift where one name means different images on them.
  - Two copies are one image if they have a digest in common, be it of the config, a manifest or an index. Stores know an image by different
    ones. Where a store tells no config digest and there is none in common, they are one image if layers, labels and time of creation are
    the same.
  - The same facts give the same value. Names are sorted, numbers in them as numbers.
positional: _input
options:
  _input:
    description:
      - The result of M(stowage.oci.image_info), asked for all images, by the name of the host. One that failed or was not reached
        counts as silent.
    type: dict
    required: true
seealso:
  - module: stowage.oci.image_info
"""

EXAMPLES = r"""
- name: Ask the fleet
  hosts: fleet
  gather_facts: false
  tasks:
    - name: Look at all images
      stowage.oci.image_info:
      register: here

    - name: Fail if hosts drifted
      ansible.builtin.assert:
        that: fleet.summary.drifts == 0
        fail_msg: "{{ fleet.images | selectattr('drifts') | map(attribute='reference') | join(', ') }}"
      vars:
        results: "{{ ansible_play_hosts | map('extract', hostvars, 'here') }}"
        fleet: "{{ dict(ansible_play_hosts | zip(results)) | stowage.oci.fleet_report }}"
      run_once: true
"""

RETURN = r"""
_value:
  description: What the fleet has.
  type: dict
  contains:
    summary:
      description: In numbers.
      type: dict
      contains:
        hosts:
          description: Hosts that answered.
          type: int
          sample: 3
        silent:
          description: Hosts that did not.
          type: int
          sample: 1
        images:
          description: Names of images; those of images without a tag are digests.
          type: int
          sample: 2
        distinct:
          description: Images, whatever their names.
          type: int
          sample: 3
        drifts:
          description: Names that mean different images on hosts of one platform.
          type: int
          sample: 1
        shared_layers:
          description: Layers that several images of one host have, with those that RV(_value.layers) leaves out.
          type: int
          sample: 1
        apart_bytes:
          description: Bytes of the layers of all hosts, as if each image had its own.
          type: int
          sample: 71
        stored_bytes:
          description: The same as they are, each layer of a host once.
          type: int
          sample: 51
        saved_bytes:
          description: The difference.
          type: int
          sample: 20
        unsized:
          description: Layers of unknown size, which are not in these sums.
          type: int
          sample: 0
    hosts:
      description: Each host that answered.
      type: list
      elements: dict
      contains:
        name:
          description: The host.
          type: str
          sample: web-1
        engine:
          description: Its engine and the version.
          type: str
          sample: Docker 28.5.2+dfsg4
        url:
          description: Where the engine was asked.
          type: str
          sample: unix:///var/run/docker.sock
        store:
          description: As M(stowage.oci.image_info) returns it.
          type: str
          sample: classic
        driver:
          description: The storage driver.
          type: str
          sample: overlay2
        file_system:
          description: The file system below it, or null.
          type: str
          sample: extfs
        root:
          description: The folder of the store, or null.
          type: str
          sample: /var/lib/docker
        images:
          description: Images, whatever their names.
          type: int
          sample: 2
        differs:
          description: Names under which it has another image than most hosts of its platform.
          type: int
          sample: 0
        apart_bytes:
          description: As in RV(_value.summary).
          type: int
          sample: 27
        stored_bytes:
          description: As in RV(_value.summary).
          type: int
          sample: 17
        saved_bytes:
          description: As in RV(_value.summary).
          type: int
          sample: 10
        unsized:
          description: As in RV(_value.summary).
          type: int
          sample: 0
    silent:
      description: Each host that did not answer.
      type: list
      elements: dict
      contains:
        name:
          description: The host.
          type: str
          sample: web-4
        message:
          description: Why.
          type: str
          sample: "ssh: connect to host web-4 port 22: Connection refused"
    images:
      description: Each name of an image; those that drift come first, those without a tag last.
      type: list
      elements: dict
      contains:
        reference:
          description: Its name, a tag or without one a digest.
          type: str
          sample: docker.io/library/nginx:1.27
        drifts:
          description: Whether it means different images on hosts of one platform, or is not complete somewhere.
          type: bool
          sample: true
        absent:
          description: Hosts that have none of that name.
          type: list
          elements: str
          sample: [web-2]
        versions:
          description: Each image that the name means, with those hosts that have it; by platform, then by the number of hosts.
          type: list
          elements: dict
          contains:
            platform:
              description: What it runs on; null for what is not complete.
              type: str
              sample: linux/amd64
            complete:
              description: As M(stowage.oci.image_info) returns it.
              type: bool
              sample: true
            differs:
              description:
                - Whether it is another than most hosts of the platform have, or not complete.
                - If no other is more frequent than all others, each differs.
              type: bool
              sample: false
            digests:
              description: Of manifests and indexes, first the one by which most hosts know it in the repository of the name.
              type: list
              elements: str
              sample: ['sha256:380a77b1c601743572176db1e5e7a1efeb37f0e6ecd728632e6ff7791f315c4f']
            config_digest:
              description: Of its config, or null if no host tells it.
              type: str
              sample: sha256:7658df7e026fca93d2a9e517adea90b4b1f1d7cb413974649abf8297b0f53fe2
            created:
              description: When it was built, or null.
              type: str
              sample: "2026-04-22T09:14:03Z"
            size:
              description: Bytes of its layers on the first of the hosts; null if not known.
              type: int
              sample: 17
            layers:
              description: Its layers.
              type: int
              sample: 2
            shared_layers:
              description: Those of them that another image of the first of the hosts has too.
              type: int
              sample: 1
            hosts:
              description: Hosts that have it.
              type: list
              elements: str
              sample: [web-1, web-2]
    layers:
      description: Those 100 shared layers that save most.
      type: list
      elements: dict
      contains:
        chain_id:
          description: Digest of it on all layers below.
          type: str
          sample: sha256:30d72e52aa24ae4adb47fdd7d252cf544e73ebf11eedf7eff15d9a4d9c7e01f5
        command:
          description: The instruction that made it; null if that is not certain.
          type: str
          sample: COPY /rootfs /
        size:
          description: Bytes of it, or null.
          type: int
          sample: 10
        references:
          description: Names of the images.
          type: list
          elements: str
          sample: ['docker.io/library/debian:12', 'docker.io/library/nginx:1.27']
        hosts:
          description: On how many hosts it is shared.
          type: int
          sample: 2
        saved_bytes:
          description: Bytes that this saves in all.
          type: int
          sample: 20
    notes:
      description: Each sentence of RV(stowage.oci.image_info#module:weaknesses), those of most hosts first.
      type: list
      elements: dict
      contains:
        text:
          description: What a store is known to be weak at.
          type: str
          sample: "The classic store knows the manifest digest only of what was pulled or pushed: an image from an archive or a build has none."
        hosts:
          description: Hosts of which it is true.
          type: list
          elements: str
          sample: [web-1, web-2, web-3]
"""

import typing as t

from ansible.errors import AnsibleFilterError

from ..module_utils._plan.report import report


def fleet_report(facts: t.Mapping[str, t.Mapping[str, t.Any]]) -> t.Dict[str, t.Any]:
    if not isinstance(facts, dict) or not all(isinstance(told, dict) for told in facts.values()):
        raise AnsibleFilterError("fleet_report needs a dict: the result of stowage.oci.image_info by the name of the host")
    return report(facts)


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"fleet_report": fleet_report}
