package noisegate

import (
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// An Admission is how the game receives a player who begins a session; nil refuses it. A resumed session has its ticket's
// names and options.
type Admission struct {
	// PeerID and Group name the player, and the match, room or table: at most 64 bytes each.
	PeerID, Group string
	// Prologue is the same at both ends: at most 1,024 bytes.
	Prologue []byte
	// Payload of message 2: at most 16,384 bytes, in practice a third of what the player sent.
	Payload []byte
	// PSK for psk patterns: 32 bytes. Secret.
	PSK []byte
	// Options for this session.
	Options *pb.SessionOptions
	// AcceptEarlyData takes the early data of a player who resumes, where it can come for the first time alone.
	AcceptEarlyData bool
}

// Why a Receiver dropped a packet by itself; other reasons are the service's.
const (
	ReasonNotAPacket       Reason = "NOT_A_PACKET"
	ReasonNotAdmitted      Reason = "NOT_ADMITTED"
	ReasonUnexpectedPacket Reason = "UNEXPECTED_PACKET"
	// The player has to begin anew, and ToSend tells it how.
	ReasonRetryChoose Reason = "RETRY_CHOOSE"
	ReasonRetryClock  Reason = "RETRY_CLOCK"
)

// A Datagram goes to an address.
type Datagram[A comparable] struct {
	Bytes   []byte
	Address A
}

// Received is what one packet of a player was.
type Received[A comparable] struct {
	// Session of the packet; nil where it has none.
	Session *Session
	// Opened is what the record was; nil where the packet was no record, or was refused.
	Opened *Opened
	// Payload of a handshake message; possibly replayed until a first record has opened.
	Payload []byte
	// EarlyData is what a resuming player sent along. Until a first record opens, whoever has its ticket's key may have sent
	// it.
	EarlyData []byte
	// ToSend: each of these in this order, each as one datagram.
	ToSend []Datagram[A]
	// NewSession: this packet began the session, as far as this receiver knows.
	NewSession bool
	// Established: with this packet the handshake finished, records may flow.
	Established bool
	// Closed: the session has ended, and the receiver has forgotten it.
	Closed bool
	// Moved: the player is followed to the address that this packet came from.
	Moved bool
	// Withheld is how many messages were not sent, because their address has not proved that it wants them.
	Withheld int
	// Refused is why the packet was dropped; empty where it was not.
	Refused Reason
}

// Plaintext is what the player wrote for the game; false where the packet had nothing for it.
func (r Received[A]) Plaintext() ([]byte, bool) {
	if r.Opened == nil || !r.Opened.HasPlaintext {
		return nil, false
	}
	return r.Opened.Plaintext, true
}

// playersFault are the reasons that a player's packet can bring about; others are the service's and the caller's troubles.
var playersFault = map[Reason]bool{
	ReasonClockSkew: true, ReasonCounterTooOld: true, ReasonDecryptFailed: true, ReasonHandshakeFailed: true,
	ReasonHandshakeState: true, ReasonInvalidRequest: true, ReasonMessageTooLarge: true, ReasonNotEstablished: true,
	ReasonPeerRevoked: true, ReasonPolicyRejected: true, ReasonReplayDetected: true, ReasonSessionClosed: true,
	ReasonSessionNotFound: true, ReasonSessionQuota: true, ReasonStaleHandshake: true, ReasonTicketRejected: true,
	ReasonUnsupportedProtocol: true,
}
