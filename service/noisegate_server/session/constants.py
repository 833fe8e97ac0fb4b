"""Numbers and labels of the player's protocol: what the specification fixes, then what this implementation chose.

A specification constant never changes within protocol version 1. An implementation constant may, because no peer can
tell. Bytes are lengths on the wire, `_S` are seconds, everything else is a count. "protocol" is docs/protocol.md,
"Noise" the Noise Protocol Framework, revision 34.
"""

from __future__ import annotations

from typing import Final

# ---- specification constants ---------------------------------------------------------------------------------------

PROTOCOL_VERSION: Final = 1
"""The hello's first byte (protocol, section 2)."""

MAX_NOISE_MESSAGE: Final = 65_535
"""Bytes of any Noise message (Noise, section 3)."""
TAG: Final = 16
"""Bytes that an AEAD adds (Noise, section 3)."""
KEY: Final = 32
"""Bytes of every key, secret and HKDF output (Noise, section 5.1; protocol, section 2)."""
HASH: Final = 32
"""Bytes of h: the suites of one identity key all hash with SHA-256 (protocol, section 1)."""
MAX_COUNTER: Final = 2**64 - 2
"""The last counter: 2^64 - 1 is the nonce of Rekey() (Noise, sections 4.2 and 5.1)."""
MAX_EPOCH: Final = 2**32 - 1
"""The last epoch number: four bytes in prologues and salts (protocol, sections 4 and 5)."""

CONNECTION_ID: Final = 8
"""Bytes of a connection id (protocol, section 2)."""
NO_CONNECTION_ID: Final = bytes(CONNECTION_ID)
"""What a player's first packet and a RETRY carry (protocol, section 2)."""
RECORD_HEADER: Final = 15
"""Bytes of a RECORD's header (protocol, section 2)."""
SALTED_HEADER: Final = 32
"""Bytes of a SALTED record's header (protocol, section 2)."""
DATAGRAM_OVERHEAD: Final = RECORD_HEADER + 1 + TAG
"""Bytes that a RECORD is longer than its content: header, kind, tag (protocol, section 2)."""
NOISE_OVERHEAD: Final = TAG
"""Bytes that a NOISE-mode record is longer than its plaintext (Noise, section 5.1)."""
SALT: Final = 16
"""Bytes of a salted epoch's salt (protocol, section 5)."""
MAX_SALTED_STEP: Final = 254
"""How far above its base a salted epoch is numbered: only a byte of the number travels (protocol, section 5)."""
SALTED_OVERHEAD: Final = SALTED_HEADER + 1 + TAG
"""Bytes that a SALTED record is longer than its content: header, kind, tag (protocol, section 2)."""
RETRY_ECHO: Final = 8
"""Bytes of SHA-256 of the refused packet that RETRY repeats (protocol, section 2)."""
KEEP_ALIVE_TOKEN: Final = 8
"""Bytes of a keep-alive's token (protocol, section 3)."""

MAX_LABEL: Final = 64
"""Bytes of an exporter secret's label, at least 1 (protocol, section 3)."""
MIN_EXPORTED: Final = 16
MAX_EXPORTED: Final = 255
"""Bytes of an exporter secret (protocol, section 3)."""

MIN_HELLO: Final = 14
"""Bytes of a hello that offers one protocol (protocol, section 2)."""
MAX_HELLO: Final = 44
"""Bytes of a hello that offers MAX_OFFER protocols (protocol, section 2)."""
MAX_OFFER: Final = 16
"""Protocols in a hello (contract, InitiateHandshake.offer)."""
MAX_PUZZLE: Final = 255
"""Bytes of a puzzle's solution or challenge: one length byte (protocol, section 2)."""
MAX_TICKET: Final = 1_024
"""Bytes of a ticket (contract, RespondResume.ticket)."""
TICKET_ID: Final = 16
"""Bytes of the id under which a ticket is marked spent (protocol, section 6)."""

MAX_PHASES: Final = 64
"""Phases of one direction in one epoch, and how far ahead a receiver follows (protocol, section 3)."""
RATCHET_MESSAGES: Final = 256
"""Messages of one phase with the ratchet on: p = counter >> 8 (protocol, section 3)."""
MASK_BYTES: Final = 6
"""Bytes of the header that the mask covers: epoch, phase, counter (protocol, section 3)."""
PAD_CLASSES: Final = (32, 64, 128, 256, 512, 1_024)
"""Padded lengths in bytes of content and kind (protocol, section 3)."""
PAD_STEP: Final = 256
"""Above the last class, padded lengths are multiples of this many bytes (protocol, section 3)."""

GRACE_S: Final = 30.0
"""How long passed receive keys, skipped keys and old connection ids live (protocol, sections 3 and 4)."""
REPEAT_ANSWER_S: Final = 10.0
"""How long a repeated handshake packet gets the same answer (protocol, section 2)."""
REPEAT_DELAYS_S: Final = (1.0, 1.5, 2.25, 3.375)
"""Waits of an initiator before it repeats a packet (protocol, section 2)."""
NEW_ATTEMPT_S: Final = 9.0
"""After this long unanswered, an initiator begins anew (protocol, section 2)."""
RESUME_DELAYS_S: Final = (0.0, 2.0, 10.0)
"""When a player sends its RESUME packet (protocol, section 6)."""
ROTATION_QUIET_S: Final = 5.0
"""A new rotate-1 this soon after a rotation is dropped (protocol, section 4)."""
ROTATE_AGAIN_S: Final = 1.0
"""Another rotate-1 this soon after one that was read is dropped (protocol, section 4)."""
ROTATION_WISH_S: Final = 10.0
"""WANTS_ROTATION counts once in this time (protocol, section 3)."""
WISH_SILENCE_S: Final = 1.0
"""A responder that wants a rotation and was silent for this long says so in a keep-alive (protocol, section 4)."""
REMIND_FIRST_S: Final = 1.0
"""A control record that the peer has to react to is sent again after this long (protocol, section 4)."""
REMIND_GROWTH: Final = 1.5
"""Each further wait is this many times the last (protocol, section 4)."""
REMIND_LAST_S: Final = 5.0
"""No wait is longer (protocol, section 4)."""
SALTED_ANSWER_S: Final = 0.2
"""Least time between two answers of an unconfirmed salted epoch to what does not open (protocol, section 5)."""
TICKET_LIFETIME_S: Final = 86_400
"""A ticket's greatest age (protocol, section 6)."""

RESERVED_COUNTERS: Final = 1_024
"""Counters below a hard limit that only control records may use (protocol, section 4)."""
MIN_HARD_MESSAGES: Final = 2 * RESERVED_COUNTERS
"""No hard limit of messages is lower: below, nothing but control records would be sealed (contract, RotationLimits)."""
MIN_ROTATION_AGE_S: Final = ROTATION_WISH_S
"""No limit of age is lower (contract, RotationLimits)."""
SOFT_AGE_S: Final = 120.0
"""DATAGRAM: an epoch of this age is due for rotation (protocol, section 4)."""
HARD_AGE_S: Final = 180.0
"""DATAGRAM: an epoch of this age seals no more data (protocol, section 4)."""
SOFT_MESSAGES: Final = 2**20
"""An epoch is due after this many sealed records (protocol, section 4)."""
HARD_MESSAGES: Final = 2**23
"""An epoch seals no more data after this many records (protocol, section 4)."""
SOFT_BYTES: Final = 2**36
"""SOFT_MESSAGES of 64 KiB each: an epoch is due after this many sealed bytes."""
HARD_BYTES: Final = 2**39
"""HARD_MESSAGES of 64 KiB each, with which RFC 9001, appendix B.1, counts for AES-GCM; Noise, section 14: 2^56."""
RATCHET_SOFT_MESSAGES: Final = 8_192
"""SOFT_MESSAGES with the ratchet on (protocol, section 3)."""
RATCHET_HARD_MESSAGES: Final = 15_360
"""HARD_MESSAGES with the ratchet on: lower than a receiver's jump (protocol, section 3)."""
SOFT_FAILURES: Final = 2**20
"""Failed decrypts after which a session is due (protocol, section 4)."""
HARD_FAILURES: Final = 2**35
"""Failed decrypts after which a session ends (protocol, section 4; RFC 9001, section 6.6)."""

RESERVED_PREFIX: Final = b"ng1 "
"""How every prologue of ours begins; a caller's may not (protocol, section 2)."""
LABEL_HELLO: Final = b"ng1 hello"
LABEL_RESUME: Final = b"ng1 resume"
LABEL_RENEGOTIATE: Final = b"ng1 renegotiate"
LABEL_I2R: Final = b"ng1 i2r"
LABEL_R2I: Final = b"ng1 r2i"
LABEL_ROOT: Final = b"ng1 root"
LABEL_EXPORT: Final = b"ng1 export"
LABEL_EXPORTER: Final = b"ng1 exporter"
LABEL_MASK: Final = b"ng1 mask"
LABEL_NEXT: Final = b"ng1 next"
LABEL_KEY: Final = b"ng1 key"
LABEL_CHAIN: Final = b"ng1 chain"
LABEL_SALTED: Final = b"ng1 salted"

# ---- implementation constants --------------------------------------------------------------------------------------

SESSION_ID: Final = 24
"""Bytes of a session id: its instance, then at least 128 random bits (contract, Session.session_id)."""
MAX_UDP_PAYLOAD: Final = 65_507
"""Bytes of the largest datagram over IPv4 (RFC 768, RFC 791)."""
MAX_DATAGRAM_PLAINTEXT: Final = MAX_UDP_PAYLOAD - DATAGRAM_OVERHEAD
"""Bytes of the largest content of a RECORD: 65,475 (contract, EncryptRequest.plaintext)."""
MAX_NOISE_PLAINTEXT: Final = MAX_NOISE_MESSAGE - NOISE_OVERHEAD
"""Bytes of the largest plaintext in NOISE mode: 65,519 (contract, EncryptRequest.plaintext)."""
MAX_INNER: Final = MAX_DATAGRAM_PLAINTEXT + 1
"""Bytes of the largest content with its kind: padding stops here, so that the packet fits a datagram."""
MAX_SALTED_INNER: Final = MAX_UDP_PAYLOAD - SALTED_HEADER - TAG
"""Bytes of the largest content of a SALTED record with its kind: 65,459."""
WINDOW_BLOCK: Final = 64
"""Bits of a block of the replay window (RFC 6479)."""
WINDOW_BLOCKS: Final = 17
"""Blocks of the replay window, one of them redundant (RFC 6479)."""
WINDOW: Final = (WINDOW_BLOCKS - 1) * WINDOW_BLOCK
"""How far behind the highest counter a record may still come: 1,024."""
HANDSHAKE_FAILURES: Final = 16
"""Packets that may fail against one DATAGRAM handshake before it is given up (protocol, section 2)."""
HALF_OPEN_S: Final = 10.0
"""A handshake is given up when its next packet has not come after this long."""
BLOB_ID: Final = 16
"""Bytes of the id under which a suspended session's blob is marked used."""
MAX_BLOB: Final = 4_096
"""Bytes of a sealed session (contract, SuspendSessionResponse.blob)."""
MAX_HELD_ROOTS: Final = 8
"""Roots of earlier epochs that a session keeps while a salted epoch is under way: more come only of ever new restores
that the peer has heard nothing of."""
TICKET_SKEW_S: Final = 60.0
"""How far in the future another instance's ticket may have been issued."""
MAX_ASSOCIATED_DATA: Final = 1_024
"""Bytes of the caller's associated data of one record (contract, EncryptRequest.associated_data)."""
