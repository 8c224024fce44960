# Copyright: stowage.oci contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: certificate_faults
short_description: What is wrong with a certificate
version_added: 1.0.0
author: stowage.oci contributors (@stowage)
description:
  - Judges a certificate by its text, as a client will judge it when it is served.
  - The role P(stowage.oci.registry#role) decides by it whether a certificate must be made, and refuses those that nobody would accept.
requirements:
  - cryptography >= 40 on the controller
positional: _input
options:
  _input:
    description: One or more certificates in PEM, a server's first. Nothing but the first is judged, unless O(purpose) is V(authority).
    type: str
    required: true
  purpose:
    description: Whether it must be good for a server or for an authority.
    type: str
    choices: [server, authority]
    default: server
  names:
    description: Names and addresses that must be in it, as V(DNS:registry.example) and V(IP:192.0.2.1). A wildcard counts for one label.
    type: list
    elements: str
    default: []
  key:
    description: The key that must belong to it, in PEM. An empty text is a key that is lacking.
    type: str
  passphrase:
    description: What O(key) must be encrypted with. Without it the key must not be encrypted.
    type: str
  authority:
    description: The certificate that must have signed it, in PEM.
    type: str
  days:
    description: How many days it must be valid from now.
    type: int
    default: 0
"""

EXAMPLES = r"""
- name: Warn of a certificate that ends soon
  ansible.builtin.debug:
    msg: "The certificate {{ item.text }}"
  loop: "{{ lookup('ansible.builtin.file', 'registry.pem') | stowage.oci.certificate_faults(names=['DNS:registry.example'], days=30) }}"
"""

RETURN = r"""
_value:
  description: What is wrong; nothing if the certificate is good.
  type: list
  elements: dict
  contains:
    fault:
      description:
        - V(absent) and V(pem), there is no certificate in the text; V(ended), V(early) and V(days), it is not valid long enough; V(names), V(purpose)
          and V(authority), it is another's.
        - V(key_absent), V(key_pem) and V(key_passphrase), the key cannot be read; V(key), it belongs to another certificate.
      type: str
      sample: ended
    text:
      description: The same for people, to follow the name of the certificate. It holds nothing secret.
      type: str
      sample: ended on 2024-05-01
"""

import ipaddress
import re
import typing as t
from datetime import datetime, timedelta, timezone

from ansible.errors import AnsibleFilterError

if t.TYPE_CHECKING:
    from cryptography.x509 import Certificate

Fault = t.Tuple[str, str]

_HOST = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?")


def certificate_faults(
    text: str,
    purpose: str = "server",
    names: t.Sequence[str] = (),
    key: t.Optional[str] = None,
    passphrase: t.Optional[str] = None,
    authority: t.Optional[str] = None,
    days: int = 0,
) -> t.List[t.Dict[str, str]]:
    if purpose not in ("server", "authority"):
        raise AnsibleFilterError("the purpose %s of a certificate is not known: it is server or authority" % purpose)
    wanted = [_name(name) for name in names]
    faults = []  # type: t.List[Fault]
    found = _certificates(text)
    if not found:
        faults.append(("pem", "is no PEM certificate") if text.strip() else ("absent", "is not there"))
    for certificate in found if purpose == "authority" else found[:1]:
        faults += _of_purpose(certificate, purpose)
        faults += _of_time(certificate, timedelta(days=days))
    for certificate in found[:1]:
        faults += _of_names(certificate, wanted)
        if authority is not None and not _signed(certificate, authority):
            faults.append(("authority", "is not signed by the authority"))
    if key is not None:
        faults += _of_key(found, key, passphrase)
    return [{"fault": fault, "text": words} for fault, words in dict(faults).items()]


def _certificates(text: str) -> t.List[Certificate]:
    """None if there is anything in it that is broken."""
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return load_pem_x509_certificates(text.encode())
    except ValueError:
        return []


def _of_time(certificate: Certificate, least: timedelta) -> t.Iterator[Fault]:
    now, begin, end = datetime.now(timezone.utc), _utc(certificate, "not_valid_before"), _utc(certificate, "not_valid_after")
    if end < now:
        yield "ended", "ended on %s" % end.date()
    elif end < now + least:
        yield "days", "ends in %d days, on %s" % ((end - now).days, end.date())
    if begin > now:
        yield "early", "is not valid before %s" % begin.isoformat()


def _utc(certificate: Certificate, name: str) -> datetime:
    """A time of the certificate. Before version 42 cryptography has it without its time zone alone."""
    found = getattr(certificate, name + "_utc", None)
    return found or getattr(certificate, name).replace(tzinfo=timezone.utc)


def _of_purpose(certificate: Certificate, purpose: str) -> t.Iterator[Fault]:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID

    basic = _extension(certificate, x509.BasicConstraints)
    if purpose == "authority":
        usage = _extension(certificate, x509.KeyUsage)
        if not (basic and basic.ca) or (usage and not usage.key_cert_sign):
            yield "purpose", "is not an authority's"
        return
    extended = _extension(certificate, x509.ExtendedKeyUsage)
    allowed = (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE)
    if extended and not any(one in allowed for one in extended):
        yield "purpose", "is not for servers"


def _of_names(certificate: Certificate, wanted: t.Sequence[t.Tuple[str, str]]) -> t.Iterator[Fault]:
    from cryptography import x509

    found = _extension(certificate, x509.SubjectAlternativeName)
    names = {name.lower() for name in found.get_values_for_type(x509.DNSName)} if found else set()
    addresses = {str(address) for address in found.get_values_for_type(x509.IPAddress)} if found else set()
    lacking = [name for kind, name in wanted if not (name in addresses if kind == "IP" else _covered(name, names))]
    if lacking:
        yield "names", "lacks the name %s; it has %s" % (", ".join(lacking), ", ".join(sorted(names | addresses)) or "none")


def _covered(name: str, names: t.Container[str]) -> bool:
    return name in names or "*." + name.partition(".")[2] in names


def _name(text: str) -> t.Tuple[str, str]:
    """Kind and name, each name in the one form that certificates have it in."""
    kind, colon, name = str(text).partition(":")
    try:
        if kind == "IP":
            return kind, str(ipaddress.ip_address(name))
    except ValueError:
        pass
    if kind == "DNS" and _HOST.fullmatch(name.lower()):
        return kind, name.lower()
    raise AnsibleFilterError("%s is neither a name nor an address for a certificate: give it without port, and in ASCII" % (name or kind))


def _signed(certificate: Certificate, authority: str) -> bool:
    from cryptography.exceptions import InvalidSignature

    for issuer in _certificates(authority)[:1]:
        try:
            certificate.verify_directly_issued_by(issuer)
            return True
        except (InvalidSignature, TypeError, ValueError):
            pass
    return False


def _of_key(found: t.Sequence[Certificate], text: str, passphrase: t.Optional[str]) -> t.Iterator[Fault]:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if not text.strip():
        yield "key_absent", "has no key"
        return
    try:
        key = load_pem_private_key(text.encode(), passphrase.encode() if passphrase else None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        encrypted = "ENCRYPTED" in text
        if encrypted and passphrase:
            yield "key_passphrase", "has a key with another passphrase"
        elif encrypted:
            yield "key_passphrase", "has a key with a passphrase"
        elif passphrase and _readable(text):
            yield "key_passphrase", "has a key without passphrase"
        else:
            yield "key_pem", "has a key that is no PEM key"
        return
    if found and key.public_key() != found[0].public_key():
        yield "key", "does not belong to the key"


def _readable(text: str) -> bool:
    """Whether it is a key, if it is read without a passphrase."""
    return not list(_of_key((), text, None))


def _extension(certificate: Certificate, kind: t.Any) -> t.Any:
    from cryptography.x509 import ExtensionNotFound

    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except ExtensionNotFound:
        return None


class FilterModule:
    def filters(self) -> t.Dict[str, t.Callable[..., t.Any]]:
        return {"certificate_faults": certificate_faults}
