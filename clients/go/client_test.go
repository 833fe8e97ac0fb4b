package noisegate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	noisegate "github.com/noisegate/noisegate/clients/go"
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"github.com/noisegate/noisegate/clients/go/noisegatetest"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func connect(t *testing.T, target string, options ...noisegate.Option) *noisegate.Client {
	t.Helper()
	client, err := noisegate.Connect(target, options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func initiate(t *testing.T, client *noisegate.Client) *noisegate.Session {
	t.Helper()
	session, err := client.Initiate(t.Context(), &pb.InitiateHandshake{
		Mode: noisegate.ModeNoise, Protocol: &pb.Protocol{Pattern: noisegate.PatternXX, Suite: noisegate.SuiteChaCha}, PeerId: "ann",
	})
	if err != nil {
		t.Fatal(err)
	}
	// Otherwise the next one of the same player would be over its quota.
	t.Cleanup(func() { _, _ = session.Close(context.Background()) })
	return session
}

// One service for all, since each start costs the better part of a second.
func TestAgainstARunningService(t *testing.T) {
	target := noisegatetest.Start(t)
	t.Run("capabilities name the static key", func(t *testing.T) {
		capabilities, err := connect(t, target).Capabilities(t.Context())
		if err != nil || len(capabilities.GetStaticKey()) != 32 {
			t.Fatal(capabilities, err)
		}
	})
	t.Run("a refusal has its reason, for errors.Is and errors.As", func(t *testing.T) {
		_, err := connect(t, target).Respond(t.Context(), &pb.RespondHandshake{
			Mode:     noisegate.ModeNoise,
			Protocol: &pb.Protocol{Pattern: noisegate.PatternXX, Suite: noisegate.SuiteChaCha},
			Message:  []byte("no handshake"),
		})
		var refused *noisegate.Error
		if !errors.As(err, &refused) || refused.Code != codes.InvalidArgument || status.Code(err) != codes.InvalidArgument {
			t.Fatal(err)
		}
		if !errors.Is(err, noisegate.ReasonHandshakeFailed) || errors.Is(err, noisegate.ReasonDecryptFailed) {
			t.Fatal(err)
		}
	})
	t.Run("a session that is unknown needs a resume, and its handle knows that it is over", func(t *testing.T) {
		session := connect(t, target).Session(make([]byte, 24), "", noisegate.ModeNoise)
		if _, err := session.Encrypt(t.Context(), nil); !errors.Is(err, noisegate.ErrResumeNeeded) || !session.Ended() {
			t.Fatal(err, session)
		}
	})
	t.Run("what is for the player goes to the hook alone", func(t *testing.T) {
		var sent [][]byte
		client := connect(t, target, noisegate.WithOnSend(func(session *noisegate.Session, messages [][]byte) {
			if session.PeerID() == "ann" {
				sent = append(sent, messages...)
			}
		}))
		session := initiate(t, client)
		if len(sent) != 1 || len(sent[0]) != 32 || len(session.ToPeer()) != 0 {
			t.Fatal(sent, session.ToPeer())
		}
	})
	t.Run("a session lives at an endpoint, and listing finds it", func(t *testing.T) {
		client := connect(t, target)
		session := initiate(t, client)
		if session.Endpoint() != target {
			t.Fatal(session.Endpoint())
		}
		found := 0
		for described, err := range client.Sessions(t.Context(), "", &pb.ListSessionsRequest{PeerId: "ann", PageSize: 1}) {
			if err != nil {
				t.Fatal(err)
			}
			if string(described.GetSessionId()) == string(session.ID()) {
				found++
			}
		}
		if found != 1 {
			t.Fatal(found)
		}
		if _, err := session.Close(t.Context()); err != nil || !session.Ended() {
			t.Fatal(err)
		}
	})
	t.Run("a watch begins with Watching, and ends with the loop", func(t *testing.T) {
		for told, err := range connect(t, target).Watch(t.Context(), "", &pb.WatchSessionsRequest{}) {
			if err != nil || told.GetWatching() == nil {
				t.Fatal(told, err)
			}
			break
		}
	})
	t.Run("items of a batch fail one by one", func(t *testing.T) {
		client := connect(t, target)
		session := initiate(t, client)
		sealed := client.EncryptBatch(t.Context(), []noisegate.Item{
			{Session: session, Body: []byte("early")}, {Session: client.Session(make([]byte, 24), "", noisegate.ModeDatagram)},
		})
		if !errors.Is(sealed[0].Err, noisegate.ReasonNotEstablished) || !errors.Is(sealed[1].Err, noisegate.ErrResumeNeeded) {
			t.Fatal(sealed)
		}
	})
	t.Run("the multiplexer tells each call what became of it", func(t *testing.T) {
		client := connect(t, target, noisegate.WithMultiplex(noisegate.Multiplex{}))
		session := initiate(t, client)
		if _, err := session.Encrypt(t.Context(), nil); !errors.Is(err, noisegate.ReasonNotEstablished) {
			t.Fatal(err)
		}
	})
	t.Run("a closed client says so", func(t *testing.T) {
		for _, options := range [][]noisegate.Option{nil, {noisegate.WithMultiplex(noisegate.Multiplex{})}} {
			client := connect(t, target, options...)
			session := initiate(t, client)
			_ = client.Close()
			if _, err := session.Encrypt(t.Context(), nil); !errors.Is(err, noisegate.ErrClosed) {
				t.Fatal(err)
			}
		}
	})
	t.Run("a cancelled context ends a call that waits for its turn", func(t *testing.T) {
		session := initiate(t, connect(t, target))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := session.Encrypt(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	})
}

func TestPlaintextStaysOnThisMachine(t *testing.T) {
	token := noisegate.WithToken(func(context.Context) (string, error) { return "secret", nil })
	for target, options := range map[string][]noisegate.Option{
		"10.0.0.1:7443": nil, "example.com:7443": nil, "localhost.example:7443": nil, "[::2]:7443": nil, "noisegate": nil,
		// A token is good for whoever reads it, even in a network that is trusted.
		"10.0.0.2:7443": {noisegate.WithInsecure(), token},
	} {
		var refused *noisegate.InsecureTargetError
		if _, err := noisegate.Connect(target, options...); !errors.As(err, &refused) || refused.Target != target {
			t.Error(target, err)
		}
	}
	for target, options := range map[string][]noisegate.Option{
		"127.0.0.1:1": {token}, "[::1]:1": nil, "localhost:1": nil, "unix:/run/noisegate": nil, "10.0.0.1:1": {noisegate.WithInsecure()},
	} {
		connect(t, target, options...)
	}
}

func TestAPacketDoesNotWaitForAServerAndAControlCallDoes(t *testing.T) {
	// Nobody listens there: the port of a service that has gone.
	policy := noisegate.DefaultPolicy
	policy.Attempts, policy.ControlDeadline = 1, 50*time.Millisecond
	client := connect(t, "127.0.0.1:1", noisegate.WithPolicy(policy))
	session := client.Session(make([]byte, 24), "", noisegate.ModeDatagram)
	if _, err := session.Encrypt(t.Context(), nil); status.Code(err) != codes.Unavailable {
		t.Fatal(err)
	}
	if _, err := client.Capabilities(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
