package noisegate

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// Multiplex says how packets of many sessions travel together. Fields that are zero have the defaults.
type Multiplex struct {
	// Tick is how long a batch collects calls: 1 ms by default, at most 100 ms.
	Tick time.Duration
	// MaxItems of one batch, which goes at once when it has them: 256 by default, at most 1,024.
	MaxItems int
	// MaxBytes of its plaintexts or records: 256 KiB by default, at most 1,310,720; a longer call goes alone.
	MaxBytes int
}

func (m Multiplex) orDefaults() (Multiplex, error) {
	if m.Tick == 0 {
		m.Tick = time.Millisecond
	}
	if m.MaxItems == 0 {
		m.MaxItems = 256
	}
	if m.MaxBytes == 0 {
		m.MaxBytes = 256 << 10
	}
	if m.Tick < 0 || m.Tick > 100*time.Millisecond || m.MaxItems < 0 || m.MaxItems > maxBatchItems ||
		m.MaxBytes < 0 || m.MaxBytes > maxBatchBytes {
		return m, errors.New("noisegate: Multiplex: Tick at most 100 ms, MaxItems at most 1,024, MaxBytes at most 1,310,720")
	}
	return m, nil
}

// multiplexer has one line for each endpoint, made when first needed.
type multiplexer struct {
	channels *channels
	policy   Policy
	options  Multiplex

	mu     sync.Mutex
	lines  map[string]*line
	closed bool
}

func newMultiplexer(channels *channels, policy Policy, options Multiplex) (*multiplexer, error) {
	options, err := options.orDefaults()
	if err != nil {
		return nil, err
	}
	return &multiplexer{channels: channels, policy: policy, options: options, lines: map[string]*line{}}, nil
}

// enter lets one item go with the next batch of its kind, and waits for what becomes of it.
func (m *multiplexer) enter(ctx context.Context, endpoint string, kind batchKind, each item) result {
	ctx, cancel := m.policy.deadline(ctx, packet)
	defer cancel()
	// Copied: a call that ends early gives its buffers back while its batch may yet be written.
	each.body, each.associatedData = bytes.Clone(each.body), bytes.Clone(each.associatedData)
	call := &waiting{item: each, done: make(chan result, 1)}
	if err := m.hand(endpoint, func(l *line) bool { return l.add(kind, call) }); err != nil {
		return result{err: err}
	}
	return call.result(ctx)
}

// carry lets a batch go that is one call of the game's, and waits for its answer.
func (m *multiplexer) carry(ctx context.Context, endpoint string, body *pb.TransportBatch) (*pb.TransportAnswer, error) {
	ctx, cancel := m.policy.deadline(ctx, batch)
	defer cancel()
	call := &waiting{done: make(chan result, 1)}
	whole := completeBundle(body, call)
	if err := m.hand(endpoint, func(l *line) bool { return l.carry(whole) }); err != nil {
		return nil, err
	}
	settled := call.result(ctx)
	return settled.batch, settled.err
}

// hand gives something to the endpoint's line. One that was retired in this very moment takes nothing: then to a new one.
func (m *multiplexer) hand(endpoint string, give func(*line) bool) error {
	for {
		line, err := m.line(endpoint)
		if err != nil || give(line) {
			return err
		}
	}
}

func (m *multiplexer) line(endpoint string) (*line, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, ErrClosed
	}
	if known, has := m.lines[endpoint]; has {
		return known, nil
	}
	address := endpoint
	if address == "" {
		address = m.channels.target
	}
	if err := m.channels.config.checkPlaintext(address); err != nil {
		return nil, err
	}
	made := newLine(m.policy, m.options, func(l *line) *link { return newLink(l, m.channels.config, address) })
	if len(m.lines) >= maxChannels {
		m.retire()
	}
	m.lines[endpoint] = made
	return made, nil
}

// retire closes a line that nobody waits for.
func (m *multiplexer) retire() {
	for endpoint, idle := range m.lines {
		if idle.retire() {
			delete(m.lines, endpoint)
			return
		}
	}
}

// close ends every stream; calls that wait end with ErrClosed.
func (m *multiplexer) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	for _, each := range m.lines {
		each.close()
	}
	m.lines = map[string]*line{}
}
