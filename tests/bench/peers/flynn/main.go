// Responders of flynn/noise, driven over stdin and stdout; each request is a line, and each is answered by a line `ok`.
//
//	prepare NAME COUNT   begin COUNT handshakes as their initiators
//	respond              the responder's side of all of them: both messages of IK; of XX messages 1 and 2
//	continue             XX: the initiators' message 3, not the responders' work
//	finish               XX: the responders read message 3
//	check                every initiator finishes, and understands a transport message
//
// Whoever drives it reads this process's CPU time around `respond` and `finish`, while it waits for a line.
package main

import (
	"bufio"
	"crypto/rand"
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"strings"

	"github.com/flynn/noise"
)

var suite = noise.NewCipherSuite(noise.DH25519, noise.CipherChaChaPoly, noise.HashSHA256)

var patterns = map[string]noise.HandshakePattern{
	"Noise_IK_25519_ChaChaPoly_SHA256": noise.HandshakeIK,
	"Noise_XX_25519_ChaChaPoly_SHA256": noise.HandshakeXX,
}

type bench struct {
	pattern    noise.HandshakePattern
	key        noise.DHKey
	initiators []*noise.HandshakeState
	messages   [][]byte // what goes to the other end next
	responders []*noise.HandshakeState
	seals      []*noise.CipherState // the responders', once they have split
	opens      []*noise.CipherState // the initiators'
}

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func (b *bench) state(initiator bool, static noise.DHKey) *noise.HandshakeState {
	config := noise.Config{
		CipherSuite: suite, Random: rand.Reader, Pattern: b.pattern, Initiator: initiator, StaticKeypair: static,
	}
	if initiator && b.pattern.Name == noise.HandshakeIK.Name {
		config.PeerStatic = b.key.Public
	}
	return must(noise.NewHandshakeState(config))
}

func write(state *noise.HandshakeState) ([]byte, *noise.CipherState, *noise.CipherState) {
	message, first, second, err := state.WriteMessage(nil, nil)
	if err != nil {
		log.Fatal(err)
	}
	return message, first, second
}

func read(state *noise.HandshakeState, message []byte) (*noise.CipherState, *noise.CipherState) {
	_, first, second, err := state.ReadMessage(nil, message)
	if err != nil {
		log.Fatal(err)
	}
	return first, second
}

func prepare(name string, count int) *bench {
	pattern, known := patterns[name]
	if !known {
		log.Fatalf("no such protocol: %s", name)
	}
	b := &bench{pattern: pattern, key: must(suite.GenerateKeypair(rand.Reader))}
	for range count {
		initiator := b.state(true, must(suite.GenerateKeypair(rand.Reader)))
		message, _, _ := write(initiator)
		b.initiators = append(b.initiators, initiator)
		b.messages = append(b.messages, message)
	}
	return b
}

func (b *bench) respond() {
	for at, message := range b.messages {
		responder := b.state(false, b.key)
		read(responder, message)
		reply, _, second := write(responder)
		b.messages[at] = reply
		b.responders = append(b.responders, responder)
		if second != nil {
			b.seals = append(b.seals, second)
		}
	}
}

func (b *bench) proceed() {
	for at, initiator := range b.initiators {
		read(initiator, b.messages[at])
		message, _, second := write(initiator)
		b.messages[at] = message
		b.opens = append(b.opens, second)
	}
}

func (b *bench) finish() {
	if len(b.seals) > 0 {
		return
	}
	for at, responder := range b.responders {
		_, second := read(responder, b.messages[at])
		b.seals = append(b.seals, second)
	}
}

func (b *bench) check() {
	if len(b.opens) == 0 {
		for at, initiator := range b.initiators {
			_, second := read(initiator, b.messages[at])
			b.opens = append(b.opens, second)
		}
	}
	for at, seal := range b.seals {
		sealed := must(seal.Encrypt(nil, nil, []byte("hello")))
		if string(must(b.opens[at].Decrypt(nil, nil, sealed))) != "hello" {
			log.Fatal("the two ends do not understand each other")
		}
	}
	if len(b.seals) != len(b.initiators) {
		log.Fatal("a handshake is missing")
	}
}

func main() {
	runtime.GOMAXPROCS(1)
	var b *bench
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		switch words := strings.Fields(lines.Text()); words[0] {
		case "prepare":
			b = prepare(words[1], must(strconv.Atoi(words[2])))
		case "respond":
			b.respond()
		case "continue":
			b.proceed()
		case "finish":
			b.finish()
		case "check":
			b.check()
		default:
			log.Fatalf("no such request: %s", words[0])
		}
		fmt.Println("ok")
	}
}
