//! What begins a session.

use crate::calls::{DECRYPT, HANDSHAKE, RESTORE_SESSION, RESUME, new_request_id};
use crate::facts::Facts;
use crate::pb::{handshake_request, handshake_response, resume_request, resume_response};
use crate::{Client, Error, Opened, Result, Session, pb};

impl Client {
    /// Begins a session with a player's first message. While the session's `established` is None the pattern needs another
    /// message of the player: hand it to [`Session::proceed`].
    ///
    /// Reasons of a refusal: HANDSHAKE_FAILED, UNSUPPORTED_PROTOCOL, POLICY_REJECTED, CLOCK_SKEW, STALE_HANDSHAKE,
    /// SESSION_QUOTA, INVALID_REQUEST; DATAGRAM [`Error::Retry`].
    pub async fn respond(&self, step: pb::RespondHandshake) -> Result<Session> {
        let session = self.answer(step).await?;
        session.send_to_peer();
        Ok(session)
    }

    /// Begins a session towards a player: message 1 is in `to_peer`.
    pub async fn initiate(&self, step: pb::InitiateHandshake) -> Result<Session> {
        let begun =
            Facts { mode: step.mode(), peer_id: step.peer_id.clone(), group: step.group.clone(), ..Facts::default() };
        let session = self.shake(handshake_request::Step::Initiate(step), begun).await?;
        session.send_to_peer();
        Ok(session)
    }

    /// Begins a new session with a ticket that the player brought back; names and options are the ticket's. The player
    /// must send a first record: that confirms the resume. TICKET_REJECTED asks for a full handshake; where one came along
    /// in the fallback fields it has begun instead, and `fell_back` says so.
    pub async fn respond_resume(&self, step: pb::RespondResume) -> Result<Session> {
        let session = self.answer_resume(step).await?;
        session.send_to_peer();
        Ok(session)
    }

    /// Begins a new session with a ticket that the player's side gave us in an earlier one; mode and endpoint are those
    /// that it had.
    pub async fn initiate_resume(
        &self,
        endpoint: &str,
        mode: pb::RecordMode,
        step: pb::InitiateResume,
    ) -> Result<Session> {
        let begun = Facts { mode, endpoint: endpoint.to_owned(), ..Facts::default() };
        let session = self.resume(resume_request::Step::Initiate(step), begun).await?;
        session.send_to_peer();
        Ok(session)
    }

    /// Brings a suspended session back, once: by its id, or by the blob that [`Session::suspend`] gave. The endpoint is
    /// where it was suspended. SESSION_CLOSED with the cause LOST, BLOB_REJECTED and SESSION_NOT_FOUND say that it cannot
    /// come back.
    pub async fn restore(&self, endpoint: &str, source: pb::restore_session_request::Source) -> Result<Session> {
        let request = pb::RestoreSessionRequest { request_id: new_request_id(), source: Some(source) };
        let (answer, from) = self.0.channels.ask(&RESTORE_SESSION, endpoint, request).await?;
        let pb::RestoreSessionResponse { to_peer, session } = answer;
        let mut facts = Facts { to_peer, ..session.unwrap_or_default().into() };
        if facts.endpoint.is_empty() {
            facts.endpoint = from;
        }
        let session = Session::new(self.clone(), facts);
        session.send_to_peer();
        Ok(session)
    }

    /// Opens a DATAGRAM record whose session the service finds by its connection id. Nothing goes to `on_send`.
    pub(crate) async fn find_and_decrypt(&self, packet: Vec<u8>) -> Result<(Session, Opened)> {
        let request = pb::DecryptRequest { request_id: new_request_id(), ciphertext: packet, ..Default::default() };
        let (answer, from) = self.0.channels.ask::<_, pb::DecryptResponse>(&DECRYPT, "", request).await?;
        let opened = Opened::from(answer);
        Ok((self.session(opened.session_id.clone(), &from, pb::RecordMode::Datagram), opened))
    }

    /// Hands over a DATAGRAM packet of step 2 or 3 whose session the service finds. Nothing goes to `on_send`.
    pub(crate) async fn find_and_proceed(&self, message: Vec<u8>, resuming: bool) -> Result<Session> {
        let begun = Facts { mode: pb::RecordMode::Datagram, ..Facts::default() };
        if resuming {
            let step = pb::ProceedResume { message, ..Default::default() };
            return self.resume(resume_request::Step::Proceed(step), begun).await;
        }
        let step = pb::ProceedHandshake { message, ..Default::default() };
        self.shake(handshake_request::Step::Proceed(step), begun).await
    }

    /// Responds; nothing goes to `on_send`.
    pub(crate) async fn answer(&self, step: pb::RespondHandshake) -> Result<Session> {
        let begun =
            Facts { mode: step.mode(), peer_id: step.peer_id.clone(), group: step.group.clone(), ..Facts::default() };
        self.shake(handshake_request::Step::Respond(step), begun).await
    }

    /// Responds to a resume; nothing goes to `on_send`.
    pub(crate) async fn answer_resume(&self, step: pb::RespondResume) -> Result<Session> {
        let begun = Facts { mode: step.mode(), ..Facts::default() };
        self.resume(resume_request::Step::Respond(step), begun).await
    }

    async fn shake(&self, step: handshake_request::Step, mut begun: Facts) -> Result<Session> {
        let request = pb::HandshakeRequest { request_id: new_request_id(), step: Some(step) };
        let (answer, from) =
            self.0.channels.ask::<_, pb::HandshakeResponse>(&HANDSHAKE, &begun.endpoint, request).await?;
        if let Some(handshake_response::Progress::Retry(retry)) = &answer.progress {
            return Err(Error::Retry { why: retry.reason(), to_peer: answer.to_peer });
        }
        begun.shaken(answer, from);
        Ok(Session::new(self.clone(), begun))
    }

    async fn resume(&self, step: resume_request::Step, mut begun: Facts) -> Result<Session> {
        begun.resuming = true;
        let request = pb::ResumeRequest { request_id: new_request_id(), step: Some(step) };
        let (answer, from) = self.0.channels.ask::<_, pb::ResumeResponse>(&RESUME, &begun.endpoint, request).await?;
        if let Some(resume_response::Progress::Retry(retry)) = &answer.progress {
            return Err(Error::Retry { why: retry.reason(), to_peer: answer.to_peer });
        }
        begun.resumed(answer, from);
        Ok(Session::new(self.clone(), begun))
    }
}
