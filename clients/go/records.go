package noisegate

import (
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// Sealed is a record for the player.
type Sealed struct {
	// Packet is the record.
	Packet []byte
	// ToPeer must go to the player besides, before it, each on its own. Empty where an OnSend hook has them.
	ToPeer [][]byte
	// Counter of the record; never used twice under one key.
	Counter uint64
	// Epoch of the record's key.
	Epoch uint32
	// RotationDue: a soft limit of age or use is passed, call Rotate soon.
	RotationDue bool
}

// Messages is everything to send to the player, in order: ToPeer, then the record.
func (s Sealed) Messages() [][]byte {
	return append(append(make([][]byte, 0, len(s.ToPeer)+1), s.ToPeer...), s.Packet)
}

// Opened is what a packet of the player was.
type Opened struct {
	// SessionID is the session's.
	SessionID []byte
	// Refused is why the packet is to be dropped (DECRYPT_FAILED, REPLAY_DETECTED, COUNTER_TOO_OLD); empty where it opened.
	// A forged or late packet is a result and no error: the session goes on.
	Refused Reason
	// Plaintext is what the player wrote, not nil where HasPlaintext. Secret.
	Plaintext []byte
	// HasPlaintext: there is something for the game, which may be empty.
	HasPlaintext bool
	// Control says what the record was when it was nothing for the game.
	Control pb.ControlKind
	// Answered is the token of the question that a keep-alive answers.
	Answered []byte
	// ToPeer must go to the player, each on its own. Empty where an OnSend hook has them.
	ToPeer [][]byte
	// Counter and Epoch of the record.
	Counter uint64
	Epoch   uint32
	// Early: the handshake is not yet confirmed by the player, so this may be a replay.
	Early bool
	// Newest: the newest record so far (DATAGRAM). Only then follow the player to the address that it came from.
	Newest bool
	// RotationDue: a soft limit of age or use is passed, call Rotate soon.
	RotationDue bool
}

func sealedOf(answer *pb.EncryptResponse) Sealed {
	return Sealed{
		Packet:      answer.GetCiphertext(),
		ToPeer:      answer.GetToPeer(),
		Counter:     answer.GetCounter(),
		Epoch:       answer.GetEpoch(),
		RotationDue: answer.GetRotationDue(),
	}
}

// openedOf: a content of a later contract reads as a control record that the game may ignore.
func openedOf(answer *pb.DecryptResponse) Opened {
	opened := Opened{
		SessionID:   answer.GetSessionId(),
		ToPeer:      answer.GetToPeer(),
		Counter:     answer.GetCounter(),
		Epoch:       answer.GetEpoch(),
		Early:       answer.GetEarly(),
		Newest:      answer.GetNewest(),
		RotationDue: answer.GetRotationDue(),
	}
	if data, isData := answer.GetContent().(*pb.DecryptResponse_Plaintext); isData {
		opened.HasPlaintext, opened.Plaintext = true, data.Plaintext
	} else {
		opened.Control, opened.Answered = answer.GetControl().GetKind(), answer.GetControl().GetAnswered()
	}
	return opened
}
