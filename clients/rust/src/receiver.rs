//! The receive path of a UDP game.

use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::fragments::{DEFAULT_MTU, Reassembler, ReassemblyLimits};
use crate::packet::{ConnectionId, MAX_PACKET_BYTES, PacketType, peek, step_of};
use crate::paths::Path;
use crate::routing::State;
use crate::{Admission, Client, Error, Reason, Received, Result, Session, pb};

const FIRST_STEP: u8 = 1;
/// What every IPv4 host takes (RFC 791); 255 parts of it carry the largest packet.
const LEAST_MTU: usize = 576;
const UNCONFIRMED_FOR: Duration = Duration::from_secs(60);

type Admit<A> = Arc<dyn Fn(&[u8], &A) -> Option<Admission> + Send + Sync>;

/// Options of a [`Receiver`] whose addresses are of type `A`.
#[derive(Clone)]
pub struct ReceiverOptions<A> {
    /// Is asked before a player begins or resumes a session; None refuses it. By default anyone may, unnamed.
    pub admit: Admit<A>,
    /// Handles kept, and half-open ones besides; a forgotten one is found again by the service.
    pub max_sessions: usize,
    /// Bytes of a datagram that the players' paths take, at least 576; larger packets go out as fragments.
    pub mtu: usize,
    /// What the fragments of players may cost.
    pub reassembly: ReassemblyLimits,
    /// A monotonic clock.
    pub now: Arc<dyn Fn() -> Instant + Send + Sync>,
}

impl<A> Default for ReceiverOptions<A> {
    fn default() -> ReceiverOptions<A> {
        ReceiverOptions {
            admit: Arc::new(|_, _| Some(Admission::default())),
            max_sessions: 65_536,
            mtu: DEFAULT_MTU,
            reassembly: ReassemblyLimits::default(),
            now: Arc::new(Instant::now),
        }
    }
}

/// A UDP game's receive path: hand it every packet of every player, send what it gives back. It holds no key.
///
/// It picks the RPC by the packet's first bytes, keeps the handle of every session by connection id, and decides where a
/// session's bytes go: it follows a player to a new address only after a record from there opened and was the newest so
/// far, and sends to an address that has proved nothing at most three times what came from it. What does not fit is
/// dropped, not queued. So after `moved` send one small challenge there, repeat it now and then, and nothing of an ordered
/// stream, until the player has echoed it: then call [`mark_verified`](Receiver::mark_verified). The client's `on_send`
/// hook is not called for what a receiver sends.
///
/// [`receive`](Receiver::receive) may be called by several tasks at once.
pub struct Receiver<A> {
    client: Client,
    pub(crate) options: ReceiverOptions<A>,
    state: Mutex<State<A>>,
}

impl<A: Clone + Eq + Hash> Receiver<A> {
    /// The receive path of a client.
    pub fn new(client: Client, options: ReceiverOptions<A>) -> Result<Receiver<A>> {
        if options.mtu < LEAST_MTU || options.max_sessions == 0 {
            let limits = format!("ReceiverOptions: mtu at least {LEAST_MTU}, max_sessions at least 1");
            return Err(Error::Invalid(limits));
        }
        let state = State::new(options.mtu, options.max_sessions, Reassembler::new(options.reassembly.clone()));
        Ok(Receiver { client, options, state: Mutex::new(state) })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State<A>> {
        self.state.lock().unwrap()
    }

    /// Handles one packet of a player. What a forger or a bad network makes is a result with `refused`; an error is a
    /// trouble of the service's or the caller's own.
    pub async fn receive(&self, packet: &[u8], source: A) -> Result<Received<A>> {
        let Some((kind, id)) = peek(packet).filter(|_| packet.len() <= MAX_PACKET_BYTES) else {
            return Ok(Received::of(None, Some(Reason::NotAPacket)));
        };
        let (known, packet) = match self.came(packet, &source, kind, id) {
            Ok((known, Some(packet))) => (known, packet),
            Ok((known, None)) => return Ok(Received::of(known, None)),
            Err(reason) => return Ok(Received::of(None, Some(reason))),
        };
        let size = packet.len();
        match self.packet(packet, source.clone(), known.clone()).await {
            Err(Error::Retry { why, to_peer }) => Ok(self.state().retried(why, &to_peer, &source, size)),
            Err(error) => match error.reason() {
                Some(reason) if reason.is_players_fault() => {
                    let gone = known.clone().filter(|_| reason.loses_session());
                    gone.as_ref().inspect(|session| self.state().sessions.drop(&session.id()));
                    Ok(Received { closed: gone.is_some(), ..Received::of(known, Some(reason.clone())) })
                }
                _ => Err(error),
            },
            received => received,
        }
    }

    /// Notes where a packet came from and puts fragments together; no packet where parts are missing.
    fn came(
        &self,
        packet: &[u8],
        source: &A,
        kind: PacketType,
        id: ConnectionId,
    ) -> std::result::Result<(Option<Session>, Option<Vec<u8>>), Reason> {
        let now = (self.options.now)();
        let mut state = self.state();
        state.sessions.expire(now);
        let known = state.sessions.find(&id).map(|known| {
            known.path.came_from(source, packet.len());
            known.session.clone()
        });
        if kind != PacketType::Fragment {
            return Ok((known, Some(packet.to_vec())));
        }
        state.parts.add(packet, source, now).map(|whole| (known, whole)).map_err(|_| Reason::NotAPacket)
    }

    async fn packet(&self, packet: Vec<u8>, source: A, known: Option<Session>) -> Result<Received<A>> {
        use PacketType::{Handshake, Record, Resume, Retry, Salted};
        match peek(&packet) {
            Some((Record | Salted, id)) => self.record(packet, source, id, known).await,
            Some((kind @ (Handshake | Resume), _)) if step_of(&packet) == FIRST_STEP => {
                self.first_step(packet, source, kind == Resume).await
            }
            Some((kind @ (Handshake | Resume), _)) => self.later_step(packet, source, known, kind == Resume).await,
            Some((Retry, _)) => {
                let begun = self.state().sessions.that_sent(&packet).map(|begun| begun.session.clone());
                match begun {
                    Some(begun) => self.retry(packet, source, begun).await,
                    None => Ok(Received::of(known, Some(Reason::UnexpectedPacket))),
                }
            }
            _ => Ok(Received::of(known, Some(Reason::UnexpectedPacket))),
        }
    }

    async fn record(
        &self,
        packet: Vec<u8>,
        source: A,
        id: ConnectionId,
        known: Option<Session>,
    ) -> Result<Received<A>> {
        let size = packet.len();
        let (session, mut opened) = match &known {
            Some(session) => (session.clone(), session.open(packet, Vec::new(), false).await?),
            None => {
                let (found, opened) = self.client.find_and_decrypt(packet).await?;
                found.notice_close(&opened);
                (found, opened)
            }
        };
        if let Some(reason) = opened.refused {
            return Ok(Received::of(known, Some(reason)));
        }
        let mut state = self.state();
        // The session may have another connection id here, or another packet of it came in meanwhile.
        let (session, fresh) = match state.sessions.get(&session) {
            Some(tracked) => {
                tracked.path.came_from(&source, if known.is_none() { size } else { 0 });
                (tracked.session.clone(), false)
            }
            None => {
                state.add(session.clone(), Path::new(source.clone(), size, false), None);
                (session, true)
            }
        };
        let session_id = session.id();
        if known.is_none() {
            state.sessions.alias(&session_id, id);
        }
        state.sessions.settle(&session_id);
        let moved = state.follow(&session, &source, size, &opened);
        let to_peer = std::mem::take(&mut opened.to_peer);
        let (to_send, withheld) = state.allowed(&session, &to_peer);
        let closed = opened.is_close();
        if closed {
            state.sessions.drop(&session_id);
        }
        let received = Received::of(Some(session), None);
        Ok(Received { opened: Some(opened), to_send, new_session: fresh, closed, moved, withheld, ..received })
    }

    async fn first_step(&self, packet: Vec<u8>, source: A, resuming: bool) -> Result<Received<A>> {
        let Some(admission) = (self.options.admit)(&packet, &source) else {
            return Ok(Received::of(None, Some(Reason::NotAdmitted)));
        };
        let size = packet.len();
        let step = self.begin(packet, admission, resuming).await?;
        let now = (self.options.now)();
        let mut state = self.state();
        let fresh = match state.sessions.get(&step) {
            // A repeat: the service gave its answer again, and this handle is a second one of the same session.
            Some(known) => {
                known.path.came_from(&source, size);
                false
            }
            None => {
                // Half-open until the player has answered, even where the pattern is done: a first packet may be a replay.
                let pending = Some(step.pending_for()).filter(|pending| !pending.is_zero());
                let expires_at = now + pending.unwrap_or(UNCONFIRMED_FOR);
                state.add(step.clone(), Path::new(source.clone(), size, true), Some(expires_at));
                true
            }
        };
        let received = state.stepped(&step, &source, size);
        Ok(Received {
            new_session: fresh,
            established: fresh && step.established().is_some(),
            // Of several copies of a packet one alone has it, and not always the first to come back.
            early_data: step.early().1,
            ..received
        })
    }

    async fn begin(&self, message: Vec<u8>, admission: Admission, resuming: bool) -> Result<Session> {
        let mode = pb::RecordMode::Datagram.into();
        let Admission { peer_id, group, prologue, payload, psk, options, accept_early_data } = admission;
        if resuming {
            let step = pb::RespondResume {
                mode,
                message,
                prologue,
                payload,
                accept_early_data,
                psk,
                peer_id,
                group,
                options,
                ..Default::default()
            };
            return self.client.answer_resume(step).await;
        }
        let step = pb::RespondHandshake {
            mode,
            message,
            psk,
            prologue,
            payload,
            peer_id,
            group,
            options,
            ..Default::default()
        };
        self.client.answer(step).await
    }

    async fn later_step(
        &self,
        packet: Vec<u8>,
        source: A,
        known: Option<Session>,
        resuming: bool,
    ) -> Result<Received<A>> {
        let size = packet.len();
        let was_known = known.is_some();
        let (session, before) = match known {
            Some(session) => {
                let before = session.established().is_some();
                session.step(packet, Vec::new()).await?;
                (session, before)
            }
            None => (self.client.find_and_proceed(packet, resuming).await?, false),
        };
        let is_established = session.established().is_some();
        let expires_at = (!is_established).then(|| (self.options.now)() + session.pending_for());
        let mut state = self.state();
        let fresh = state.sessions.get(&session).is_none();
        if fresh {
            state.add(session.clone(), Path::new(source.clone(), size, false), expires_at);
        }
        let established = is_established && !before && (was_known || fresh);
        if established {
            state.sessions.settle(&session.id());
            if let Some(tracked) = state.sessions.get(&session) {
                tracked.path.finished(&source);
            }
        }
        let received = state.stepped(&session, &source, size);
        Ok(Received { new_session: fresh, established, ..received })
    }

    /// The player refuses the first packet of a session that the game began.
    async fn retry(&self, packet: Vec<u8>, source: A, begun: Session) -> Result<Received<A>> {
        let size = packet.len();
        if let Some(tracked) = self.state().sessions.get(&begun) {
            tracked.path.came_from(&source, size);
        }
        begun.step(packet, Vec::new()).await?;
        let mut state = self.state();
        if let Some(tracked) = state.sessions.get(&begun) {
            // Its echo is made of our packet, which went to one address alone.
            tracked.path.finished(&source);
        }
        state.sessions.sent(&begun.id(), &begun.to_peer());
        Ok(state.stepped(&begun, &source, size))
    }
}

#[cfg(test)]
#[path = "receiver_test.rs"]
mod tests;
