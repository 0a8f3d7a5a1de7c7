"""Floor 2. TLS and passwords of one listener, from a file of the shape that Prometheus' exporters use.

Rules of this room:

1. The keys are those of exporter-toolkit's web configuration, so that an operator writes one kind of file for all exporters. What
   we do not have is refused by name, not passed over.
2. The file and what it names are looked at with every new connection and read again when one of them changed. An open connection
   keeps what it began with. Files that can not be used leave the former ones in use, and say so.
3. Nothing below TLS 1.2. A client's certificate is verified or not asked for: what only asks is no protection and is refused.
4. Passwords stand as bcrypt hashes. A wrong name takes as long as a wrong password, and one check runs at a time, so that
   guessing costs nobody else anything.
"""

import asyncio
import hashlib
import logging
import os
import re
import ssl
from base64 import b64decode
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import bcrypt

from agent.errors import ConfigError, Problem
from agent.policy import kinds
from agent.policy.nodes import Table
from agent.policy.problems import Code, Problems, Wrong
from agent.policy.tree import MAX_YAML, decode, yaml_tree

_log = logging.getLogger("ecluse.serve")

_HASH: Final = re.compile(r"\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}")
_VERSIONS: Final = {"TLS12": ssl.TLSVersion.TLSv1_2, "TLS13": ssl.TLSVersion.TLSv1_3}
_REMEMBERED: Final = 100

#: What exporter-toolkit knows beside and does not verify.
_ASKS_ONLY: Final = ("RequestClientCert", "RequireAnyClientCert")
_VERIFIES: Final = ("NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert")
ClientAuth = Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Web:
    """What a web configuration says. Without `cert_file` the listener speaks plain HTTP; without `users` it asks no password."""

    cert_file: Path | None = None
    key_file: Path | None = None
    client_auth: ClientAuth = "NoClientCert"
    client_ca_file: Path | None = None
    client_allowed_sans: tuple[str, ...] = ()
    min_version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_2
    users: Mapping[str, str] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Path, ...]:
        """The files it names."""
        return tuple(path for path in (self.cert_file, self.key_file, self.client_ca_file) if path is not None)


def load_web(path: Path) -> Web:
    """Read a web configuration. Relative paths in it count from its own directory.

    Raises:
        ConfigError: with every problem, by line.
    """
    problems = Problems()
    found: Web | None = None
    try:
        node = yaml_tree(str(path), decode(path.read_bytes()[: MAX_YAML + 1], limit=MAX_YAML), problems)
        if node is not None:
            found = _web(Table(problems, str(path), node, ""), path.absolute().parent)
    except OSError as error:
        problems.add(
            file=str(path), line=0, code=Code.MISSING, what=error.strerror or "can not be read", mend="Give it to serve's user."
        )
    except Wrong as wrong:
        problems.add(file=str(path), line=0, code=wrong.code, what=wrong.what, mend=wrong.mend)
    problems.raise_if_any()
    assert found is not None  # without a problem, a reader gives its value
    return found


def _web(table: Table, base: Path) -> Web | None:
    values: dict[str, Any] = {}
    tls = table.below("tls_server_config")
    if tls is not None:
        values |= _tls(tls, base)
    users = table.mapping("basic_auth_users", kinds.words, _hash)
    return Web(users=users, **values) if table.done() else None


def _tls(table: Table, base: Path) -> dict[str, Any]:
    def path(text: str) -> Path:
        return base / kinds.words(text)

    values: dict[str, Any] = {
        "cert_file": table.need("cert_file", path),
        "key_file": table.need("key_file", path),
        "client_auth": table.may("client_auth_type", _client_auth, "NoClientCert"),
        "client_ca_file": table.may("client_ca_file", path, None),
        "client_allowed_sans": table.many("client_allowed_sans", kinds.words),
        "min_version": _VERSIONS[table.may("min_version", kinds.one_of(*_VERSIONS), "TLS12") or "TLS12"],
    }
    asked = values["client_auth"] != "NoClientCert"
    if table.sound and asked != (values["client_ca_file"] is not None):
        what = "client_ca_file is missing" if asked else "client_ca_file without client_auth_type"
        table.report(table.line, Code.MISSING, what, "Give both, such as client_auth_type: RequireAndVerifyClientCert.")
    if table.sound and values["client_allowed_sans"] and values["client_auth"] != "RequireAndVerifyClientCert":
        mend = "Write client_auth_type: RequireAndVerifyClientCert."
        table.report(
            table.line_of("client_allowed_sans"), Code.BAD_VALUE, "no certificate is required", mend, key="client_allowed_sans"
        )
    table.done()
    return values


def _client_auth(text: str) -> str:
    if text in _ASKS_ONLY:
        mend = "Write RequireAndVerifyClientCert."
        raise Wrong(Code.BAD_VALUE, f"{text} asks for a certificate and does not verify it, which protects nothing", mend)
    return kinds.one_of(*_VERIFIES)(text)


def _hash(text: str) -> str:
    match = _HASH.fullmatch(text)
    if match is None or not 10 <= int(match[1]) <= 14:
        mend = "Make it with `htpasswd -nBC 10 USER`; 10 to 14 rounds."
        raise Wrong(Code.BAD_VALUE, "not a bcrypt hash", mend)  # what stands there may be a password
    return text


# --- in use -----------------------------------------------------------------------------------------------------


class Guard:
    """A web configuration in use by one listener: the newest context for each new connection, and who may ask.

    Args:
        path: the configuration; None for plain HTTP without a password.

    Raises:
        ConfigError: it can not be used as it stands.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self.web = Web() if path is None else load_web(path)
        self._stamp = self._look()
        self._context = _context(self.web)
        self.expires = expires(self.web)
        self.valid = True
        self._known: OrderedDict[bytes, bool] = OrderedDict()
        self._one_at_a_time = asyncio.Lock()
        self._nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(10)).decode() if self.web.users else ""

    @property
    def encrypts(self) -> bool:
        """Whether the listener speaks TLS. That does not change while it runs."""
        return self._context is not None

    def context(self) -> ssl.SSLContext | None:
        """What a new connection is encrypted with, read again if a file changed; None for plain HTTP."""
        self.refresh()
        return self._context

    def refresh(self) -> None:
        """Read again what changed since the last look."""
        stamp = self._look()
        if self._path is None or stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            web = load_web(self._path)
            if (web.cert_file is None) != (self._context is None):
                raise ConfigError(
                    (Problem(file=str(self._path), line=0, what="TLS was switched on or off", mend="Restart `ecluse serve`."),)
                )
            context = _context(web)
        except ConfigError as error:
            self.valid = False
            _log.error("the former TLS files stay in use: %s", error)
            return
        self.web, self._context, self.expires, self.valid = web, context, expires(web), True
        self._known.clear()
        _log.info("TLS files read again: %s", self._path)

    def welcome(self, certificate: Mapping[str, Any] | None) -> bool:
        """Whether a client with this verified certificate may come in, as far as names are listed."""
        allowed = self.web.client_allowed_sans
        if not allowed:
            return True
        names = {str(value) for _, value in (certificate or {}).get("subjectAltName", ())}
        return not names.isdisjoint(allowed)

    async def authorised(self, header: str) -> bool:
        """Whether an `Authorization` header names a user with its password; True where no password is asked."""
        users = self.web.users
        if not users:
            return True
        name, _, password = _credentials(header)
        stored = users.get(name, self._nobody)
        key = hashlib.sha256(b"\0".join((stored.encode(), name.encode(), password.encode()))).digest()
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        async with self._one_at_a_time:
            right = await asyncio.to_thread(_checks, password, stored)
        self._known[key] = right = right and name in users
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return right

    def _look(self) -> tuple[object, ...]:
        paths: Sequence[Path] = () if self._path is None else (self._path, *self.web.files)
        return tuple(_stat(path) for path in paths)


def _stat(path: Path) -> tuple[int, ...]:
    try:
        found = os.stat(path)  # noqa: PTH116 - four of these for each connection
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _credentials(header: str) -> tuple[str, str, str]:
    kind, _, text = header.partition(" ")
    try:
        return b64decode(text, validate=True).decode().partition(":") if kind.lower() == "basic" else ("", "", "")
    except ValueError:
        return "", "", ""


def _checks(password: str, stored: str) -> bool:
    return bcrypt.checkpw(password.encode()[:72], stored.encode())  # bcrypt looks at 72 bytes


def _context(web: Web) -> ssl.SSLContext | None:
    """The context of a configuration.

    Raises:
        ConfigError: a file can not be used.
    """
    if web.cert_file is None or web.key_file is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = web.min_version
    context.options |= ssl.OP_NO_RENEGOTIATION
    try:
        context.load_cert_chain(web.cert_file, web.key_file, password=_no_password)
    except (OSError, ValueError) as error:
        what = f"{web.cert_file} with {web.key_file}: {getattr(error, 'reason', None) or getattr(error, 'strerror', None) or error}"
        raise ConfigError(
            (Problem(file=str(web.cert_file), line=0, what=what, mend="Give a PEM chain and the key that belongs to it."),)
        ) from None
    if web.client_ca_file is not None:
        try:
            context.load_verify_locations(web.client_ca_file)
        except (OSError, ValueError) as error:
            what = str(getattr(error, "reason", None) or getattr(error, "strerror", None) or error)
            raise ConfigError(
                (Problem(file=str(web.client_ca_file), line=0, what=what, mend="Give the PEM of the clients' CA."),)
            ) from None
        required = web.client_auth == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _no_password() -> str:
    raise ValueError("the key is encrypted; serve has nobody to ask for its password")


def expires(web: Web) -> float | None:
    """When the first certificate of the chain ends, in UNIX seconds; None without one.

    Raises:
        OSError, ValueError: the file can not be read as one.
    """
    if web.cert_file is None:
        return None
    pem = web.cert_file.read_text("ascii", "replace")
    begin, end = pem.index(ssl.PEM_HEADER), pem.index(ssl.PEM_FOOTER) + len(ssl.PEM_FOOTER)
    return not_after(ssl.PEM_cert_to_DER_cert(pem[begin:end]))


def not_after(certificate: bytes) -> float:
    """When a certificate (DER) ends, in UNIX seconds.

    Six fields of RFC 5280 are walked over; the standard library reads this only from a peer it has verified, and a package for it
    would be larger than this program.

    Raises:
        ValueError: no certificate.
    """
    _, body, _ = _value(certificate)
    _, body, _ = _value(body)
    if body[:1] == b"\xa0":  # the version, where it is not 1
        body = _value(body)[2]
    for _ in ("serial number", "algorithm", "issuer"):
        body = _value(body)[2]
    _, validity, _ = _value(body)
    tag, text, _ = _value(_value(validity)[2])
    form = {0x17: "%y%m%d%H%M%SZ", 0x18: "%Y%m%d%H%M%SZ"}.get(tag)
    if form is None:
        raise ValueError("not a certificate")
    return datetime.strptime(text.decode("ascii"), form).replace(tzinfo=UTC).timestamp()


def _value(der: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows of the first value."""
    if len(der) < 2:
        raise ValueError("not a certificate")
    size, start = der[1], 2
    if size & 0x80:
        start += size & 0x7F
        size = int.from_bytes(der[2:start], "big")
    return der[0], der[start : start + size], der[start + size :]
