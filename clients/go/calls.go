package noisegate

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"
)

// maxHops is how often one call follows WRONG_OWNER.
const maxHops = 2

// A kind of call decides its default deadline and whether it waits for a server that is not there yet.
type kind int

const (
	control kind = iota // the control deadline; waits
	packet              // the packet deadline; a packet that has to wait is worth nothing
	batch               // the control deadline; never waits
)

// A method is one row of the contract.
type method struct {
	name string
	kind kind
}

func (m method) path() string { return "/noisegate.v1.SessionCryptoService/" + m.name }

var (
	getCapabilities = method{"GetCapabilities", control}
	handshake       = method{"Handshake", control}
	encrypt         = method{"Encrypt", packet}
	decrypt         = method{"Decrypt", packet}
	encryptBatch    = method{"EncryptBatch", batch}
	decryptBatch    = method{"DecryptBatch", batch}
	broadcast       = method{"Broadcast", batch}
	rotate          = method{"Rotate", control}
	resume          = method{"Resume", control}
	issueTicket     = method{"IssueTicket", control}
	getSession      = method{"GetSession", control}
	listSessions    = method{"ListSessions", control}
	closeSession    = method{"CloseSession", control}
	suspendSession  = method{"SuspendSession", control}
	restoreSession  = method{"RestoreSession", control}
	changeNetwork   = method{"ChangeNetwork", control}
	exportSecret    = method{"ExportSecret", control}
)

// calls runs single calls: their deadline, their repeats, and the endpoint that they end up at.
type calls struct {
	channels *channels
	policy   Policy
}

// newRequestID makes a UUID, version 4.
func newRequestID() string {
	var id [16]byte
	rand.Read(id[:]) // never fails
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", id[:4], id[4:6], id[6:8], id[8:10], id[10:])
}

// ask runs one call to its end and answers from which endpoint its answer came.
//
// It is repeated only where nothing came back (refused work or a dead connection), with the same message and so the same
// request_id: what the service has done already it answers with the answer that was lost. Every method that changes
// anything has a request_id. One deadline covers all attempts, and alone bounds them while an instance is away.
func (c *calls) ask(ctx context.Context, m method, endpoint string, request, answer proto.Message) (string, error) {
	ctx, cancel := c.policy.deadline(ctx, m.kind)
	defer cancel()
	for attempts, repeats, hops := 0, 0, 0; ; {
		err := c.attempt(ctx, m, endpoint, request, answer)
		if err == nil {
			return endpoint, nil
		}
		var refused *Error
		if !errors.As(err, &refused) {
			return "", err
		}
		if owner := refused.Metadata["owner"]; refused.Reason == ReasonWrongOwner && owner != "" && hops < maxHops {
			hops++
			endpoint = owner
			continue
		}
		if c.policy.counts(refused.Reason) {
			attempts++
		}
		delay := c.policy.delay(repeats, mathrand.Float64(), refused.RetryDelay)
		if !refused.isUnanswered(ctx) || attempts >= c.policy.Attempts || !sleep(ctx, delay) {
			return "", err
		}
		repeats++
	}
}

func (c *calls) attempt(ctx context.Context, m method, endpoint string, request, answer proto.Message) error {
	conn, release, err := c.channels.take(endpoint)
	if err != nil {
		return err
	}
	defer release()
	if err = conn.Invoke(ctx, m.path(), request, answer, grpc.WaitForReady(m.kind == control)); err == nil {
		return nil
	}
	if c.channels.isClosed() {
		return ErrClosed
	}
	return fromError(err)
}

// isUnanswered tells whether nothing came back, so that a repeat with the same request_id is right. A service that stops
// cancels calls that reach it in that very moment; a cancellation of the caller's own is final.
func (e *Error) isUnanswered(ctx context.Context) bool {
	return e.Code == codes.Unavailable || e.Code == codes.Canceled && e.Reason == "" && ctx.Err() == nil
}

// deadline gives a context without one the policy's.
func (p Policy) deadline(ctx context.Context, k kind) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	if k == packet {
		return context.WithTimeout(ctx, p.PacketDeadline)
	}
	return context.WithTimeout(ctx, p.ControlDeadline)
}

// sleep waits; false at once where the context would end before.
func sleep(ctx context.Context, delay time.Duration) bool {
	if deadline, has := ctx.Deadline(); has && time.Until(deadline) <= delay {
		return false
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
