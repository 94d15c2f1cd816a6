"""Celery's auth serializer: exchanged with real Celery code; unknown signers, forgeries, and expired certificates."""

from __future__ import annotations

import base64
import json
import traceback
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery.security.certificate import Certificate as CeleryCertificate
from celery.security.certificate import FSCertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from taskq_cloud import TaskQ
from taskq_cloud.core.messages.codec import Codec
from taskq_cloud.core.model.message import Message
from taskq_cloud.core.payloads.policy import Payloads
from taskq_cloud.errors import DecodeError, EncodeError, ImproperlyConfigured, SecurityError
from tests.core.payloads.shelf import Shelf, codec_with, drive
from tests.core.security.signed import HMAC, NOW, SENT

Issue = Callable[..., tuple[Path, Path]]


@pytest.fixture(scope="session")
def rsa_keys() -> list[rsa.RSAPrivateKey]:
    return [rsa.generate_private_key(65537, 2048) for _ in range(2)]


@pytest.fixture
def issue(tmp_path: Path, rsa_keys: list[rsa.RSAPrivateKey]) -> Issue:
    """Write private keys and their certificates; a trusted certificate goes into the store's folder too."""
    (tmp_path / "store").mkdir()

    def issue(
        name: str, *, days: tuple[int, int] = (-1, 30), trusted: bool = True, key: Any = None, password: str = ""
    ) -> tuple[Path, Path]:
        key = key or rsa_keys[0]
        subject = x509.Name(
            [x509.NameAttribute(NameOID.COUNTRY_NAME, "PL"), x509.NameAttribute(NameOID.COMMON_NAME, name)]
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW + timedelta(days=days[0]))
            .not_valid_after(NOW + timedelta(days=days[1]))
            .sign(key, hashes.SHA256())
        )
        pem = certificate.public_bytes(serialization.Encoding.PEM)
        encryption: Any = serialization.NoEncryption()
        if password:
            encryption = serialization.BestAvailableEncryption(password.encode())
        key_path, path = tmp_path / f"{name}.key", tmp_path / f"{name}.pem"
        key_path.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        path.write_bytes(pem)
        if trusted:
            (tmp_path / "store" / f"{name}.pem").write_bytes(pem)
        return key_path, path

    return issue


def auth_settings(paths: tuple[Path, Path], **more: Any) -> dict[str, Any]:
    key, certificate = paths
    return {
        "broker": "memory://",
        "results": "memory://",
        "task_serializer": "auth",
        "accept_content": ["auth"],
        "security_key": str(key),
        "security_certificate": str(certificate),
        "security_cert_store": str(certificate.parent / "store"),
        **more,
    }


def auth_codec(paths: tuple[Path, Path], **more: Any) -> Codec:
    return TaskQ(**auth_settings(paths, **more)).codec


def celery_auth(paths: tuple[Path, Path], digest: str = "sha256", serializer: str = "json") -> SecureSerializer:
    key, certificate = paths
    return SecureSerializer(
        PrivateKey(key.read_text()),
        CeleryCertificate(certificate.read_text()),
        FSCertStore(str(certificate.parent / "store" / "*.pem")),
        digest,
        serializer,
    )


def body_of(text: str) -> str:
    document = json.loads(text)
    assert (document["content-type"], document["content-encoding"]) == ("application/data", "utf-8")
    body: str = document["body"]
    return body


def with_body(codec: Codec, body: str) -> str:
    return json.dumps(json.loads(codec.write(SENT, "q")) | {"body": body})


PARTS = [list(SENT.args), SENT.kwargs, {"callbacks": SENT.embed.callbacks, "errbacks": None, "chain": None}]


@pytest.mark.parametrize("serializer", ["json", "yaml", "msgpack", "pickle"])
@pytest.mark.parametrize("digest", ["sha256", "sha512", "sha3_256"])
def test_auth_body_is_read_alike_by_celery_and_by_us(issue: Issue, digest: str, serializer: str) -> None:
    paths = issue("sender")
    codec = auth_codec(paths, security_digest=digest, security_serializer=serializer)
    celery = celery_auth(paths, digest, serializer)
    args, kwargs, embed = celery.deserialize(body_of(codec.write(SENT, "q")))
    assert (list(args), kwargs, embed["callbacks"]) == (SENT.args, SENT.kwargs, SENT.embed.callbacks)
    got = codec.read(with_body(codec, celery.serialize(PARTS)), "m1")
    assert (list(got.args), got.kwargs, got.embed.callbacks) == (SENT.args, SENT.kwargs, SENT.embed.callbacks)


def test_parts_of_an_auth_body_are_equal_to_celerys(issue: Issue) -> None:
    paths = issue("sender")
    fields = base64.b64decode(body_of(auth_codec(paths).write(SENT, "q"))).split(b"\x00\x01", 4)
    theirs = base64.b64decode(celery_auth(paths).serialize(PARTS)).split(b"\x00\x01", 4)
    assert (fields[0], fields[2], fields[3]) == (theirs[0], theirs[2], theirs[3])
    assert base64.b64decode(fields[0]).decode() == CeleryCertificate(paths[1].read_text()).get_id()
    assert json.loads(fields[4])[0] == SENT.args
    assert len(base64.b64decode(fields[1])) == len(base64.b64decode(theirs[1])) == 256


def test_auth_body_with_any_altered_byte_is_refused(issue: Issue) -> None:
    codec = auth_codec(issue("sender"))
    document = json.loads(codec.write(SENT, "q"))
    body = document["body"]
    for at in range(len(body)):
        for other in ("A", "B", "?"):
            if body[at] != other:
                document["body"] = body[:at] + other + body[at + 1 :]
                with pytest.raises(SecurityError):
                    codec.read(json.dumps(document), "m1")
    raw = base64.b64decode(body)
    for changed in (raw + b" ", raw[:-1], raw.replace(b"utf-8", b"utf8"), b"", b"\x00\x01" * 4):
        document["body"] = base64.b64encode(changed).decode()
        with pytest.raises(SecurityError):
            codec.read(json.dumps(document), "m1")


def test_auth_body_with_another_content_type_inside_is_refused(issue: Issue) -> None:
    codec = auth_codec(issue("sender"))
    raw = base64.b64decode(body_of(codec.write(SENT, "q")))
    as_pickle = raw.replace(b"application/json\x00\x01utf-8", b"application/x-python-serialize\x00\x01binary")
    assert as_pickle != raw
    with pytest.raises(SecurityError, match="security_serializer is 'json'"):
        codec.read(with_body(codec, base64.b64encode(as_pickle).decode()), "m1")


def test_unsigned_message_is_refused_where_only_auth_is_accepted(issue: Issue) -> None:
    codec = auth_codec(issue("sender"), task_event_routes={"*": "on_event"})
    event = '{"source": "aws.s3", "detail-type": "Object Created", "id": "e1"}'
    unsigned = [Codec().write(SENT, "q"), '{"task": "t", "args": [1]}', event]
    unsigned.append('{"task": "t", "args": [1], "content-type": "application/data"}')
    for text in unsigned:
        with pytest.raises(SecurityError, match="not signed"):
            codec.read(text, "m1")
    json_body = {"body": [[1], {}, {}], "content-type": "application/data", "headers": {"task": "t"}}
    with pytest.raises(DecodeError, match="the body is JSON"):
        codec.read(json.dumps(json_body), "m1")


def test_auth_body_is_accepted_beside_signed_messages_if_allowed(issue: Issue) -> None:
    paths = issue("sender")
    both = auth_codec(paths, accept_content=["auth", "json"], message_signing_keys=[HMAC], accept_unsigned=["auth"])
    assert both.read(auth_codec(paths).write(SENT, "q"), "m1").id == SENT.id
    assert both.read(both.write(SENT, "q"), "m1").id == SENT.id
    # A message with the content type of auth must have a body signed by auth.
    for text in ('{"task": "t", "content-type": "application/data"}', Codec().write(SENT, "q")):
        with pytest.raises(SecurityError, match="not signed"):
            both.read(text, "m1")
    with pytest.raises(SecurityError):
        both.read('{"body": "[[], {}, {}]", "content-type": "application/data", "headers": {"task": "t"}}', "m1")


def test_payload_reference_is_not_accepted_as_a_signed_body(issue: Issue) -> None:
    shelf = Shelf()
    both: dict[str, Any] = {"accept_content": ["auth", "json"], "accept_unsigned": ["auth"]}
    codec = auth_codec(issue("sender"), message_signing_keys=[HMAC], **both)
    codec = replace(codec, payloads=Payloads(store=shelf))
    message = Message(task="shop.pay", id="1", args=["x" * 10_000])
    packed = codec_with(shelf, compression=None).pack(message, "q", 4000, NOW.timestamp())
    assert packed.payload is not None
    drive(shelf.put([packed.payload]))
    forged = {**json.loads(packed.body), "content-type": "application/data"}
    with pytest.raises(DecodeError):
        drive(codec.open(json.dumps(forged), "m1"))
    assert shelf.gets == []


def test_body_of_an_unknown_signer_is_refused(issue: Issue) -> None:
    reader = auth_codec(issue("sender"))
    stranger = auth_codec(issue("stranger", trusted=False))
    with pytest.raises(SecurityError, match=r"PL stranger \d+', is not in security_cert_store"):
        reader.read(stranger.write(SENT, "q"), "m1")


def test_body_of_an_unknown_signer_with_a_trusted_name_is_refused(
    issue: Issue, rsa_keys: list[rsa.RSAPrivateKey]
) -> None:
    paths = issue("sender")
    reader = auth_codec(paths)
    certificate = CeleryCertificate(paths[1].read_text())
    forged = SecureSerializer(PrivateKey((issue("evil", key=rsa_keys[1], trusted=False)[0]).read_text()), certificate)
    with pytest.raises(SecurityError, match="doesn't match the body"):
        reader.read(with_body(reader, forged.serialize(PARTS)), "m1")


def test_expired_certificate_is_refused_and_signs_nothing(issue: Issue) -> None:
    sender = issue("sender")
    expired, early = issue("expired", days=(-30, -1)), issue("early", days=(1, 30))
    reader = auth_codec(sender)
    for paths, words in ((expired, "expired at"), (early, "not valid before")):
        made = SecureSerializer(PrivateKey(paths[0].read_text()), CeleryCertificate(paths[1].read_text()))
        with pytest.raises(SecurityError, match=words):
            reader.read(with_body(reader, made.serialize(PARTS)), "m1")
        with pytest.raises(ImproperlyConfigured, match=words):
            auth_codec(paths).write(SENT, "q")


def test_keys_given_as_text_and_with_a_password_are_used(issue: Issue) -> None:
    key, certificate = issue("sender", password="opensesame")
    settings = auth_settings((key, certificate), security_key=key.read_text(), security_key_password="opensesame")
    settings["security_certificate"] = certificate.read_text()
    codec = TaskQ(**settings).codec
    assert codec.read(codec.write(SENT, "q"), "m1").id == SENT.id
    for password in ("wrong-password", None):
        with pytest.raises(ImproperlyConfigured, match="security_key_password is wrong") as caught:
            TaskQ(**settings | {"security_key_password": password}).codec
        assert "wrong-password" not in "".join(traceback.format_exception(caught.value))


def test_wrong_settings_are_errors_before_the_first_message(
    issue: Issue, tmp_path: Path, rsa_keys: list[rsa.RSAPrivateKey]
) -> None:
    paths = issue("sender")
    other = issue("other", key=rsa_keys[1], trusted=False)
    curve = issue("curve", key=ec.generate_private_key(ec.SECP256R1()), trusted=False)
    (tmp_path / "twice").mkdir()
    for name in "ab":
        (tmp_path / "twice" / name).write_bytes(paths[1].read_bytes())
    changes: list[tuple[dict[str, Any], str]] = [
        ({"security_key": None}, "must be set together"),
        ({"security_certificate": None}, "must be set together"),
        ({"security_cert_store": None}, "needs the setting security_cert_store"),
        ({"security_cert_store": str(tmp_path / "*.none")}, "no file matches"),
        ({"security_cert_store": str(tmp_path / "twice")}, "twice"),
        ({"security_cert_store": str(paths[0])}, "holds no certificate in PEM"),
        ({"security_key": str(tmp_path / "missing.key")}, "security_key: its file can't be read: No such"),
        ({"security_key": str(paths[1])}, "isn't a private key in PEM"),
        ({"security_key": str(other[0])}, "not the key of security_certificate"),
        ({"security_key": str(curve[0])}, "isn't an RSA key"),
        ({"security_certificate": str(curve[1])}, "isn't RSA"),
        ({"security_digest": "md5"}, "security_digest 'md5' is unknown"),
        ({"security_serializer": "toml"}, "unknown serializer 'toml'"),
    ]
    for change, words in changes:
        with pytest.raises(ImproperlyConfigured, match=words):
            auth_codec(paths, **change)


def test_reader_without_a_private_key_verifies_and_does_not_sign(issue: Issue) -> None:
    paths = issue("sender")
    reader = auth_codec(paths, security_key=None, security_certificate=None, task_serializer="json")
    assert reader.read(auth_codec(paths).write(SENT, "q"), "m1").id == SENT.id
    with pytest.raises(ImproperlyConfigured, match="signing with 'auth' needs"):
        reader.write(SENT, "q", "auth")


def test_arguments_beyond_the_serializer_are_named_in_the_error(issue: Issue) -> None:
    with pytest.raises(EncodeError, match="object object at"):
        auth_codec(issue("sender")).write(Message(task="t", id="1", args=[object()]), "q")
