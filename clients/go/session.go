package noisegate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/protobuf/proto"
)

// A Session is a handle of one player's session.
//
// In NOISE mode a record's counter travels with nobody: calls of one direction run one after the other, and one that ends
// with DEADLINE_EXCEEDED or UNAVAILABLE, or is cancelled, may have moved the counter all the same; then the session is best
// closed and resumed. In DATAGRAM mode calls run side by side, and a lost answer costs one packet.
type Session struct {
	client *Client
	turns  turns

	mu    sync.Mutex
	facts facts
}

func newSession(client *Client, known facts) *Session {
	session := &Session{client: client, facts: known}
	if known.mode != ModeDatagram {
		session.turns = newTurns()
	}
	return session
}

// String never shows ids or names: they find sessions and people, and belong in no log by accident.
func (s *Session) String() string {
	if s.Ended() {
		return "noisegate session (ended)"
	}
	return "noisegate session"
}

// GoString is String: %#v must not show what a handle knows.
func (s *Session) GoString() string { return s.String() }

// Format keeps every other verb from showing it, too.
func (s *Session) Format(state fmt.State, _ rune) { _, _ = state.Write([]byte(s.String())) }

func (s *Session) known() facts {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.facts
}

func (s *Session) change(change func(*facts)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.facts)
}

// ID is the session's: 24 bytes, opaque.
func (s *Session) ID() []byte { return bytes.Clone(s.known().id) }

// Endpoint is HOST:PORT where the session lives; empty for the client's own target.
func (s *Session) Endpoint() string { return s.known().endpoint }

// Mode is how its records travel; unspecified for a handle made from an id alone.
func (s *Session) Mode() pb.RecordMode { return s.known().mode }

// ConnectionID is what the player's packets carry (DATAGRAM): 8 bytes.
func (s *Session) ConnectionID() []byte { return bytes.Clone(s.known().connectionID) }

// PeerID is the player, as the game (or the ticket) named it.
func (s *Session) PeerID() string { return s.known().peerID }

// Group is the match, room or table, as the game (or the ticket) named it.
func (s *Session) Group() string { return s.known().group }

// Established is what the handshake gave; nil while it is not finished, and for a handle made from an id alone.
func (s *Session) Established() *pb.Established { return s.known().established }

// PendingFor is after how long the handshake is given up, counted from its last step; 0 once it is finished.
func (s *Session) PendingFor() time.Duration { return s.known().pendingFor }

// ToPeer is what the last step of the handshake, or Close, wants sent to the player, in this order, each on its own. Empty
// where an OnSend hook has it.
func (s *Session) ToPeer() [][]byte { return s.known().toPeer }

// Payload is that of the player's last handshake message; possibly replayed until a first record has opened.
func (s *Session) Payload() []byte { return s.known().payload }

// Hello is what the game's framing must carry beside message 1 (NOISE, initiating with an offer).
func (s *Session) Hello() []byte { return s.known().hello }

// Ticket is what the game's framing must carry beside message 1 (NOISE, initiating a resume).
func (s *Session) Ticket() []byte { return s.known().ticket }

// Early is what became of a resume's early data, and the player's, where it was accepted. Secret. Until a first record has
// opened, whoever has the ticket's key may have sent it.
func (s *Session) Early() (pb.EarlyData, []byte) {
	known := s.known()
	return known.early, known.earlyData
}

// FellBack: the ticket was refused, and this is the session of the full handshake that came beside it.
func (s *Session) FellBack() bool { return s.known().fellBack }

// Ended tells whether this handle has seen the session end.
func (s *Session) Ended() bool { return s.known().ended }

// Proceed hands over the player's next handshake message, in DATAGRAM mode its packet; look at Established afterwards. The
// payload is that of our next message; a resume has none. Answers ToPeer.
func (s *Session) Proceed(ctx context.Context, message, payload []byte) ([][]byte, error) {
	if err := s.proceed(ctx, message, payload); err != nil {
		return nil, err
	}
	s.sendToPeer()
	return s.ToPeer(), nil
}

func (s *Session) proceed(ctx context.Context, message, payload []byte) error {
	release, err := s.turns.take(ctx, sending, receiving)
	if err != nil {
		return err
	}
	defer release()
	known := s.known()
	if known.resuming {
		step := &pb.ResumeRequest_Proceed{Proceed: &pb.ProceedResume{SessionId: known.id, Message: message}}
		answer := &pb.ResumeResponse{}
		if err := s.ask(ctx, resume, &pb.ResumeRequest{RequestId: newRequestID(), Step: step}, answer); err != nil {
			return err
		}
		s.change(func(f *facts) { f.resumed(answer, f.endpoint) })
		return nil
	}
	step := &pb.HandshakeRequest_Proceed{Proceed: &pb.ProceedHandshake{SessionId: known.id, Message: message, Payload: payload}}
	answer := &pb.HandshakeResponse{}
	if err := s.ask(ctx, handshake, &pb.HandshakeRequest{RequestId: newRequestID(), Step: step}, answer); err != nil {
		return err
	}
	s.change(func(f *facts) { f.shaken(answer, f.endpoint) })
	return nil
}

// Encrypt seals one plaintext for the player: at most 65,519 bytes in NOISE mode, 65,475 in DATAGRAM mode. Send Messages of
// the answer. REKEY_REQUIRED asks for Rotate.
func (s *Session) Encrypt(ctx context.Context, plaintext []byte) (Sealed, error) {
	return s.EncryptWithAD(ctx, plaintext, nil)
}

// EncryptWithAD seals with associated data: at most 1,024 bytes, authenticated, not sent.
func (s *Session) EncryptWithAD(ctx context.Context, plaintext, associatedData []byte) (Sealed, error) {
	sealed, err := s.encrypt(ctx, plaintext, associatedData)
	if err == nil {
		s.hand(&sealed.ToPeer)
	}
	return sealed, err
}

func (s *Session) encrypt(ctx context.Context, plaintext, associatedData []byte) (Sealed, error) {
	release, err := s.turns.take(ctx, sending)
	if err != nil {
		return Sealed{}, err
	}
	defer release()
	known := s.known()
	if s.client.multiplex != nil && len(known.id) == sessionIDBytes {
		kind := seal
		if s.turns != nil {
			kind = sealInTurn
		}
		settled := s.client.multiplex.enter(ctx, known.endpoint, kind, item{known.id, plaintext, associatedData})
		return settled.sealed, s.noticed(settled.err)
	}
	answer := &pb.EncryptResponse{}
	err = s.ask(ctx, encrypt, &pb.EncryptRequest{
		SessionId: known.id, RequestId: newRequestID(), Plaintext: plaintext, AssociatedData: associatedData,
	}, answer)
	return sealedOf(answer), err
}

// Decrypt opens one record of the player: at most 65,535 bytes. What was forged, replayed or too late is a result with
// Refused, not an error. Send ToPeer of the answer.
func (s *Session) Decrypt(ctx context.Context, ciphertext []byte) (Opened, error) {
	return s.DecryptWithAD(ctx, ciphertext, nil)
}

// DecryptWithAD opens a record that the player sealed with associated data.
func (s *Session) DecryptWithAD(ctx context.Context, ciphertext, associatedData []byte) (Opened, error) {
	opened, err := s.decrypt(ctx, ciphertext, associatedData, false)
	if err == nil {
		s.hand(&opened.ToPeer)
	}
	return opened, err
}

// DecryptTicket opens a record that holds a ticket for us (NOISE); the service keeps it for InitiateResume.
func (s *Session) DecryptTicket(ctx context.Context, ciphertext []byte) (Opened, error) {
	opened, err := s.decrypt(ctx, ciphertext, nil, true)
	if err == nil {
		s.hand(&opened.ToPeer)
	}
	return opened, err
}

func (s *Session) decrypt(ctx context.Context, ciphertext, associatedData []byte, ticket bool) (Opened, error) {
	release, err := s.turns.take(ctx, receiving)
	if err != nil {
		return Opened{}, err
	}
	defer release()
	known := s.known()
	var opened Opened
	if s.client.multiplex != nil && len(known.id) == sessionIDBytes && !ticket {
		settled := s.client.multiplex.enter(ctx, known.endpoint, open, item{known.id, ciphertext, associatedData})
		opened, err = settled.opened, s.noticed(settled.err)
	} else {
		answer := &pb.DecryptResponse{}
		err = s.ask(ctx, decrypt, &pb.DecryptRequest{
			SessionId: known.id, RequestId: newRequestID(), Ciphertext: ciphertext, AssociatedData: associatedData, Ticket: ticket,
		}, answer)
		opened = openedOf(answer)
	}
	if err != nil {
		return asResult(known.id, err)
	}
	s.noticeClose(opened)
	return opened, nil
}

// asResult turns the refusal of a packet into what became of it.
func asResult(sessionID []byte, err error) (Opened, error) {
	var refused *Error
	if errors.As(err, &refused) && refused.Reason.refusesPacket() {
		return Opened{SessionID: sessionID, Refused: refused.Reason}, nil
	}
	return Opened{}, err
}

// sendToPeer hands what the last step has for the player to the hook, where there is one.
func (s *Session) sendToPeer() {
	if s.client.config.onSend == nil {
		return
	}
	var messages [][]byte
	s.change(func(f *facts) { messages, f.toPeer = f.toPeer, nil })
	s.hand(&messages)
}

// hand gives messages to the hook and leaves none, where there is one.
func (s *Session) hand(messages *[][]byte) {
	if send := s.client.config.onSend; send != nil && len(*messages) > 0 {
		send(s, *messages)
		*messages = nil
	}
}

// ask runs a call where the session lives.
func (s *Session) ask(ctx context.Context, m method, request, answer proto.Message) error {
	from, err := s.client.calls.ask(ctx, m, s.Endpoint(), request, answer)
	if err != nil {
		return s.noticed(err)
	}
	s.change(func(f *facts) { f.endpoint = from })
	return nil
}

// noticed remembers where an error says that the session has ended.
func (s *Session) noticed(err error) error {
	if errors.Is(err, ErrResumeNeeded) {
		s.change(func(f *facts) { f.ended = true })
	}
	return err
}

// noticeClose remembers that the player closed the session.
func (s *Session) noticeClose(opened Opened) {
	if opened.Control == pb.ControlKind_CONTROL_KIND_CLOSE {
		s.change(func(f *facts) { f.ended = true })
	}
}
