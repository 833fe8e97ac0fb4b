"""Every file that the configuration names: keys, certificates, policies. Read here, and refused by name.

A file with a secret must be its owner's alone. What is wrong with a file is said by option and path, never by content.
"""

from __future__ import annotations

import os
import ssl
import stat
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

from noisegate_server.config import Config, ConfigError
from noisegate_server.noise import KeyPair, RandomBytes
from noisegate_server.session.sealing import KEY_ID, SealingKey, SealingKeys
from noisegate_server.transport.grpcio import Credentials
from noisegate_server.trust.identity import Identities

__all__ = [
    "BLOB_KEYS",
    "TICKET_KEYS",
    "KeyFile",
    "TlsFiles",
    "admin_tls_files",
    "credentials",
    "identities",
    "is_private",
    "read",
    "sealing_keys",
    "tls_files",
]

_KEY_BYTES: Final = 32

TICKET_KEYS: Final = b"noisegate ticket key id\0"
"""What the id of a ticket key is a hash of, before the key."""
BLOB_KEYS: Final = b"noisegate blob key id\0"
"""Likewise, of a key for suspended sessions."""


def read(option: str, path: Path) -> bytes:
    """The bytes of a file. ConfigError."""
    try:
        return path.read_bytes()
    except OSError as error:
        denied = f": {_remedy(path, 'let the service read it')}" if isinstance(error, PermissionError) else ""
        raise ConfigError(option, f"{path}: cannot be read ({error.strerror}){denied}") from None


def _remedy(path: Path, otherwise: str) -> str:
    """What to do about a file's mode: on a read-only mount, as of a Secret in a pod, nobody can change that there."""
    with suppress(OSError):
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return "its mount is read-only; of a Secret the volume wants defaultMode 0400, and the pod an fsGroup"
    return otherwise


def _read_secret(option: str, path: Path) -> bytes:
    text = read(option, path)
    found = path.stat()
    if not is_private(owner=found.st_uid, mode=found.st_mode, process=os.geteuid()):
        raise ConfigError(option, f"{path}: others on this machine may read it: {_remedy(path, 'run chmod 600 on it')}")
    return text


def is_private(*, owner: int, mode: int, process: int) -> bool:
    """Whether a file of user `owner` is kept for user `process`.

    Its owner's alone, or root's who lets a group read it: so has a process that is not root its keys from a Secret of
    Kubernetes (`fsGroup`), and daemons theirs from /etc.
    """
    lent = owner == 0 != process
    return not mode & (stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if lent else stat.S_IRWXG))


def _read_keys(option: str, path: Path, *, at_most: int) -> list[bytes]:
    lines = _read_secret(option, path).split()
    with suppress(ValueError):
        keys = [bytes.fromhex(line.decode("ascii", "replace")) for line in lines]
        if 1 <= len(keys) <= at_most and all(len(key) == _KEY_BYTES and any(key) for key in keys):
            return keys
    raise ConfigError(option, f"{path}: must hold a key of 64 hex digits, as `noisegate keygen --out FILE` writes it")


_State = tuple[int, int, int] | None


def _state(path: Path) -> _State:
    """What is another one when a file is."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


# --- identities ------------------------------------------------------------------------------------------------------


def identities(config: Config, random_bytes: RandomBytes) -> Identities:
    """The static keys that `config` names. ConfigError."""
    if config.dev:
        return Identities({}, generate=random_bytes)
    default = None
    pairs = {}
    for entry in config.identity:
        tenant, _, path = entry.partition("=") if "=" in entry else ("", "", entry)
        keys = _read_keys("--identity", Path(path), at_most=1)
        pair = KeyPair.from_private(keys[0])
        if tenant:
            pairs[tenant] = pair
        else:
            default = pair
    return Identities(pairs, default=default)


# --- sealing keys ----------------------------------------------------------------------------------------------------


class KeyFile:
    """A file of sealing keys, the current one first and then perhaps the previous one, which may change at any time."""

    def __init__(self, option: str, path: Path, label: bytes) -> None:
        self.option: Final = option
        self.path: Final = path
        self._label: Final = label
        self._seen: _State = None

    def read(self) -> SealingKeys:
        """Its keys. ConfigError."""
        # Looked at before it is read: what is written between the two is read once more.
        self._seen = _state(self.path)
        keys = [_sealing_key(self._label, key) for key in _read_keys(self.option, self.path, at_most=2)]
        return SealingKeys(current=keys[0], previous=keys[1] if len(keys) > 1 else None)

    @property
    def written_at(self) -> float:
        """When what was read last was written (unix seconds)."""
        return self._seen[1] / 1e9 if self._seen is not None else 0.0

    def has_changed(self) -> bool:
        """Whether it is not what was read last, whatever came of that."""
        return _state(self.path) != self._seen


def sealing_keys(
    option: str, path: Path | None, label: bytes, random_bytes: RandomBytes
) -> tuple[SealingKeys, KeyFile | None]:
    """The keys of an option's file, and the file to watch; where none is given, keys of this process. ConfigError."""
    if path is None:
        return SealingKeys(current=_sealing_key(label, random_bytes(_KEY_BYTES))), None
    file = KeyFile(option, path, label)
    return file.read(), file


def _sealing_key(label: bytes, key: bytes) -> SealingKey:
    # The id follows from the key, so that instances with the same file agree; a hash of 32 random bytes tells nothing.
    return SealingKey(key_id=sha256(label + key).digest()[:KEY_ID], key=key)


# --- TLS -------------------------------------------------------------------------------------------------------------


class TlsFiles:
    """Certificate chain, private key and client roots of a listener, which may change at any time."""

    option: Final = "--tls-certificate"

    def __init__(self, certificate: Path, key: Path, *, ca_option: str, client_ca: Path | None) -> None:
        self._certificate: Final = certificate
        self._key: Final = key
        self._ca_option: Final = ca_option
        self._client_ca: Final = client_ca
        self._seen: list[_State] = []

    def read(self) -> Credentials:
        """What they hold. ConfigError, also where certificate and key do not belong together (yet)."""
        self._seen = self._states()
        _check_tls(self._certificate, self._key, self._ca_option, self._client_ca)
        return Credentials(
            certificate=read("--tls-certificate", self._certificate),
            private_key=_read_secret("--tls-key", self._key),
            client_ca=None if self._client_ca is None else read(self._ca_option, self._client_ca),
        )

    def has_changed(self) -> bool:
        """Whether any is not what was read last, whatever came of that."""
        return self._states() != self._seen

    def _states(self) -> list[_State]:
        paths = (self._certificate, self._key, self._client_ca)
        return [_state(path) for path in paths if path is not None]


def tls_files(config: Config) -> TlsFiles | None:
    """Of the listener for callers; None for plaintext."""
    return _tls_files(config, "--tls-client-ca", config.tls_client_ca)


def admin_tls_files(config: Config) -> TlsFiles | None:
    """Of the listener for operators: the same certificate, where they have roots of their own."""
    return None if config.admin_client_ca is None else _tls_files(config, "--admin-client-ca", config.admin_client_ca)


def _tls_files(config: Config, ca_option: str, client_ca: Path | None) -> TlsFiles | None:
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return TlsFiles(config.tls_certificate, config.tls_key, ca_option=ca_option, client_ca=client_ca)


def credentials(config: Config) -> Credentials | None:
    """What the files of the listener for callers hold now; None for plaintext. ConfigError."""
    files = tls_files(config)
    return None if files is None else files.read()


def _check_tls(certificate: Path, key: Path, ca_option: str, client_ca: Path | None) -> None:
    """Read the files as TLS would: grpcio says of a file that it cannot use only that it cannot listen."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password="")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError("--tls-key", f"{key}: is not the key of --tls-certificate {certificate}") from None
        raise ConfigError(
            "--tls-certificate", f"{certificate} and --tls-key {key}: not a PEM chain and its key"
        ) from None
    except OSError:
        return  # a file that cannot be opened is named where it is read
    try:
        if client_ca is not None:
            context.load_verify_locations(client_ca)
    except ssl.SSLError:
        raise ConfigError(ca_option, f"{client_ca}: no certificate in it") from None
    except OSError:
        return
