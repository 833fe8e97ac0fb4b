package noisegate

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

const (
	firstStep         = 1
	leastMTU          = 576 // what every IPv4 host takes (RFC 791); 255 parts of it carry the largest packet
	unconfirmedFor    = 60 * time.Second
	defaultMaxHandles = 65_536
)

// ReceiverOptions of a Receiver whose addresses are of type A. Zero fields have the defaults.
type ReceiverOptions[A comparable] struct {
	// Admit is asked before a player begins or resumes a session; nil refuses it. Without it anyone may, unnamed.
	Admit func(packet []byte, source A) *Admission
	// MaxSessions: handles kept, and half-open ones besides; a forgotten one is found again by the service.
	MaxSessions int
	// MTU: bytes of a datagram that the players' paths take, at least 576; larger packets go out as fragments.
	MTU int
	// Reassembly: what the fragments of players may cost.
	Reassembly ReassemblyLimits
	// Now is a monotonic clock.
	Now func() time.Time
}

// A Receiver is a UDP game's receive path: hand it every packet of every player, send what it gives back. It holds no key.
//
// It picks the RPC by the packet's first bytes, keeps the handle of every session by connection id, and decides where a
// session's bytes go: it follows a player to a new address only after a record from there opened and was the newest so far,
// and sends to an address that has proved nothing at most three times what came from it. What does not fit is dropped, not
// queued. So after Moved send one small challenge there, repeat it now and then, and nothing of an ordered stream, until the
// player has echoed it: then call MarkVerified. The client's OnSend hook is not called for what a Receiver sends.
//
// Receive may be called by several goroutines at once.
type Receiver[A comparable] struct {
	client  *Client
	options ReceiverOptions[A]

	mu        sync.Mutex
	sessions  *sessionTable[A]
	parts     *Reassembler[A]
	messageID uint16
}

// NewReceiver makes the receive path of a client.
func NewReceiver[A comparable](client *Client, options ReceiverOptions[A]) (*Receiver[A], error) {
	if options.Admit == nil {
		options.Admit = func([]byte, A) *Admission { return &Admission{} }
	}
	if options.MaxSessions == 0 {
		options.MaxSessions = defaultMaxHandles
	}
	if options.MTU == 0 {
		options.MTU = DefaultMTU
	}
	if options.Reassembly == (ReassemblyLimits{}) {
		options.Reassembly = DefaultReassembly
	}
	if options.Now == nil {
		options.Now = time.Now
	}
	if options.MTU < leastMTU || options.MaxSessions < 1 {
		return nil, fmt.Errorf("noisegate: ReceiverOptions: MTU at least %d, MaxSessions at least 1", leastMTU)
	}
	return &Receiver[A]{
		client: client, options: options, messageID: uint16(rand.Uint32()),
		sessions: newSessionTable[A](options.MaxSessions), parts: NewReassembler[A](options.Reassembly),
	}, nil
}

// Receive handles one packet of a player. What a forger or a bad network makes is a result with Refused; an error is a
// trouble of the service's or the caller's own.
func (r *Receiver[A]) Receive(ctx context.Context, packet []byte, source A) (Received[A], error) {
	kind, id, ok := Peek(packet)
	if !ok || len(packet) > maxPacketBytes {
		return Received[A]{Refused: ReasonNotAPacket}, nil
	}
	known, packet, err := r.came(packet, source, kind, id)
	if err != nil {
		return Received[A]{Refused: ReasonNotAPacket}, nil
	}
	if packet == nil {
		return Received[A]{Session: sessionOf(known)}, nil
	}
	if kind == PacketFragment {
		kind, id, _ = Peek(packet)
	}
	received, err := r.packet(ctx, packet, source, kind, id, known)
	var retry *RetryError
	var refused *Error
	switch {
	case errors.As(err, &retry):
		return r.retried(retry, source, len(packet)), nil
	case errors.As(err, &refused) && playersFault[refused.Reason]:
		return r.refusal(refused, known), nil
	}
	return received, err
}

// came notes where a packet came from and puts fragments together; no packet where parts are missing.
func (r *Receiver[A]) came(packet []byte, source A, kind PacketType, id ConnectionID) (*tracked[A], []byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.options.Now()
	r.sessions.expire(now)
	known := r.sessions.find(id)
	if known != nil {
		known.path.cameFrom(source, len(packet))
	}
	if kind != PacketFragment {
		return known, packet, nil
	}
	whole, err := r.parts.Add(packet, source, now)
	return known, whole, err
}

func (r *Receiver[A]) packet(
	ctx context.Context, packet []byte, source A, kind PacketType, id ConnectionID, known *tracked[A],
) (Received[A], error) {
	switch kind {
	case PacketRecord, PacketSalted:
		return r.record(ctx, packet, source, id, known)
	case PacketHandshake, PacketResume:
		if stepOf(packet) == firstStep {
			return r.firstStep(ctx, packet, source, kind == PacketResume)
		}
		return r.laterStep(ctx, packet, source, known, kind == PacketResume)
	case PacketRetry:
		r.mu.Lock()
		begun := r.sessions.thatSent(packet)
		r.mu.Unlock()
		if begun != nil {
			return r.retry(ctx, packet, source, begun)
		}
	}
	return Received[A]{Session: sessionOf(known), Refused: ReasonUnexpectedPacket}, nil
}

func (r *Receiver[A]) record(
	ctx context.Context, packet []byte, source A, id ConnectionID, known *tracked[A],
) (Received[A], error) {
	var opened Opened
	var err error
	var found *Session
	if known != nil {
		opened, err = known.session.decrypt(ctx, packet, nil, false)
	} else if found, opened, err = r.client.findAndDecrypt(ctx, packet); err == nil {
		found.noticeClose(opened)
	}
	if err != nil {
		return Received[A]{}, err
	}
	if opened.Refused != "" {
		return Received[A]{Session: sessionOf(known), Refused: opened.Refused}, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := false
	if known == nil {
		// The session may have another connection id here, or another packet of it came in meanwhile.
		if known = r.sessions.get(found); known == nil {
			fresh = true
			known = r.sessions.add(found, newPath(source, len(packet), false), time.Time{})
		} else {
			known.path.cameFrom(source, len(packet))
		}
		r.sessions.alias(known, id)
	}
	r.sessions.settle(known)
	moved := known.path.opened(source, len(packet), opened)
	known.path.answered(source, opened.Answered)
	toSend, withheld := r.allowed(known.path, opened.ToPeer)
	closed := opened.Control == pb.ControlKind_CONTROL_KIND_CLOSE
	if closed {
		r.sessions.remove(known.session)
	}
	opened.ToPeer = nil
	return Received[A]{
		Session: known.session, Opened: &opened, ToSend: toSend, NewSession: fresh, Closed: closed, Moved: moved,
		Withheld: withheld,
	}, nil
}

func (r *Receiver[A]) firstStep(ctx context.Context, packet []byte, source A, resuming bool) (Received[A], error) {
	admission := r.options.Admit(packet, source)
	if admission == nil {
		return Received[A]{Refused: ReasonNotAdmitted}, nil
	}
	session, err := r.begin(ctx, packet, admission, resuming)
	if err != nil {
		return Received[A]{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.sessions.get(session)
	fresh := known == nil
	if fresh {
		// Half-open until the player has answered, even where the pattern is done: a first packet may be a replay.
		pending := session.PendingFor()
		if pending == 0 {
			pending = unconfirmedFor
		}
		known = r.sessions.add(session, newPath(source, len(packet), true), r.options.Now().Add(pending))
	} else {
		// A repeat: the service gave its answer again, and this handle is a second one of the same session.
		known.path.cameFrom(source, len(packet))
	}
	received := r.stepped(known, session, source, len(packet))
	received.NewSession, received.Established = fresh, fresh && session.Established() != nil
	// Of several copies of a packet one alone has it, and not always the first to come back.
	_, received.EarlyData = session.Early()
	return received, nil
}

func (r *Receiver[A]) begin(ctx context.Context, packet []byte, a *Admission, resuming bool) (*Session, error) {
	if resuming {
		step := &pb.RespondResume{
			Mode: ModeDatagram, Message: packet, Prologue: a.Prologue, Payload: a.Payload, AcceptEarlyData: a.AcceptEarlyData,
			Psk: a.PSK, PeerId: a.PeerID, Group: a.Group, Options: a.Options,
		}
		request := &pb.ResumeRequest{RequestId: newRequestID(), Step: &pb.ResumeRequest_Respond{Respond: step}}
		return r.client.resume(ctx, request, facts{mode: ModeDatagram}, false)
	}
	step := &pb.RespondHandshake{
		Mode: ModeDatagram, Message: packet, Psk: a.PSK, Prologue: a.Prologue, Payload: a.Payload,
		PeerId: a.PeerID, Group: a.Group, Options: a.Options,
	}
	request := &pb.HandshakeRequest{RequestId: newRequestID(), Step: &pb.HandshakeRequest_Respond{Respond: step}}
	return r.client.shake(ctx, request, facts{mode: ModeDatagram, peerID: a.PeerID, group: a.Group}, false)
}

func (r *Receiver[A]) laterStep(
	ctx context.Context, packet []byte, source A, known *tracked[A], resuming bool,
) (Received[A], error) {
	session, before := sessionOf(known), false
	var err error
	if session != nil {
		before = session.Established() != nil
		err = session.proceed(ctx, packet, nil)
	} else {
		session, err = r.client.findAndProceed(ctx, packet, resuming)
	}
	if err != nil {
		return Received[A]{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh, established := false, known != nil && !before && session.Established() != nil
	if known == nil {
		if known = r.sessions.get(session); known == nil {
			fresh, established = true, session.Established() != nil
			known = r.sessions.add(session, newPath(source, len(packet), false), r.expiry(session))
		}
	}
	if established {
		r.sessions.settle(known)
		known.path.finished(source)
	}
	received := r.stepped(known, known.session, source, len(packet))
	received.NewSession, received.Established = fresh, established
	return received, nil
}

// retry: the player refuses the first packet of a session that the game began.
func (r *Receiver[A]) retry(ctx context.Context, packet []byte, source A, begun *tracked[A]) (Received[A], error) {
	r.mu.Lock()
	begun.path.cameFrom(source, len(packet))
	r.mu.Unlock()
	if err := begun.session.proceed(ctx, packet, nil); err != nil {
		return Received[A]{}, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// Its echo is made of our packet, which went to one address alone.
	begun.path.finished(source)
	r.sessions.sent(begun, begun.session.ToPeer())
	return r.stepped(begun, begun.session, source, len(packet)), nil
}

func (r *Receiver[A]) stepped(known *tracked[A], step *Session, source A, size int) Received[A] {
	path, messages := known.path, step.ToPeer()
	if source != path.address && len(messages) > 0 {
		// A handshake packet proves no address: its sender gets the answer, within what this packet paid for.
		path.answeredElsewhere()
		path = newPath(source, size, false)
	}
	toSend, withheld := r.allowed(path, messages)
	return Received[A]{Session: known.session, Payload: step.Payload(), ToSend: toSend, Withheld: withheld}
}

func (r *Receiver[A]) retried(retry *RetryError, source A, size int) Received[A] {
	r.mu.Lock()
	defer r.mu.Unlock()
	toSend, withheld := r.allowed(newPath(source, size, false), retry.ToPeer)
	reason := ReasonRetryChoose
	if retry.Why == pb.HandshakeRetry_REASON_CLOCK {
		reason = ReasonRetryClock
	}
	return Received[A]{ToSend: toSend, Withheld: withheld, Refused: reason}
}

func (r *Receiver[A]) refusal(refused *Error, known *tracked[A]) Received[A] {
	gone := known != nil && refused.Is(ErrResumeNeeded)
	if gone {
		r.mu.Lock()
		r.sessions.remove(known.session)
		r.mu.Unlock()
	}
	return Received[A]{Session: sessionOf(known), Closed: gone, Refused: refused.Reason}
}

func sessionOf[A comparable](known *tracked[A]) *Session {
	if known == nil {
		return nil
	}
	return known.session
}
