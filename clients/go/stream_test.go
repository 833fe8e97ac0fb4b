package noisegate_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	noisegate "github.com/noisegate/noisegate/clients/go"
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"github.com/noisegate/noisegate/clients/go/noisegatetest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

// counted counts the batches that go out on the client's streams.
func counted(batches, streams *atomic.Int64) noisegate.Option {
	return noisegate.WithDialOptions(grpc.WithStreamInterceptor(func(
		ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, next grpc.Streamer, options ...grpc.CallOption,
	) (grpc.ClientStream, error) {
		stream, err := next(ctx, desc, conn, method, options...)
		streams.Add(1)
		return countingStream{stream, batches}, err
	}))
}

type countingStream struct {
	grpc.ClientStream
	batches *atomic.Int64
}

func (s countingStream) SendMsg(message any) error {
	if request, is := message.(*pb.TransportRequest); is {
		s.batches.Add(int64(len(request.GetBatches())))
	}
	return s.ClientStream.SendMsg(message)
}

func TestCallsOfManySessionsTravelTogether(t *testing.T) {
	var batches, streams atomic.Int64
	policy := noisegate.DefaultPolicy
	policy.PacketDeadline = 10 * time.Second
	client := connect(t, noisegatetest.Start(t), noisegate.WithPolicy(policy), counted(&batches, &streams),
		noisegate.WithMultiplex(noisegate.Multiplex{Tick: 50 * time.Millisecond}))
	const sessions = 200
	var waits sync.WaitGroup
	var unknown atomic.Int64
	for n := range sessions {
		id := make([]byte, 24)
		id[0] = byte(n)
		session := client.Session(id, "", noisegate.ModeDatagram)
		waits.Go(func() {
			if _, err := session.Encrypt(context.Background(), []byte("six")); errors.Is(err, noisegate.ErrResumeNeeded) {
				unknown.Add(1)
			}
		})
	}
	waits.Wait()
	if unknown.Load() != sessions || streams.Load() != 1 || batches.Load() > sessions/10 {
		t.Fatalf("%d of %d answered, in %d batches on %d streams", unknown.Load(), sessions, batches.Load(), streams.Load())
	}
}

func TestAClosedClientLeavesNothingRunning(t *testing.T) {
	target := noisegatetest.Start(t)
	before := runtime.NumGoroutine()
	for range 5 {
		client, err := noisegate.Connect(target, noisegate.WithMultiplex(noisegate.Multiplex{}))
		if err != nil {
			t.Fatal(err)
		}
		session := client.Session(make([]byte, 24), "", noisegate.ModeDatagram)
		if _, err := session.Encrypt(t.Context(), nil); !errors.Is(err, noisegate.ErrResumeNeeded) {
			t.Fatal(err)
		}
		if _, err := client.Capabilities(t.Context()); err != nil {
			t.Fatal(err)
		}
		_ = client.Close()
	}
	// gRPC ends some of its own after Close has returned. What never ends is found by the test's deadline, with its stack.
	for runtime.NumGoroutine() > before {
		runtime.Gosched()
	}
}

// listening serves gRPC on a port of its own; handle answers every method.
func listening(t *testing.T, handle grpc.StreamHandler) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(grpc.UnknownServiceHandler(handle))
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)
	return listener.Addr().String()
}

func TestEachCallAndStreamAsksForItsToken(t *testing.T) {
	var asked atomic.Int64
	seen := make(chan string, 16)
	target := listening(t, func(_ any, stream grpc.ServerStream) error {
		carried, _ := metadata.FromIncomingContext(stream.Context())
		seen <- carried.Get("authorization")[0]
		return status.Error(codes.PermissionDenied, "no")
	})
	token := noisegate.WithToken(func(context.Context) (string, error) {
		return "token " + string('0'+rune(asked.Add(1))), nil
	})
	alone, together := connect(t, target, token), connect(t, target, token, noisegate.WithMultiplex(noisegate.Multiplex{}))
	for n, client := range []*noisegate.Client{alone, together} {
		session := client.Session(make([]byte, 24), "", noisegate.ModeDatagram)
		if _, err := session.Encrypt(t.Context(), nil); status.Code(err) != codes.PermissionDenied {
			t.Fatal(err)
		}
		if got, want := <-seen, "Bearer token "+string('1'+rune(n)); got != want {
			t.Fatal(got, want)
		}
	}
}

func TestABatchOfTheGamesOwnIsOneBatchOfTheStream(t *testing.T) {
	var batches, streams atomic.Int64
	alone := noisegate.WithDialOptions(grpc.WithUnaryInterceptor(func(
		_ context.Context, method string, _, _ any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption,
	) error {
		return status.Error(codes.Unimplemented, method+" does not travel alone")
	}))
	client := connect(t, noisegatetest.Start(t), noisegate.WithPolicy(patient), counted(&batches, &streams), alone,
		noisegate.WithMultiplex(noisegate.Multiplex{Tick: 100 * time.Millisecond}))
	known := func(n byte) *noisegate.Session {
		return client.Session(append(make([]byte, 23), n), "", noisegate.ModeDatagram)
	}
	items := []noisegate.Item{{Session: known(1), Body: []byte("a")}, {Session: known(2), Body: []byte("b")}}
	sealed, opened := client.EncryptBatch(t.Context(), items), client.DecryptBatch(t.Context(), items)
	sent := client.Broadcast(t.Context(), []*noisegate.Session{items[0].Session, items[1].Session}, []byte("all"), nil)
	for n := range items {
		for _, err := range []error{sealed[n].Err, opened[n].Err, sent[n].Err} {
			if !errors.Is(err, noisegate.ErrResumeNeeded) {
				t.Fatal(n, err)
			}
		}
		if !items[n].Session.Ended() {
			t.Fatal("the handle of a lost session does not know it")
		}
	}
	if streams.Load() != 1 || batches.Load() != 3 {
		t.Fatalf("%d batches on %d streams", batches.Load(), streams.Load())
	}
}
