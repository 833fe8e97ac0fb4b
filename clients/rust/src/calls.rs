//! Single calls: their deadline, their repeats, and the endpoint that they end up at.

use std::time::Duration;

use prost::Message;
use tokio::time::{Instant, sleep, timeout_at};
use tonic::Code;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic_prost::ProstCodec;
use uuid::Uuid;

use crate::channels::Channels;
use crate::error::is_not_connected;
use crate::{Error, Policy, Reason, Result};

/// How often one call follows WRONG_OWNER.
const MAX_HOPS: u32 = 2;

/// Between two looks for a service that is not there yet.
const RECONNECT: Duration = Duration::from_millis(100);

/// Decides a call's default deadline, and whether it waits for a server that is not there yet.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The control deadline; waits.
    Control,
    /// The packet deadline; a packet that has to wait is worth nothing.
    Packet,
    /// The control deadline; never waits.
    Batch,
}

/// One row of the contract.
pub(crate) struct Method {
    path: &'static str,
    kind: Kind,
}

macro_rules! methods {
    ($($constant:ident = $name:literal $kind:ident,)*) => {
        $(pub(crate) const $constant: Method =
            Method { path: concat!("/noisegate.v1.SessionCryptoService/", $name), kind: Kind::$kind };)*
    };
}

methods! {
    GET_CAPABILITIES = "GetCapabilities" Control,
    HANDSHAKE = "Handshake" Control,
    ENCRYPT = "Encrypt" Packet,
    DECRYPT = "Decrypt" Packet,
    ENCRYPT_BATCH = "EncryptBatch" Batch,
    DECRYPT_BATCH = "DecryptBatch" Batch,
    BROADCAST = "Broadcast" Batch,
    ROTATE = "Rotate" Control,
    RESUME = "Resume" Control,
    ISSUE_TICKET = "IssueTicket" Control,
    GET_SESSION = "GetSession" Control,
    LIST_SESSIONS = "ListSessions" Control,
    CLOSE_SESSION = "CloseSession" Control,
    SUSPEND_SESSION = "SuspendSession" Control,
    RESTORE_SESSION = "RestoreSession" Control,
    CHANGE_NETWORK = "ChangeNetwork" Control,
    EXPORT_SECRET = "ExportSecret" Control,
}

pub(crate) fn new_request_id() -> String {
    Uuid::new_v4().to_string()
}

impl Policy {
    pub(crate) fn deadline(&self, kind: Kind) -> Duration {
        if kind == Kind::Packet { self.packet_deadline } else { self.control_deadline }
    }
}

/// An attempt that gave nothing; `seen` where the service may have seen it.
struct Failed {
    error: Error,
    seen: bool,
}

impl Channels {
    /// Runs one call to its end; answers also from which endpoint its answer came.
    ///
    /// It is repeated only where nothing came back (UNAVAILABLE: refused work or a dead connection), with the same message
    /// and so the same request_id: what the service has done already it answers with the answer that was lost. Every
    /// method that changes anything has a request_id. One deadline covers all attempts, and alone bounds them while an
    /// instance is away.
    pub(crate) async fn ask<Q, A>(&self, method: &Method, endpoint: &str, request: Q) -> Result<(A, String)>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let deadline = Instant::now() + self.options.policy.deadline(method.kind);
        let call = async {
            let mut unreached = String::new();
            let call = self.repeat(method, endpoint.to_owned(), request, deadline, &mut unreached);
            timeout_at(deadline, call).await.unwrap_or_else(|_| Err(too_late(&unreached)))
        };
        self.open(call).await
    }

    /// `unreached` is why no connection could be made, as long as none can be.
    async fn repeat<Q, A>(
        &self,
        method: &Method,
        mut endpoint: String,
        request: Q,
        deadline: Instant,
        unreached: &mut String,
    ) -> Result<(A, String)>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let policy = &self.options.policy;
        let (mut attempts, mut repeats, mut hops) = (0, 0, 0);
        loop {
            let Failed { error, seen } = match self.attempt(method, &endpoint, request.clone(), deadline).await {
                Ok(answer) => return Ok((answer, endpoint)),
                Err(failed) => failed,
            };
            let owner = error.refusal().and_then(|refusal| refusal.metadata.get("owner"));
            if let (Some(Reason::WrongOwner), Some(owner), true) = (error.reason(), owner, hops < MAX_HOPS) {
                endpoint = owner.clone();
                hops += 1;
                continue;
            }
            *unreached = if seen { String::new() } else { error.to_string() };
            if !seen && method.kind == Kind::Control {
                sleep(RECONNECT.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
                continue;
            }
            let delay = policy.delay(repeats, fastrand::f64(), error.retry_delay());
            repeats += 1;
            attempts += u32::from(policy.counts(error.reason()));
            if !error.is_unanswered() || attempts >= policy.attempts || Instant::now() + delay >= deadline {
                return Err(error);
            }
            sleep(delay).await;
        }
    }

    async fn attempt<Q, A>(
        &self,
        method: &Method,
        endpoint: &str,
        message: Q,
        deadline: Instant,
    ) -> std::result::Result<A, Failed>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let not_made = |error| Failed { error, seen: true };
        let mut grpc = Grpc::new(self.take(endpoint).map_err(not_made)?);
        let mut request = self.options.request(message, true).await.map_err(not_made)?;
        request.set_timeout(deadline.saturating_duration_since(Instant::now()));
        let ready = grpc.ready().await;
        ready.map_err(|error| not_made(Error::of(Code::Unavailable, error.to_string())))?;
        let answer = grpc.unary(request, PathAndQuery::from_static(method.path), ProstCodec::default()).await;
        answer
            .map(tonic::Response::into_inner)
            .map_err(|status| Failed { seen: !is_not_connected(&status), error: status.into() })
    }
}

/// `because` is what is known of it, empty for nothing.
pub(crate) fn too_late(because: &str) -> Error {
    let colon = if because.is_empty() { "" } else { ": " };
    Error::of(Code::DeadlineExceeded, format!("no answer within the deadline{colon}{because}"))
}
