//! The handle of one player's session.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use prost::Message;
use tokio::sync::MutexGuard;

use crate::bundle::{Done, Kind};
use crate::calls::{DECRYPT, ENCRYPT, HANDSHAKE, Method, RESUME, new_request_id};
use crate::facts::Facts;
use crate::packing::{Entry, SESSION_ID_BYTES};
use crate::{Client, Error, Opened, Result, Sealed, pb};

/// A handle of one player's session.
///
/// In NOISE mode a record's counter travels with nobody: calls of one direction run one after the other, and one that ends
/// with DEADLINE_EXCEEDED or UNAVAILABLE, or is dropped, may have moved the counter all the same; then the session is best
/// closed and resumed. In DATAGRAM mode calls run side by side, and a lost answer costs one packet.
#[derive(Clone)]
pub struct Session(Arc<Inner>);

struct Inner {
    client: Client,
    /// Lets calls of one direction run one after the other; None lets all run side by side.
    turns: Option<[tokio::sync::Mutex<()>; 2]>,
    facts: Mutex<Facts>,
}

/// Of a session, seen from the service. Who takes both turns takes sending first, so that two calls cannot wait for each
/// other.
#[derive(Clone, Copy)]
pub(crate) enum Direction {
    Sending,
    Receiving,
}

pub(crate) const BOTH: &[Direction] = &[Direction::Sending, Direction::Receiving];

pub(crate) type Turns<'a> = Vec<MutexGuard<'a, ()>>;

impl fmt::Debug for Session {
    /// Never shows ids or names: they find sessions and people, and belong in no log by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.ended() { "noisegate session (ended)" } else { "noisegate session" })
    }
}

impl Session {
    pub(crate) fn new(client: Client, facts: Facts) -> Session {
        let turns = (facts.mode != pb::RecordMode::Datagram).then(Default::default);
        Session(Arc::new(Inner { client, turns, facts: Mutex::new(facts) }))
    }

    /// Tells handles apart.
    pub(crate) fn address(&self) -> usize {
        Arc::as_ptr(&self.0).addr()
    }

    pub(crate) fn know<T>(&self, read: impl FnOnce(&mut Facts) -> T) -> T {
        read(&mut self.0.facts.lock().unwrap())
    }

    /// 24 bytes, opaque.
    pub fn id(&self) -> Vec<u8> {
        self.know(|facts| facts.id.clone())
    }

    /// HOST:PORT where the session lives; empty for the client's own target.
    pub fn endpoint(&self) -> String {
        self.know(|facts| facts.endpoint.clone())
    }

    /// How its records travel; unspecified for a handle made from an id alone.
    pub fn mode(&self) -> pb::RecordMode {
        self.know(|facts| facts.mode)
    }

    /// What the player's packets carry (DATAGRAM): 8 bytes.
    pub fn connection_id(&self) -> Vec<u8> {
        self.know(|facts| facts.connection_id.clone())
    }

    /// The player, as the game (or the ticket) named it.
    pub fn peer_id(&self) -> String {
        self.know(|facts| facts.peer_id.clone())
    }

    /// The match, room or table, as the game (or the ticket) named it.
    pub fn group(&self) -> String {
        self.know(|facts| facts.group.clone())
    }

    /// What the handshake gave; None while it is not finished, and for a handle made from an id alone.
    pub fn established(&self) -> Option<pb::Established> {
        self.know(|facts| facts.established.clone())
    }

    /// After how long the handshake is given up, counted from its last step; zero once it is finished.
    pub fn pending_for(&self) -> Duration {
        self.know(|facts| facts.pending_for)
    }

    /// What the last step of the handshake, or [`close`](Session::close), wants sent to the player, in this order, each on
    /// its own. Empty where an `on_send` hook has it.
    pub fn to_peer(&self) -> Vec<Vec<u8>> {
        self.know(|facts| facts.to_peer.clone())
    }

    /// That of the player's last handshake message; possibly replayed until a first record has opened.
    pub fn payload(&self) -> Vec<u8> {
        self.know(|facts| facts.payload.clone())
    }

    /// What the game's framing must carry beside message 1 (NOISE, initiating with an offer).
    pub fn hello(&self) -> Vec<u8> {
        self.know(|facts| facts.hello.clone())
    }

    /// What the game's framing must carry beside message 1 (NOISE, initiating a resume).
    pub fn ticket(&self) -> Vec<u8> {
        self.know(|facts| facts.ticket.clone())
    }

    /// What became of a resume's early data, and the player's, where it was accepted. Secret. Until a first record has
    /// opened, whoever has the ticket's key may have sent it.
    pub fn early(&self) -> (pb::EarlyData, Vec<u8>) {
        self.know(|facts| (facts.early, facts.early_data.clone()))
    }

    /// The ticket was refused, and this is the session of the full handshake that came beside it.
    pub fn fell_back(&self) -> bool {
        self.know(|facts| facts.fell_back)
    }

    /// Whether this handle has seen the session end.
    pub fn ended(&self) -> bool {
        self.know(|facts| facts.ended)
    }

    /// Hands over the player's next handshake message, in DATAGRAM mode its packet; look at
    /// [`established`](Session::established) afterwards. Answers `to_peer`.
    pub async fn proceed(&self, message: impl Into<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        self.proceed_with(message, []).await
    }

    /// Proceeds with the payload of our next message; a resume has none.
    pub async fn proceed_with(&self, message: impl Into<Vec<u8>>, payload: impl Into<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        let (message, payload) = (message.into(), payload.into());
        self.step(message, payload).await?;
        self.send_to_peer();
        Ok(self.to_peer())
    }

    /// Proceeds; nothing goes to `on_send`.
    pub(crate) async fn step(&self, message: Vec<u8>, payload: Vec<u8>) -> Result<()> {
        let _turns = self.take_turns(BOTH).await;
        let (session_id, resuming) = self.know(|facts| (facts.id.clone(), facts.resuming));
        let request_id = new_request_id();
        if resuming {
            let step = pb::resume_request::Step::Proceed(pb::ProceedResume { session_id, message });
            let answer = self.ask(&RESUME, pb::ResumeRequest { request_id, step: Some(step) }).await?;
            self.know(|facts| facts.resumed(answer, facts.endpoint.clone()));
        } else {
            let step = pb::handshake_request::Step::Proceed(pb::ProceedHandshake { session_id, message, payload });
            let answer = self.ask(&HANDSHAKE, pb::HandshakeRequest { request_id, step: Some(step) }).await?;
            self.know(|facts| facts.shaken(answer, facts.endpoint.clone()));
        }
        Ok(())
    }

    /// Seals one plaintext for the player: at most 65,519 bytes in NOISE mode, 65,475 in DATAGRAM mode. Send
    /// [`into_messages`](Sealed::into_messages) of the answer. REKEY_REQUIRED asks for [`rotate`](Session::rotate).
    pub async fn encrypt(&self, plaintext: impl Into<Vec<u8>>) -> Result<Sealed> {
        self.encrypt_with_ad(plaintext, []).await
    }

    /// Seals with associated data: at most 1,024 bytes, authenticated, not sent.
    pub async fn encrypt_with_ad(
        &self,
        plaintext: impl Into<Vec<u8>>,
        associated_data: impl Into<Vec<u8>>,
    ) -> Result<Sealed> {
        let (plaintext, associated_data) = (plaintext.into(), associated_data.into());
        let mut sealed = self.seal(plaintext, associated_data).await?;
        self.hand(&mut sealed.to_peer);
        Ok(sealed)
    }

    async fn seal(&self, plaintext: Vec<u8>, associated_data: Vec<u8>) -> Result<Sealed> {
        let _turns = self.take_turns(&[Direction::Sending]).await;
        let session_id = self.id();
        match &self.0.client.0.multiplexer {
            Some(multiplexer) if session_id.len() == SESSION_ID_BYTES => {
                let kind = if self.0.turns.is_some() { Kind::SealInTurn } else { Kind::Seal };
                let entry = Entry { session_id, body: plaintext, associated_data };
                self.noticed(multiplexer.enter(&self.endpoint(), kind, entry, Done::Sealed).await)
            }
            _ => {
                let request_id = new_request_id();
                let request = pb::EncryptRequest { session_id, request_id, plaintext, associated_data };
                Ok(self.ask::<_, pb::EncryptResponse>(&ENCRYPT, request).await?.into())
            }
        }
    }

    /// Opens one record of the player: at most 65,535 bytes. What was forged, replayed or too late is a result with
    /// `refused`, not an error. Send `to_peer` of the answer.
    pub async fn decrypt(&self, ciphertext: impl Into<Vec<u8>>) -> Result<Opened> {
        self.decrypt_with_ad(ciphertext, []).await
    }

    /// Opens a record that the player sealed with associated data.
    pub async fn decrypt_with_ad(
        &self,
        ciphertext: impl Into<Vec<u8>>,
        associated_data: impl Into<Vec<u8>>,
    ) -> Result<Opened> {
        let (ciphertext, associated_data) = (ciphertext.into(), associated_data.into());
        let mut opened = self.open(ciphertext, associated_data, false).await?;
        self.hand(&mut opened.to_peer);
        Ok(opened)
    }

    /// Opens a record that holds a ticket for us (NOISE); the service keeps it for
    /// [`initiate_resume`](Client::initiate_resume).
    pub async fn decrypt_ticket(&self, ciphertext: impl Into<Vec<u8>>) -> Result<Opened> {
        let ciphertext = ciphertext.into();
        let mut opened = self.open(ciphertext, Vec::new(), true).await?;
        self.hand(&mut opened.to_peer);
        Ok(opened)
    }

    /// Opens; nothing goes to `on_send`.
    pub(crate) async fn open(&self, ciphertext: Vec<u8>, associated_data: Vec<u8>, ticket: bool) -> Result<Opened> {
        let _turns = self.take_turns(&[Direction::Receiving]).await;
        let session_id = self.id();
        let answer = match &self.0.client.0.multiplexer {
            Some(multiplexer) if session_id.len() == SESSION_ID_BYTES && !ticket => {
                let entry = Entry { session_id: session_id.clone(), body: ciphertext, associated_data };
                self.noticed(multiplexer.enter(&self.endpoint(), Kind::Open, entry, Done::Opened).await)
            }
            _ => {
                let (session_id, request_id) = (session_id.clone(), new_request_id());
                let request = pb::DecryptRequest { session_id, request_id, ciphertext, associated_data, ticket };
                self.ask::<_, pb::DecryptResponse>(&DECRYPT, request).await.map(Opened::from)
            }
        };
        let opened = refused_as_result(session_id, answer)?;
        self.notice_close(&opened);
        Ok(opened)
    }

    /// Waits for the turn of these directions.
    pub(crate) async fn take_turns(&self, directions: &[Direction]) -> Turns<'_> {
        let mut taken = Vec::new();
        if let Some(turns) = &self.0.turns {
            for direction in directions {
                taken.push(turns[*direction as usize].lock().await);
            }
        }
        taken
    }

    /// Hands what the last step has for the player to the hook, where there is one.
    pub(crate) fn send_to_peer(&self) {
        if self.0.client.0.channels.options.on_send.is_some() {
            let mut messages = self.know(|facts| std::mem::take(&mut facts.to_peer));
            self.hand(&mut messages);
        }
    }

    /// Gives messages to the hook and leaves none, where there is one.
    pub(crate) fn hand(&self, messages: &mut Vec<Vec<u8>>) {
        if let Some(send) = self.0.client.0.channels.options.on_send.as_ref().filter(|_| !messages.is_empty()) {
            send(self, std::mem::take(messages));
        }
    }

    /// Runs a call where the session lives.
    pub(crate) async fn ask<Q, A>(&self, method: &Method, request: Q) -> Result<A>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let endpoint = self.endpoint();
        let (answer, from) = self.noticed(self.0.client.0.channels.ask(method, &endpoint, request).await)?;
        self.know(|facts| facts.endpoint = from);
        Ok(answer)
    }

    /// Remembers where an error says that the session has ended.
    pub(crate) fn noticed<T>(&self, answer: Result<T>) -> Result<T> {
        if matches!(answer, Err(Error::ResumeNeeded(_))) {
            self.know(|facts| facts.ended = true);
        }
        answer
    }

    /// Remembers that the player closed the session.
    pub(crate) fn notice_close(&self, opened: &Opened) {
        if opened.is_close() {
            self.know(|facts| facts.ended = true);
        }
    }
}

/// Turns the refusal of a packet into what became of it.
pub(crate) fn refused_as_result(session_id: Vec<u8>, answer: Result<Opened>) -> Result<Opened> {
    match answer {
        Err(Error::Refused(refusal)) => match refusal.reason {
            Some(reason) if reason.refuses_packet() => Ok(Opened::refused(session_id, reason)),
            _ => Err(Error::Refused(refusal)),
        },
        answer => answer,
    }
}
