package noisegate

import "testing"

func newest(counter uint64) Opened { return Opened{Newest: true, Counter: counter} }

func TestAnAddressThatProvedNothingGetsThreeTimesWhatCame(t *testing.T) {
	p := newPath("here", 100, true)
	if !p.maySend(300) || p.maySend(1) {
		t.Fatal("three times, and no byte more")
	}
	p.cameFrom("elsewhere", 100)
	if p.maySend(1) {
		t.Fatal("bytes of another address pay for nothing")
	}
	p.cameFrom("here", 1)
	if !p.maySend(3) {
		t.Fatal("its own bytes pay")
	}
	p.finished("here")
	if !p.maySend(1 << 20) {
		t.Fatal("a handshake proves its address")
	}
}

func TestAPlayerIsFollowedByItsNewestRecordAloneAndBelievedAgainAtHome(t *testing.T) {
	p := newPath("home", 100, true)
	p.finished("home")
	for name, record := range map[string]Opened{"an old one": {Counter: 9}, "one of an older epoch": {}} {
		if p.opened("away", 50, record) {
			t.Fatal(name)
		}
	}
	if !p.opened("away", 50, newest(5)) || p.verified || p.address != "away" || p.maySend(151) {
		t.Fatal(p)
	}
	if p.opened("home", 50, newest(4)) {
		t.Fatal("an answer that comes late must not lead back")
	}
	if !p.opened("home", 50, newest(6)) || !p.verified {
		t.Fatal("the last address that proved itself is believed at once")
	}
}

func TestOnlyTheAnswerToOurQuestionFromThereProvesAnAddress(t *testing.T) {
	p := newPath("here", 10, false)
	p.finished("here")
	p.answered("here", nil)
	p.ask([]byte("question"))
	p.answered("here", []byte("answers!"))
	p.answered("there", []byte("question"))
	if p.verified {
		t.Fatal("nothing was proved")
	}
	p.answered("here", []byte("question"))
	if !p.verified {
		t.Fatal("it was answered")
	}
}
