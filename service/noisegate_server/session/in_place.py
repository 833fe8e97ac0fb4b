"""Sealing and opening inside a buffer of the caller's: no copy of content or ciphertext is made.

    buffer = bytearray(2_048)                     # or any writable memoryview of bytes
    buffer[64:68] = b"roll"
    sealed = seal_into(records, buffer, 64, 4, b"", now, aeads)
    transport.send(memoryview(buffer)[sealed.start : sealed.start + sealed.length])

A DATAGRAM record grows on both sides of its content (`room_before`), a Noise message behind it alone. The bytes are
those of `records.seal`, and what is refused there is refused here; a buffer that is too small is refused before a
counter is taken, and nothing has changed.

The AEADs of `cryptography` decrypt before they have verified. So where a record is refused the buffer holds it as it
came, or zeros in its place: never a plaintext that was not authenticated. Input and output of the AEAD begin at the
same byte; regions that overlap in another way are not safe there.

For packets of a game `seal` and `open` are faster: slices of a view cost more than copies of a kilobyte. DESIGN.md has
the figures.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from noisegate_server.noise.primitives import Aead, InvalidTag
from noisegate_server.session.aeads import AeadCache
from noisegate_server.session.constants import (
    DATAGRAM_OVERHEAD,
    MAX_COUNTER,
    MAX_DATAGRAM_PLAINTEXT,
    MAX_INNER,
    MAX_NOISE_MESSAGE,
    MAX_NOISE_PLAINTEXT,
    MAX_SALTED_INNER,
    NOISE_OVERHEAD,
    RESERVED_COUNTERS,
    TAG,
)
from noisegate_server.session.datagram import HEADER, RECORD, SALTED, DatagramRecords
from noisegate_server.session.errors import DecryptFailed, MessageTooLarge, RekeyRequired
from noisegate_server.session.mask import masked
from noisegate_server.session.noise_records import NoiseRecords
from noisegate_server.session.packets import RECORD_HEADER, WANTS_ROTATION, Kind
from noisegate_server.session.padding import padded_length

Records = NoiseRecords | DatagramRecords
Buffer = bytearray | memoryview
_STEP: Final = 256
"""Bytes of padding that are looked through at a time."""


class BufferTooSmall(ValueError):
    """The buffer does not hold what was asked for; nothing has changed."""

    def __init__(self, needed: int, given: int, where: str = "in all") -> None:
        super().__init__(f"the buffer is too small: {needed} bytes needed {where}, {given} given")
        self.needed = needed
        self.given = given


class SealedAt(NamedTuple):
    """Where a record is, and what `Sealed` says of it."""

    start: int
    length: int
    counter: int
    epoch: int
    rotation_due: bool


class OpenedAt(NamedTuple):
    """Where the content of a record is, and what `Opened` says of it."""

    start: int
    length: int
    kind: int
    counter: int
    epoch: int
    newest: bool
    wants_rotation: bool
    confirmed: bool


def room_before(records: Records) -> int:
    """Bytes that the next record needs before its content: its header."""
    if isinstance(records, NoiseRecords):
        return 0
    return HEADER + len(records.current.send_tail)


def seal_into(
    records: Records, buffer: Buffer, start: int, size: int, associated_data: bytes, now: float, aeads: AeadCache
) -> SealedAt:
    """Seal the `size` bytes at `start` where they are.

    BufferTooSmall where there is no room for the header before them or for the rest behind; MessageTooLarge and
    RekeyRequired as `records.seal`. TypeError: a buffer that cannot be written, or is not of bytes.
    """
    view = _bytes_of(buffer, start, size)
    if isinstance(records, NoiseRecords):
        return _seal_noise(records, view, start, size, associated_data, now, aeads)
    return _seal_datagram(records, view, start, size, associated_data, aeads)


def open_into(
    records: Records, buffer: Buffer, start: int, size: int, associated_data: bytes, now: float, aeads: AeadCache
) -> OpenedAt:
    """Open the record of `size` bytes at `start` (DATAGRAM: a RECORD packet); its content lies where it was sealed.

    DecryptFailed, ReplayDetected and CounterTooOld as `records.open`. BufferTooSmall where the record is not all there.
    """
    view = _bytes_of(buffer, start, size)
    if isinstance(records, NoiseRecords):
        return _open_noise(records, view, start, size, associated_data, aeads)
    return _open_datagram(records, view, start, size, associated_data, now, aeads)


def _bytes_of(buffer: Buffer, start: int, size: int) -> memoryview:
    view = memoryview(buffer)
    if view.readonly or view.itemsize != 1 or not view.c_contiguous or view.ndim != 1:
        raise TypeError("a writable buffer of bytes is needed")
    if start < 0 or size < 0:
        raise ValueError("start and size: not below 0")
    if start + size > len(view):
        raise BufferTooSmall(start + size, len(view))
    return view


def _seal_datagram(
    records: DatagramRecords, view: memoryview, start: int, size: int, associated_data: bytes, aeads: AeadCache
) -> SealedAt:
    epoch = records.current
    tail = epoch.send_tail
    most = MAX_SALTED_INNER if tail else MAX_INNER
    if size > MAX_DATAGRAM_PLAINTEXT or size >= most:
        raise MessageTooLarge("plaintext", min(MAX_DATAGRAM_PLAINTEXT, most - 1))
    inner = padded_length(size + 1, most) if records.padded else size + 1
    before, end = HEADER + len(tail), start + inner + TAG
    if start < before:
        raise BufferTooSmall(before, start, "before the content")
    if end > len(view):
        raise BufferTooSmall(end, len(view))
    sender = epoch.sender
    counter = sender.counter
    if counter >= records.look_at:
        records.look(epoch)
    if counter >= MAX_COUNTER:
        raise RekeyRequired("this epoch's counters are used up")
    sender.counter = counter + 1
    context = sender.aead or sender.context(counter, records.cipher, aeads)
    view[start + size] = Kind.DATA | records.wants_rotation
    view[start + size + 1 : start + inner] = bytes(inner - size - 1)
    header = RECORD_HEADER.pack(
        RECORD, records.connection_id, epoch.number & 0xFF, sender.phase & 0xFF, counter & 0xFFFFFFFF
    )
    if tail:
        header = SALTED + header[1:] + tail
    body = view[start:end]
    context.encrypt_into(records.nonce(counter), body[:inner], header + associated_data, body)
    if records.mask_key is not None:
        header = masked(header[:HEADER], records.mask_key, bytes(body[:16])) + tail
    view[start - before : start] = header
    sender.sent_bytes += size
    return SealedAt(start - before, before + inner + TAG, counter, epoch.number, records.due)


def _seal_noise(
    records: NoiseRecords, view: memoryview, start: int, size: int, associated_data: bytes, now: float, aeads: AeadCache
) -> SealedAt:
    stream = records.send
    n = stream.n
    end = start + size + TAG
    if size > MAX_NOISE_PLAINTEXT:
        raise MessageTooLarge("plaintext", MAX_NOISE_PLAINTEXT)
    if end > len(view):
        raise BufferTooSmall(end, len(view))
    if n >= MAX_COUNTER - RESERVED_COUNTERS:
        raise RekeyRequired("this key has sealed as many messages as it may")
    if records.sealed >= records.look_at or now >= records.due_at:
        records.look(records.sealed, now)
    stream.n = n + 1
    records.sealed += 1
    records.sealed_bytes += size
    context = records.context(stream, aeads)
    body = view[start:end]
    context.encrypt_into(records.nonce(n), body[:size], associated_data, body)
    if records.ratchet:
        stream.advance(context, records.cipher)
    return SealedAt(start, size + TAG, n, records.epoch, records.due)


def _open_datagram(
    records: DatagramRecords,
    view: memoryview,
    start: int,
    size: int,
    associated_data: bytes,
    now: float,
    aeads: AeadCache,
) -> OpenedAt:
    if size < DATAGRAM_OVERHEAD or view[start] != RECORD:
        raise DecryptFailed
    header = bytes(view[start : start + HEADER])
    body = view[start + HEADER : start + size]
    if records.mask_key is not None:
        header = masked(header, records.mask_key, bytes(body[:16]))
    _, _, low_epoch, low_phase, low_counter = RECORD_HEADER.unpack(header)
    epoch = records.current
    if epoch.number & 0xFF != low_epoch:
        epoch = records.other_epoch(low_epoch, now)
    place = _Place(body)
    try:
        opened = records.open_in(epoch, header, low_phase, low_counter, b"", associated_data, now, aeads, place)
    except BaseException:
        place.wipe()
        raise
    return OpenedAt(
        start + HEADER,
        place.length,
        opened.kind,
        opened.counter,
        opened.epoch,
        opened.newest,
        opened.wants_rotation,
        opened.confirmed,
    )


def _open_noise(
    records: NoiseRecords, view: memoryview, start: int, size: int, associated_data: bytes, aeads: AeadCache
) -> OpenedAt:
    stream = records.receive
    n = stream.n
    if not NOISE_OVERHEAD <= size <= MAX_NOISE_MESSAGE or n > MAX_COUNTER:
        raise DecryptFailed
    context = records.context(stream, aeads)
    body = view[start : start + size]
    content = body[: size - TAG]
    try:
        context.decrypt_into(records.nonce(n), body, associated_data, content)
    except InvalidTag:
        body[:] = bytes(size)
        raise DecryptFailed from None
    stream.n = n + 1
    if records.ratchet:
        stream.advance(context, records.cipher)
    records.opened += 1
    return OpenedAt(start, size - TAG, Kind.DATA, n, records.epoch, True, False, False)


class _Place:
    """Opens the AEAD output in a buffer, in place of `inner.open_inner`, and remembers how long the content is."""

    __slots__ = ("_body", "_touched", "length")

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._touched = False
        self.length = 0

    def __call__(self, context: Aead, nonce: bytes, header: bytes, associated_data: bytes) -> tuple[int, bytes]:
        """(kind with its flag, nothing: the content is in the buffer); DecryptFailed whatever is wrong."""
        body = self._body
        inner = body[: len(body) - TAG]
        # A control record has no associated data of the caller's: it needs the ciphertext a second time.
        again = bytes(body) if associated_data else b""
        self._touched = carried = True
        try:
            try:
                context.decrypt_into(nonce, body, header + associated_data, inner)
            except InvalidTag:
                if not associated_data:
                    raise
                context.decrypt_into(nonce, again, header, inner)
                carried = False
        except InvalidTag:
            raise DecryptFailed from None
        self.length = _last_of(inner)
        if self.length < 0:
            raise DecryptFailed
        kind = inner[self.length]
        if associated_data and carried is not (kind & ~WANTS_ROTATION == Kind.DATA):
            raise DecryptFailed
        return kind, b""

    def wipe(self) -> None:
        """Leave nothing of a record that was refused."""
        if self._touched:
            self._body[:] = bytes(len(self._body))


def _last_of(inner: memoryview) -> int:
    """Where the last byte is that is not zero: the kind; -1 where there is none."""
    end = len(inner)
    while end:
        begin = max(0, end - _STEP)
        found = bytes(inner[begin:end]).rstrip(b"\0")
        if found:
            return begin + len(found) - 1
        end = begin
    return -1
