package noisegate

import (
	"context"
	"errors"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// Rotate changes keys (docs/protocol.md, section 4); session_id and request_id of the request are filled in here. DATAGRAM:
// its kind is all, and the rest travels in ToPeer by itself. NOISE, REKEY: its direction names which. NOISE, RENEGOTIATE:
// step by step, with what the player sent inside the session as its message. EPOCH_CONFLICT: another rotation came first.
//
// In NOISE mode ToPeer is the game's to send, inside the session; in DATAGRAM mode it is OnSend's where there is a hook.
func (s *Session) Rotate(ctx context.Context, request *pb.RotateRequest) (*pb.RotateResponse, error) {
	directions := []direction{sending, receiving}
	if request.GetKind() == Rekey {
		switch request.GetDirection() {
		case pb.Direction_DIRECTION_SEND:
			directions = directions[:1]
		case pb.Direction_DIRECTION_RECEIVE:
			directions = directions[1:]
		}
	}
	release, err := s.turns.take(ctx, directions...)
	if err != nil {
		return nil, err
	}
	defer release()
	answer := &pb.RotateResponse{}
	err = s.ask(ctx, rotate, &pb.RotateRequest{
		SessionId:     s.known().id,
		RequestId:     newRequestID(),
		Kind:          request.GetKind(),
		Direction:     request.GetDirection(),
		Message:       request.GetMessage(),
		SwitchSend:    request.GetSwitchSend(),
		SwitchReceive: request.GetSwitchReceive(),
		Psk:           request.GetPsk(),
	}, answer)
	if err != nil {
		return nil, err
	}
	if s.Mode() == ModeDatagram {
		s.hand(&answer.ToPeer)
	}
	return answer, nil
}

// IssueTicket makes a single-use resumption ticket and seals it for the player: ToPeer of the answer has it, or OnSend.
func (s *Session) IssueTicket(ctx context.Context) (*pb.IssueTicketResponse, error) {
	release, err := s.turns.take(ctx, sending)
	if err != nil {
		return nil, err
	}
	defer release()
	answer := &pb.IssueTicketResponse{}
	request := &pb.IssueTicketRequest{SessionId: s.known().id, RequestId: newRequestID()}
	if err := s.ask(ctx, issueTicket, request, answer); err != nil {
		return nil, err
	}
	s.hand(&answer.ToPeer)
	return answer, nil
}

// ExportSecret derives a key for something beside the session, such as a voice channel, which the player derives too: of
// length 16 to 255 bytes, for a label of 1 to 64. The service's policy must name ExportSecret for this caller.
func (s *Session) ExportSecret(ctx context.Context, label string, context []byte, length uint32) ([]byte, error) {
	answer := &pb.ExportSecretResponse{}
	err := s.ask(ctx, exportSecret, &pb.ExportSecretRequest{
		SessionId: s.known().id, Label: label, Context: context, Length: length,
	}, answer)
	return answer.GetSecret(), err
}

// Suspend takes the session out of the service's memory, e.g. while its player is away; Client.Restore brings it back. With
// returnBlob (DATAGRAM) the answer has the sealed session and the service keeps nothing.
func (s *Session) Suspend(ctx context.Context, returnBlob bool) (*pb.SuspendSessionResponse, error) {
	release, err := s.turns.take(ctx, sending, receiving)
	if err != nil {
		return nil, err
	}
	defer release()
	answer := &pb.SuspendSessionResponse{}
	request := &pb.SuspendSessionRequest{SessionId: s.known().id, RequestId: newRequestID(), ReturnBlob: returnBlob}
	return given(answer, s.ask(ctx, suspendSession, request, answer))
}

// ChangeNetwork tells that the player is on another network: WIFI gives new keys, CELLULAR a longer keep-alive, both bring a
// suspended session back; NONE suspends.
//
// ToPeer of the answer stays there and is not OnSend's: it begins with a question, which must go to one address alone
// (Receiver.RouteChange).
func (s *Session) ChangeNetwork(ctx context.Context, network pb.Network) (*pb.NetworkChange, error) {
	release, err := s.turns.take(ctx, sending, receiving)
	if err != nil {
		return nil, err
	}
	defer release()
	answer := &pb.ChangeNetworkResponse{}
	request := &pb.ChangeNetworkRequest{
		RequestId: newRequestID(), Network: network, Target: &pb.ChangeNetworkRequest_SessionId{SessionId: s.known().id},
	}
	if err := s.ask(ctx, changeNetwork, request, answer); err != nil {
		return nil, err
	}
	if len(answer.GetChanges()) != 1 {
		return nil, notWhole("one change for one session")
	}
	change := answer.GetChanges()[0]
	if id := change.GetConnectionId(); len(id) > 0 {
		s.change(func(f *facts) { f.connectionID = id })
	}
	return change, nil
}

// Describe asks the service what it knows about the session.
func (s *Session) Describe(ctx context.Context) (*pb.Session, error) {
	answer := &pb.GetSessionResponse{}
	err := s.ask(ctx, getSession, &pb.GetSessionRequest{SessionId: s.known().id}, answer)
	return given(answer.GetSession(), err)
}

// Close ends the session or its handshake and answers what the player should still get (DATAGRAM: a close record), where no
// OnSend hook has it. It is no error where the session has ended already.
func (s *Session) Close(ctx context.Context) ([][]byte, error) {
	if s.Ended() {
		return nil, nil
	}
	answer := &pb.CloseSessionResponse{}
	request := &pb.CloseSessionRequest{SessionId: s.known().id, RequestId: newRequestID()}
	if err := s.ask(ctx, closeSession, request, answer); err != nil && !errors.Is(err, ErrResumeNeeded) {
		return nil, err
	}
	s.change(func(f *facts) { f.ended, f.toPeer = true, answer.GetToPeer() })
	s.sendToPeer()
	return s.ToPeer(), nil
}
