package noisegate

import (
	"bytes"
	"errors"
	"testing"
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

func id(n byte) []byte { return bytes.Repeat([]byte{n}, sessionIDBytes) }

func TestNeighboursOfOneSessionStandUnderOneID(t *testing.T) {
	p := pack([]item{{id(1), []byte("a"), nil}, {id(1), nil, []byte("ad")}, {id(2), []byte("bc"), nil}, {id(1), []byte("d"), nil}})
	if !bytes.Equal(p.ids, bytes.Join([][]byte{id(1), id(2), id(1)}, nil)) || string(p.bodies) != "abcd" {
		t.Fatal(p)
	}
	want := packed{counts: []uint32{2, 1, 1}, lengths: []uint32{1, 0, 2, 1}, associatedDataAt: []uint32{0, 2, 0, 0}}
	for name, columns := range map[string][2][]uint32{
		"counts": {p.counts, want.counts}, "lengths": {p.lengths, want.lengths}, "beside": {p.associatedDataAt, want.associatedDataAt},
	} {
		if len(columns[0]) != len(columns[1]) {
			t.Fatal(name, columns)
		}
		for n := range columns[0] {
			if columns[0][n] != columns[1][n] {
				t.Fatal(name, columns)
			}
		}
	}
	if single := pack([]item{{id(1), nil, nil}, {id(2), nil, nil}}); single.counts != nil || single.associatedDataAt != nil {
		t.Fatal("what all have alike is left out")
	}
}

func TestEachItemGetsItsResult(t *testing.T) {
	items := []item{{sessionID: id(1)}, {sessionID: id(2)}, {sessionID: id(3)}, {sessionID: id(4)}}
	results, err := openedItems(&pb.DecryptBatchResponse{
		Plaintexts: []byte("hi"), Lengths: []uint32{2, 0, 0, 0}, Counters: []uint64{7, 0, 0, 0}, Newest: []byte{1, 0, 0, 0},
		Early: []uint32{0}, RotationDue: []uint32{0},
		Controls: []*pb.ItemControl{{Index: 1, Kind: pb.ControlKind_CONTROL_KIND_KEEP_ALIVE, Answered: []byte("token")}},
		ToPeer:   []*pb.ItemMessages{{Index: 1, ToPeer: [][]byte{[]byte("pong")}}},
		Errors: []*pb.ItemError{
			{Index: 2, Code: 3, Reason: pb.ErrorReason_ERROR_REASON_DECRYPT_FAILED},
			{Index: 3, Code: 5, Reason: pb.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND},
		},
	}, items)
	if err != nil {
		t.Fatal(err)
	}
	data, control, forged, lost := results[0].opened, results[1].opened, results[2], results[3]
	if string(data.Plaintext) != "hi" || !data.HasPlaintext || data.Counter != 7 || !data.Newest || !data.Early || !data.RotationDue {
		t.Error(data)
	}
	if control.HasPlaintext || control.Plaintext != nil || string(control.Answered) != "token" || len(control.ToPeer) != 1 {
		t.Error(control)
	}
	if forged.err != nil || forged.opened.Refused != ReasonDecryptFailed || forged.opened.HasPlaintext {
		t.Error(forged)
	}
	if !errors.Is(lost.err, ErrResumeNeeded) || lost.opened.HasPlaintext {
		t.Error(lost)
	}
}

func TestAnAnswerThatIsNotWholeIsAnErrorAndNoPanic(t *testing.T) {
	items := []item{{sessionID: id(1)}, {sessionID: id(2)}}
	whole := func() *pb.DecryptBatchResponse {
		return &pb.DecryptBatchResponse{Plaintexts: []byte("ab"), Lengths: []uint32{1, 1}}
	}
	if _, err := openedItems(whole(), items); err != nil {
		t.Fatal(err)
	}
	for name, spoil := range map[string]func(*pb.DecryptBatchResponse){
		"no length":         func(a *pb.DecryptBatchResponse) { a.Lengths = a.Lengths[:1] },
		"too few bytes":     func(a *pb.DecryptBatchResponse) { a.Lengths[1] = 2 },
		"a byte too many":   func(a *pb.DecryptBatchResponse) { a.Lengths[1] = 0 },
		"a huge length":     func(a *pb.DecryptBatchResponse) { a.Lengths[0] = 1<<32 - 1 },
		"a counter alone":   func(a *pb.DecryptBatchResponse) { a.Counters = []uint64{1} },
		"newest of three":   func(a *pb.DecryptBatchResponse) { a.Newest = make([]byte, 3) },
		"an error past end": func(a *pb.DecryptBatchResponse) { a.Errors = []*pb.ItemError{{Index: 2}} },
		"early past end":    func(a *pb.DecryptBatchResponse) { a.Early = []uint32{1<<32 - 1} },
	} {
		answer := whole()
		spoil(answer)
		if _, err := openedItems(answer, items); err == nil {
			t.Error(name)
		}
	}
}

func TestPiecesCannotGrowIntoTheirNeighbours(t *testing.T) {
	pieces, err := cut([]byte("abcd"), []uint32{2, 2}, 2)
	if err != nil {
		t.Fatal(err)
	}
	_ = append(pieces[0], 'X')
	if string(pieces[1]) != "cd" {
		t.Fatal(string(pieces[1]))
	}
}

func TestACallTakesAtMostItsLimits(t *testing.T) {
	items := make([]item, maxBatchItems+1)
	numbers := make([]int, len(items))
	for n := range numbers {
		numbers[n] = n
	}
	if n := fitting(items, numbers); n != maxBatchItems {
		t.Error(n)
	}
	items[0].body, items[1].body, items[2].associatedData = make([]byte, maxBatchBytes-1), make([]byte, 1), make([]byte, 1)
	if n := fitting(items, numbers); n != 2 {
		t.Error(n)
	}
	items[0].body = make([]byte, maxBatchBytes+1) // the service refuses it, and says why
	if n := fitting(items, numbers); n != 1 {
		t.Error(n)
	}
}

func TestBackoffDoublesUpToItsMost(t *testing.T) {
	p := DefaultPolicy
	for repeat, want := range []time.Duration{25, 50, 100, 200, 400, 500, 500} {
		if least, most := p.delay(repeat, 0, 0), p.delay(repeat, 1, time.Second); least != want*time.Millisecond/2 ||
			most != want*time.Millisecond+time.Second {
			t.Error(repeat, least, most)
		}
	}
}
