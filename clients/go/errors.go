package noisegate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
)

// A Reason says why the service refused something: a value of the contract's ErrorReason without its prefix, e.g.
// "SESSION_NOT_FOUND". It is an error, so that errors.Is(err, noisegate.ReasonRekeyRequired) asks for it. One that this
// version has no constant for is of a newer service.
type Reason string

// The catalogue (docs/errors.md says what each means and what to do).
const (
	ReasonInvalidRequest        Reason = "INVALID_REQUEST"
	ReasonUnsupportedProtocol   Reason = "UNSUPPORTED_PROTOCOL"
	ReasonMessageTooLarge       Reason = "MESSAGE_TOO_LARGE"
	ReasonPolicyRejected        Reason = "POLICY_REJECTED"
	ReasonHandshakeFailed       Reason = "HANDSHAKE_FAILED"
	ReasonHandshakeState        Reason = "HANDSHAKE_STATE"
	ReasonClockSkew             Reason = "CLOCK_SKEW"
	ReasonStaleHandshake        Reason = "STALE_HANDSHAKE"
	ReasonSessionNotFound       Reason = "SESSION_NOT_FOUND"
	ReasonSessionClosed         Reason = "SESSION_CLOSED"
	ReasonNotEstablished        Reason = "NOT_ESTABLISHED"
	ReasonDecryptFailed         Reason = "DECRYPT_FAILED"
	ReasonReplayDetected        Reason = "REPLAY_DETECTED"
	ReasonCounterTooOld         Reason = "COUNTER_TOO_OLD"
	ReasonRekeyRequired         Reason = "REKEY_REQUIRED"
	ReasonEpochConflict         Reason = "EPOCH_CONFLICT"
	ReasonWrongOwner            Reason = "WRONG_OWNER"
	ReasonTicketRejected        Reason = "TICKET_REJECTED"
	ReasonSessionQuota          Reason = "SESSION_QUOTA"
	ReasonDraining              Reason = "DRAINING"
	ReasonOverloaded            Reason = "OVERLOADED"
	ReasonIdempotencyConflict   Reason = "IDEMPOTENCY_CONFLICT"
	ReasonCallerUnauthenticated Reason = "CALLER_UNAUTHENTICATED"
	ReasonCallerForbidden       Reason = "CALLER_FORBIDDEN"
	ReasonInternal              Reason = "INTERNAL"
	ReasonPeerRevoked           Reason = "PEER_REVOKED"
	ReasonBlobRejected          Reason = "BLOB_REJECTED"
)

// Error makes a Reason something to compare with errors.Is.
func (r Reason) Error() string { return "noisegate: " + string(r) }

// ErrResumeNeeded is what errors.Is finds in every error that says the session is lost: unknown, expired or ended. The
// player holds the ticket: have it resume, or shake hands anew.
var ErrResumeNeeded = errors.New("noisegate: the session is lost, the player must resume")

// ErrClosed says that the client was closed before or during the call.
var ErrClosed = errors.New("noisegate: the client is closed")

// An InsecureTargetError says that secrets would leave this machine in plaintext. Nothing was sent.
type InsecureTargetError struct{ Target string }

func (e *InsecureTargetError) Error() string {
	return fmt.Sprintf("noisegate: %s is no loopback address: use WithTLS, or WithInsecure in a network that you trust", e.Target)
}

// A RetryError says that the player has to begin anew, otherwise (DATAGRAM). There is no session, and so no OnSend: send
// the player ToPeer, which says how.
type RetryError struct {
	Why    pb.HandshakeRetry_Reason
	ToPeer [][]byte
}

func (e *RetryError) Error() string {
	return "noisegate: the player has to begin anew: " + strings.TrimPrefix(e.Why.String(), "REASON_")
}

// An Error is a call that was refused or got no answer. Use errors.As for its fields, errors.Is for its reason.
type Error struct {
	// Code is the gRPC status code.
	Code codes.Code
	// Reason is why the service refused; empty where gRPC itself gave up.
	Reason Reason
	// Message is for people; it never has a secret.
	Message string
	// Metadata is for programs, e.g. "cause" and "resumable" of SESSION_CLOSED.
	Metadata map[string]string
	// RetryDelay is how long the service asks to wait; 0 where it did not.
	RetryDelay time.Duration
}

func (e *Error) Error() string {
	what := string(e.Reason)
	if what == "" {
		what = e.Code.String()
	}
	return "noisegate: " + what + ": " + e.Message
}

// GRPCStatus lets status.Code and status.FromError read it.
func (e *Error) GRPCStatus() *status.Status { return status.New(e.Code, e.Message) }

// Is matches a Reason, ErrResumeNeeded, and the context errors that the code stands for.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrResumeNeeded:
		return e.Reason == ReasonSessionNotFound || e.Reason == ReasonSessionClosed
	case context.DeadlineExceeded:
		return e.Code == codes.DeadlineExceeded
	case context.Canceled:
		return e.Code == codes.Canceled
	}
	reason, ok := target.(Reason)
	return ok && e.Reason == reason
}

// refusesPacket tells what a player's packet was refused for, as opposed to its call.
func (r Reason) refusesPacket() bool {
	return r == ReasonDecryptFailed || r == ReasonReplayDetected || r == ReasonCounterTooOld
}

const errorDomain = "noisegate"

// fromError reads what a gRPC call gave.
func fromError(err error) *Error {
	if own, ok := err.(*Error); ok {
		return own
	}
	read, is := status.FromError(err)
	if !is {
		// A context that ended before there was a call.
		read = status.FromContextError(err)
	}
	return fromStatus(read)
}

// fromStatus reads the details of a refusal.
func fromStatus(s *status.Status) *Error {
	e := &Error{Code: s.Code(), Message: s.Message()}
	for _, detail := range s.Details() {
		switch d := detail.(type) {
		case *errdetails.ErrorInfo:
			if d.GetDomain() == errorDomain {
				e.Reason, e.Metadata = Reason(d.GetReason()), d.GetMetadata()
			}
		case *errdetails.RetryInfo:
			e.RetryDelay = max(0, d.GetRetryDelay().AsDuration())
		}
	}
	return e
}

// fromRefused reads the refusal of a whole batch of a stream.
func fromRefused(refused *pb.TransportRefused) *Error {
	read := &spb.Status{}
	if proto.Unmarshal(refused.GetStatus(), read) != nil || read.GetCode() == 0 {
		return &Error{Code: codes.Code(refused.GetCode()), Message: "the batch was refused"}
	}
	return fromStatus(status.FromProto(read))
}

// fromItem reads the refusal of one item of a batch.
func fromItem(item *pb.ItemError) *Error {
	e := &Error{Code: codes.Code(item.GetCode()), Message: item.GetMessage(), Metadata: item.GetMetadata()}
	if name, known := pb.ErrorReason_name[int32(item.GetReason())]; known && item.GetReason() != 0 {
		e.Reason = Reason(strings.TrimPrefix(name, "ERROR_REASON_"))
	}
	return e
}
