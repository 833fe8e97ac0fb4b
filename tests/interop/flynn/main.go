// One end of a Noise handshake and its transport messages, driven over standard input and output as tests/interop/snow is.
//
// A request is a line of words, an answer is one line: "ok" and hexadecimal digits, or "error" and a reason; "-" is an empty
// value.
//
//	open NAME ROLE PROLOGUE STATIC REMOTE PSK PLACE   begin anew
//	write PAYLOAD      the next handshake message
//	read MESSAGE       the payload of the peer's handshake message
//	hash               the handshake hash
//	split              go over to transport messages
//	seal PAYLOAD       a transport message
//	unseal MESSAGE     the payload of the peer's transport message
package main

import (
	"bufio"
	"crypto/ecdh"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/flynn/noise"
)

const lineBytes = 1 << 20

var patterns = map[string]noise.HandshakePattern{"XX": noise.HandshakeXX, "IK": noise.HandshakeIK, "NK": noise.HandshakeNK}

var ciphers = map[string]noise.CipherFunc{"ChaChaPoly": noise.CipherChaChaPoly, "AESGCM": noise.CipherAESGCM}

var hashes = map[string]noise.HashFunc{
	"SHA256": noise.HashSHA256, "SHA512": noise.HashSHA512, "BLAKE2s": noise.HashBLAKE2s, "BLAKE2b": noise.HashBLAKE2b,
}

var errNotNow = errors.New("not now, or no such command")

// peer is one end. After the last handshake message it has the two ciphers of Split, the initiator's first.
type peer struct {
	handshake *noise.HandshakeState
	initiator bool
	split     [2]*noise.CipherState
	transport bool
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineBytes)
	var p peer
	for lines.Scan() {
		answer, err := p.answer(strings.Fields(lines.Text()))
		switch {
		case err != nil:
			fmt.Println("error", err)
		case len(answer) == 0:
			fmt.Println("ok -")
		default:
			fmt.Println("ok", hex.EncodeToString(answer))
		}
	}
}

func unhex(word string) ([]byte, error) {
	if word == "-" {
		return nil, nil
	}
	return hex.DecodeString(word)
}

func (p *peer) answer(words []string) ([]byte, error) {
	if len(words) == 0 {
		return nil, errors.New("an empty line")
	}
	if words[0] == "open" {
		opened, err := open(words[1:])
		if err == nil {
			*p = *opened
		}
		return nil, err
	}
	var data []byte
	if len(words) > 1 {
		var err error
		if data, err = unhex(words[1]); err != nil {
			return nil, err
		}
	}
	if p.handshake == nil {
		return nil, errNotNow
	}
	sends, receives := p.split[0], p.split[1]
	if !p.initiator {
		sends, receives = receives, sends
	}
	switch {
	case words[0] == "hash":
		return p.handshake.ChannelBinding(), nil
	case words[0] == "write" && p.split[0] == nil:
		message, first, second, err := p.handshake.WriteMessage(nil, data)
		p.split = [2]*noise.CipherState{first, second}
		return message, err
	case words[0] == "read" && p.split[0] == nil:
		payload, first, second, err := p.handshake.ReadMessage(nil, data)
		p.split = [2]*noise.CipherState{first, second}
		return payload, err
	case words[0] == "split" && p.split[0] != nil:
		p.transport = true
		return nil, nil
	case words[0] == "seal" && p.transport:
		return sends.Encrypt(nil, nil, data)
	case words[0] == "unseal" && p.transport:
		return receives.Decrypt(nil, nil, data)
	}
	return nil, errNotNow
}

// open begins a handshake: Noise_PATTERN_25519_CIPHER_HASH.
func open(words []string) (*peer, error) {
	if len(words) != 7 {
		return nil, errors.New("open takes seven words")
	}
	name := strings.Split(words[0], "_")
	if len(name) != 5 {
		return nil, errors.New("not a Noise name")
	}
	base, _, isPSK := strings.Cut(name[1], "psk")
	pattern, cipher, hash := patterns[base], ciphers[name[3]], hashes[name[4]]
	if pattern.Name == "" || name[2] != "25519" || cipher == nil || hash == nil {
		return nil, errors.New("a protocol that is not known here")
	}
	var values [4][]byte // prologue, static, remote, psk
	for n := range values {
		var err error
		if values[n], err = unhex(words[2+n]); err != nil {
			return nil, err
		}
	}
	place, err := strconv.Atoi(words[6])
	if err != nil {
		return nil, err
	}
	config := noise.Config{
		CipherSuite: noise.NewCipherSuite(noise.DH25519, cipher, hash), Pattern: pattern,
		Initiator: words[1] == "initiator", Prologue: values[0], PeerStatic: values[2],
	}
	if len(values[1]) > 0 {
		private, err := ecdh.X25519().NewPrivateKey(values[1])
		if err != nil {
			return nil, err
		}
		config.StaticKeypair = noise.DHKey{Private: values[1], Public: private.PublicKey().Bytes()}
	}
	if isPSK {
		config.PresharedKey, config.PresharedKeyPlacement = values[3], place
	}
	state, err := noise.NewHandshakeState(config)
	return &peer{handshake: state, initiator: config.Initiator}, err
}
