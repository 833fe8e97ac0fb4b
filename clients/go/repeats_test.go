package noisegate_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	noisegate "github.com/noisegate/noisegate/clients/go"
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// patient has no deadline that a loaded machine could pass, and hardly any back-off.
var patient = noisegate.Policy{
	PacketDeadline: 20 * time.Second, ControlDeadline: 20 * time.Second, Attempts: 5,
	FirstBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond,
}

// aRestart is more attempts than the policy has for a service that is there.
const aRestart = 9

// away is how calls fail while an instance stops, is gone, and starts.
func away() map[string]error {
	return map[string]error{
		"nobody is there":         status.Error(codes.Unavailable, "connection refused"),
		"the instance drains":     refusal(codes.Unavailable, noisegate.ReasonDraining),
		"a stop cancels its work": status.Error(codes.Canceled, "CANCELLED"),
	}
}

func refusal(code codes.Code, reason noisegate.Reason) error {
	detailed, err := status.New(code, "no").WithDetails(&errdetails.ErrorInfo{Domain: "noisegate", Reason: string(reason)})
	if err != nil {
		panic(err)
	}
	return detailed.Err()
}

func handleAt(t *testing.T, target string, options ...noisegate.Option) *noisegate.Session {
	t.Helper()
	options = append([]noisegate.Option{noisegate.WithPolicy(patient)}, options...)
	return connect(t, target, options...).Session(make([]byte, 24), "", noisegate.ModeDatagram)
}

// failing refuses so many calls of Encrypt, and seals afterwards.
func failing(t *testing.T, calls *atomic.Int64, times int64, refused error) string {
	return listening(t, func(_ any, stream grpc.ServerStream) error {
		request := &pb.EncryptRequest{}
		if err := stream.RecvMsg(request); err != nil {
			return err
		}
		if calls.Add(1) <= times {
			return refused
		}
		return stream.SendMsg(&pb.EncryptResponse{Ciphertext: request.GetPlaintext()})
	})
}

func TestARepeatHasTheSameRequestID(t *testing.T) {
	var ids []string
	target := listening(t, func(_ any, stream grpc.ServerStream) error {
		request := &pb.EncryptRequest{}
		if err := stream.RecvMsg(request); err != nil {
			return err
		}
		if ids = append(ids, request.GetRequestId()); len(ids) < 3 {
			return status.Error(codes.Unavailable, "not now")
		}
		return stream.SendMsg(&pb.EncryptResponse{Ciphertext: []byte("sealed")})
	})
	policy := noisegate.DefaultPolicy
	policy.PacketDeadline = 10 * time.Second
	session := connect(t, target, noisegate.WithPolicy(policy)).Session(make([]byte, 24), "", noisegate.ModeDatagram)
	sealed, err := session.Encrypt(t.Context(), []byte("six"))
	if err != nil || string(sealed.Packet) != "sealed" {
		t.Fatal(err)
	}
	if len(ids) != 3 || ids[0] == "" || ids[0] != ids[1] || ids[1] != ids[2] {
		t.Fatal(ids)
	}
	if _, err := session.Encrypt(t.Context(), []byte("six")); err != nil || ids[3] == ids[0] {
		t.Fatal("another call has another id", err, ids)
	}
}

func TestAnInstanceThatIsAwayIsAskedUntilTheDeadline(t *testing.T) {
	for how, refused := range away() {
		t.Run(how, func(t *testing.T) {
			var calls atomic.Int64
			sealed, err := handleAt(t, failing(t, &calls, aRestart, refused)).Encrypt(t.Context(), []byte("six"))
			if err != nil || string(sealed.Packet) != "six" || calls.Load() != aRestart+1 {
				t.Fatal(err, calls.Load())
			}
		})
	}
}

func TestTheDeadlineEndsTheRepeats(t *testing.T) {
	var calls atomic.Int64
	slower := patient
	slower.FirstBackoff, slower.MaxBackoff = 10*time.Millisecond, 10*time.Millisecond
	target := failing(t, &calls, 1<<40, status.Error(codes.Unavailable, "gone"))
	session := handleAt(t, target, noisegate.WithPolicy(slower))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := session.Encrypt(ctx, nil)
	if code := status.Code(err); code != codes.Unavailable && code != codes.DeadlineExceeded || calls.Load() <= int64(patient.Attempts) {
		t.Fatal(err, calls.Load())
	}
}

func TestAServiceThatIsThereAndRefusesIsAskedABoundedNumberOfTimes(t *testing.T) {
	for reason, attempts := range map[noisegate.Reason]int64{noisegate.ReasonOverloaded: 5, noisegate.ReasonInternal: 1} {
		code := map[bool]codes.Code{true: codes.Unavailable, false: codes.Internal}[attempts > 1]
		var calls atomic.Int64
		_, err := handleAt(t, failing(t, &calls, 1<<40, refusal(code, reason))).Encrypt(t.Context(), nil)
		if !errors.Is(err, reason) || calls.Load() != attempts {
			t.Fatal(err, calls.Load())
		}
	}
}

func TestWhoWantsNoRepeatsGetsNone(t *testing.T) {
	for how, refused := range away() {
		var calls atomic.Int64
		once := patient
		once.Attempts = 1
		session := handleAt(t, failing(t, &calls, 1<<40, refused), noisegate.WithPolicy(once))
		if _, err := session.Encrypt(t.Context(), nil); status.Code(err) != status.Code(refused) || calls.Load() != 1 {
			t.Fatal(how, err, calls.Load())
		}
	}
}

func TestACancellationOfTheCallersOwnIsFinal(t *testing.T) {
	var calls atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	target := listening(t, func(_ any, stream grpc.ServerStream) error {
		calls.Add(1)
		cancel()
		<-stream.Context().Done()
		return stream.Context().Err()
	})
	if _, err := handleAt(t, target).Encrypt(ctx, nil); !errors.Is(err, context.Canceled) || calls.Load() != 1 {
		t.Fatal(err, calls.Load())
	}
}

// carrying answers batches of Transport as its script says; nil for an end of the stream, which is `ended`.
func carrying(t *testing.T, ended error, script func(*pb.TransportBatch) *pb.TransportAnswer) string {
	return listening(t, func(_ any, stream grpc.ServerStream) error {
		for {
			request := &pb.TransportRequest{}
			if err := stream.RecvMsg(request); err != nil {
				return err
			}
			for _, batch := range request.GetBatches() {
				answer := script(batch)
				if answer == nil {
					return ended
				}
				answer.CorrelationId = batch.GetCorrelationId()
				if err := stream.SendMsg(&pb.TransportResponse{Answers: []*pb.TransportAnswer{answer}}); err != nil {
					return err
				}
			}
		}
	})
}

// sealedOne is the answer to a batch of one plaintext.
func sealedOne() *pb.TransportAnswer {
	one := &pb.EncryptBatchResponse{Ciphertexts: []byte("six"), Lengths: []uint32{3}}
	return &pb.TransportAnswer{Answer: &pb.TransportAnswer_Encrypt{Encrypt: one}}
}

func TestAStreamToAnInstanceThatIsAwayIsOpenedUntilTheDeadline(t *testing.T) {
	for how, refused := range away() {
		t.Run(how, func(t *testing.T) {
			var batches atomic.Int64
			target := carrying(t, refused, func(*pb.TransportBatch) *pb.TransportAnswer {
				if batches.Add(1) <= aRestart {
					return nil
				}
				return sealedOne()
			})
			session := handleAt(t, target, noisegate.WithMultiplex(noisegate.Multiplex{}))
			if sealed, err := session.Encrypt(t.Context(), []byte("six")); err != nil || string(sealed.Packet) != "six" {
				t.Fatal(err)
			}
		})
	}
}

func TestABatchWhoseAnswerWasLostGoesAgain(t *testing.T) {
	// DATAGRAM plaintexts are sealed anew; what must happen once has a request_id.
	for mode, once := range map[pb.RecordMode]bool{noisegate.ModeDatagram: false, noisegate.ModeNoise: true} {
		var ids []string
		target := carrying(t, nil, func(batch *pb.TransportBatch) *pb.TransportAnswer {
			if ids = append(ids, batch.GetEncrypt().GetRequestId()); len(ids) == 1 {
				return nil
			}
			return sealedOne()
		})
		client := connect(t, target, noisegate.WithPolicy(patient), noisegate.WithMultiplex(noisegate.Multiplex{}))
		items := []noisegate.Item{{Session: client.Session(make([]byte, 24), "", mode), Body: []byte("six")}}
		sealed := client.EncryptBatch(t.Context(), items)
		if sealed[0].Err != nil || string(sealed[0].Packet) != "six" {
			t.Fatal(sealed[0].Err)
		}
		if len(ids) != 2 || ids[0] != ids[1] || (ids[0] != "") != once {
			t.Fatal(mode, ids)
		}
	}
}

func TestARefusedBatchIsRefusedForEachOfItsItems(t *testing.T) {
	// Where it may be luckier later it goes again, otherwise at once.
	refusals := []error{
		refusal(codes.Unavailable, noisegate.ReasonOverloaded), refusal(codes.InvalidArgument, noisegate.ReasonInvalidRequest),
	}
	var calls atomic.Int64
	target := carrying(t, nil, func(*pb.TransportBatch) *pb.TransportAnswer {
		said := status.Convert(refusals[calls.Add(1)-1])
		body, err := proto.Marshal(said.Proto())
		if err != nil {
			panic(err)
		}
		refused := &pb.TransportRefused{Code: uint32(said.Code()), Status: body}
		return &pb.TransportAnswer{Answer: &pb.TransportAnswer_Refused{Refused: refused}}
	})
	client := connect(t, target, noisegate.WithPolicy(patient), noisegate.WithMultiplex(noisegate.Multiplex{}))
	one, other := client.Session(make([]byte, 24), "", noisegate.ModeDatagram), client.Session(slices.Repeat([]byte{1}, 24), "", noisegate.ModeDatagram)
	for n, each := range client.Broadcast(t.Context(), []*noisegate.Session{one, other}, []byte("x"), nil) {
		if !errors.Is(each.Err, noisegate.ReasonInvalidRequest) {
			t.Fatal(n, each.Err)
		}
	}
	if calls.Load() != 2 {
		t.Fatal(calls.Load())
	}
}

func TestABatchWithoutAnAnswerEndsWithItsDeadlineOrItsClient(t *testing.T) {
	held := make(chan struct{}, 2) // the first batch may be over before there is a connection
	target := listening(t, func(_ any, stream grpc.ServerStream) error {
		for {
			if err := stream.RecvMsg(&pb.TransportRequest{}); err != nil {
				return err
			}
			held <- struct{}{}
		}
	})
	policy := patient
	policy.ControlDeadline = 100 * time.Millisecond
	client := connect(t, target, noisegate.WithPolicy(policy), noisegate.WithMultiplex(noisegate.Multiplex{}))
	room := []*noisegate.Session{client.Session(make([]byte, 24), "", noisegate.ModeDatagram)}
	if sent := client.Broadcast(t.Context(), room, []byte("x"), nil); !errors.Is(sent[0].Err, context.DeadlineExceeded) {
		t.Fatal("a batch has the deadline of its own call", sent[0].Err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error)
	go func() { ended <- client.Broadcast(ctx, room, []byte("x"), nil)[0].Err }()
	<-held
	_ = client.Close()
	if err := <-ended; !errors.Is(err, noisegate.ErrClosed) {
		t.Fatal(err)
	}
	if sent := client.Broadcast(t.Context(), room, []byte("x"), nil); !errors.Is(sent[0].Err, noisegate.ErrClosed) {
		t.Fatal(sent[0].Err)
	}
}
