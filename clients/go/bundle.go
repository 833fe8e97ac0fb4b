package noisegate

import (
	"context"
	"sync/atomic"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// batchKind says what may stand together in one batch.
type batchKind int

const (
	// seal, DATAGRAM: whoever seals again gets another counter, so a repeat needs no request_id and nothing kept for it.
	seal batchKind = iota
	// sealInTurn, NOISE: the counter travels with nobody. Sealed once, by a request_id.
	sealInTurn
	// open: opened once, by a request_id; a second time it would be a replay.
	open
	// complete: a batch that was one call from the beginning. Nothing is added to it.
	complete
	batchKinds
)

// waiting is one call that waits for its result.
type waiting struct {
	item item
	done chan result // takes one
	// gone: nobody waits any more.
	gone atomic.Bool
	// refused is why the last attempt was in vain.
	refused atomic.Pointer[Error]
}

func (w *waiting) settle(r result) {
	select {
	case w.done <- r:
	default:
	}
}

// result waits for what becomes of a call, no longer than its context.
func (w *waiting) result(ctx context.Context) result {
	select {
	case settled := <-w.done:
		return settled
	case <-ctx.Done():
	}
	w.gone.Store(true)
	ended := fromError(ctx.Err())
	if why := w.refused.Load(); why != nil && ended.Code == codes.DeadlineExceeded {
		ended = why // it was waiting to go again
	}
	return result{err: ended}
}

// bundle is one batch, from its first call to its answer. It belongs to its line's mutex until a link has taken it, and to
// that link then.
type bundle struct {
	kind     batchKind
	calls    []*waiting
	size     int
	due      bool
	attempts int // as the policy counts them
	body     *pb.TransportBatch
}

// completeBundle carries a batch for the one call that made it.
func completeBundle(body *pb.TransportBatch, call *waiting) *bundle {
	return &bundle{kind: complete, calls: []*waiting{call}, size: proto.Size(body), due: true, body: body}
}

func (b *bundle) add(call *waiting) {
	b.calls = append(b.calls, call)
	b.size += call.item.size()
}

// wanted tells whether a call still waits for it.
func (b *bundle) wanted() bool {
	for _, call := range b.calls {
		if !call.gone.Load() {
			return true
		}
	}
	return false
}

// request makes the message that carries it. A repeat has the same request_id and the same items, where it has one at all.
func (b *bundle) request(number uint64) *pb.TransportBatch {
	if b.body == nil || b.kind == seal {
		// What nobody waits for any more is not sent: in NOISE mode it would cost a counter, and so the session.
		waits := b.calls[:0]
		for _, call := range b.calls {
			if !call.gone.Load() {
				waits = append(waits, call)
			}
		}
		b.calls = waits
		b.body = b.made()
	}
	b.body.CorrelationId = number
	return b.body
}

func (b *bundle) items() []item {
	items := make([]item, len(b.calls))
	for n, call := range b.calls {
		items[n] = call.item
	}
	return items
}

func (b *bundle) made() *pb.TransportBatch {
	switch b.kind {
	case seal:
		return &pb.TransportBatch{Batch: &pb.TransportBatch_Encrypt{Encrypt: encryptBatchOf(b.items(), "")}}
	case sealInTurn:
		return &pb.TransportBatch{Batch: &pb.TransportBatch_Encrypt{Encrypt: encryptBatchOf(b.items(), newRequestID())}}
	default:
		return &pb.TransportBatch{Batch: &pb.TransportBatch_Decrypt{Decrypt: decryptBatchOf(b.items(), newRequestID())}}
	}
}

// answered hands out the results.
func (b *bundle) answered(answer *pb.TransportAnswer) {
	var results []result
	var err error
	if b.kind == complete {
		results = []result{{batch: answer}}
	} else if b.kind == open {
		results, err = openedItems(answer.GetDecrypt(), b.items())
	} else {
		results, err = sealedItems(answer.GetEncrypt(), len(b.calls))
	}
	if err != nil {
		b.fail(err)
		return
	}
	for n, call := range b.calls {
		call.settle(results[n])
	}
}

// fail ends every call that still waits.
func (b *bundle) fail(err error) {
	for _, call := range b.calls {
		call.settle(result{err: err})
	}
}

// inVain remembers why an attempt was.
func (b *bundle) inVain(why *Error) {
	for _, call := range b.calls {
		call.refused.Store(why)
	}
}
