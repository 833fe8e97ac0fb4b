package noisegate

import (
	"bytes"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/grpc/codes"
)

const (
	sessionIDBytes = 24
	maxBatchItems  = 1_024
	maxBatchBytes  = 1_310_720
)

// item is one of a batch: a plaintext to seal or a record to open.
type item struct {
	sessionID      []byte
	body           []byte
	associatedData []byte
}

// size counts against a batch's limit of bytes.
func (i item) size() int { return len(i.body) + len(i.associatedData) }

// result is what became of one item, in sealed or in opened, as was asked; or of a whole batch.
type result struct {
	sealed Sealed
	opened Opened
	batch  *pb.TransportAnswer
	err    error
}

// packed is how both requests have their items: one behind the other, neighbours of one session under one id.
type packed struct {
	ids, bodies, associatedData       []byte
	counts, lengths, associatedDataAt []uint32
}

func pack(items []item) packed {
	var p packed
	total, beside := 0, 0
	for _, each := range items {
		total += len(each.body)
		beside += len(each.associatedData)
	}
	p.bodies = make([]byte, 0, total)
	p.lengths = make([]uint32, 0, len(items))
	var last []byte
	for _, each := range items {
		if last != nil && bytes.Equal(last, each.sessionID) {
			p.counts[len(p.counts)-1]++
		} else {
			last = each.sessionID
			p.ids = append(p.ids, last...)
			p.counts = append(p.counts, 1)
		}
		p.lengths = append(p.lengths, uint32(len(each.body)))
		p.bodies = append(p.bodies, each.body...)
		if beside > 0 {
			p.associatedDataAt = append(p.associatedDataAt, uint32(len(each.associatedData)))
			p.associatedData = append(p.associatedData, each.associatedData...)
		}
	}
	if len(p.counts) == len(items) {
		p.counts = nil // one each
	}
	return p
}

func encryptBatchOf(items []item, requestID string) *pb.EncryptBatchRequest {
	p := pack(items)
	return &pb.EncryptBatchRequest{
		SessionIds: p.ids, RequestId: requestID, Counts: p.counts, Lengths: p.lengths, Plaintexts: p.bodies,
		AssociatedDataLengths: p.associatedDataAt, AssociatedData: p.associatedData,
	}
}

func decryptBatchOf(items []item, requestID string) *pb.DecryptBatchRequest {
	p := pack(items)
	return &pb.DecryptBatchRequest{
		SessionIds: p.ids, RequestId: requestID, Counts: p.counts, Lengths: p.lengths, Ciphertexts: p.bodies,
		AssociatedDataLengths: p.associatedDataAt, AssociatedData: p.associatedData,
	}
}

// sealedBatch is what EncryptBatchResponse and BroadcastResponse have in common.
type sealedBatch interface {
	GetCiphertexts() []byte
	GetLengths() []uint32
	GetCounters() []uint64
	GetEpochs() []uint32
	GetRotationDue() []uint32
	GetErrors() []*pb.ItemError
	GetToPeer() []*pb.ItemMessages
}

// sealedItems gives a result for each of count items; an error where the answer is not whole.
func sealedItems(answer sealedBatch, count int) ([]result, error) {
	records, err := cut(answer.GetCiphertexts(), answer.GetLengths(), count)
	if err != nil {
		return nil, err
	}
	counters, epochs := answer.GetCounters(), answer.GetEpochs()
	if !isColumn(len(counters), count) || !isColumn(len(epochs), count) {
		return nil, notWhole("a result for each item")
	}
	results := make([]result, count)
	for n := range results {
		results[n].sealed = Sealed{Packet: records[n], Counter: at(counters, n), Epoch: at(epochs, n)}
	}
	err = sparse(count, answer.GetRotationDue(), index, func(n int, _ uint32) { results[n].sealed.RotationDue = true })
	err = first(err, sparse(count, answer.GetToPeer(), (*pb.ItemMessages).GetIndex, func(n int, each *pb.ItemMessages) {
		results[n].sealed.ToPeer = each.GetToPeer()
	}))
	err = first(err, sparse(count, answer.GetErrors(), (*pb.ItemError).GetIndex, func(n int, each *pb.ItemError) {
		results[n] = result{err: fromItem(each)}
	}))
	return results, err
}

// openedItems likewise; a packet that was refused is a result.
func openedItems(answer *pb.DecryptBatchResponse, items []item) ([]result, error) {
	count := len(items)
	plaintexts, err := cut(answer.GetPlaintexts(), answer.GetLengths(), count)
	if err != nil {
		return nil, err
	}
	counters, epochs, newest := answer.GetCounters(), answer.GetEpochs(), answer.GetNewest()
	if !isColumn(len(counters), count) || !isColumn(len(epochs), count) || !isColumn(len(newest), count) {
		return nil, notWhole("a result for each item")
	}
	results := make([]result, count)
	for n := range results {
		results[n].opened = Opened{
			SessionID: items[n].sessionID, Plaintext: plaintexts[n], HasPlaintext: true,
			Counter: at(counters, n), Epoch: at(epochs, n), Newest: at(newest, n) == 1,
		}
	}
	err = sparse(count, answer.GetRotationDue(), index, func(n int, _ uint32) { results[n].opened.RotationDue = true })
	err = first(err, sparse(count, answer.GetEarly(), index, func(n int, _ uint32) { results[n].opened.Early = true }))
	err = first(err, sparse(count, answer.GetToPeer(), (*pb.ItemMessages).GetIndex, func(n int, each *pb.ItemMessages) {
		results[n].opened.ToPeer = each.GetToPeer()
	}))
	err = first(err, sparse(count, answer.GetControls(), (*pb.ItemControl).GetIndex, func(n int, each *pb.ItemControl) {
		opened := &results[n].opened
		opened.HasPlaintext, opened.Plaintext = false, nil
		opened.Control, opened.Answered = each.GetKind(), each.GetAnswered()
	}))
	err = first(err, sparse(count, answer.GetErrors(), (*pb.ItemError).GetIndex, func(n int, each *pb.ItemError) {
		opened, refused := asResult(items[n].sessionID, fromItem(each))
		results[n] = result{opened: opened, err: refused}
	}))
	return results, err
}

func index(n uint32) uint32 { return n }

// sparse visits what only some items have.
func sparse[T any](count int, values []T, index func(T) uint32, visit func(int, T)) error {
	for _, value := range values {
		n := index(value)
		if int64(n) >= int64(count) {
			return notWhole("items that were asked for")
		}
		visit(int(n), value)
	}
	return nil
}

// isColumn: a value for each item, or none at all, which stands for zeros.
func isColumn(length, count int) bool { return length == 0 || length == count }

func at[T any](column []T, n int) T {
	if len(column) == 0 {
		var zero T
		return zero
	}
	return column[n]
}

// cut gives each item its bytes. They share one array, but none can grow into its neighbour.
func cut(joined []byte, lengths []uint32, count int) ([][]byte, error) {
	if len(lengths) != count {
		return nil, notWhole("a length for each item")
	}
	pieces := make([][]byte, count)
	for n, length := range lengths {
		if int64(length) > int64(len(joined)) {
			return nil, notWhole("all bytes")
		}
		pieces[n], joined = joined[:length:length], joined[length:]
	}
	if len(joined) > 0 {
		return nil, notWhole("no bytes beside")
	}
	return pieces, nil
}

func first(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func notWhole(what string) error {
	return &Error{Code: codes.Internal, Message: "the answer does not have " + what}
}
