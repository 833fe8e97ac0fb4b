package noisegate

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"
)

// A Policy says how long calls may take and how they are repeated. The service remembers a request_id for 5 s: keep
// deadlines below that.
type Policy struct {
	// PacketDeadline is that of Encrypt and Decrypt, all attempts together, where the context has none of its own. NOISE
	// mode: a late answer costs the session there, so set it higher, e.g. 2 s, where a machine may be loaded.
	PacketDeadline time.Duration
	// ControlDeadline is that of every other call.
	ControlDeadline time.Duration
	// Attempts of one call at a service that refuses it (OVERLOADED), the first included; 1 for no repeats. Those that found
	// nobody, or a service that stops, do not count: an instance that restarts comes back with its sessions, and the deadline
	// bounds them.
	Attempts int
	// FirstBackoff is the most to wait before the first repeat; it doubles up to MaxBackoff.
	FirstBackoff time.Duration
	MaxBackoff   time.Duration
}

// DefaultPolicy is what Connect takes without WithPolicy.
var DefaultPolicy = Policy{
	PacketDeadline:  250 * time.Millisecond,
	ControlDeadline: 2 * time.Second,
	Attempts:        5,
	FirstBackoff:    25 * time.Millisecond,
	MaxBackoff:      500 * time.Millisecond,
}

func (p Policy) check() error {
	if p.PacketDeadline <= 0 || p.ControlDeadline <= 0 || p.Attempts < 1 || p.FirstBackoff < 0 || p.MaxBackoff < 0 {
		return errors.New("noisegate: Policy: deadlines must be positive, Attempts at least 1, back-off not negative")
	}
	return nil
}

// counts tells whether an attempt that was refused for this reason is one of Attempts. Without a reason gRPC itself gave up,
// and nobody has looked at the call.
func (p Policy) counts(reason Reason) bool {
	return p.Attempts == 1 || reason != "" && reason != ReasonDraining
}

// delay before repeat 0, 1, ...; share is random in [0, 1). What the service asks for comes on top.
func (p Policy) delay(repeat int, share float64, asked time.Duration) time.Duration {
	backoff := p.FirstBackoff
	for range min(repeat, 16) {
		backoff = min(2*backoff, p.MaxBackoff)
	}
	// Half is fixed, so that a repeat is never at once; half is random, so that clients do not march in step.
	return asked + time.Duration(float64(backoff)*(0.5+0.5*share))
}

// An Option changes what Connect makes.
type Option func(*config)

type config struct {
	policy      Policy
	multiplex   *Multiplex
	tls         *tls.Config
	insecure    bool
	token       func(context.Context) (string, error)
	onSend      func(session *Session, messages [][]byte)
	dialOptions []grpc.DialOption
}

// WithTLS connects by TLS; with certificates in the configuration by mutual TLS, which names the caller (a SPIFFE id as a
// rule). It holds for every endpoint that the service names.
func WithTLS(configuration *tls.Config) Option {
	return func(c *config) { c.tls = configuration }
}

// WithToken sends a bearer token with every call; token is asked each time and keeps its own cache. It needs TLS, but for
// loopback.
func WithToken(token func(context.Context) (string, error)) Option {
	return func(c *config) { c.token = token }
}

// WithInsecure allows plaintext to addresses beyond loopback, for a network that you trust: plaintexts and pre-shared keys
// travel on it.
func WithInsecure() Option { return func(c *config) { c.insecure = true } }

// WithPolicy sets deadlines and repeats.
func WithPolicy(policy Policy) Option { return func(c *config) { c.policy = policy } }

// WithMultiplex lets Encrypt and Decrypt of all sessions travel together, in batches on one stream to each endpoint; the
// game's own batches are on it, too. The service's policy must grant Transport, EncryptBatch and DecryptBatch, and
// Broadcast where it is used.
func WithMultiplex(multiplex Multiplex) Option { return func(c *config) { c.multiplex = &multiplex } }

// WithOnSend names who sends the messages that the service has for players besides what was asked for: each on its own, in
// this order. It is called before the call that brought them returns; that call's ToPeer is then empty. It must not call
// the session and should not block. The records that Encrypt seals are the caller's own to send.
func WithOnSend(send func(session *Session, messages [][]byte)) Option {
	return func(c *config) { c.onSend = send }
}

// WithDialOptions adds options of gRPC, e.g. an interceptor or a stats handler of OpenTelemetry that carries the trace
// context of each call's context.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(c *config) { c.dialOptions = append(c.dialOptions, options...) }
}

const serviceConfig = `{"loadBalancingConfig": [{"round_robin": {}}]}`

// maxMessageBytes: a page of 1,000 sessions is the longest answer.
const maxMessageBytes = 4 << 20

// dial makes a connection; it connects with its first call.
func (c *config) dial(address string) (*grpc.ClientConn, error) {
	if err := c.checkPlaintext(address); err != nil {
		return nil, err
	}
	secure := insecure.NewCredentials()
	if c.tls != nil {
		secure = credentials.NewTLS(c.tls)
	}
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(secure),
		// New sessions spread over the instances behind a headless name; a session's own calls go to its one endpoint. A
		// name server must not be able to change how calls are repeated.
		grpc.WithDefaultServiceConfig(serviceConfig),
		grpc.WithDisableServiceConfig(),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{
			Time: 30 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true,
		}),
		grpc.WithConnectParams(reconnect),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		grpc.WithUserAgent("noisegate-go"),
	}
	if c.token != nil {
		options = append(options, grpc.WithPerRPCCredentials(bearer{c.token, c.tls != nil}))
	}
	return grpc.NewClient(address, append(options, c.dialOptions...)...)
}

// bearer gives each call its token.
type bearer struct {
	token  func(context.Context) (string, error)
	secure bool
}

func (b bearer) GetRequestMetadata(ctx context.Context, _ ...string) (map[string]string, error) {
	token, err := b.token(ctx)
	if err != nil {
		return nil, err
	}
	return map[string]string{"authorization": "Bearer " + token}, nil
}

// RequireTransportSecurity is false for loopback alone: checkPlaintext has refused the rest.
func (b bearer) RequireTransportSecurity() bool { return b.secure }

// checkPlaintext: an endpoint comes from the service, too, and must not talk this client out of TLS.
func (c *config) checkPlaintext(target string) error {
	if c.tls != nil || isLoopback(target) || c.insecure && c.token == nil {
		return nil
	}
	return &InsecureTargetError{Target: target}
}

// isLoopback tells whether HOST:PORT or a unix: address stays on this machine; of names only localhost does.
func isLoopback(target string) bool {
	if strings.HasPrefix(target, "unix:") {
		return true
	}
	host, _, err := net.SplitHostPort(target)
	if err != nil {
		return false
	}
	address := net.ParseIP(host)
	return host == "localhost" || address != nil && address.IsLoopback()
}
