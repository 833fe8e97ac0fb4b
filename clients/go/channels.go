package noisegate

import (
	"container/list"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

// maxChannels is how many connections are kept, unless more are in use; the longest idle gives way.
const maxChannels = 64

// reconnect: a packet's deadline is 250 ms, and gRPC's own second before it connects again would fail every packet of it.
var reconnect = grpc.ConnectParams{
	Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
	MinConnectTimeout: time.Second,
}

// channels keeps one connection per endpoint, made when first needed, all with the same credentials.
type channels struct {
	target string
	config *config

	mu     sync.Mutex
	known  map[string]*list.Element // of *lane
	recent *list.List               // the latest used in front
	closed bool
}

type lane struct {
	address  string
	conn     *grpc.ClientConn
	inFlight int
}

func newChannels(target string, c *config) *channels {
	return &channels{target: target, config: c, known: map[string]*list.Element{}, recent: list.New()}
}

// take gives the connection to HOST:PORT, empty for the client's own target, and what lets go of it.
func (c *channels) take(endpoint string) (*grpc.ClientConn, func(), error) {
	address := endpoint
	if address == "" {
		address = c.target
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, ErrClosed
	}
	element, found := c.known[address]
	if !found {
		conn, err := c.config.dial(address)
		if err != nil {
			return nil, nil, err
		}
		element = c.recent.PushFront(&lane{address: address, conn: conn})
		c.known[address] = element
		c.makeRoom()
	}
	c.recent.MoveToFront(element)
	taken := element.Value.(*lane)
	taken.inFlight++
	return taken.conn, func() {
		c.mu.Lock()
		taken.inFlight--
		c.mu.Unlock()
	}, nil
}

// makeRoom closes the connection that nobody has used for the longest time.
func (c *channels) makeRoom() {
	if c.recent.Len() <= maxChannels {
		return
	}
	for element := c.recent.Back(); element != c.recent.Front(); element = element.Prev() {
		if oldest := element.Value.(*lane); oldest.inFlight == 0 {
			c.recent.Remove(element)
			delete(c.known, oldest.address)
			_ = oldest.conn.Close()
			return
		}
	}
}

func (c *channels) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// close ends every connection.
func (c *channels) close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	var first error
	for element := c.recent.Front(); element != nil; element = element.Next() {
		if err := element.Value.(*lane).conn.Close(); err != nil && first == nil {
			first = err
		}
	}
	c.recent.Init()
	c.known = map[string]*list.Element{}
	return first
}
