package noisegate

import (
	"context"
)

// direction of a session, seen from the service.
type direction int

const (
	sending direction = iota
	receiving
)

// turns lets calls of one direction run one after the other; nil lets all run side by side.
type turns []chan struct{}

func newTurns() turns {
	return turns{make(chan struct{}, 1), make(chan struct{}, 1)}
}

// take waits for the turn of these directions, which are in the order sending, receiving, so that two calls cannot wait
// for each other.
func (t turns) take(ctx context.Context, directions ...direction) (release func(), err error) {
	if t == nil {
		return func() {}, nil
	}
	taken := 0
	release = func() {
		for _, direction := range directions[:taken] {
			<-t[direction]
		}
	}
	for _, direction := range directions {
		select {
		case t[direction] <- struct{}{}:
			taken++
		case <-ctx.Done():
			release()
			return nil, fromError(ctx.Err())
		}
	}
	return release, nil
}
