// Calls the Go SDK as tests/conformance/suite/driver.py has it told: lines of JSON in, lines of JSON out.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	noisegate "github.com/noisegate/noisegate/clients/go"
	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

const lineBytes = 64 << 20

// answer is what a request gave, or why it did not.
type answer map[string]any

// driver keeps what the SDK gave it, by the requests' names.
type driver struct {
	mu        sync.Mutex
	clients   map[string]*noisegate.Client
	sessions  map[string]*noisegate.Session
	receivers map[string]*noisegate.Receiver[string]
	running   map[int]context.CancelFunc
	sent      map[string][][]byte // what the hook was given, by the session's id

	writing sync.Mutex
	out     *bufio.Writer
}

func main() {
	d := &driver{
		clients: map[string]*noisegate.Client{}, sessions: map[string]*noisegate.Session{},
		receivers: map[string]*noisegate.Receiver[string]{}, running: map[int]context.CancelFunc{},
		sent: map[string][][]byte{},
		out:  bufio.NewWriter(os.Stdout),
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, lineBytes)
	for lines.Scan() {
		var r request
		if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
			fmt.Fprintln(os.Stderr, "driver:", err)
			os.Exit(1)
		}
		d.begin(&r)
	}
	for _, client := range d.clients {
		_ = client.Close()
	}
}

// begin runs a request by itself, or cancels one.
func (d *driver) begin(r *request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Op == "cancel" {
		if cancel := d.running[r.Target]; cancel != nil {
			cancel()
		}
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	d.running[r.ID] = cancel
	go func() {
		defer cancel()
		d.write(d.result(ctx, r))
		d.mu.Lock()
		delete(d.running, r.ID)
		d.mu.Unlock()
	}()
}

func (d *driver) write(what answer) {
	line, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	d.writing.Lock()
	defer d.writing.Unlock()
	_, _ = d.out.Write(append(line, '\n'))
	_ = d.out.Flush()
}

func (d *driver) result(ctx context.Context, r *request) answer {
	operation, known := operations[r.Op]
	if !known {
		return answer{"id": r.ID, "error": answer{"code": "UNKNOWN_OP"}}
	}
	ok, err := operation(d, ctx, r)
	if err != nil {
		return answer{"id": r.ID, "error": refusal(err)}
	}
	return answer{"id": r.ID, "ok": ok}
}

func (d *driver) client(r *request) *noisegate.Client {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.clients[r.Client]
}

func (d *driver) session(name string) *noisegate.Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sessions[name]
}

// keep gives a session its name.
func (d *driver) keep(name string, session *noisegate.Session) *noisegate.Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sessions[name] = session
	return session
}

// refusal is an error as the suite knows it.
func refusal(err error) answer {
	var retry *noisegate.RetryError
	if errors.As(err, &retry) {
		reason := "RETRY_" + strings.TrimPrefix(retry.Why.String(), "REASON_")
		return answer{"code": "FAILED_PRECONDITION", "reason": reason, "resume_needed": false, "metadata": answer{}}
	}
	var refused *noisegate.Error
	if !errors.As(err, &refused) {
		return answer{"code": "CLIENT", "reason": err.Error(), "resume_needed": false, "metadata": answer{}}
	}
	metadata := refused.Metadata
	if metadata == nil {
		metadata = map[string]string{}
	}
	return answer{
		"code": codeName(refused.Code), "reason": string(refused.Reason),
		"resume_needed": errors.Is(err, noisegate.ErrResumeNeeded), "metadata": metadata,
	}
}

func sealed(s noisegate.Sealed) answer {
	return answer{
		"packet": hexed(s.Packet), "to_peer": hexes(s.ToPeer), "counter": s.Counter, "epoch": s.Epoch,
		"rotation_due": s.RotationDue,
	}
}

func opened(o noisegate.Opened) answer {
	if o.Refused != "" {
		return answer{"refused": string(o.Refused)}
	}
	a := answer{
		"refused": "", "plaintext": nil, "control": "", "to_peer": hexes(o.ToPeer), "counter": o.Counter, "epoch": o.Epoch,
		"newest": o.Newest, "early": o.Early,
	}
	if o.HasPlaintext {
		a["plaintext"] = hexed(o.Plaintext)
	} else {
		a["control"] = strings.TrimPrefix(o.Control.String(), "CONTROL_KIND_")
	}
	return a
}

// begun is a session that has begun or gone on.
func begun(s *noisegate.Session) answer {
	made := s.Established()
	return answer{
		"session_id": hexed(s.ID()), "endpoint": s.Endpoint(), "connection_id": hexed(s.ConnectionID()),
		"to_peer": hexes(s.ToPeer()), "payload": hexed(s.Payload()), "ticket": hexed(s.Ticket()),
		"peer_id": s.PeerID(), "group": s.Group(), "established": made != nil,
		"handshake_hash": hexed(made.GetHandshakeHash()), "remote_static_key": hexed(made.GetRemoteStaticKey()),
	}
}

func described(s *pb.Session) answer {
	return answer{
		"state": strings.TrimPrefix(s.GetState().String(), "SESSION_STATE_"), "peer_id": s.GetPeerId(),
		"group": s.GetGroup(), "epoch": s.GetEpoch(),
	}
}
