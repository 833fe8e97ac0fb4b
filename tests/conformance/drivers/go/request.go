package main

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"unicode"

	pb "github.com/noisegate/noisegate/clients/go/noisegate/v1"
	"google.golang.org/grpc/codes"
)

// raw is bytes that travel as hexadecimal digits.
type raw []byte

func (b *raw) UnmarshalJSON(text []byte) error {
	var digits string
	if err := json.Unmarshal(text, &digits); err != nil {
		return err
	}
	decoded, err := hex.DecodeString(digits)
	*b = decoded
	return err
}

// request is every field that an operation may have.
type request struct {
	ID     int    `json:"id"`
	Op     string `json:"op"`
	Target int    `json:"-"`

	Client   string `json:"client"`
	Session  string `json:"session"`
	Receiver string `json:"receiver"`
	Source   string `json:"source"`

	Address       string `json:"-"`
	Window        int32  `json:"window"`
	Multiplex     bool   `json:"multiplex"`
	OnSend        bool   `json:"on_send"`
	MaxItems      int    `json:"max_items"`
	PacketMS      int    `json:"packet_ms"`
	ControlMS     int    `json:"control_ms"`
	Attempts      int    `json:"attempts"`
	Mode          string `json:"mode"`
	Pattern       string `json:"pattern"`
	Suite         string `json:"suite"`
	PeerID        string `json:"peer_id"`
	Group         string `json:"group"`
	Endpoint      string `json:"endpoint"`
	Kind          string `json:"kind"`
	Direction     string `json:"direction"`
	Label         string `json:"label"`
	Length        uint32 `json:"length"`
	Tickets       bool   `json:"tickets"`
	IsTicket      bool   `json:"is_ticket"`
	ReturnBlob    bool   `json:"return_blob"`
	SwitchSend    bool   `json:"switch_send"`
	SwitchReceive bool   `json:"switch_receive"`

	SessionID       raw `json:"session_id"`
	Blob            raw `json:"blob"`
	Message         raw `json:"message"`
	Hello           raw `json:"hello"`
	Ticket          raw `json:"ticket"`
	Psk             raw `json:"psk"`
	Prologue        raw `json:"prologue"`
	Payload         raw `json:"payload"`
	RemoteStaticKey raw `json:"remote_static_key"`
	Plaintext       raw `json:"plaintext"`
	Ciphertext      raw `json:"ciphertext"`
	AssociatedData  raw `json:"associated_data"`
	Context         raw `json:"context"`
	Packet          raw `json:"packet"`
	CA              raw `json:"ca"`
	Certificate     raw `json:"certificate"`
	Key             raw `json:"key"`

	Items    []batchItem `json:"items"`
	Sessions []string    `json:"sessions"`
}

type batchItem struct {
	Session        string `json:"session"`
	Body           raw    `json:"body"`
	AssociatedData raw    `json:"associated_data"`
}

// UnmarshalJSON: "target" is a request's number in "cancel" and an address in "connect".
func (r *request) UnmarshalJSON(text []byte) error {
	type plain request
	both := struct {
		*plain
		Target json.RawMessage `json:"target"`
	}{plain: (*plain)(r)}
	if err := json.Unmarshal(text, &both); err != nil || both.Target == nil {
		return err
	}
	if r.Op == "cancel" {
		return json.Unmarshal(both.Target, &r.Target)
	}
	return json.Unmarshal(both.Target, &r.Address)
}

func (r *request) mode() pb.RecordMode {
	return pb.RecordMode(pb.RecordMode_value["RECORD_MODE_"+r.Mode])
}

// protocol is nil where the hello says it.
func (r *request) protocol() *pb.Protocol {
	if r.Pattern == "" {
		return nil
	}
	return &pb.Protocol{
		Pattern: pb.Pattern(pb.Pattern_value["PATTERN_"+r.Pattern]), Suite: pb.Suite(pb.Suite_value["SUITE_"+r.Suite]),
	}
}

func hexed(b []byte) string { return hex.EncodeToString(b) }

func hexes(messages [][]byte) []string {
	digits := make([]string, len(messages))
	for n, message := range messages {
		digits[n] = hexed(message)
	}
	return digits
}

// codeName writes a code as the contract does: DEADLINE_EXCEEDED, not DeadlineExceeded.
func codeName(code codes.Code) string {
	if code == codes.Canceled {
		return "CANCELLED"
	}
	var name strings.Builder
	for n, letter := range code.String() {
		if n > 0 && unicode.IsUpper(letter) && code != codes.OK {
			name.WriteByte('_')
		}
		name.WriteRune(unicode.ToUpper(letter))
	}
	return name.String()
}
