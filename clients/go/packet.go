package noisegate

import (
	"crypto/sha256"
)

// A PacketType is what a player's packet claims to be.
type PacketType byte

// The types of docs/protocol.md, section 2.
const (
	PacketHandshake PacketType = 1
	PacketRecord    PacketType = 2
	PacketSalted    PacketType = 3
	PacketResume    PacketType = 4
	PacketFragment  PacketType = 5
	PacketRetry     PacketType = 6
)

const (
	headerBytes       = 9
	maxPacketBytes    = 65_535
	connectionIDBytes = 8
)

// A ConnectionID is what a player's packets carry; zeros in its first one. It finds a session and proves nothing.
type ConnectionID [connectionIDBytes]byte

// Peek reads the type and the connection id of a player's packet; false for bytes that are not one of noisegate's. It needs
// no key and no service, and nothing of what it reads is authenticated.
//
// First bytes 0x09 to 0x0e are free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443), so one port can serve all.
func Peek(packet []byte) (PacketType, ConnectionID, bool) {
	if len(packet) < headerBytes || packet[0]&^0x07 != 0x08 {
		return 0, ConnectionID{}, false
	}
	kind := PacketType(packet[0] & 0x07)
	if kind < PacketHandshake || kind > PacketRetry {
		return 0, ConnectionID{}, false
	}
	return kind, ConnectionID(packet[1:headerBytes]), true
}

// stepOf is the step of a HANDSHAKE or RESUME packet; 0 where it is too short to have one.
func stepOf(packet []byte) byte {
	if len(packet) <= headerBytes {
		return 0
	}
	return packet[headerBytes]
}

// echo is what a RETRY carries of the packet that it refuses.
type echo [8]byte

func echoOf(packet []byte) echo {
	hash := sha256.Sum256(packet)
	return echo(hash[:8])
}

// echoIn reads it; false where the packet is too short.
func echoIn(packet []byte) (echo, bool) {
	if len(packet) < headerBytes+8 {
		return echo{}, false
	}
	return echo(packet[headerBytes : headerBytes+8]), true
}
