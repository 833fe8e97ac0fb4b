package noisegate

import (
	"context"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// Respond begins a session with a player's first message. While the session's Established is nil the pattern needs another
// message of the player: hand it to Proceed.
//
// Reasons of an *Error: HANDSHAKE_FAILED, UNSUPPORTED_PROTOCOL, POLICY_REJECTED, CLOCK_SKEW, STALE_HANDSHAKE, SESSION_QUOTA,
// INVALID_REQUEST; DATAGRAM a *RetryError.
func (c *Client) Respond(ctx context.Context, step *pb.RespondHandshake) (*Session, error) {
	request := &pb.HandshakeRequest{RequestId: newRequestID(), Step: &pb.HandshakeRequest_Respond{Respond: step}}
	return c.shake(ctx, request, facts{mode: step.GetMode(), peerID: step.GetPeerId(), group: step.GetGroup()}, true)
}

// Initiate begins a session towards a player: message 1 is in ToPeer.
func (c *Client) Initiate(ctx context.Context, step *pb.InitiateHandshake) (*Session, error) {
	request := &pb.HandshakeRequest{RequestId: newRequestID(), Step: &pb.HandshakeRequest_Initiate{Initiate: step}}
	return c.shake(ctx, request, facts{mode: step.GetMode(), peerID: step.GetPeerId(), group: step.GetGroup()}, true)
}

// RespondResume begins a new session with a ticket that the player brought back; names and options are the ticket's. The
// player must send a first record: that confirms the resume. TICKET_REJECTED asks for a full handshake; where one came
// along in the fallback fields it has begun instead, and FellBack says so.
func (c *Client) RespondResume(ctx context.Context, step *pb.RespondResume) (*Session, error) {
	request := &pb.ResumeRequest{RequestId: newRequestID(), Step: &pb.ResumeRequest_Respond{Respond: step}}
	return c.resume(ctx, request, facts{mode: step.GetMode()}, true)
}

// InitiateResume begins a new session with a ticket that the player's side gave us in an earlier one; mode and endpoint are
// those that it had.
func (c *Client) InitiateResume(ctx context.Context, endpoint string, mode pb.RecordMode, step *pb.InitiateResume) (*Session, error) {
	request := &pb.ResumeRequest{RequestId: newRequestID(), Step: &pb.ResumeRequest_Initiate{Initiate: step}}
	return c.resume(ctx, request, facts{mode: mode, endpoint: endpoint}, true)
}

// Restore brings a suspended session back, once: by its id, or by the blob that Suspend gave. The endpoint is where it was
// suspended. SESSION_CLOSED with the cause LOST, BLOB_REJECTED and SESSION_NOT_FOUND say that it cannot come back.
func (c *Client) Restore(ctx context.Context, endpoint string, request *pb.RestoreSessionRequest) (*Session, error) {
	asked := &pb.RestoreSessionRequest{RequestId: newRequestID(), Source: request.GetSource()}
	answer := &pb.RestoreSessionResponse{}
	from, err := c.calls.ask(ctx, restoreSession, endpoint, asked, answer)
	if err != nil {
		return nil, err
	}
	known := factsOf(answer.GetSession())
	if known.endpoint == "" {
		known.endpoint = from
	}
	known.toPeer = answer.GetToPeer()
	session := newSession(c, known)
	session.sendToPeer()
	return session, nil
}

// findAndDecrypt opens a DATAGRAM record whose session the service finds by its connection id. Nothing goes to OnSend.
func (c *Client) findAndDecrypt(ctx context.Context, packet []byte) (*Session, Opened, error) {
	answer := &pb.DecryptResponse{}
	request := &pb.DecryptRequest{RequestId: newRequestID(), Ciphertext: packet}
	from, err := c.calls.ask(ctx, decrypt, "", request, answer)
	if err != nil {
		return nil, Opened{}, err
	}
	return c.Session(answer.GetSessionId(), from, ModeDatagram), openedOf(answer), nil
}

// findAndProceed hands over a DATAGRAM packet of step 2 or 3 whose session the service finds. Nothing goes to OnSend.
func (c *Client) findAndProceed(ctx context.Context, packet []byte, resuming bool) (*Session, error) {
	if resuming {
		step := &pb.ResumeRequest_Proceed{Proceed: &pb.ProceedResume{Message: packet}}
		return c.resume(ctx, &pb.ResumeRequest{RequestId: newRequestID(), Step: step}, facts{mode: ModeDatagram}, false)
	}
	step := &pb.HandshakeRequest_Proceed{Proceed: &pb.ProceedHandshake{Message: packet}}
	return c.shake(ctx, &pb.HandshakeRequest{RequestId: newRequestID(), Step: step}, facts{mode: ModeDatagram}, false)
}

// shake begins a session; send says whether its ToPeer is OnSend's.
func (c *Client) shake(ctx context.Context, request *pb.HandshakeRequest, begun facts, send bool) (*Session, error) {
	answer := &pb.HandshakeResponse{}
	from, err := c.calls.ask(ctx, handshake, begun.endpoint, request, answer)
	if err != nil {
		return nil, err
	}
	if retry := answer.GetRetry(); retry != nil {
		return nil, &RetryError{Why: retry.GetReason(), ToPeer: answer.GetToPeer()}
	}
	begun.shaken(answer, from)
	return c.begun(begun, send), nil
}

func (c *Client) resume(ctx context.Context, request *pb.ResumeRequest, begun facts, send bool) (*Session, error) {
	answer := &pb.ResumeResponse{}
	begun.resuming = true
	from, err := c.calls.ask(ctx, resume, begun.endpoint, request, answer)
	if err != nil {
		return nil, err
	}
	if retry := answer.GetRetry(); retry != nil {
		return nil, &RetryError{Why: retry.GetReason(), ToPeer: answer.GetToPeer()}
	}
	begun.resumed(answer, from)
	return c.begun(begun, send), nil
}

func (c *Client) begun(begun facts, send bool) *Session {
	session := newSession(c, begun)
	if send {
		session.sendToPeer()
	}
	return session
}
