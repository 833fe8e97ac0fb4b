package noisegate

import (
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// Add takes up a session that began elsewhere, e.g. by Initiate. Its first ToPeer is the game's to send, by way of Cut.
// verified: the game knows that the address wants to be sent to.
func (r *Receiver[A]) Add(session *Session, address A, verified bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	path := newPath(address, 0, true)
	path.verified = verified
	r.sessions.sent(r.sessions.add(session, path, r.expiry(session)), session.ToPeer())
}

// Cut gives the datagrams of messages that the game sends wherever it wants: each no larger than the MTU.
func (r *Receiver[A]) Cut(messages [][]byte) [][]byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	var datagrams [][]byte
	for _, message := range messages {
		datagrams = append(datagrams, r.datagrams(message)...)
	}
	return datagrams
}

// Route says where the game's own messages (Sealed.Messages, ToPeer) go now. It leaves out what an address may not get yet,
// and gives nothing for a session that this receiver does not know. What is larger than the MTU goes as fragments and is
// lost with any of them: keep records below it, which are 32 bytes longer than their plaintexts.
func (r *Receiver[A]) Route(session *Session, messages [][]byte) []Datagram[A] {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.sessions.get(session)
	if known == nil {
		return nil
	}
	toSend, _ := r.allowed(known.path, messages)
	return toSend
}

// RouteChange is Route for what a change of network brings about: send it nowhere else. It begins with a question; once the
// player has answered that from there, the address is verified.
func (r *Receiver[A]) RouteChange(session *Session, change *pb.NetworkChange) []Datagram[A] {
	r.mu.Lock()
	defer r.mu.Unlock()
	known := r.sessions.get(session)
	if known == nil {
		return nil
	}
	known.path.ask(change.GetToken())
	toSend, _ := r.allowed(known.path, change.GetToPeer())
	return toSend
}

// Address is where the session's player is, as far as its records have shown, and whether that address has proved that it
// gets what is sent to it; false, false for a session that is not known.
func (r *Receiver[A]) Address(session *Session) (address A, verified, known bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	found := r.sessions.get(session)
	if found == nil {
		return address, false, false
	}
	return found.path.address, found.path.verified, true
}

// MarkVerified lifts the limit of an address after a proof of the game's own: a random value, sealed, sent there and echoed
// in a record. Nothing happens if the player has moved on from it.
func (r *Receiver[A]) MarkVerified(session *Session, address A) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if found := r.sessions.get(session); found != nil && found.path.address == address {
		found.path.verified = true
	}
}

// Forget drops the handle, e.g. after Close. The service still knows the session if it lives.
func (r *Receiver[A]) Forget(session *Session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions.remove(session)
}

func (r *Receiver[A]) expiry(session *Session) time.Time {
	if session.Established() != nil {
		return time.Time{}
	}
	return r.options.Now().Add(session.PendingFor())
}

// allowed gives the datagrams for the path's address, and how many messages it may not get: one goes whole or not at all.
func (r *Receiver[A]) allowed(path *path[A], messages [][]byte) (toSend []Datagram[A], withheld int) {
	for _, message := range messages {
		datagrams := r.datagrams(message)
		size := 0
		for _, datagram := range datagrams {
			size += len(datagram)
		}
		if !path.maySend(size) {
			withheld++
			continue
		}
		for _, datagram := range datagrams {
			toSend = append(toSend, Datagram[A]{datagram, path.address})
		}
	}
	return toSend, withheld
}

func (r *Receiver[A]) datagrams(message []byte) [][]byte {
	if len(message) <= r.options.MTU || !mayBeCut(message) {
		return [][]byte{message}
	}
	r.messageID++
	parts, err := Split(message, r.messageID, r.options.MTU)
	if err != nil {
		// Not possible for what the service makes: 255 parts of the least MTU carry the largest packet.
		return [][]byte{message}
	}
	return parts
}
