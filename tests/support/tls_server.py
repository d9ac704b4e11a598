"""A server that speaks TLS with a certificate of its own, and keeps what it is sent."""

import datetime
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

REFUSAL = b"-WRONGPASS this is another server\r\n"


@dataclass(slots=True)
class TlsServer:
    """Where it listens, its certificate, and what clients sent after the handshake."""

    port: int
    certificate: Path
    received: list[bytes] = field(default_factory=list)


@contextmanager
def tls_server(folder: Path) -> Iterator[TlsServer]:
    """One that runs within the block. It refuses what it is sent, in Redis' protocol."""
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = TlsServer(port=listening.getsockname()[1], certificate=certificate)
        thread = threading.Thread(target=_serve, args=(listening, context, server), daemon=True)
        thread.start()
        yield server
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def _serve(listening: socket.socket, context: ssl.SSLContext, server: TlsServer) -> None:
    while True:
        try:
            plain, _ = listening.accept()
        except OSError:
            return
        # A client that does not trust the certificate ends the handshake.
        with suppress(OSError), context.wrap_socket(plain, server_side=True) as secured:
            if sent := secured.recv(65_536):
                server.received.append(sent)
                secured.sendall(REFUSAL)


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "server.example")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem, private = folder / "certificate.pem", folder / "key.pem"
    pem.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return pem, private
