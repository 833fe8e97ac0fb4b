//! The client of one service.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use tonic::Streaming;

use crate::calls::{CHANGE_NETWORK, GET_CAPABILITIES, GET_SESSION, LIST_SESSIONS, new_request_id};
use crate::channels::Channels;
use crate::facts::Facts;
use crate::multiplexer::Multiplexer;
use crate::pb::session_crypto_service_client::SessionCryptoServiceClient;
use crate::{Error, Options, Result, Session, pb};

/// Talks to one service: to its target, and to whatever instances the service names.
#[derive(Clone)]
pub struct Client(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) channels: Arc<Channels>,
    /// None where calls travel alone.
    pub(crate) multiplexer: Option<Multiplexer>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("target", &self.0.channels.target).finish_non_exhaustive()
    }
}

impl Client {
    /// Makes a client for the service at a target, HOST:PORT. It connects with its first call, which must be made in a
    /// runtime of tokio.
    ///
    /// Without [`Options::tls`] it is for loopback alone: any other address gives [`Error::InsecureTarget`].
    pub fn connect(target: &str, options: Options) -> Result<Client> {
        options.check()?;
        options.check_plaintext(target)?;
        let multiplex = options.multiplex.clone();
        let channels = Arc::new(Channels::new(target.to_owned(), options));
        let multiplexer = multiplex.map(|multiplex| Multiplexer::new(channels.clone(), multiplex));
        Ok(Client(Arc::new(Inner { channels, multiplexer })))
    }

    /// Ends every connection; calls under way end with [`Error::Closed`]. Sessions live on at the service. A client whose
    /// last handle is dropped, those of its sessions included, ends its connections, too.
    pub fn close(&self) {
        self.0.channels.close();
        if let Some(multiplexer) = &self.0.multiplexer {
            multiplexer.close();
        }
    }

    /// What the service can do and with which static key it answers.
    pub async fn capabilities(&self) -> Result<pb::GetCapabilitiesResponse> {
        let asked = self.0.channels.ask(&GET_CAPABILITIES, "", pb::GetCapabilitiesRequest {});
        asked.await.map(|(answer, _)| answer)
    }

    /// A handle of a session that lives already; no call is made. Without an endpoint the client's own target is asked,
    /// which may send the call on. In DATAGRAM mode calls run side by side; otherwise those of one direction run one after
    /// the other, as NOISE mode needs.
    pub fn session(&self, id: impl Into<Vec<u8>>, endpoint: &str, mode: pb::RecordMode) -> Session {
        let facts = Facts { id: id.into(), endpoint: endpoint.to_owned(), mode, ..Facts::default() };
        Session::new(self.clone(), facts)
    }

    /// A handle of a session that [`get_session`](Client::get_session) or [`sessions`](Client::sessions) described; no
    /// call is made.
    pub fn adopt(&self, described: pb::Session) -> Session {
        Session::new(self.clone(), described.into())
    }

    /// Describes a session, named by its id or, DATAGRAM, by a packet's connection id.
    pub async fn get_session(&self, request: pb::GetSessionRequest) -> Result<pb::Session> {
        let (answer, _): (pb::GetSessionResponse, _) = self.0.channels.ask(&GET_SESSION, "", request).await?;
        answer.session.ok_or_else(|| Error::not_whole("a session"))
    }

    /// Goes through the caller's sessions at one instance (empty for the target), page by page, in no particular order.
    pub fn sessions(&self, endpoint: &str, request: pb::ListSessionsRequest) -> Pages {
        Pages { client: self.clone(), endpoint: endpoint.to_owned(), next: Some(request), page: VecDeque::new() }
    }

    /// Tells what happens to the caller's sessions at one instance, as it happens. First comes Watching, once: list
    /// sessions after it. DRAINING ends it when that instance stops: then begin anew.
    pub async fn watch(&self, endpoint: &str, request: pb::WatchSessionsRequest) -> Result<Watch> {
        let channels = &self.0.channels;
        let mut stub = SessionCryptoServiceClient::new(channels.take(endpoint)?);
        let request = channels.options.request(request, true).await?;
        let told = channels.open(async { Ok(stub.watch_sessions(request).await?.into_inner()) }).await?;
        Ok(Watch { client: self.clone(), told })
    }

    /// Tells that a player is on another network, for all its sessions at one instance. Send `to_peer` of each change;
    /// `on_send` is not called, because not every session of it may have a handle here.
    pub async fn change_network(
        &self,
        endpoint: &str,
        peer_id: &str,
        network: pb::Network,
    ) -> Result<Vec<pb::NetworkChange>> {
        let request = pb::ChangeNetworkRequest {
            request_id: new_request_id(),
            network: network.into(),
            target: Some(pb::change_network_request::Target::PeerId(peer_id.to_owned())),
        };
        let (answer, _) = self.0.channels.ask(&CHANGE_NETWORK, endpoint, request).await?;
        let pb::ChangeNetworkResponse { changes } = answer;
        Ok(changes)
    }
}

/// Sessions, page by page.
#[derive(Debug)]
pub struct Pages {
    client: Client,
    endpoint: String,
    /// None behind the last page.
    next: Option<pb::ListSessionsRequest>,
    page: VecDeque<pb::Session>,
}

impl Pages {
    /// The next session; None behind the last.
    pub async fn next(&mut self) -> Result<Option<pb::Session>> {
        while let (true, Some(request)) = (self.page.is_empty(), &self.next) {
            let channels = &self.client.0.channels;
            let asked = channels.ask(&LIST_SESSIONS, &self.endpoint, request.clone());
            let (pb::ListSessionsResponse { sessions, next_page_token: page_token }, _) = asked.await?;
            self.next = Some(pb::ListSessionsRequest { page_token, ..request.clone() });
            self.next.take_if(|next| next.page_token.is_empty());
            self.page = sessions.into();
        }
        Ok(self.page.pop_front())
    }
}

/// What happens to sessions, as it happens; a watch that is dropped ends.
#[derive(Debug)]
pub struct Watch {
    client: Client,
    told: Streaming<pb::WatchSessionsResponse>,
}

impl Watch {
    /// Waits for the next thing that is told; None where the service has ended the watch.
    pub async fn next(&mut self) -> Result<Option<pb::WatchSessionsResponse>> {
        self.client.0.channels.open(async { Ok(self.told.message().await?) }).await
    }
}
