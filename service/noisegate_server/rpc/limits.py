"""Sizes and times of the contract that this layer enforces, as the field comments of proto/noisegate/v1 state them."""

from __future__ import annotations

from typing import Final

from noisegate_server.session.constants import MAX_ASSOCIATED_DATA, REPEAT_ANSWER_S

MAX_REQUEST_BYTES: Final = 73_728
"""The longest request of a unary method; the transport's own limit is only a backstop above it."""

MAX_BATCH_ITEMS: Final = 1_024
"""Items of a batch, and sessions of a Broadcast."""
MAX_BATCH_BYTES: Final = MAX_BATCH_ITEMS * 1_280
"""Plaintexts or ciphertexts and associated data of a batch: for each item the smallest MTU of IPv6 (RFC 8200)."""
MAX_BATCH_REQUEST_BYTES: Final = MAX_BATCH_BYTES + 64 * 1_024
"""The longest request of a batch: ids, counts and lengths are 36 bytes an item."""
PAUSE_SECONDS: Final = 0.002
"""After so long a batch lets other calls run."""
LONG_REQUEST_BYTES: Final = 512 * 1024
"""To receive and to read a longer batch takes so long that others may run before it is begun."""

MAX_UNDER_WAY_BYTES: Final = 128 * 1024 * 1024
"""Requests of all batches that have paused or wait for a session: a hundred of the longest, with what they made."""

MAX_REQUEST_ID_BYTES: Final = 64
SESSION_ID_BYTES: Final = 24
CONNECTION_ID_BYTES: Final = 8
KEY_BYTES: Final = 32
"""Length of a static public key and of a pre-shared key."""

MAX_ASSOCIATED_DATA_BYTES: Final = MAX_ASSOCIATED_DATA
MAX_PROLOGUE_BYTES: Final = 1_024
MAX_PAYLOAD_BYTES: Final = 16_384
MAX_TENANT_BYTES: Final = 255
MAX_NAME_BYTES: Final = 64
"""Length of peer_id and group in UTF-8."""

MAX_LABEL_BYTES: Final = 64
MAX_CONTEXT_BYTES: Final = 1_024
MIN_EXPORT_BYTES: Final = 16
MAX_EXPORT_BYTES: Final = 255
"""Length of an exporter secret."""

MAX_OFFER: Final = 16
RESERVED_PROLOGUE: Final = b"ng1 "
"""docs/protocol.md: what noisegate's own prologue begins with; a caller's must not."""

MIN_SESSION_SECONDS: Final = 1.0
MAX_IDLE_SECONDS: Final = 86_400.0
MAX_LIFETIME_SECONDS: Final = 604_800.0

MAX_PAGE_SIZE: Final = 1_000
DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_TOKEN_BYTES: Final = 256

UNARY_SECONDS: Final = 5.0
"""The deadline of a unary call whose caller set none, or a later one (security reference, section 6.3)."""

REPEAT_SECONDS: Final = 5.0
"""How long a request_id is remembered."""

HANDSHAKE_REPEAT_SECONDS: Final = REPEAT_ANSWER_S
"""The same for Handshake and Resume: nothing is kept for longer."""

MAX_REPEATS: Final = 65_536
MAX_REPEAT_BYTES: Final = 64 * 1024 * 1024
MAX_REPEATS_PER_SESSION: Final = 8
MAX_SHARED_REPEATS: Final = 4_096
"""Of one tenant's DecryptBatch: all of them are looked through for each session that ends."""
CUT_AT_ONCE: Final = 64
"""Those that are, before others have their turn."""
MAX_CUTS: Final = 256
"""Ended sessions for which others are still to be looked through; then all of the tenant's are dropped instead."""

MAX_WATCHERS: Final = 1_024
"""Open grpc.health.v1 Watch streams of one process."""

MAX_TRANSPORTS: Final = 4_096
"""Open Transport streams of one process."""

MAX_TRANSPORTS_PER_TENANT: Final = 256
MAX_WAITING_BATCHES: Final = 32
"""Of one Transport stream: batches that wait for a session to come back."""
MAX_CARRIED_BATCHES: Final = 32
"""Of one message of a Transport stream."""
GATHER_SECONDS: Final = 3 * PAUSE_SECONDS
"""How long answers to batches of one message wait for others, to leave as one; longer where others run for longer than
they did last, or where the caller takes none."""
MAX_JOINED_BYTES: Final = 256 * 1024
"""Of one message of a Transport stream with several answers: far below what any client library takes by default."""

DRAIN_SECONDS: Final = 2.0
"""From the word that the service drains to the end of a Transport stream whose caller does not half-close."""
