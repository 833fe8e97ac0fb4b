package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	noisegate "github.com/noisegate/noisegate/clients/go"
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/grpc"
)

type operation func(d *driver, ctx context.Context, r *request) (answer, error)

// operations, named as the requests have them.
var operations = map[string]operation{
	"connect":        connect,
	"disconnect":     disconnect,
	"capabilities":   capabilities,
	"respond":        respond,
	"initiate":       initiate,
	"respond_resume": respondResume,
	"restore":        restore,
	"handle":         handle,
	"proceed":        proceed,
	"encrypt":        encrypt,
	"decrypt":        decrypt,
	"rotate":         rotate,
	"issue_ticket":   issueTicket,
	"suspend":        suspend,
	"describe":       describe,
	"export_secret":  exportSecret,
	"close":          closeSession,
	"encrypt_batch":  encryptBatch,
	"decrypt_batch":  decryptBatch,
	"broadcast":      broadcast,
	"receive":        receive,
	"sent":           sent,
}

func connect(d *driver, _ context.Context, r *request) (answer, error) {
	policy := noisegate.DefaultPolicy
	if r.PacketMS > 0 {
		policy.PacketDeadline = time.Duration(r.PacketMS) * time.Millisecond
	}
	if r.ControlMS > 0 {
		policy.ControlDeadline = time.Duration(r.ControlMS) * time.Millisecond
	}
	if r.Attempts > 0 {
		policy.Attempts = r.Attempts
	}
	options := []noisegate.Option{noisegate.WithPolicy(policy)}
	if r.Multiplex {
		options = append(options, noisegate.WithMultiplex(noisegate.Multiplex{MaxItems: r.MaxItems}))
	}
	if r.OnSend {
		options = append(options, noisegate.WithOnSend(func(session *noisegate.Session, messages [][]byte) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.sent[string(session.ID())] = append(d.sent[string(session.ID())], messages...)
		}))
	}
	if r.Window > 0 {
		options = append(options, noisegate.WithDialOptions(
			grpc.WithStaticStreamWindowSize(r.Window), grpc.WithStaticConnWindowSize(r.Window)))
	}
	if len(r.CA) > 0 {
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(r.CA)
		configuration := &tls.Config{RootCAs: roots}
		if len(r.Certificate) > 0 {
			own, err := tls.X509KeyPair(r.Certificate, r.Key)
			if err != nil {
				return nil, err
			}
			configuration.Certificates = []tls.Certificate{own}
		}
		options = append(options, noisegate.WithTLS(configuration))
	}
	client, err := noisegate.Connect(r.Address, options...)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clients[r.Client] = client
	return answer{}, nil
}

// sent is what the client's hook was given for a session since it was last asked.
func sent(d *driver, _ context.Context, r *request) (answer, error) {
	id := string(d.session(r.Session).ID())
	d.mu.Lock()
	defer d.mu.Unlock()
	messages := d.sent[id]
	delete(d.sent, id)
	return answer{"messages": hexes(messages)}, nil
}

func disconnect(d *driver, _ context.Context, r *request) (answer, error) {
	return answer{}, d.client(r).Close()
}

func capabilities(d *driver, ctx context.Context, r *request) (answer, error) {
	found, err := d.client(r).Capabilities(ctx)
	return answer{"static_key": hexed(found.GetStaticKey()), "protocol_version": found.GetProtocolVersion()}, err
}

// kept is what begins a session: it gets its name.
func (d *driver) kept(r *request, session *noisegate.Session, err error) (answer, error) {
	if err != nil {
		return nil, err
	}
	return begun(d.keep(r.Session, session)), nil
}

func respond(d *driver, ctx context.Context, r *request) (answer, error) {
	session, err := d.client(r).Respond(ctx, &pb.RespondHandshake{
		Mode: r.mode(), Protocol: r.protocol(), Message: r.Message, Hello: r.Hello, Psk: r.Psk, Prologue: r.Prologue,
		Payload: r.Payload, PeerId: r.PeerID, Group: r.Group,
	})
	return d.kept(r, session, err)
}

func initiate(d *driver, ctx context.Context, r *request) (answer, error) {
	session, err := d.client(r).Initiate(ctx, &pb.InitiateHandshake{
		Mode: r.mode(), Protocol: r.protocol(), RemoteStaticKey: r.RemoteStaticKey, Psk: r.Psk, Prologue: r.Prologue,
		Payload: r.Payload, PeerId: r.PeerID, Group: r.Group, Options: &pb.SessionOptions{Tickets: r.Tickets},
	})
	return d.kept(r, session, err)
}

func respondResume(d *driver, ctx context.Context, r *request) (answer, error) {
	session, err := d.client(r).RespondResume(ctx, &pb.RespondResume{
		Mode: r.mode(), Message: r.Message, Ticket: r.Ticket, Prologue: r.Prologue, Payload: r.Payload,
	})
	return d.kept(r, session, err)
}

func restore(d *driver, ctx context.Context, r *request) (answer, error) {
	asked := &pb.RestoreSessionRequest{Source: &pb.RestoreSessionRequest_SessionId{SessionId: r.SessionID}}
	if len(r.Blob) > 0 {
		asked.Source = &pb.RestoreSessionRequest_Blob{Blob: r.Blob}
	}
	session, err := d.client(r).Restore(ctx, "", asked)
	return d.kept(r, session, err)
}

func handle(d *driver, _ context.Context, r *request) (answer, error) {
	return d.kept(r, d.client(r).Session(r.SessionID, r.Endpoint, r.mode()), nil)
}

func proceed(d *driver, ctx context.Context, r *request) (answer, error) {
	session := d.session(r.Session)
	_, err := session.Proceed(ctx, r.Message, r.Payload)
	return begun(session), err
}

func encrypt(d *driver, ctx context.Context, r *request) (answer, error) {
	record, err := d.session(r.Session).EncryptWithAD(ctx, r.Plaintext, r.AssociatedData)
	return sealed(record), err
}

func decrypt(d *driver, ctx context.Context, r *request) (answer, error) {
	session := d.session(r.Session)
	if r.IsTicket {
		record, err := session.DecryptTicket(ctx, r.Ciphertext)
		return opened(record), err
	}
	record, err := session.DecryptWithAD(ctx, r.Ciphertext, r.AssociatedData)
	return opened(record), err
}

func rotate(d *driver, ctx context.Context, r *request) (answer, error) {
	rotation, err := d.session(r.Session).Rotate(ctx, &pb.RotateRequest{
		Kind:      pb.RotationKind(pb.RotationKind_value["ROTATION_KIND_"+r.Kind]),
		Direction: pb.Direction(pb.Direction_value["DIRECTION_"+r.Direction]),
		Message:   r.Message, SwitchSend: r.SwitchSend, SwitchReceive: r.SwitchReceive,
	})
	return answer{
		"to_peer": hexes(rotation.GetToPeer()), "state": rotation.GetState().String()[len("SESSION_STATE_"):],
		"epoch": rotation.GetEpoch(), "counter": rotation.GetCounter(), "ready_to_switch": rotation.GetReadyToSwitch(),
	}, err
}

func issueTicket(d *driver, ctx context.Context, r *request) (answer, error) {
	ticket, err := d.session(r.Session).IssueTicket(ctx)
	return answer{"to_peer": hexes(ticket.GetToPeer())}, err
}

func suspend(d *driver, ctx context.Context, r *request) (answer, error) {
	suspended, err := d.session(r.Session).Suspend(ctx, r.ReturnBlob)
	return answer{"blob": hexed(suspended.GetBlob())}, err
}

func describe(d *driver, ctx context.Context, r *request) (answer, error) {
	found, err := d.session(r.Session).Describe(ctx)
	return described(found), err
}

func exportSecret(d *driver, ctx context.Context, r *request) (answer, error) {
	secret, err := d.session(r.Session).ExportSecret(ctx, r.Label, r.Context, r.Length)
	return answer{"secret": hexed(secret)}, err
}

func closeSession(d *driver, ctx context.Context, r *request) (answer, error) {
	session := d.session(r.Session)
	toPeer, err := session.Close(ctx)
	return answer{"to_peer": hexes(toPeer), "ended": session.Ended()}, err
}

func (d *driver) items(r *request) []noisegate.Item {
	items := make([]noisegate.Item, len(r.Items))
	for n, each := range r.Items {
		items[n] = noisegate.Item{Session: d.session(each.Session), Body: each.Body, AssociatedData: each.AssociatedData}
	}
	return items
}

func sealedItems(items []noisegate.SealedItem) answer {
	answers := make([]answer, len(items))
	for n, each := range items {
		if answers[n] = sealed(each.Sealed); each.Err != nil {
			answers[n] = answer{"error": refusal(each.Err)}
		}
	}
	return answer{"items": answers}
}

func encryptBatch(d *driver, ctx context.Context, r *request) (answer, error) {
	return sealedItems(d.client(r).EncryptBatch(ctx, d.items(r))), nil
}

func decryptBatch(d *driver, ctx context.Context, r *request) (answer, error) {
	items := d.client(r).DecryptBatch(ctx, d.items(r))
	answers := make([]answer, len(items))
	for n, each := range items {
		if answers[n] = opened(each.Opened); each.Err != nil {
			answers[n] = answer{"error": refusal(each.Err)}
		}
	}
	return answer{"items": answers}, nil
}

func broadcast(d *driver, ctx context.Context, r *request) (answer, error) {
	sessions := make([]*noisegate.Session, len(r.Sessions))
	for n, name := range r.Sessions {
		sessions[n] = d.session(name)
	}
	return sealedItems(d.client(r).Broadcast(ctx, sessions, r.Plaintext, r.AssociatedData)), nil
}

func receive(d *driver, ctx context.Context, r *request) (answer, error) {
	client := d.client(r)
	d.mu.Lock()
	receiver := d.receivers[r.Receiver]
	if receiver == nil {
		receiver, _ = noisegate.NewReceiver(client, noisegate.ReceiverOptions[string]{})
		d.receivers[r.Receiver] = receiver
	}
	d.mu.Unlock()
	received, err := receiver.Receive(ctx, r.Packet, r.Source)
	if err != nil {
		return nil, err
	}
	if received.Session != nil {
		d.keep(r.Session, received.Session)
	}
	plaintexts, toSend, sources := []string{}, []string{}, []string{}
	if plaintext, has := received.Plaintext(); has {
		plaintexts = append(plaintexts, hexed(plaintext))
	}
	for _, datagram := range received.ToSend {
		toSend, sources = append(toSend, hexed(datagram.Bytes)), append(sources, datagram.Address)
	}
	return answer{
		"refused": string(received.Refused), "plaintexts": plaintexts, "to_send": toSend, "sources": sources,
		"established": received.Established, "new_session": received.NewSession, "moved": received.Moved,
		"withheld": received.Withheld,
	}, nil
}
