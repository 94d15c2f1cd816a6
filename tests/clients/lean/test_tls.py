"""Tests of TLS connections: which certificates are trusted, with both kinds of lean clients and with the SDK."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from taskq_cloud.clients import aws
from taskq_cloud.core.flows import Call, CallError, Trouble
from tests.clients.lean.test_faults import Server

x509 = pytest.importorskip("cryptography.x509")

GET = Call("dynamodb", "get_item", {"TableName": "t", "Key": {"id": {"S": "1"}}})


def certificate(folder: Path, name: str, *names: str) -> Path:
    """Write a self-signed certificate with its key, which is its own authority."""
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    alternative = [x509.IPAddress(ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names]
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(alternative), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / f"{name}.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return path


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response_only(200)
        self.send_header("Content-Length", "12")
        self.end_headers()
        self.wfile.write(b'{"Item": {}}')

    def log_message(self, *_: Any) -> None:
        pass


class QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: Any) -> None:
        pass


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("certificates")
    return {"right": certificate(folder, "right", "localhost"), "other": certificate(folder, "other", "localhost")}


@pytest.fixture(scope="module")
def port(certificates: dict[str, Path]) -> Iterator[int]:
    server = QuietServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["right"])
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()
    thread.join()


async def outcomes(url: str) -> list[tuple[str, Trouble | None]]:
    """What a call comes to with each driver: the code and the trouble of its error, or nothing."""
    found: list[tuple[str, Trouble | None]] = []
    for lean in (True, False):
        options = {"region": "eu-west-1", "endpoint_url": url, "lean": lean}
        client, on_loop = aws.open_client("dynamodb", options), await aws.open_async_client("dynamodb", options)
        for call in (asyncio.to_thread(client.call, GET), on_loop.call(GET)):
            try:
                answer = await call
            except CallError as error:
                found.append((error.code, error.trouble))
            else:
                found.append((str(answer["Item"]), None))
        client.close()
        await on_loop.close()
    return found


@pytest.mark.parametrize("variable", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
async def test_certificate_of_the_given_authority_is_trusted(
    port: int, variable: str, certificates: dict[str, Path], aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, str(certificates["right"]))
    assert await outcomes(f"https://localhost:{port}") == [("{}", None)] * 4


async def test_certificate_of_another_authority_is_refused(
    port: int, certificates: dict[str, Path], aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates["other"]))
    assert await outcomes(f"https://localhost:{port}") == [("SSLError", Trouble.TRANSIENT)] * 4


async def test_certificate_of_an_unknown_authority_is_refused(
    port: int, aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert await outcomes(f"https://localhost:{port}") == [("SSLError", Trouble.TRANSIENT)] * 4


async def test_certificate_for_another_host_is_refused(
    port: int, certificates: dict[str, Path], aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates["right"]))
    lean = (await outcomes(f"https://127.0.0.1:{port}"))[:2]
    assert lean == [("SSLError", Trouble.TRANSIENT)] * 2


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_certificates_that_cannot_be_read_are_named(
    port: int,
    content: str | None,
    certificates: dict[str, Path],
    aws_environment: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    missing = tmp_path / "ca.pem"
    if content is not None:
        missing.write_text(content)
    (tmp_path / "config").write_text(f"[default]\nca_bundle = {missing}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert (await outcomes(f"https://localhost:{port}"))[:3] == [("SSLError", Trouble.TRANSIENT)] * 3
    client = aws.open_client("dynamodb", {"region": "eu-west-1", "endpoint_url": f"https://localhost:{port}"})
    with pytest.raises(CallError, match=re.escape(f"'{missing}' can't be read")):
        client.call(GET)
    missing.write_bytes(certificates["right"].read_bytes())
    assert client.call(GET)["Item"] == {}
    client.close()


@pytest.mark.slow
async def test_large_object_may_take_longer_than_an_answer(
    certificates: dict[str, Path], aws_environment: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def serve(connection: socket.socket, server: Server) -> None:
        received = 0
        with context.wrap_socket(connection.dup(), server_side=True) as secure:
            while received < size and (part := secure.recv(16_384)):
                received += len(part)
                server.end.wait(0.005)
            secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nETag: x\r\n\r\n")

    size = 8_000_000
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates["right"])
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificates["right"]))
    call = Call("s3", "put_object", {"Bucket": "bucket", "Key": "k", "Body": bytes(size)})
    server = Server(serve, receive_buffer_bytes=65_536)
    options = {
        "region": "eu-west-1",
        "endpoint_url": server.url.replace("http://127.0.0.1", "https://localhost"),
        "read_timeout_seconds": 1,  # the server takes 488 times 5 ms
    }
    client, on_loop = aws.open_client("s3", options), await aws.open_async_client("s3", options)
    calls = (asyncio.to_thread(client.call, call), on_loop.call(call))
    answers: Any = await asyncio.gather(*calls, return_exceptions=True)
    client.close()
    await on_loop.close()
    server.close()
    assert [getattr(answer, "code", None) or answer["ETag"] for answer in answers] == ["x", "x"]


async def test_server_without_tls_is_a_transient_failure(aws_environment: None) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    found = await outcomes(f"https://localhost:{port}")
    server.close()
    assert [trouble for _, trouble in found] == [Trouble.TRANSIENT] * 4
    assert found[0] == found[1] == ("SSLError", Trouble.TRANSIENT)
