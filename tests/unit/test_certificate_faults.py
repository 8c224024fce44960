# Copyright: stowage.oci contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter certificate_faults: which certificates no client would accept."""

from __future__ import annotations

import ipaddress
import re
import sys

import pytest

if sys.version_info < (3, 11):
    pytest.skip("controllers have Python 3.11 or later", allow_module_level=True)

from datetime import datetime, timedelta, timezone

from ansible.errors import AnsibleFilterError
from ansible_collections.stowage.oci.plugins.filter import certificate_faults as _filter
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

judged = _filter.FilterModule().filters()["certificate_faults"]

NAMES = [x509.DNSName("registry.example"), x509.DNSName("*.site.example"), x509.IPAddress(ipaddress.ip_address("2001:db8::1"))]
USAGES = "digital_signature content_commitment key_encipherment data_encipherment key_agreement crl_sign encipher_only decipher_only"
USAGE = dict.fromkeys(USAGES.split(), False)


def make(names=(), key=None, issuer=None, begin=-1, end=100, extensions=(), subject="registry.example"):
    """A certificate, its key beside it; `begin` and `end` in days from now, `issuer` another such pair."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    begin, end = now + timedelta(days=begin), now + timedelta(days=end)
    builder = x509.CertificateBuilder(issuer[0].subject if issuer else name, name, key.public_key(), x509.random_serial_number(), begin, end)
    for extension in [*([x509.SubjectAlternativeName(names)] if names else []), *extensions]:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def pem(made):
    return made[0].public_bytes(serialization.Encoding.PEM).decode()


def key_of(made, passphrase=None):
    how = serialization.BestAvailableEncryption(passphrase.encode()) if passphrase else serialization.NoEncryption()
    return made[1].private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, how).decode()


def faults(*args, **options):
    return {one["fault"]: one["text"] for one in judged(*args, **options)}


GOOD, OTHER = make(NAMES), make()
CA = make(extensions=[x509.BasicConstraints(ca=True, path_length=0)], subject="authority")
NAMESAKE = make(extensions=[x509.BasicConstraints(ca=True, path_length=0)], subject="authority")
KEY = key_of(GOOD)


def test_a_good_certificate_has_no_faults():
    names = ["DNS:registry.example", "DNS:Registry.Example", "DNS:a.site.example", "IP:2001:db8::1", "IP:2001:db8:0:0:0:0:0:1"]
    assert judged(pem(GOOD) + pem(CA), names=names, key=KEY, days=99) == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", {"absent": "is not there"}),
        ("\n", {"absent": "is not there"}),
        ("certificate", {"pem": "is no PEM certificate"}),
        (KEY, {"pem": "is no PEM certificate"}),
        (pem(GOOD).replace("MII", "MIJ"), {"pem": "is no PEM certificate"}),
    ],
)
def test_text_without_a_certificate(text, found):
    assert faults(text) == found


@pytest.mark.parametrize(
    ("begin", "end", "days", "found", "text"),
    [
        (-9, -2, 0, "ended", r"ended on 20\d\d-\d\d-\d\d"),
        (2, 9, 0, "early", "is not valid before 20.*"),
        (-1, 9.5, 10, "days", "ends in 9 days, on 20.*"),
    ],
)
def test_time(begin, end, days, found, text):
    (fault,) = judged(pem(make(begin=begin, end=end)), days=days)
    assert fault["fault"] == found
    assert re.fullmatch(text, fault["text"])


def test_names_that_lack_are_told_with_those_that_are_there():
    wanted = ["DNS:registry.example", "DNS:site.example", "DNS:a.b.site.example", "IP:192.0.2.1"]
    text = "lacks the name site.example, a.b.site.example, 192.0.2.1; it has *.site.example, 2001:db8::1, registry.example"
    assert faults(pem(GOOD), names=wanted) == {"names": text}
    assert faults(pem(OTHER), names=["DNS:registry.example"]) == {"names": "lacks the name registry.example; it has none"}


@pytest.mark.parametrize("name", ["DNS:", "DNS:registry.example/v2", "IP:registry.example:5000", "IP:1.2.3", "DNS:b\u00fccher.example", "DNS:a b"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(AnsibleFilterError, match="is neither a name nor an address for a certificate: give it without port, and in ASCII"):
        judged(pem(GOOD), names=[name])


@pytest.mark.parametrize(
    ("purpose", "extensions", "good"),
    [
        ("server", [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])], True),
        ("server", [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])], True),
        ("server", [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])], False),
        ("authority", [x509.BasicConstraints(ca=True, path_length=None)], True),
        ("authority", [x509.BasicConstraints(ca=False, path_length=None)], False),
        ("authority", [], False),
        ("authority", [x509.BasicConstraints(ca=True, path_length=None), x509.KeyUsage(key_cert_sign=True, **USAGE)], True),
        ("authority", [x509.BasicConstraints(ca=True, path_length=None), x509.KeyUsage(key_cert_sign=False, **USAGE | {"crl_sign": True})], False),
    ],
)
def test_purpose(purpose, extensions, good):
    text = "is not for servers" if purpose == "server" else "is not an authority's"
    assert faults(pem(make(extensions=extensions)), purpose) == ({} if good else {"purpose": text})


def test_every_certificate_of_several_authorities_counts():
    assert faults(pem(CA) + pem(OTHER), "authority") == {"purpose": "is not an authority's"}
    assert faults(pem(GOOD) + pem(make(end=-1, begin=-2))) == {}


def test_another_purpose_is_refused():
    with pytest.raises(AnsibleFilterError, match="the purpose client of a certificate is not known: it is server or authority"):
        judged(pem(GOOD), "client")


@pytest.mark.parametrize("authority", [pem(NAMESAKE), pem(GOOD), "", "rubbish"])
def test_another_authority(authority):
    signed = make(issuer=CA)
    assert faults(pem(signed), authority=pem(CA)) == {}
    assert faults(pem(signed), authority=authority) == {"authority": "is not signed by the authority"}


@pytest.mark.parametrize(
    ("key", "passphrase", "found"),
    [
        (KEY, None, {}),
        (KEY, "", {}),
        (key_of(GOOD, "long enough"), "long enough", {}),
        ("", None, {"key_absent": "has no key"}),
        (pem(GOOD), None, {"key_pem": "has a key that is no PEM key"}),
        (pem(GOOD), "long enough", {"key_pem": "has a key that is no PEM key"}),
        (key_of(GOOD, "long enough"), None, {"key_passphrase": "has a key with a passphrase"}),
        (key_of(GOOD, "long enough"), "another", {"key_passphrase": "has a key with another passphrase"}),
        (KEY, "long enough", {"key_passphrase": "has a key without passphrase"}),
        (key_of(OTHER), None, {"key": "does not belong to the key"}),
    ],
)
def test_key(key, passphrase, found):
    assert faults(pem(GOOD), key=key, passphrase=passphrase) == found


def test_all_faults_are_told_at_once():
    assert list(faults(pem(make(end=-1, begin=-2)), names=["DNS:other.example"], key=key_of(OTHER))) == ["ended", "names", "key"]
