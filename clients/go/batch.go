package noisegate

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// An Item is one of a batch: a plaintext to seal or a packet to open, and the session that it is for.
type Item struct {
	Session        *Session
	Body           []byte
	AssociatedData []byte
}

// A SealedItem is what Encrypt would have given for an item.
type SealedItem struct {
	Sealed
	Err error
}

// An OpenedItem is what Decrypt would have given for an item; a refused packet is in Refused, not in Err.
type OpenedItem struct {
	Opened
	Err error
}

// EncryptBatch seals many plaintexts, of one session or of many, in few calls. There is a result for each item, in their
// order: an item that is refused leaves the others as they are, and a call that fails is the error of its items.
func (c *Client) EncryptBatch(ctx context.Context, items []Item) []SealedItem {
	sealID := c.sealID(items)
	results := c.inParts(ctx, items, sending, func(ctx context.Context, endpoint string, part []item) ([]result, error) {
		request := &pb.TransportBatch_Encrypt{Encrypt: encryptBatchOf(part, sealID())}
		answer, err := c.askBatch(ctx, endpoint, &pb.TransportBatch{Batch: request})
		if err != nil {
			return nil, err
		}
		return sealedItems(answer.GetEncrypt(), len(part))
	})
	return sealedResults(items, results)
}

// DecryptBatch opens many packets, likewise.
func (c *Client) DecryptBatch(ctx context.Context, items []Item) []OpenedItem {
	results := c.inParts(ctx, items, receiving, func(ctx context.Context, endpoint string, part []item) ([]result, error) {
		request := &pb.TransportBatch_Decrypt{Decrypt: decryptBatchOf(part, newRequestID())}
		answer, err := c.askBatch(ctx, endpoint, &pb.TransportBatch{Batch: request})
		if err != nil {
			return nil, err
		}
		return openedItems(answer.GetDecrypt(), part)
	})
	opened := make([]OpenedItem, len(items))
	for n, each := range results {
		opened[n] = OpenedItem{each.opened, items[n].Session.noticed(each.err)}
		items[n].Session.noticeClose(each.opened)
		items[n].Session.hand(&opened[n].ToPeer)
	}
	return opened
}

// Broadcast seals one plaintext for every session of a room, in their order.
func (c *Client) Broadcast(ctx context.Context, sessions []*Session, plaintext, associatedData []byte) []SealedItem {
	items := make([]Item, len(sessions))
	for n, session := range sessions {
		items[n] = Item{Session: session, Body: plaintext, AssociatedData: associatedData}
	}
	sealID := c.sealID(items)
	// Copied: a call that ends early gives its buffers back while its batch may yet be written.
	plaintext, associatedData = bytes.Clone(plaintext), bytes.Clone(associatedData)
	results := c.inParts(ctx, items, sending, func(ctx context.Context, endpoint string, part []item) ([]result, error) {
		request := &pb.BroadcastRequest{RequestId: sealID(), Plaintext: plaintext, AssociatedData: associatedData}
		for _, each := range part {
			request.SessionIds = append(request.SessionIds, each.sessionID...)
		}
		body := &pb.TransportBatch{Batch: &pb.TransportBatch_Broadcast{Broadcast: request}}
		answer, err := c.askBatch(ctx, endpoint, body)
		if err != nil {
			return nil, err
		}
		return sealedItems(answer.GetBroadcast(), len(part))
	})
	return sealedResults(items, results)
}

func sealedResults(items []Item, results []result) []SealedItem {
	sealed := make([]SealedItem, len(items))
	for n, each := range results {
		sealed[n] = SealedItem{each.sealed, items[n].Session.noticed(each.err)}
		items[n].Session.hand(&sealed[n].ToPeer)
	}
	return sealed
}

// askBatch asks for one batch: over the stream where packets travel together, else by a call of its own.
func (c *Client) askBatch(ctx context.Context, endpoint string, body *pb.TransportBatch) (*pb.TransportAnswer, error) {
	if c.multiplex != nil {
		return c.multiplex.carry(ctx, endpoint, body)
	}
	switch asked := body.GetBatch().(type) {
	case *pb.TransportBatch_Encrypt:
		answer := &pb.EncryptBatchResponse{}
		_, err := c.calls.ask(ctx, encryptBatch, endpoint, asked.Encrypt, answer)
		return given(&pb.TransportAnswer{Answer: &pb.TransportAnswer_Encrypt{Encrypt: answer}}, err)
	case *pb.TransportBatch_Decrypt:
		answer := &pb.DecryptBatchResponse{}
		_, err := c.calls.ask(ctx, decryptBatch, endpoint, asked.Decrypt, answer)
		return given(&pb.TransportAnswer{Answer: &pb.TransportAnswer_Decrypt{Decrypt: answer}}, err)
	default:
		answer := &pb.BroadcastResponse{}
		_, err := c.calls.ask(ctx, broadcast, endpoint, body.GetBroadcast(), answer)
		return given(&pb.TransportAnswer{Answer: &pb.TransportAnswer_Broadcast{Broadcast: answer}}, err)
	}
}

// sealID makes the request_id of each batch to seal. On a stream DATAGRAM plaintexts have none, see seal.
func (c *Client) sealID(items []Item) func() string {
	inTurn := func(each Item) bool { return each.Session.turns != nil }
	if c.multiplex != nil && !slices.ContainsFunc(items, inTurn) {
		return func() string { return "" }
	}
	return newRequestID
}

type asking func(ctx context.Context, endpoint string, part []item) ([]result, error)

// inParts asks for all items, the endpoints side by side. What fits into no one call goes in several, one after the other:
// parts may have items of the same session, whose order is kept.
func (c *Client) inParts(ctx context.Context, items []Item, way direction, ask asking) []result {
	results := make([]result, len(items))
	release, err := takeTurns(ctx, items, way)
	if err != nil {
		for n := range results {
			results[n].err = err
		}
		return results
	}
	defer release()
	byEndpoint := map[string][]int{}
	whole := make([]item, len(items))
	for n, each := range items {
		known := each.Session.known()
		if len(known.id) != sessionIDBytes {
			results[n].err = errNoID
			continue
		}
		whole[n] = item{known.id, each.Body, each.AssociatedData}
		byEndpoint[known.endpoint] = append(byEndpoint[known.endpoint], n)
	}
	var asked sync.WaitGroup
	for endpoint, numbers := range byEndpoint {
		asked.Go(func() {
			for len(numbers) > 0 {
				part := fitting(whole, numbers)
				for n, each := range answered(ctx, endpoint, whole, numbers[:part], ask) {
					results[numbers[n]] = each
				}
				numbers = numbers[part:]
			}
		})
	}
	asked.Wait()
	return results
}

// errNoID: in a batch an id of another length would shift those behind it.
var errNoID = errors.New("noisegate: a session in a batch has an id of 24 bytes")

func answered(ctx context.Context, endpoint string, whole []item, numbers []int, ask asking) []result {
	part := make([]item, len(numbers))
	for n, number := range numbers {
		part[n] = whole[number]
	}
	results, err := ask(ctx, endpoint, part)
	if err != nil {
		results = slices.Repeat([]result{{err: err}}, len(part))
	}
	return results
}

// fitting is how many of these items one call takes: at least one.
func fitting(whole []item, numbers []int) int {
	size := 0
	for n, number := range numbers {
		size += whole[number].size()
		if n > 0 && (n == maxBatchItems || size > maxBatchBytes) {
			return n
		}
	}
	return len(numbers)
}

// takeTurns takes those of all sessions, in the order of their ids, so that two batches cannot wait for each other.
func takeTurns(ctx context.Context, items []Item, way direction) (func(), error) {
	sessions := make([]*Session, 0, len(items))
	for _, each := range items {
		if each.Session.turns != nil {
			sessions = append(sessions, each.Session)
		}
	}
	slices.SortFunc(sessions, func(a, b *Session) int { return bytes.Compare(a.known().id, b.known().id) })
	var releases []func()
	release := func() {
		for _, each := range releases {
			each()
		}
	}
	taken := make(map[*Session]bool, len(sessions))
	for _, session := range sessions {
		if taken[session] {
			continue
		}
		taken[session] = true
		one, err := session.turns.take(ctx, way)
		if err != nil {
			release()
			return nil, err
		}
		releases = append(releases, one)
	}
	return release, nil
}
