# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  username:
    description:
      - The account at the registry, with O(password), for a task that has to do with one registry alone, as source, destination or
        in the names of its images. It is shown to that registry and its token server; a task with two registries, of which one may
        need no account, is refused before any is asked. Make a task of each then, or use O(auth_file), which has an account for each.
    type: str
  password:
    description:
      - The password, or access token, of O(username).
    type: str
  auth_file:
    description:
      - A file of credentials where O(username) is not given, as C(docker login) writes it (C(config.json)) or C(podman login)
        (C(auth.json)), C(credHelpers) and C(credsStore) included. Of its entries the one with the longest part of
        C(registry/repository) counts.
      - By default the files in which those two look, in the home of the user that runs the module, C(config.json) below
        E(DOCKER_CONFIG) or C(~/.docker); what E(REGISTRY_AUTH_FILE) names, or C(containers/auth.json) below
        E(XDG_RUNTIME_DIR), or C(/run/containers/UID/auth.json); C(containers/auth.json) below E(XDG_CONFIG_HOME) or C(~/.config).
        With Podman its own come first.
    type: path
  ca_cert:
    description:
      - A file with CA certificates (PEM) that a registry's certificate may be signed by, besides the system's and those in
        C(certs.d/HOST[:PORT]/*.crt) below C(/etc/docker), C(/etc/containers), C(~/.config/docker) and C(~/.config/containers).
    type: path
  client_cert:
    description:
      - A file with the certificate (PEM) that a registry with mutual TLS is shown, and with its key unless O(client_key) is given. By default
        a C(*.cert) with its C(*.key) in the folders C(certs.d/HOST[:PORT]) that O(ca_cert) tells of.
    type: path
  client_key:
    description:
      - The key (PEM, without a password) of O(client_cert).
    type: path
  validate_certs:
    description:
      - Whether a registry must prove its name. Without that anyone in between can read credentials and change images.
    type: bool
    default: true
  plain_http:
    description:
      - Ask the registry without TLS. It is never guessed, not for C(localhost) either, and never done with Docker Hub.
        Credentials go over plain http only where this is set.
    type: bool
    default: false
  registry_timeout:
    description:
      - Seconds of silence after which a registry, or a credential helper, is given up. Connecting has 10 of them at most.
      - At least V(1).
    type: int
    default: 60
  retries:
    description:
      - How often a request is made again after a broken connection, an answer of 429 or of 500, 502, 503 or 504; with pauses that
        double from a second on, or as long as C(Retry-After) says, if that is a minute at most. A host whose name is unknown is not asked for again.
      - At least V(0), which is never.
    type: int
    default: 4
notes:
  - Proxies are taken from E(HTTP_PROXY), E(HTTPS_PROXY) and E(NO_PROXY) where the module runs, and never used for the loopback.
"""
