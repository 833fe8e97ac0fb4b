package noisegate

import (
	"context"
	"testing"
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// tracking is a receiver without a service, on a clock that stands still.
func tracking(t *testing.T, limit int) (*Receiver[string], *time.Time) {
	t.Helper()
	client, err := Connect("127.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1_000, 0)
	receiver, err := NewReceiver(client, ReceiverOptions[string]{MaxSessions: limit, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	return receiver, &now
}

// handleOf is that of a session: live, or half-open for ten seconds.
func handleOf(r *Receiver[string], n byte, live bool) *Session {
	known := facts{id: id(n), mode: ModeDatagram, connectionID: []byte{n, 2, 3, 4, 5, 6, 7, 8}, pendingFor: 10 * time.Second}
	if live {
		known.established = &pb.Established{}
	}
	return newSession(r.client, known)
}

func isKnown(r *Receiver[string], session *Session) bool {
	_, _, known := r.Address(session)
	return known
}

func TestAFloodOfBeginnersPushesOutNobodyWhoPlays(t *testing.T) {
	r, _ := tracking(t, 3)
	plays := handleOf(r, 1, true)
	r.Add(plays, "home", true)
	for n := byte(10); n < 30; n++ {
		r.Add(handleOf(r, n, false), "stranger", false)
	}
	if !isKnown(r, plays) || r.sessions.halfOpen.Len() != 3 || len(r.sessions.byConnection) != 4 {
		t.Fatal("half-open sessions have places of their own, and no more than those")
	}
}

func TestTheLongestUnusedGivesWay(t *testing.T) {
	r, _ := tracking(t, 2)
	first, second, third := handleOf(r, 1, true), handleOf(r, 2, true), handleOf(r, 3, true)
	r.Add(first, "a", true)
	r.Add(second, "b", true)
	r.sessions.find(ConnectionID(first.ConnectionID()))
	r.Add(third, "c", true)
	if !isKnown(r, first) || isKnown(r, second) || !isKnown(r, third) {
		t.Fatal("the second was not used for the longest time")
	}
}

func TestAHandshakeThatNobodyFinishedIsForgotten(t *testing.T) {
	r, now := tracking(t, 8)
	begun := handleOf(r, 1, false)
	r.Add(begun, "a", false)
	*now = now.Add(10 * time.Second)
	// Any packet lets it look; this one is of nobody, and of a type that reaches no service.
	if _, err := r.Receive(context.Background(), []byte("\x0econnect!"), "b"); err != nil {
		t.Fatal(err)
	}
	if isKnown(r, begun) || len(r.sessions.byConnection) != 0 {
		t.Fatal("its time was over")
	}
}

func TestMessagesGoWhereTheyMayAndAsLargeAsThePathTakes(t *testing.T) {
	r, _ := tracking(t, 8)
	session := handleOf(r, 1, true)
	if r.Route(session, [][]byte{record(40)}) != nil {
		t.Fatal("a session that is not known has no address")
	}
	r.Add(session, "here", false)
	if r.Route(session, [][]byte{record(40)}) != nil {
		t.Fatal("nothing came from there yet")
	}
	r.MarkVerified(session, "elsewhere")
	if _, verified, _ := r.Address(session); verified {
		t.Fatal("another address was proved")
	}
	r.MarkVerified(session, "here")
	datagrams := r.Route(session, [][]byte{record(40), record(3_000)})
	if len(datagrams) != 4 || len(datagrams[0].Bytes) != 40 {
		t.Fatal(len(datagrams))
	}
	for _, each := range datagrams {
		if each.Address != "here" || len(each.Bytes) > DefaultMTU {
			t.Fatal(each.Address, len(each.Bytes))
		}
	}
	if r.Forget(session); isKnown(r, session) {
		t.Fatal("it was to be forgotten")
	}
}

func TestAQuestionGoesToOneAddressAndItsAnswerProvesIt(t *testing.T) {
	r, _ := tracking(t, 8)
	session := handleOf(r, 1, true)
	r.Add(session, "here", false)
	tracked := r.sessions.get(session)
	tracked.path.cameFrom("here", 100)
	if len(r.RouteChange(session, &pb.NetworkChange{ToPeer: [][]byte{record(60)}, Token: []byte("question")})) != 1 {
		t.Fatal("it was paid for")
	}
	tracked.path.answered("here", []byte("question"))
	if _, verified, _ := r.Address(session); !verified {
		t.Fatal("the answer proves the address")
	}
}

func TestWhoIsNotAdmittedReachesNoService(t *testing.T) {
	r, _ := tracking(t, 8)
	r.options.Admit = func([]byte, string) *Admission { return nil }
	for _, first := range []string{"\x09", "\x0c"} { // HANDSHAKE and RESUME, step 1
		packet := []byte(first + "\x00\x00\x00\x00\x00\x00\x00\x00\x01hello")
		if received, err := r.Receive(context.Background(), packet, "a"); err != nil || received.Refused != ReasonNotAdmitted {
			t.Fatal(received, err)
		}
	}
}
