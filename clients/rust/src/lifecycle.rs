//! What happens to a session between its handshake and its end.

use crate::calls::{
    CHANGE_NETWORK, CLOSE_SESSION, EXPORT_SECRET, GET_SESSION, ISSUE_TICKET, ROTATE, SUSPEND_SESSION, new_request_id,
};
use crate::session::{BOTH, Direction};
use crate::{Error, Result, Session, pb};

impl Session {
    /// Changes keys (docs/protocol.md, section 4); session_id and request_id of the request are filled in here. DATAGRAM:
    /// its kind is all, and the rest travels in `to_peer` by itself. NOISE, REKEY: its direction names which. NOISE,
    /// RENEGOTIATE: step by step, with what the player sent inside the session as its message. EPOCH_CONFLICT: another
    /// rotation came first.
    ///
    /// In NOISE mode `to_peer` is the game's to send, inside the session; in DATAGRAM mode it is `on_send`'s where there
    /// is a hook.
    pub async fn rotate(&self, request: pb::RotateRequest) -> Result<pb::RotateResponse> {
        let directions: &[Direction] = match (request.kind(), request.direction()) {
            (pb::RotationKind::Rekey, pb::Direction::Send) => &[Direction::Sending],
            (pb::RotationKind::Rekey, pb::Direction::Receive) => &[Direction::Receiving],
            _ => BOTH,
        };
        let _turns = self.take_turns(directions).await;
        let request = pb::RotateRequest { session_id: self.id(), request_id: new_request_id(), ..request };
        let mut answer: pb::RotateResponse = self.ask(&ROTATE, request).await?;
        if self.mode() == pb::RecordMode::Datagram {
            self.hand(&mut answer.to_peer);
        }
        Ok(answer)
    }

    /// Makes a single-use resumption ticket and seals it for the player: `to_peer` of the answer has it, or `on_send`.
    pub async fn issue_ticket(&self) -> Result<pb::IssueTicketResponse> {
        let _turns = self.take_turns(&[Direction::Sending]).await;
        let request = pb::IssueTicketRequest { session_id: self.id(), request_id: new_request_id() };
        let mut answer: pb::IssueTicketResponse = self.ask(&ISSUE_TICKET, request).await?;
        self.hand(&mut answer.to_peer);
        Ok(answer)
    }

    /// Derives a key for something beside the session, such as a voice channel, which the player derives too: of `length`
    /// 16 to 255 bytes, for a label of 1 to 64. The service's policy must name ExportSecret for this caller.
    pub async fn export_secret(&self, label: &str, context: impl Into<Vec<u8>>, length: u32) -> Result<Vec<u8>> {
        let (label, context) = (label.to_owned(), context.into());
        let request = pb::ExportSecretRequest { session_id: self.id(), label, context, length };
        let pb::ExportSecretResponse { secret } = self.ask(&EXPORT_SECRET, request).await?;
        Ok(secret)
    }

    /// Takes the session out of the service's memory, e.g. while its player is away; [`Client::restore`] brings it back.
    /// With `return_blob` (DATAGRAM) the answer has the sealed session and the service keeps nothing.
    ///
    /// [`Client::restore`]: crate::Client::restore
    pub async fn suspend(&self, return_blob: bool) -> Result<pb::SuspendSessionResponse> {
        let _turns = self.take_turns(BOTH).await;
        let request = pb::SuspendSessionRequest { session_id: self.id(), request_id: new_request_id(), return_blob };
        self.ask(&SUSPEND_SESSION, request).await
    }

    /// Tells that the player is on another network: WIFI gives new keys, CELLULAR a longer keep-alive, both bring a
    /// suspended session back; NONE suspends.
    ///
    /// `to_peer` of the answer stays there and is not `on_send`'s: it begins with a question, which must go to one address
    /// alone ([`Receiver::route_change`](crate::Receiver::route_change)).
    pub async fn change_network(&self, network: pb::Network) -> Result<pb::NetworkChange> {
        let _turns = self.take_turns(BOTH).await;
        let request = pb::ChangeNetworkRequest {
            request_id: new_request_id(),
            network: network.into(),
            target: Some(pb::change_network_request::Target::SessionId(self.id())),
        };
        let pb::ChangeNetworkResponse { changes } = self.ask(&CHANGE_NETWORK, request).await?;
        let [change] = <[_; 1]>::try_from(changes).map_err(|_| Error::not_whole("one change for one session"))?;
        if !change.connection_id.is_empty() {
            self.know(|facts| facts.connection_id = change.connection_id.clone());
        }
        Ok(change)
    }

    /// Asks the service what it knows about the session.
    pub async fn describe(&self) -> Result<pb::Session> {
        let request = pb::GetSessionRequest { session_id: self.id(), ..Default::default() };
        let answer: pb::GetSessionResponse = self.ask(&GET_SESSION, request).await?;
        answer.session.ok_or_else(|| Error::not_whole("a session"))
    }

    /// Ends the session or its handshake and answers what the player should still get (DATAGRAM: a close record), where no
    /// `on_send` hook has it. It is no error where the session has ended already.
    pub async fn close(&self) -> Result<Vec<Vec<u8>>> {
        if self.ended() {
            return Ok(Vec::new());
        }
        let request = pb::CloseSessionRequest { session_id: self.id(), request_id: new_request_id() };
        let answer: pb::CloseSessionResponse = match self.ask(&CLOSE_SESSION, request).await {
            Err(Error::ResumeNeeded(_)) => Default::default(),
            answer => answer?,
        };
        self.know(|facts| (facts.ended, facts.to_peer) = (true, answer.to_peer));
        self.send_to_peer();
        Ok(self.to_peer())
    }
}
