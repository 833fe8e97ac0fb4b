//! What a call may fail with.

use std::collections::HashMap;
use std::error::Error as _;
use std::fmt;
use std::time::Duration;

use prost::Message;
use tonic::{Code, ConnectError, Status, TimeoutExpired};

use crate::{Reason, pb};

/// What calls of this crate answer.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a call gave nothing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The session is lost: unknown, expired or ended. The player holds the ticket: have it resume, or shake hands anew.
    #[error("the session is lost, the player must resume: {0}")]
    ResumeNeeded(Box<Refusal>),
    /// The call was refused, or got no answer.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The player has to begin anew, otherwise (DATAGRAM). There is no session, and so no `on_send`: send the player
    /// `to_peer`, which says how.
    #[error("the player has to begin anew: {}", .why.as_str_name())]
    Retry {
        /// Why.
        why: pb::handshake_retry::Reason,
        /// What tells the player, each on its own.
        to_peer: Vec<Vec<u8>>,
    },
    /// The client was closed before or during the call.
    #[error("the client is closed")]
    Closed,
    /// Secrets would leave this machine in plaintext. Nothing was sent.
    #[error("{0} is no loopback address: use Options::tls, or Options::insecure in a network that you trust")]
    InsecureTarget(String),
    /// Options, a target or an item that cannot be.
    #[error("{0}")]
    Invalid(String),
}

/// What the service, or gRPC, said of a call.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Refusal {
    /// The gRPC status code.
    pub code: Code,
    /// Why the service refused; None where gRPC itself gave up.
    pub reason: Option<Reason>,
    /// For people; it never has a secret.
    pub message: String,
    /// For programs, e.g. "cause" and "resumable" of SESSION_CLOSED.
    pub metadata: HashMap<String, String>,
    /// How long the service asks to wait; zero where it did not.
    pub retry_delay: Duration,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.reason {
            Some(reason) => write!(f, "{reason}: {}", self.message),
            None => write!(f, "{:?}: {}", self.code, self.message),
        }
    }
}

impl Error {
    /// What was said of the call; None where it was not made.
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Error::ResumeNeeded(refusal) | Error::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Why the service refused; None where it did not.
    pub fn reason(&self) -> Option<&Reason> {
        self.refusal()?.reason.as_ref()
    }

    pub(crate) fn of(code: Code, message: impl Into<String>) -> Error {
        Refusal::of(code, message.into()).into()
    }

    /// An answer that is not what was asked for.
    pub(crate) fn not_whole(what: &str) -> Error {
        Error::of(Code::Internal, format!("the answer does not have {what}"))
    }

    pub(crate) fn is_unavailable(&self) -> bool {
        self.refusal().is_some_and(|refusal| refusal.code == Code::Unavailable)
    }

    /// Refused work or a dead connection; a service that stops cancels what reaches it in that moment.
    pub(crate) fn is_unanswered(&self) -> bool {
        let is_cut = |refusal: &Refusal| refusal.code == Code::Cancelled && refusal.reason.is_none();
        self.is_unavailable() || self.refusal().is_some_and(is_cut)
    }

    pub(crate) fn retry_delay(&self) -> Duration {
        self.refusal().map_or(Duration::ZERO, |refusal| refusal.retry_delay)
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        match &refusal.reason {
            Some(reason) if reason.loses_session() => Error::ResumeNeeded(Box::new(refusal)),
            _ => Error::Refused(Box::new(refusal)),
        }
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        Refusal::from(&status).into()
    }
}

impl Refusal {
    fn of(code: Code, message: String) -> Refusal {
        Refusal { code, reason: None, message, metadata: HashMap::new(), retry_delay: Duration::ZERO }
    }

    /// Reads the details of a refusal (google.rpc.Status).
    fn detailed(code: Code, message: &str, details: &[u8]) -> Refusal {
        let mut refusal = Refusal::of(code, message.to_owned());
        for detail in Details::decode(details).unwrap_or_default().details {
            if let Ok(info) = detail.to_msg::<ErrorInfo>() {
                if info.domain == DOMAIN {
                    (refusal.reason, refusal.metadata) = (Some(info.reason.as_str().into()), info.metadata);
                }
            } else if let Ok(retry) = detail.to_msg::<RetryInfo>() {
                refusal.retry_delay = retry.retry_delay.unwrap_or_default().try_into().unwrap_or_default();
            }
        }
        refusal
    }
}

impl From<&Status> for Refusal {
    fn from(status: &Status) -> Refusal {
        // What the transport itself made says Unknown, Internal or Cancelled of a connection that is gone.
        let code = match status.code() {
            _ if has_source::<TimeoutExpired>(status) => Code::DeadlineExceeded,
            Code::Unknown | Code::Internal | Code::Cancelled if status.source().is_some() => Code::Unavailable,
            code => code,
        };
        let mut refusal = Refusal::detailed(code, status.message(), status.details());
        // The transport's own words leave out what the system, or TLS, said.
        let cause = sources(status).last().map(ToString::to_string).unwrap_or_default();
        if !refusal.message.contains(&cause) {
            refusal.message += &format!(": {cause}");
        }
        refusal
    }
}

/// No connection could be made, so that the service has seen nothing of the call.
pub(crate) fn is_not_connected(status: &Status) -> bool {
    has_source::<ConnectError>(status)
}

fn has_source<E: std::error::Error + 'static>(status: &Status) -> bool {
    sources(status).any(|error| error.is::<E>())
}

fn sources(status: &Status) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(status.source(), |&error| error.source())
}

impl From<pb::TransportRefused> for Error {
    /// The refusal of a whole batch of a stream.
    fn from(refused: pb::TransportRefused) -> Error {
        let message = match Details::decode(refused.status.as_slice()) {
            Ok(status) if status.code != 0 => status.message,
            _ => "the batch was refused".to_owned(),
        };
        Refusal::detailed(code_of(refused.code), &message, &refused.status).into()
    }
}

impl From<pb::ItemError> for Error {
    /// The refusal of one item of a batch.
    fn from(item: pb::ItemError) -> Error {
        let name = item.reason().as_str_name();
        let reason = (item.reason() != pb::ErrorReason::Unspecified)
            .then(|| name.strip_prefix("ERROR_REASON_").unwrap_or(name).into());
        let mut refusal = Refusal::of(code_of(item.code), item.message);
        (refusal.reason, refusal.metadata) = (reason, item.metadata);
        refusal.into()
    }
}

fn code_of(number: u32) -> Code {
    i32::try_from(number).map_or(Code::Unknown, Code::from_i32)
}

const DOMAIN: &str = "noisegate";

/// What is needed of google.rpc.Status.
#[derive(Clone, PartialEq, Message)]
struct Details {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<prost_types::Any>,
}

/// google.rpc.ErrorInfo.
#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
    #[prost(map = "string, string", tag = "3")]
    metadata: HashMap<String, String>,
}

/// google.rpc.RetryInfo.
#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

macro_rules! named {
    ($($message:ident),*) => {
        $(impl prost::Name for $message {
            const PACKAGE: &'static str = "google.rpc";
            const NAME: &'static str = stringify!($message);
        })*
    };
}

named!(ErrorInfo, RetryInfo);
