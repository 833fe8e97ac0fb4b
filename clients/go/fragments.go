package noisegate

import (
	"container/list"
	"encoding/binary"
	"errors"
	"time"
)

// DefaultMTU is the bytes of a datagram that every path takes, as QUIC reckons (RFC 9000, section 14).
const DefaultMTU = 1_200

const (
	fragmentHeaderBytes = 13
	fragmentFirstByte   = 0x0d
	maxParts            = 255
	setBytes            = 512 // what a set costs beside its parts, rounded up
	partBytes           = 128 // what a part costs beside its bytes, rounded up
)

// ErrBadFragment: a fragment that is none, or that no set can take.
var ErrBadFragment = errors.New("noisegate: bad fragment")

// mayBeCut: a RETRY is small, and a FRAGMENT is no packet to be cut again.
func mayBeCut(packet []byte) bool {
	kind, _, ok := Peek(packet)
	return ok && kind != PacketFragment && kind != PacketRetry
}

// Split gives the datagrams of at most mtu bytes that carry a packet: itself where it fits, otherwise FRAGMENTs
// (docs/protocol.md, section 2). Give each packet, and each repeat, another messageID.
func Split(packet []byte, messageID uint16, mtu int) ([][]byte, error) {
	if len(packet) <= mtu {
		return [][]byte{packet}, nil
	}
	room := mtu - fragmentHeaderBytes
	if room < 1 || len(packet) > maxPacketBytes || !mayBeCut(packet) || (len(packet)+room-1)/room > maxParts {
		return nil, errors.New("noisegate: not a packet that can be cut to this size")
	}
	count := (len(packet) + room - 1) / room
	parts := make([][]byte, count)
	for n := range parts {
		body := packet[n*room : min((n+1)*room, len(packet))]
		part := make([]byte, 0, fragmentHeaderBytes+len(body))
		part = append(append(part, fragmentFirstByte), packet[1:headerBytes]...)
		part = append(binary.BigEndian.AppendUint16(part, messageID), byte(n), byte(count))
		parts[n] = append(part, body...)
	}
	return parts, nil
}

// ReassemblyLimits is what parts may cost while the rest of their sets is on its way. Bytes count bookkeeping too.
type ReassemblyLimits struct {
	// TotalBytes of all sets; beyond it the oldest go.
	TotalBytes int
	// SetsPerSource and BytesPerSource; beyond them that source's oldest go.
	SetsPerSource  int
	BytesPerSource int
	// Lifetime from a set's first part to its last.
	Lifetime time.Duration
}

// DefaultReassembly bounds what strangers can make a Reassembler keep to 4 MiB, for 2 s.
var DefaultReassembly = ReassemblyLimits{
	TotalBytes: 4 << 20, SetsPerSource: 8, BytesPerSource: 160 << 10, Lifetime: 2 * time.Second,
}

// A Reassembler puts the parts of large packets together, of sources that A names. It needs no key, and nothing here is
// authenticated: a whole packet proves itself when the service opens it. It is not for several goroutines at once.
type Reassembler[A comparable] struct {
	limits  ReassemblyLimits
	sets    map[setKey[A]]*partSet[A]
	oldest  *list.List // of *partSet, by their first parts, which is by their expiry: a part does not make its set younger
	sources map[A]*share[A]
	cost    int
}

// setKey: parts that differ in one of these are of different sets.
type setKey[A comparable] struct {
	source       A
	connectionID ConnectionID
	messageID    uint16
	count        byte
}

type partSet[A comparable] struct {
	key       setKey[A]
	expiresAt time.Time
	parts     map[byte][]byte
	size      int
	cost      int
	inAll     *list.Element
	inShare   *list.Element
}

// share is what one source has here, oldest first.
type share[A comparable] struct {
	sets *list.List
	cost int
}

// NewReassembler makes one with nothing in it.
func NewReassembler[A comparable](limits ReassemblyLimits) *Reassembler[A] {
	return &Reassembler[A]{
		limits: limits, sets: map[setKey[A]]*partSet[A]{}, oldest: list.New(), sources: map[A]*share[A]{},
	}
}

// HeldBytes is what the parts that wait cost.
func (r *Reassembler[A]) HeldBytes() int { return r.cost }

// Add takes a part that came at now and answers the whole packet where it was the last one missing, otherwise nil. A part
// that has come before changes nothing. ErrBadFragment where it is malformed, or completes what is no packet.
func (r *Reassembler[A]) Add(fragment []byte, source A, now time.Time) ([]byte, error) {
	r.expire(now)
	if len(fragment) <= fragmentHeaderBytes || fragment[0] != fragmentFirstByte || fragment[11] >= fragment[12] {
		return nil, ErrBadFragment
	}
	number, count := fragment[11], fragment[12]
	key := setKey[A]{source, ConnectionID(fragment[1:headerBytes]), binary.BigEndian.Uint16(fragment[9:11]), count}
	set, known := r.sets[key]
	if !known {
		set = r.begin(key, now)
	} else if _, has := set.parts[number]; has {
		return nil, nil
	}
	part := append([]byte(nil), fragment[fragmentHeaderBytes:]...)
	set.parts[number] = part
	set.size += len(part)
	r.pay(set, len(part)+partBytes)
	if set.size > maxPacketBytes {
		r.drop(set)
		return nil, ErrBadFragment
	}
	if len(set.parts) < int(count) {
		r.makeRoom(source)
		return nil, nil
	}
	r.drop(set)
	whole := make([]byte, 0, set.size)
	for n := range count {
		whole = append(whole, set.parts[n]...)
	}
	if _, id, ok := Peek(whole); !ok || !mayBeCut(whole) || id != key.connectionID {
		return nil, ErrBadFragment
	}
	return whole, nil
}

func (r *Reassembler[A]) expire(now time.Time) {
	for element := r.oldest.Front(); element != nil; element = r.oldest.Front() {
		set := element.Value.(*partSet[A])
		if set.expiresAt.After(now) {
			return
		}
		r.drop(set)
	}
}

func (r *Reassembler[A]) begin(key setKey[A], now time.Time) *partSet[A] {
	set := &partSet[A]{key: key, expiresAt: now.Add(r.limits.Lifetime), parts: map[byte][]byte{}}
	own, known := r.sources[key.source]
	if !known {
		own = &share[A]{sets: list.New()}
		r.sources[key.source] = own
	}
	r.sets[key] = set
	set.inAll, set.inShare = r.oldest.PushBack(set), own.sets.PushBack(set)
	r.pay(set, setBytes)
	return set
}

func (r *Reassembler[A]) pay(set *partSet[A], cost int) {
	set.cost += cost
	r.sources[set.key.source].cost += cost
	r.cost += cost
}

func (r *Reassembler[A]) makeRoom(source A) {
	own := r.sources[source]
	for own.sets.Len() > r.limits.SetsPerSource || own.cost > r.limits.BytesPerSource {
		r.drop(own.sets.Front().Value.(*partSet[A]))
	}
	for r.cost > r.limits.TotalBytes {
		r.drop(r.oldest.Front().Value.(*partSet[A]))
	}
}

func (r *Reassembler[A]) drop(set *partSet[A]) {
	own := r.sources[set.key.source]
	delete(r.sets, set.key)
	r.oldest.Remove(set.inAll)
	own.sets.Remove(set.inShare)
	own.cost -= set.cost
	r.cost -= set.cost
	if own.sets.Len() == 0 {
		delete(r.sources, set.key.source)
	}
}
