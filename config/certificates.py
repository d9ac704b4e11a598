"""An authority of our own, and certificates of servers that it signs.

Python 3.13 refuses an authority without keyUsage, and a certificate without the key identifiers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LASTS: Final = timedelta(days=3650)  # pods pin it, so it is kept
SERVER_LASTS: Final = timedelta(days=825)  # what clients accept at most
RENEWED_BEFORE: Final = timedelta(days=90)
SKEW: Final = timedelta(hours=1)  # the clock of a pod may be behind


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def pem(self) -> bytes:
        """Both in one text, so that a file never has one without the other."""
        key = self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        return key + public_pem(self.certificate)


def public_pem(certificate: x509.Certificate) -> bytes:
    """The certificate alone."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def read(pem: bytes) -> Pair:
    """The pair in a text of `Pair.pem`.

    Raises:
        ValueError: it is not one.
    """
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is of another kind")  # noqa: TRY004 - as a damaged one
    return Pair(x509.load_pem_x509_certificate(pem), key)


def make_authority(name: str, *, now: datetime) -> Pair:
    """An authority that may sign certificates of servers, and nothing below them."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(name)
    usage = dict.fromkeys(
        (
            *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment"),
            *("key_agreement", "encipher_only", "decipher_only"),
        ),
        False,
    )
    made = (
        _begun(subject, subject, key, now, now + AUTHORITY_LASTS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
    )
    return Pair(made.sign(key, hashes.SHA256()), key)


def make_server(authority: Pair, names: Sequence[str], *, now: datetime) -> Pair:
    """A certificate of a server with these names; each is a host's name or an address."""
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now + SERVER_LASTS, authority.certificate.not_valid_after_utc)
    issuer = authority.certificate
    signed_by = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
    made = (
        _begun(_name(names[0]), issuer.subject, key, now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(list(map(_general, names))), critical=False)
        .add_extension(signed_by, critical=False)
        .add_extension(usage, critical=False)
    )
    return Pair(made.sign(authority.key, hashes.SHA256()), key)


def is_current(server: Pair, authority: Pair, names: Sequence[str], *, now: datetime) -> bool:
    """Whether a server's certificate is this authority's, has these names, and still lasts."""
    made = server.certificate
    try:
        made.verify_directly_issued_by(authority.certificate)
    except (ValueError, TypeError, InvalidSignature):
        return False
    named = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    same = sorted(map(repr, named)) == sorted(repr(_general(name)) for name in names)
    return same and made.not_valid_after_utc - now > RENEWED_BEFORE


def _begun(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text[:64])])


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)
