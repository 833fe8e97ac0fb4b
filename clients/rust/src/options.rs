//! How a client connects, how long its calls may take and how they are repeated.

use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tonic::Code;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};

use crate::multiplexer::Multiplex;
use crate::{Error, Reason, Result, Session};

/// How long calls may take and how they are repeated. The service remembers a request_id for 5 s: keep deadlines below
/// that.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// That of Encrypt and Decrypt, all attempts together. NOISE mode: a late answer costs the session there, so set it
    /// higher, e.g. 2 s, where a machine may be loaded.
    pub packet_deadline: Duration,
    /// That of every other call.
    pub control_deadline: Duration,
    /// Attempts of one call, the first included; 1 for no repeats. Those that meet an instance that is away or stops do not
    /// count: the deadline alone bounds them.
    pub attempts: u32,
    /// The most to wait before the first repeat; it doubles up to `max_backoff`.
    pub first_backoff: Duration,
    /// The most to wait before any repeat.
    pub max_backoff: Duration,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy {
            packet_deadline: Duration::from_millis(250),
            control_deadline: Duration::from_secs(2),
            attempts: 5,
            first_backoff: Duration::from_millis(25),
            max_backoff: Duration::from_millis(500),
        }
    }
}

impl Policy {
    /// Whether an attempt that was refused for this reason is one of `attempts`. Without a reason gRPC itself gave up, and
    /// nobody has looked at the call.
    pub(crate) fn counts(&self, reason: Option<&Reason>) -> bool {
        self.attempts == 1 || !matches!(reason, None | Some(Reason::Draining))
    }

    /// Before repeat 0, 1, ...; `share` is random in [0, 1). What the service asks for comes on top.
    pub(crate) fn delay(&self, repeat: u32, share: f64, asked: Duration) -> Duration {
        let backoff = (0..repeat.min(16)).fold(self.first_backoff, |backoff, _| (2 * backoff).min(self.max_backoff));
        // Half is fixed, so that a repeat is never at once; half is random, so that clients do not march in step.
        asked + backoff.mul_f64(0.5 + 0.5 * share)
    }
}

type Token = Arc<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String>> + Send>> + Send + Sync>;

/// What a [`Client`](crate::Client) is made with. Each method changes one thing.
#[derive(Clone, Default)]
pub struct Options {
    pub(crate) policy: Policy,
    pub(crate) multiplex: Option<Multiplex>,
    tls: Option<ClientTlsConfig>,
    insecure: bool,
    token: Option<Token>,
    pub(crate) on_send: Option<Arc<dyn Fn(&Session, Vec<Vec<u8>>) + Send + Sync>>,
    metadata: Option<Arc<dyn Fn(&mut MetadataMap) + Send + Sync>>,
    endpoint: Option<Arc<dyn Fn(Endpoint) -> Endpoint + Send + Sync>>,
}

impl fmt::Debug for Options {
    /// Never shows keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("policy", &self.policy)
            .field("multiplex", &self.multiplex)
            .finish_non_exhaustive()
    }
}

impl Options {
    /// The defaults: plaintext to this machine, [`Policy::default`], each call by itself.
    pub fn new() -> Options {
        Options::default()
    }

    /// Connects by TLS; with an identity in the configuration by mutual TLS, which names the caller (a SPIFFE id as a
    /// rule). It holds for every endpoint that the service names.
    pub fn tls(mut self, configuration: ClientTlsConfig) -> Options {
        self.tls = Some(configuration);
        self
    }

    /// Sends a bearer token with every call; `token` is asked each time and keeps its own cache. It needs TLS, but for
    /// loopback.
    pub fn token<F, T>(mut self, token: F) -> Options
    where
        F: Fn() -> T + Send + Sync + 'static,
        T: Future<Output = Result<String>> + Send + 'static,
    {
        self.token = Some(Arc::new(move || Box::pin(token())));
        self
    }

    /// Allows plaintext to addresses beyond loopback, for a network that you trust: plaintexts and pre-shared keys travel
    /// on it.
    pub fn insecure(mut self) -> Options {
        self.insecure = true;
        self
    }

    /// Sets deadlines and repeats.
    pub fn policy(mut self, policy: Policy) -> Options {
        self.policy = policy;
        self
    }

    /// Lets Encrypt and Decrypt of all sessions travel together, in batches on one stream to each endpoint. The service's
    /// policy must grant Transport, EncryptBatch and DecryptBatch.
    pub fn multiplex(mut self, multiplex: Multiplex) -> Options {
        self.multiplex = Some(multiplex);
        self
    }

    /// Names who sends the messages that the service has for players besides what was asked for: each on its own, in this
    /// order. It is called before the call that brought them returns; that call's `to_peer` is then empty. It must not
    /// call the session and should not block. The records that Encrypt seals are the caller's own to send.
    pub fn on_send(mut self, send: impl Fn(&Session, Vec<Vec<u8>>) + Send + Sync + 'static) -> Options {
        self.on_send = Some(Arc::new(send));
        self
    }

    /// Adds to the metadata of each call, in the task that makes it: there a propagator of OpenTelemetry finds the trace
    /// context. With a multiplexer Encrypt and Decrypt travel on a stream of the client's, which has none.
    pub fn metadata(mut self, add: impl Fn(&mut MetadataMap) + Send + Sync + 'static) -> Options {
        self.metadata = Some(Arc::new(add));
        self
    }

    /// Changes how each connection is made: windows, keep-alive, the address that it comes from.
    pub fn endpoint(mut self, change: impl Fn(Endpoint) -> Endpoint + Send + Sync + 'static) -> Options {
        self.endpoint = Some(Arc::new(change));
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let Policy { packet_deadline, control_deadline, attempts, .. } = self.policy;
        if packet_deadline.is_zero() || control_deadline.is_zero() || attempts == 0 {
            return Err(Error::Invalid("Policy: deadlines must be positive, attempts at least 1".into()));
        }
        self.multiplex.as_ref().map_or(Ok(()), Multiplex::check)
    }

    /// An endpoint comes from the service, too, and must not talk this client out of TLS.
    pub(crate) fn check_plaintext(&self, target: &str) -> Result<()> {
        if self.tls.is_some() || is_loopback(target) || self.insecure && self.token.is_none() {
            return Ok(());
        }
        Err(Error::InsecureTarget(target.to_owned()))
    }

    /// Makes a connection; it connects with its first call.
    pub(crate) fn dial(&self, address: &str) -> Result<Channel> {
        self.check_plaintext(address)?;
        let uri = match &self.tls {
            _ if address.starts_with("unix:") => address.to_owned(),
            Some(_) => format!("https://{address}"),
            None => format!("http://{address}"),
        };
        let invalid = |error: tonic::transport::Error| Error::Invalid(format!("{address}: {error}"));
        let mut endpoint = Endpoint::from_shared(uri).map_err(invalid)?;
        if let Some(tls) = &self.tls {
            endpoint = endpoint.tls_config(tls.clone()).map_err(invalid)?;
        }
        endpoint = endpoint
            .user_agent("noisegate-rust")
            .map_err(invalid)?
            .connect_timeout(Duration::from_secs(1))
            .http2_keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(10))
            .keep_alive_while_idle(true);
        Ok(self.endpoint.as_ref().map_or(endpoint.clone(), |change| change(endpoint)).connect_lazy())
    }

    /// A call with its token and what the caller adds; on the client's own streams (`traced` false) nothing is added.
    pub(crate) async fn request<T>(&self, message: T, traced: bool) -> Result<tonic::Request<T>> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            let bearer: AsciiMetadataValue = format!("Bearer {}", token().await?)
                .parse()
                .map_err(|_| Error::of(Code::Unauthenticated, "the token cannot stand in a header"))?;
            request.metadata_mut().insert("authorization", bearer);
        }
        if let Some(add) = self.metadata.as_ref().filter(|_| traced) {
            add(request.metadata_mut());
        }
        Ok(request)
    }
}

/// Whether HOST:PORT or a unix: address stays on this machine; of names only localhost does.
fn is_loopback(target: &str) -> bool {
    let Some((host, port)) = target.rsplit_once(':') else { return false };
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let is_address = host == "localhost" || host.parse().is_ok_and(|address: IpAddr| address.is_loopback());
    target.starts_with("unix:") || is_address && port.parse::<u16>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_that_is_away_is_waited_for_until_the_deadline() {
        let policy = Policy::default();
        for (reason, counts) in [(None, false), (Some(Reason::Draining), false), (Some(Reason::Overloaded), true)] {
            assert_eq!(policy.counts(reason.as_ref()), counts, "{reason:?}");
            assert!(Policy { attempts: 1, ..policy.clone() }.counts(reason.as_ref()), "who wants no repeats has none");
        }
    }

    #[test]
    fn backoff_doubles_up_to_its_most() {
        let policy = Policy::default();
        for (repeat, most) in (0..).zip([25, 50, 100, 200, 400, 500, 500]) {
            let most = Duration::from_millis(most);
            assert_eq!(policy.delay(repeat, 0.0, Duration::ZERO), most / 2);
            assert_eq!(policy.delay(repeat, 1.0, Duration::from_secs(1)), most + Duration::from_secs(1));
        }
    }
}
