# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    DOCUMENTATION = r"""
options:
  engine_host:
    description:
      - Where the engine listens, as C(unix:///path/to/socket) or C(tcp://host:port).
      - By default what E(DOCKER_HOST) says, else what E(CONTAINER_HOST) says, else the first that answers of
        C(/var/run/docker.sock), C(/run/podman/podman.sock) and, below E(XDG_RUNTIME_DIR) (C(/run/user/UID) where that is not
        set), C(docker.sock) and C(podman/podman.sock). The variables are those of the user that runs the module.
    type: str
  engine_ca_cert:
    description:
      - A file with the CA certificates (PEM) by which an engine over tcp proves its name. The system's by default.
      - Naming it, O(engine_client_cert) or port 2376, or setting O(engine_validate_certs=false), is asking for TLS. With
        E(DOCKER_HOST), E(DOCKER_TLS_VERIFY) and E(DOCKER_CERT_PATH) are heeded as by the docker command.
    type: path
  engine_client_cert:
    description:
      - A file with our certificate (PEM) for an engine over tcp that wants one.
    type: path
  engine_client_key:
    description:
      - The file with the key (PEM) of O(engine_client_cert), where it is not in the same file.
    type: path
  engine_validate_certs:
    description:
      - Whether an engine over tcp must prove its name. Without that anyone in between can do what the engine can do.
    type: bool
    default: true
  engine_timeout:
    description:
      - Seconds of silence after which an engine is given up. Work may take longer as long as the engine says something.
      - At least V(1).
    type: int
    default: 600
"""
