package noisegate

import (
	"container/list"
	"time"
)

// tracked is a session that a receiver knows.
type tracked[A comparable] struct {
	session *Session
	id      string
	path    *path[A]
	// expiresAt is when its handshake is given up; zero once it is established.
	expiresAt     time.Time
	connectionIDs map[ConnectionID]bool
	// echoes are what a RETRY to a packet with which the game began it would carry, while its handshake has not finished.
	echoes map[echo]bool
	place  *list.Element
}

// sessionTable has sessions by connection id and by id: at most limit that live and limit half-open ones, each the latest
// used. Apart, so that a flood of forged first packets cannot push out sessions that live.
type sessionTable[A comparable] struct {
	limit        int
	byID         map[string]*tracked[A]
	byConnection map[ConnectionID]*tracked[A]
	byEcho       map[echo]*tracked[A]
	live         *list.List // the longest unused in front
	halfOpen     *list.List // the oldest in front
}

func newSessionTable[A comparable](limit int) *sessionTable[A] {
	return &sessionTable[A]{
		limit: limit, byID: map[string]*tracked[A]{}, byConnection: map[ConnectionID]*tracked[A]{},
		byEcho: map[echo]*tracked[A]{}, live: list.New(), halfOpen: list.New(),
	}
}

// find gives the session whose player's packets carry this connection id; nil for none.
func (t *sessionTable[A]) find(id ConnectionID) *tracked[A] {
	found := t.byConnection[id]
	if found != nil && found.expiresAt.IsZero() {
		t.live.MoveToBack(found.place)
	}
	return found
}

// get gives the session; nil where it is not known.
func (t *sessionTable[A]) get(session *Session) *tracked[A] { return t.byID[string(session.ID())] }

// add takes up a session; a zero expiry is one that is established.
func (t *sessionTable[A]) add(session *Session, path *path[A], expiresAt time.Time) *tracked[A] {
	t.remove(session)
	made := &tracked[A]{
		session: session, id: string(session.ID()), path: path, expiresAt: expiresAt,
		connectionIDs: map[ConnectionID]bool{}, echoes: map[echo]bool{},
	}
	t.byID[made.id] = made
	to := t.live
	if !expiresAt.IsZero() {
		to = t.halfOpen
	}
	made.place = to.PushBack(made)
	if to.Len() > t.limit {
		t.drop(to.Front().Value.(*tracked[A]))
	}
	if id := session.ConnectionID(); len(id) == connectionIDBytes {
		t.alias(made, ConnectionID(id))
	}
	return made
}

// alias: the player's packets carry this connection id too.
func (t *sessionTable[A]) alias(k *tracked[A], id ConnectionID) {
	if id != (ConnectionID{}) && t.byID[k.id] == k {
		t.byConnection[id] = k
		k.connectionIDs[id] = true
	}
}

// sent: the game began this session with these packets, or began it anew.
func (t *sessionTable[A]) sent(k *tracked[A], packets [][]byte) {
	if k.expiresAt.IsZero() || t.byID[k.id] != k {
		return
	}
	for _, packet := range packets {
		t.byEcho[echoOf(packet)] = k
		k.echoes[echoOf(packet)] = true
	}
}

// thatSent gives the half-open session that sent the packet which a RETRY with this echo refuses.
func (t *sessionTable[A]) thatSent(packet []byte) *tracked[A] {
	if carried, ok := echoIn(packet); ok {
		return t.byEcho[carried]
	}
	return nil
}

// settle: the session is established.
func (t *sessionTable[A]) settle(k *tracked[A]) {
	t.forgetEchoes(k)
	if k.expiresAt.IsZero() || t.byID[k.id] != k {
		return
	}
	k.expiresAt = time.Time{}
	t.halfOpen.Remove(k.place)
	k.place = t.live.PushBack(k)
	if t.live.Len() > t.limit {
		t.drop(t.live.Front().Value.(*tracked[A]))
	}
}

// expire forgets handshakes that nobody finished.
func (t *sessionTable[A]) expire(now time.Time) {
	for oldest := t.halfOpen.Front(); oldest != nil; oldest = t.halfOpen.Front() {
		k := oldest.Value.(*tracked[A])
		if k.expiresAt.After(now) {
			return
		}
		t.drop(k)
	}
}

// remove forgets a session; nothing happens if it is not known.
func (t *sessionTable[A]) remove(session *Session) {
	if k := t.get(session); k != nil {
		t.drop(k)
	}
}

func (t *sessionTable[A]) drop(k *tracked[A]) {
	delete(t.byID, k.id)
	if k.expiresAt.IsZero() {
		t.live.Remove(k.place)
	} else {
		t.halfOpen.Remove(k.place)
	}
	t.forgetEchoes(k)
	for id := range k.connectionIDs {
		if t.byConnection[id] == k {
			delete(t.byConnection, id)
		}
	}
}

func (t *sessionTable[A]) forgetEchoes(k *tracked[A]) {
	for each := range k.echoes {
		if t.byEcho[each] == k {
			delete(t.byEcho, each)
		}
	}
	clear(k.echoes)
}
