package noisegate

import (
	"time"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
)

// facts is what a handle knows of its session without asking.
type facts struct {
	id           []byte
	endpoint     string
	mode         pb.RecordMode
	resuming     bool
	connectionID []byte
	peerID       string
	group        string
	established  *pb.Established
	pendingFor   time.Duration
	toPeer       [][]byte
	payload      []byte
	hello        []byte
	ticket       []byte
	early        pb.EarlyData
	earlyData    []byte
	fellBack     bool
	ended        bool
}

func factsOf(described *pb.Session) facts {
	return facts{
		id:           described.GetSessionId(),
		endpoint:     described.GetEndpoint(),
		mode:         described.GetMode(),
		connectionID: described.GetConnectionId(),
		peerID:       described.GetPeerId(),
		group:        described.GetGroup(),
		established:  described.GetEstablished(),
	}
}

// shaken remembers what a step of a handshake gave, and from where.
func (f *facts) shaken(step *pb.HandshakeResponse, endpoint string) {
	f.stepped(step.GetSessionId(), step.GetEndpoint(), endpoint, step.GetConnectionId())
	f.toPeer, f.payload = step.GetToPeer(), step.GetPayload()
	f.established, f.pendingFor = step.GetEstablished(), step.GetPending().GetExpiresIn().AsDuration()
	if hello := step.GetHello(); len(hello) > 0 {
		f.hello = hello
	}
}

// resumed remembers what a step of a resume gave, and from where.
func (f *facts) resumed(step *pb.ResumeResponse, endpoint string) {
	f.stepped(step.GetSessionId(), step.GetEndpoint(), endpoint, step.GetConnectionId())
	f.toPeer, f.payload = step.GetToPeer(), step.GetPayload()
	f.established, f.pendingFor = step.GetEstablished(), step.GetPending().GetExpiresIn().AsDuration()
	if ticket := step.GetTicket(); len(ticket) > 0 {
		f.ticket = ticket
	}
	f.early, f.earlyData = step.GetEarly(), step.GetEarlyData()
	if step.GetFellBack() {
		// What is under way is a full handshake, and its steps are Handshake's.
		f.fellBack, f.resuming = true, false
	}
	if name := step.GetPeerId(); name != "" {
		f.peerID = name
	}
	if name := step.GetGroup(); name != "" {
		f.group = name
	}
}

func (f *facts) stepped(id []byte, named, from string, connectionID []byte) {
	if len(id) > 0 {
		f.id = id
	}
	if f.endpoint = named; named == "" {
		f.endpoint = from
	}
	if len(connectionID) > 0 {
		f.connectionID = connectionID
	}
}
