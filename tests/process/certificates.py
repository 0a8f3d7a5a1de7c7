"""Certificates for tests: authorities and what they sign, in a few lines of the cryptography package."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, kw_only=True, slots=True)
class Signed:
    """A certificate and its key, as values and as files."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey
    cert_file: Path
    key_file: Path


def signed(
    directory: Path,
    name: str,
    *,
    by: Signed | None = None,
    days: float = 30,
    ago: float = 1,
    names: tuple[str, ...] = ("localhost",),
) -> Signed:
    """A new certificate called `name`, by an authority or, without one, an authority itself; files are replaced whole."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if by is None else by.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=ago))
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=by is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    if by is not None:
        others: list[x509.GeneralName] = [x509.DNSName(each) for each in names]
        alternatives = x509.SubjectAlternativeName([*others, x509.IPAddress(ip_address("127.0.0.1"))])
        builder = builder.add_extension(alternatives, critical=False)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(by.key.public_key())
        builder = builder.add_extension(authority, critical=False)
    certificate = builder.sign(key if by is None else by.key, hashes.SHA256())
    found = Signed(certificate=certificate, key=key, cert_file=directory / f"{name}.pem", key_file=directory / f"{name}.key")
    form = serialization.PrivateFormat.PKCS8
    _put(found.key_file, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()))
    _put(found.cert_file, certificate.public_bytes(serialization.Encoding.PEM))
    return found


def _put(file: Path, content: bytes) -> None:
    new = file.with_suffix(file.suffix + ".new")
    new.write_bytes(content)
    new.rename(file)
