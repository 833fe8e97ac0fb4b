package noisegate

import (
	"errors"
	"testing"
)

func TestWhoMeetsALineThatRetiresGetsAnother(t *testing.T) {
	client, err := Connect("127.0.0.1:1", WithMultiplex(Multiplex{}))
	if err != nil {
		t.Fatal(err)
	}
	m := client.multiplex
	var met []*line
	give := func(l *line) bool {
		if met = append(met, l); len(met) == 1 {
			m.mu.Lock()
			m.retire()
			m.mu.Unlock()
		}
		return l.add(seal, &waiting{done: make(chan result, 1)})
	}
	if err := m.hand("", give); err != nil || len(met) != 2 || met[0] == met[1] || m.lines[""] != met[1] {
		t.Fatal(err, len(met))
	}
	_ = client.Close()
	if err := m.hand("", give); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}
