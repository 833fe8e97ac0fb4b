package noisegate

import (
	"context"
	"iter"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// A Client talks to one service: to its target, and to whatever instances the service names.
type Client struct {
	config    *config
	channels  *channels
	calls     *calls
	multiplex *multiplexer // nil where calls travel alone
}

// Connect makes a client for the service at target, HOST:PORT or a gRPC target. It connects with its first call.
//
// Without WithTLS it is for loopback alone: any other address gives an InsecureTargetError.
func Connect(target string, options ...Option) (*Client, error) {
	c := &config{policy: DefaultPolicy}
	for _, option := range options {
		option(c)
	}
	if err := c.policy.check(); err != nil {
		return nil, err
	}
	if err := c.checkPlaintext(target); err != nil {
		return nil, err
	}
	channels := newChannels(target, c)
	client := &Client{config: c, channels: channels, calls: &calls{channels, c.policy}}
	if c.multiplex != nil {
		multiplex, err := newMultiplexer(channels, c.policy, *c.multiplex)
		if err != nil {
			return nil, err
		}
		client.multiplex = multiplex
	}
	return client, nil
}

// Close ends every connection; calls under way end with ErrClosed. Sessions live on at the service.
func (c *Client) Close() error {
	err := c.channels.close()
	if c.multiplex != nil {
		c.multiplex.close()
	}
	return err
}

// Capabilities says what the service can do and with which static key it answers.
func (c *Client) Capabilities(ctx context.Context) (*pb.GetCapabilitiesResponse, error) {
	answer := &pb.GetCapabilitiesResponse{}
	_, err := c.calls.ask(ctx, getCapabilities, "", &pb.GetCapabilitiesRequest{}, answer)
	return given(answer, err)
}

// Session is a handle of a session that lives already; no call is made. Without an endpoint the client's own target is
// asked, which may send the call on. With ModeDatagram calls run side by side; otherwise those of one direction run one
// after the other, as NOISE mode needs.
func (c *Client) Session(id []byte, endpoint string, mode pb.RecordMode) *Session {
	return newSession(c, facts{id: id, endpoint: endpoint, mode: mode})
}

// Adopt is a handle of a session that GetSession or Sessions described; no call is made.
func (c *Client) Adopt(described *pb.Session) *Session {
	return newSession(c, factsOf(described))
}

// GetSession describes a session, named by its id or, DATAGRAM, by a packet's connection id.
func (c *Client) GetSession(ctx context.Context, request *pb.GetSessionRequest) (*pb.Session, error) {
	answer := &pb.GetSessionResponse{}
	_, err := c.calls.ask(ctx, getSession, "", request, answer)
	return given(answer.GetSession(), err)
}

// Sessions goes through the caller's sessions at one instance (endpoint; empty for the target), page by page, in no
// particular order. It ends with the first error.
func (c *Client) Sessions(ctx context.Context, endpoint string, request *pb.ListSessionsRequest) iter.Seq2[*pb.Session, error] {
	return func(yield func(*pb.Session, error) bool) {
		page := &pb.ListSessionsRequest{
			PeerId: request.GetPeerId(), Group: request.GetGroup(), PageSize: request.GetPageSize(), PageToken: request.GetPageToken(),
		}
		for {
			answer := &pb.ListSessionsResponse{}
			if _, err := c.calls.ask(ctx, listSessions, endpoint, page, answer); err != nil {
				yield(nil, err)
				return
			}
			for _, session := range answer.GetSessions() {
				if !yield(session, nil) {
					return
				}
			}
			if page.PageToken = answer.GetNextPageToken(); page.PageToken == "" {
				return
			}
		}
	}
}

// Watch tells what happens to the caller's sessions at one instance, as it happens, until the context ends or an error
// ends it: DRAINING when that instance stops, then begin anew. First comes Watching, once: list sessions after it.
func (c *Client) Watch(ctx context.Context, endpoint string, request *pb.WatchSessionsRequest) iter.Seq2[*pb.WatchSessionsResponse, error] {
	return func(yield func(*pb.WatchSessionsResponse, error) bool) {
		conn, release, err := c.channels.take(endpoint)
		if err != nil {
			yield(nil, err)
			return
		}
		defer release()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		stream, err := pb.NewSessionCryptoServiceClient(conn).WatchSessions(ctx, request)
		for {
			var told *pb.WatchSessionsResponse
			if err == nil {
				told, err = stream.Recv()
			}
			if err != nil {
				yield(nil, fromError(err))
				return
			}
			if !yield(told, nil) {
				return
			}
		}
	}
}

// ChangeNetwork tells that a player is on another network, for all its sessions at one instance. Send ToPeer of each
// change; OnSend is not called, because not every session of it may have a handle here.
func (c *Client) ChangeNetwork(ctx context.Context, endpoint, peerID string, network pb.Network) ([]*pb.NetworkChange, error) {
	request := &pb.ChangeNetworkRequest{
		RequestId: newRequestID(), Network: network, Target: &pb.ChangeNetworkRequest_PeerId{PeerId: peerID},
	}
	answer := &pb.ChangeNetworkResponse{}
	_, err := c.calls.ask(ctx, changeNetwork, endpoint, request, answer)
	return answer.GetChanges(), err
}

// given: an answer, or an error and nothing.
func given[T any](answer *T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return answer, nil
}
