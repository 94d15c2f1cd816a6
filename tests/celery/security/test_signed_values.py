"""``celery.security``: keys, certificates and signed values, which Celery reads and the other way round."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from taskq_cloud.celery import Celery, security
from taskq_cloud.celery.exceptions import ImproperlyConfigured, SecurityError

Pem = tuple[str, str]
PACKAGES = ("celery", "taskq_cloud.celery")
BOTH = pytest.mark.parametrize("package", PACKAGES)


def _module(package: str, name: str) -> Any:
    return importlib.import_module(f"{package}.security.{name}")


@pytest.fixture(scope="session")
def issue() -> Callable[..., Pem]:
    """Make a private key and its certificate."""
    keys = [rsa.generate_private_key(65537, 2048) for _ in range(2)]

    def issue(number: int = 0, *, days: int = 30, key: Any = None, password: bytes = b"") -> Pem:
        key = key or keys[number]
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"signer {number}")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(number + 1)
            .not_valid_before(now - timedelta(days=60))
            .not_valid_after(now + timedelta(days=days))
            .sign(key, hashes.SHA256())
        )
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        pem = serialization.Encoding.PEM
        written = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, encryption)
        return written.decode(), certificate.public_bytes(pem).decode()

    return issue


def _serializer(package: str, signer: Pem, *trusted: Pem) -> Any:
    certificates = _module(package, "certificate")
    store = certificates.CertStore()
    for _, pem in trusted:
        store.add_cert(certificates.Certificate(pem))
    key = _module(package, "key").PrivateKey(signer[0])
    return _module(package, "serialization").SecureSerializer(key, certificates.Certificate(signer[1]), store)


@pytest.mark.parametrize(("writer", "reader"), [PACKAGES, PACKAGES[::-1], (PACKAGES[1],) * 2])
def test_signed_value_is_read_by_both(issue: Callable[..., Pem], writer: str, reader: str) -> None:
    pem, value = issue(), {"a": [1, None, "é"]}
    assert _serializer(reader, pem, pem).deserialize(_serializer(writer, pem, pem).serialize(value)) == value


@BOTH
@pytest.mark.parametrize("case", ["unknown signer", "expired", "other form", "changed"])
def test_value_without_valid_signature_is_refused(issue: Callable[..., Pem], package: str, case: str) -> None:
    error = importlib.import_module(f"{package}.exceptions").SecurityError
    one, two, old = issue(0), issue(1), issue(1, days=-1)
    writer, reader = _serializer(package, two, two), _serializer(package, one, one)
    if case == "expired":
        writer, reader = _serializer(package, old, old), _serializer(package, old, old)
    data = "no base64!" if case == "other form" else writer.serialize("foo")
    if case == "changed":
        reader = _serializer(package, two, two)
        parts = reader._unpack(data)
        data = reader._pack(**{**parts, "body": b'"bar"'})
    with pytest.raises(error):
        reader.deserialize(data)


@BOTH
def test_value_that_cannot_be_written_is_an_error(issue: Callable[..., Pem], package: str) -> None:
    error = importlib.import_module(f"{package}.exceptions").SecurityError
    with pytest.raises(error, match="Unable to serialize"):
        _serializer(package, issue(), issue()).serialize(object())


@BOTH
def test_keys_and_certificates_that_cannot_be_read_are_errors(issue: Callable[..., Pem], package: str) -> None:
    error = importlib.import_module(f"{package}.exceptions").SecurityError
    key, certificate = _module(package, "key").PrivateKey, _module(package, "certificate").Certificate
    other = issue(key=ec.generate_private_key(ec.SECP256R1()))
    for made, given in ((key, "foo"), (certificate, "foo"), (certificate, issue()[1][:40])):
        with pytest.raises(error):
            made(given)
    with pytest.raises((error, ValueError)):
        key(other[0])
    with pytest.raises((error, ValueError)):
        certificate(other[1])
    assert key(issue(password=b"secret")[0], "secret").sign("data", _module(package, "utils").get_digest_algorithm())


@BOTH
def test_store_of_files_has_their_certificates(issue: Callable[..., Pem], package: str, tmp_path: Path) -> None:
    certificates = _module(package, "certificate")
    (tmp_path / "one.pem").write_text(issue(0)[1])
    (tmp_path / "two.crt").write_text(issue(1)[1])
    assert sorted(each.get_id() for each in certificates.FSCertStore(str(tmp_path)).itercerts()) == [
        "signer 0 1",
        "signer 1 2",
    ]
    store = certificates.FSCertStore(f"{tmp_path}/*.pem")
    assert store[b"signer 0 1"].get_serial_number() == 1
    error = importlib.import_module(f"{package}.exceptions").SecurityError
    with pytest.raises(error, match="Unknown certificate"):
        store["signer 1 2"]
    with pytest.raises(error, match="Duplicate certificate"):
        store.add_cert(store["signer 0 1"])
    (tmp_path / "old.pem").write_text(issue(1, days=-1)[1])
    with pytest.raises(error, match="Expired certificate"):
        certificates.FSCertStore(str(tmp_path))


def test_content_type_that_is_not_signed_is_not_obeyed(issue: Callable[..., Pem]) -> None:
    ours = _serializer("taskq_cloud.celery", issue(), issue())
    parts = ours._unpack(ours.serialize("foo"))
    with pytest.raises(SecurityError, match="Unable to deserialize"):
        ours.deserialize(ours._pack(**{**parts, "content_type": "application/x-yaml"}))


def test_setup_security_changes_the_application(issue: Callable[..., Pem], tmp_path: Path) -> None:
    app = Celery("shop", broker="memory://", set_as_current=False)
    with pytest.raises(ImproperlyConfigured):
        security.setup_security(app=app)
    key, certificate = tmp_path / "key.pem", tmp_path / "one.pem"
    key.write_text(issue()[0])
    certificate.write_text(issue()[1])
    app.conf.update(task_serializer="auth", accept_content=["auth"])
    security.setup_security(key=str(key), cert=str(certificate), store=str(certificate), app=app)
    assert app.conf.security_digest == "sha256"
    assert app.send_task("add", (1, 2)).id
    app.close()
