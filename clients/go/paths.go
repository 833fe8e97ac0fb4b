package noisegate

import (
	"bytes"
)

// amplification: an address that has proved nothing gets at most this many times what came from it (RFC 9000, section 8).
const amplification = 3

// path is the address of one session's player, and how far it is believed.
//
// An address proves itself by a handshake, or by the answer to a question: whoever finishes or answers it has read our
// message, which went to that address and to no other. Any other record proves that the player sent it, not that the player
// is where it says: a player may forge its own source address to have a stranger flooded.
type path[A comparable] struct {
	address  A
	verified bool

	came, sent int
	latest     position
	provable   bool
	home       A // the last address that had proved itself
	hasHome    bool
	asked      []byte
}

// position of a record in its session.
type position struct {
	any     bool
	epoch   uint32
	counter uint64
}

func (p position) after(other position) bool {
	if !other.any || p.epoch != other.epoch {
		return !other.any || p.epoch > other.epoch
	}
	return p.counter > other.counter
}

func newPath[A comparable](address A, came int, provable bool) *path[A] {
	return &path[A]{address: address, came: came, provable: provable}
}

// cameFrom: so many bytes that name this session.
func (p *path[A]) cameFrom(source A, size int) {
	if source == p.address {
		p.came += size
	}
}

// maySend tells whether a message may go to the address now; it counts as sent if so.
func (p *path[A]) maySend(size int) bool {
	if p.verified {
		return true
	}
	if p.sent+size > amplification*p.came {
		return false
	}
	p.sent += size
	return true
}

// answeredElsewhere: a handshake message of ours went to another address, so finishing proves nothing about this one.
func (p *path[A]) answeredElsewhere() { p.provable = false }

// finished: the player finished the handshake with a message that needed ours.
func (p *path[A]) finished(source A) {
	if p.provable && source == p.address {
		p.verified = true
	}
}

// opened: a record opened that came from source; whether the player is now followed to there.
func (p *path[A]) opened(source A, size int, record Opened) bool {
	here := position{true, record.Epoch, record.Counter}
	// Calls run side by side: an answer may come after that of a newer record.
	if !record.Newest || !here.after(p.latest) {
		return false
	}
	p.latest = here
	if source == p.address {
		if !record.Early {
			p.finished(source)
		}
		return false
	}
	if p.verified {
		p.home, p.hasHome = p.address, true
	}
	p.address, p.verified = source, p.hasHome && source == p.home
	p.came, p.sent, p.provable, p.asked = size, 0, false, nil
	return true
}

// ask: a question with this token goes to the address, and to no other.
func (p *path[A]) ask(token []byte) { p.asked = token }

// answered: a record from source has answered the question with this token, empty for none.
func (p *path[A]) answered(source A, token []byte) {
	if len(token) > 0 && source == p.address && bytes.Equal(token, p.asked) {
		p.verified = true
	}
}
