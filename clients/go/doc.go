// Package noisegate is the SDK of noisegate: a game service hands the crypto of its players' sessions to a service, bytes
// in, bytes out. It forwards what a player sent and sends what it gets back; keys never leave the service, and no
// cryptography is done here.
//
//	client, err := noisegate.Connect("127.0.0.1:7443")
//	session, err := client.Respond(ctx, &pb.RespondHandshake{Mode: noisegate.ModeNoise, Message: first, ...})
//	opened, err := session.Decrypt(ctx, packet)
//	sealed, err := session.Encrypt(ctx, []byte("welcome"))
//
// Requests and descriptions are the contract's own messages (package noisegatev1 in noisegate/v1), whose comments are the
// reference of every field. Everything in this package may be used by several goroutines at once.
package noisegate

import pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"

// Words of the contract that every game uses.
const (
	ModeNoise    = pb.RecordMode_RECORD_MODE_NOISE
	ModeDatagram = pb.RecordMode_RECORD_MODE_DATAGRAM

	PatternXX = pb.Pattern_PATTERN_XX
	PatternIK = pb.Pattern_PATTERN_IK
	PatternNK = pb.Pattern_PATTERN_NK

	SuiteChaCha = pb.Suite_SUITE_CHACHA20_POLY1305_X25519
	SuiteAESGCM = pb.Suite_SUITE_AES256_GCM_X25519
	SuiteHybrid = pb.Suite_SUITE_MLKEM1024_X25519_CHACHA20_POLY1305

	Rekey       = pb.RotationKind_ROTATION_KIND_REKEY
	Renegotiate = pb.RotationKind_ROTATION_KIND_RENEGOTIATE
)
