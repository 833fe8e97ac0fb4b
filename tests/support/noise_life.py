"""A NOISE session's life between two services over an ordered stream, with all that must hold checked on the way.

The game is played here too: it carries REKEY and RENEGOTIATE inside the session, and says where keys change. Whatever
happens on the way, what is next in the stream opens, once, as what was sent.
"""

from __future__ import annotations

import itertools
from collections import deque
from dataclasses import dataclass, field

from noisegate_server.engine.policy import Options
from noisegate_server.engine.rotate import REKEY, RENEGOTIATE, RotateCommand
from noisegate_server.session.errors import DecryptFailed, HandshakeFailed, InvalidField, NotEstablished, TicketRejected
from noisegate_server.session.state import TRANSITIONS, RecordMode, SessionState
from noisegate_server.session.suites import Pattern, Suite
from tests.support.engines import End, Engines, establish
from tests.support.fingerprint import fingerprint
from tests.support.requests import resumption

SEND, RECEIVE = 1, 2
DATA, REKEYS, STEP, SWITCH, TICKET = b"data", b"rekey", b"step", b"switch", b"ticket"
"""How the game's plaintexts begin; a ticket is the plaintext of its own message."""
MOVES = {(before, after) for (before, _), after in TRANSITIONS.items()}


@dataclass(slots=True)
class Stream:
    """What is on its way to one end, in order."""

    messages: deque[tuple[bytes, bytes]] = field(default_factory=deque)
    """Message, and the plaintext that it must give; TICKET for a ticket."""
    opened: deque[bytes] = field(default_factory=lambda: deque(maxlen=8))


class NoiseLife:
    """Both ends, two streams, and a game."""

    def __init__(self, *, pattern: Pattern, suite: Suite, ratchet: bool) -> None:
        self.engines = Engines()
        self.numbers = itertools.count()
        options = Options(ratchet=ratchet, idle_timeout=80_000.0)
        link = establish(self.engines, mode=RecordMode.NOISE, pattern=pattern, suite=suite, options=options)
        self.ends: list[End] = list(link.ends)
        self.streams = (Stream(), Stream())
        """To the initiator, to the responder."""
        self.states = [end.session.state for end in self.ends]
        self.may_switch = [False, False]
        """This end knows that both have the new keys, and has not begun to seal under them."""

    def say(self, side: int, plaintext: bytes) -> None:
        """Seal one message of the game; it is next in the stream."""
        end = self.ends[side]
        sealed = end.engine.encrypt(end.session_id, plaintext)
        assert sealed.to_peer == ()
        self.streams[1 - side].messages.append((sealed.ciphertext, plaintext))

    def send(self, side: int, size: int) -> None:
        """Data of the game."""
        self.say(side, DATA + b"%d:" % next(self.numbers) + bytes(size))

    def deliver(self, side: int, count: int) -> None:
        """What is next in the stream arrives, and the game does what it says."""
        stream = self.streams[side]
        for _ in range(min(count, len(stream.messages))):
            message, plaintext = stream.messages.popleft()
            end = self.ends[side]
            opened = end.engine.decrypt(end.session_id, message, ticket=plaintext == TICKET)
            stream.opened.append(message)
            if plaintext == TICKET:
                assert opened.plaintext is None
                continue
            assert opened.plaintext == plaintext
            self.act(side, plaintext)
            self.check()

    def act(self, side: int, plaintext: bytes) -> None:
        """The game does what its peer has said."""
        if plaintext.startswith(REKEYS):
            self.rotate(side, RotateCommand(kind=REKEY, direction=RECEIVE))
        elif plaintext.startswith(STEP):
            self.step(side, plaintext.removeprefix(STEP))
        elif plaintext.startswith(SWITCH):
            self.rotate(side, RotateCommand(kind=RENEGOTIATE, switch_receive=True))
            # The other one has changed, so it has read all: now this end may.
            self.may_switch[side] = self.ends[side].session.state is SessionState.ROTATING

    def step(self, side: int, message: bytes = b"") -> None:
        """One step of a renegotiation. Whoever reads its last message changes first; what fails begins anew."""
        self.may_switch = [False, False] if side == 0 and not message else self.may_switch
        try:
            replies = self.rotate(side, RotateCommand(kind=RENEGOTIATE, message=message))
        except InvalidField:
            # The initiator's part was suspended away.
            self.step(0)
            return
        except HandshakeFailed:
            # The answer to a message of before; that to the last one follows.
            assert side == 0
            return
        for reply in replies:
            self.say(side, STEP + reply)
        self.may_switch[side] = not replies

    def rotate(self, side: int, command: RotateCommand) -> tuple[bytes, ...]:
        """A call of Rotate."""
        end = self.ends[side]
        return end.engine.rotate(end.session_id, command).to_peer

    def rekey(self, side: int) -> None:
        """One direction's REKEY, told to the peer in the last message before it."""
        self.say(side, REKEYS)
        self.rotate(side, RotateCommand(kind=REKEY, direction=SEND))

    def renegotiate(self) -> None:
        """The initiator begins."""
        if all(end.session.state is SessionState.ESTABLISHED for end in self.ends):
            self.step(0)

    def switch(self, side: int) -> None:
        """This end seals under the new keys from here on."""
        if self.may_switch[side]:
            self.may_switch[side] = False
            self.say(side, SWITCH)
            self.rotate(side, RotateCommand(kind=RENEGOTIATE, switch_send=True))
            self.check()

    def forge(self, side: int, place: int) -> None:
        """One bit of what is next is another; also what comes later, and what has come, does not open now."""
        stream, end = self.streams[side], self.ends[side]
        wrong = [message for message, _ in itertools.islice(stream.messages, 1, 3)] + list(stream.opened)[-2:]
        if stream.messages:
            forged = bytearray(stream.messages[0][0])
            forged[place // 8 % len(forged)] ^= 1 << place % 8
            wrong.append(bytes(forged))
        before = fingerprint(end.session)
        for message in wrong:
            try:
                end.engine.decrypt(end.session_id, message)
            except DecryptFailed:
                assert fingerprint(end.session) == before, "a refused message has left a trace"
            else:
                raise AssertionError("a message has opened that was not next")

    def come_back(self, side: int) -> None:
        """Suspend and restore: an initiator's handshake that has not finished is gone, and begins anew.

        At any moment but that in which a responder waits for message 3: it could not renegotiate any more.
        """
        end = self.ends[side]
        if side == 1 and end.noise.renegotiation is not None:
            return
        end.engine.suspend(end.session_id)
        try:
            end.engine.encrypt(end.session_id, b"while it is away")
        except NotEstablished:
            pass
        else:
            raise AssertionError("a suspended session has sealed")
        assert end.engine.restore(end.session_id).to_peer == ()
        self.states[side] = end.session.state
        self.check()

    def give_ticket(self) -> None:
        """The service gives its player a ticket, in the stream."""
        end = self.ends[1]
        [message] = end.engine.issue(end.session_id).to_peer
        self.streams[0].messages.append((message, TICKET))

    def resume(self) -> None:
        """Connections are gone: the player resumes, and both go on in a new session."""
        player, service = self.ends
        try:
            begun = player.engine.resume(player.session_id)
        except TicketRejected:
            return
        answered = service.engine.accept_resume(resumption(begun, RecordMode.NOISE))
        player.engine.finish_resume(begun.session_id, answered.to_peer[0])
        for side, session_id in enumerate((begun.session_id, answered.session_id)):
            self.ends[side].engine.close(self.ends[side].session_id)
            self.ends[side] = End(engine=self.ends[side].engine, session_id=session_id)
            self.streams[side].messages.clear()
            self.streams[side].opened.clear()
            self.states[side] = SessionState.ESTABLISHED
            self.may_switch[side] = False

    def wait(self, seconds: float) -> None:
        """Time passes, idle sessions are packed: there is no age at which a NOISE session stops."""
        self.engines.clock.step(seconds)
        for engine in self.engines.made:
            engine.sweep()

    def check(self) -> None:
        """The one state table is obeyed."""
        for side, end in enumerate(self.ends):
            state = end.session.state
            assert state is self.states[side] or (self.states[side], state) in MOVES
            self.states[side] = state

    def finish(self) -> None:
        """Everything arrives; a renegotiation runs through, and both directions flow."""
        for turn in range(12):
            for side in (0, 1):
                self.deliver(side, 1_000_000)
                self.switch(side)
            if turn == 2 and all(end.session.state is SessionState.ESTABLISHED for end in self.ends):
                self.renegotiate()
        for side in (0, 1):
            self.deliver(side, 1_000_000)
        assert [end.session.state for end in self.ends] == [SessionState.ESTABLISHED] * 2, "a rotation hangs"
        assert self.ends[0].noise.h == self.ends[1].noise.h
        for side in (0, 1):
            self.send(side, 0)
            self.deliver(1 - side, 1)
        self.engines.assert_nothing_is_left()
