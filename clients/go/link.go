package noisegate

import (
	"context"
	"errors"
	"io"
	"maps"
	"slices"
	"sync"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/grpc/codes"
)

// maxUnanswered is how many batches one stream has under way, as many as may wait at the service; more wait here and grow.
const maxUnanswered = 32

// joinedBytes: from here on a message takes no further batch; with the longest one it is still below the service's limit.
const joinedBytes = 256 << 10

// link is one Transport stream over a connection of its own, with two pumps of which neither waits for the other. A caller
// that writes only while it is not reading can lock up with a service that does the same as soon as both directions are
// full. Here answers are always read, whatever the writing pump waits for.
type link struct {
	line    *line
	config  *config
	address string
	ctx     context.Context
	cancel  context.CancelFunc
	woken   chan struct{} // takes one
	over    chan struct{} // closed at the end

	mu         sync.Mutex
	unanswered map[uint64]*bundle
	draining   bool
}

func newLink(l *line, c *config, address string) *link {
	ctx, cancel := context.WithCancel(context.Background())
	return &link{
		line: l, config: c, address: address, ctx: ctx, cancel: cancel,
		woken: make(chan struct{}, 1), over: make(chan struct{}), unanswered: map[uint64]*bundle{},
	}
}

// wake: there may be something to take.
func (k *link) wake() {
	select {
	case k.woken <- struct{}{}:
	default:
	}
}

func (k *link) busy() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.unanswered) > 0
}

// run is the stream's whole life.
func (k *link) run() {
	defer close(k.over)
	defer k.cancel()
	why := k.live()
	k.mu.Lock()
	numbers := slices.Sorted(maps.Keys(k.unanswered))
	left := make([]*bundle, len(numbers))
	for n, number := range numbers {
		left[n] = k.unanswered[number]
	}
	k.unanswered = nil
	k.mu.Unlock()
	k.line.ended(k, left, why)
}

// live answers how the stream ended.
func (k *link) live() *Error {
	conn, err := k.config.dial(k.address)
	if err != nil {
		return &Error{Code: codes.Internal, Message: err.Error()}
	}
	defer func() { _ = conn.Close() }()
	stream, err := pb.NewSessionCryptoServiceClient(conn).Transport(k.ctx)
	if err != nil {
		return howItEnded(err)
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		k.write(stream)
	}()
	err = k.read(stream)
	k.cancel()
	<-written
	return howItEnded(err)
}

// write sends what is due, as far as the stream takes it. How a stream ended, the reading pump knows.
func (k *link) write(stream pb.SessionCryptoService_TransportClient) {
	number := uint64(0)
	for {
		for {
			message := k.next(&number)
			if len(message.GetBatches()) == 0 {
				break
			}
			if stream.Send(message) != nil {
				return
			}
		}
		if k.isDraining() {
			// The service ends the stream once everything that it has read is answered.
			_ = stream.CloseSend()
			return
		}
		select {
		case <-k.woken:
		case <-k.ctx.Done():
			return
		}
	}
}

// next is the batches that are due, as one message: it costs both sides hardly more than one of them alone.
func (k *link) next(number *uint64) *pb.TransportRequest {
	message := &pb.TransportRequest{}
	for size := 0; size < joinedBytes && k.hasRoom(); {
		b := k.line.take(k)
		if b == nil {
			break
		}
		*number++
		message.Batches = append(message.Batches, b.request(*number))
		size += b.size
		k.mu.Lock()
		k.unanswered[*number] = b
		k.mu.Unlock()
	}
	return message
}

func (k *link) hasRoom() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return !k.draining && len(k.unanswered) < maxUnanswered
}

func (k *link) isDraining() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.draining
}

// read takes every answer, until the stream ends.
func (k *link) read(stream pb.SessionCryptoService_TransportClient) error {
	for {
		response, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, answer := range response.GetAnswers() {
			k.settle(answer)
		}
		if response.GetDraining() != nil {
			k.mu.Lock()
			k.draining = true
			k.mu.Unlock()
			k.line.draining(k)
		}
		k.wake()
	}
}

func (k *link) settle(answer *pb.TransportAnswer) {
	number := answer.GetCorrelationId()
	k.mu.Lock()
	settled := k.unanswered[number]
	delete(k.unanswered, number)
	k.mu.Unlock()
	if settled == nil {
		return
	}
	if refused := answer.GetRefused(); refused != nil {
		k.line.refused(settled, fromRefused(refused))
		return
	}
	k.line.answered()
	settled.answered(answer)
}

// howItEnded: a connection that is gone is one thing, however gRPC names it.
func howItEnded(err error) *Error {
	if errors.Is(err, io.EOF) {
		return &Error{Code: codes.Unavailable, Message: "the service ended the stream"}
	}
	why := fromError(err)
	switch why.Code {
	case codes.Internal, codes.Canceled, codes.Unknown:
		if why.Reason == "" {
			why.Code = codes.Unavailable
		}
	}
	return why
}
