//! Where a session's bytes go.

use std::hash::Hash;
use std::time::Instant;

use crate::fragments::{Reassembler, may_be_cut, split};
use crate::paths::Path;
use crate::table::{SessionTable, Tracked};
use crate::{Datagram, Opened, Reason, Received, Receiver, Session, pb};

/// What a receiver knows.
pub(crate) struct State<A> {
    pub(crate) sessions: SessionTable<A>,
    pub(crate) parts: Reassembler<A>,
    mtu: usize,
    message_id: u16,
}

impl<A: Clone + Eq + Hash> Receiver<A> {
    /// Takes up a session that began elsewhere, e.g. by [`Client::initiate`](crate::Client::initiate). Its first `to_peer`
    /// is the game's to send, by way of [`cut`](Receiver::cut). `verified`: the game knows that the address wants to be
    /// sent to.
    pub fn add(&self, session: &Session, address: A, verified: bool) {
        let expires_at = session.established().is_none().then(|| (self.options.now)() + session.pending_for());
        let mut state = self.state();
        let mut path = Path::new(address, 0, true);
        path.verified = verified;
        state.add(session.clone(), path, expires_at);
        state.sessions.sent(&session.id(), &session.to_peer());
    }

    /// The datagrams of messages that the game sends wherever it wants: each no larger than the MTU.
    pub fn cut(&self, messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let mut state = self.state();
        messages.iter().flat_map(|message| state.datagrams(message)).collect()
    }

    /// Where the game's own messages ([`Sealed::into_messages`](crate::Sealed::into_messages), `to_peer`) go now. It
    /// leaves out what an address may not get yet, and gives nothing for a session that this receiver does not know. What
    /// is larger than the MTU goes as fragments and is lost with any of them: keep records below it, which are 32 bytes
    /// longer than their plaintexts.
    pub fn route(&self, session: &Session, messages: &[Vec<u8>]) -> Vec<Datagram<A>> {
        self.state().allowed(session, messages).0
    }

    /// Routes what a change of network brings about: send it nowhere else. It begins with a question; once the player has
    /// answered that from there, the address is verified.
    pub fn route_change(&self, session: &Session, change: &pb::NetworkChange) -> Vec<Datagram<A>> {
        let mut state = self.state();
        if let Some(known) = state.sessions.get(session) {
            known.path.ask(&change.token);
        }
        state.allowed(session, &change.to_peer).0
    }

    /// Where the session's player is, as far as its records have shown, and whether that address has proved that it gets
    /// what is sent to it; None for a session that is not known.
    pub fn address(&self, session: &Session) -> Option<(A, bool)> {
        self.state().sessions.get(session).map(|known| (known.path.address.clone(), known.path.verified))
    }

    /// Lifts the limit of an address after a proof of the game's own: a random value, sealed, sent there and echoed in a
    /// record. Nothing happens if the player has moved on from it.
    pub fn mark_verified(&self, session: &Session, address: &A) {
        if let Some(known) = self.state().sessions.get(session).filter(|known| known.path.address == *address) {
            known.path.verified = true;
        }
    }

    /// Drops the handle, e.g. after a close. The service still knows the session if it lives.
    pub fn forget(&self, session: &Session) {
        self.state().sessions.drop(&session.id());
    }
}

impl<A: Clone + Eq + Hash> State<A> {
    pub(crate) fn new(mtu: usize, max_sessions: usize, parts: Reassembler<A>) -> State<A> {
        State { sessions: SessionTable::new(max_sessions), parts, mtu, message_id: fastrand::u16(..) }
    }

    pub(crate) fn add(&mut self, session: Session, path: Path<A>, expires_at: Option<Instant>) {
        self.sessions.add(session, path, expires_at);
    }

    /// What a step of a handshake has for whom.
    pub(crate) fn stepped(&mut self, step: &Session, source: &A, size: usize) -> Received<A> {
        let messages = step.to_peer();
        let tracked = self.sessions.get(step);
        let session = tracked.as_ref().map_or_else(|| step.clone(), |known| known.session.clone());
        let elsewhere = tracked.filter(|known| known.path.address != *source && !messages.is_empty());
        let (to_send, withheld) = match elsewhere {
            Some(known) => {
                // A handshake packet proves no address: its sender gets the answer, within what this packet paid for.
                known.path.answered_elsewhere();
                self.within(Path::new(source.clone(), size, false), &messages)
            }
            None => self.allowed(step, &messages),
        };
        Received { payload: step.payload(), to_send, withheld, ..Received::of(Some(session), None) }
    }

    pub(crate) fn retried(
        &mut self,
        why: pb::handshake_retry::Reason,
        to_peer: &[Vec<u8>],
        source: &A,
        size: usize,
    ) -> Received<A> {
        let reason = match why {
            pb::handshake_retry::Reason::Clock => Reason::RetryClock,
            _ => Reason::RetryChoose,
        };
        let (to_send, withheld) = self.within(Path::new(source.clone(), size, false), to_peer);
        Received { to_send, withheld, ..Received::of(None, Some(reason)) }
    }

    /// Whether a record that opened leads to another address.
    pub(crate) fn follow(&mut self, session: &Session, source: &A, size: usize, opened: &Opened) -> bool {
        let Some(Tracked { path, .. }) = self.sessions.get(session) else { return false };
        let moved = path.opened(source, size, opened);
        path.answered(source, &opened.answered);
        moved
    }

    /// The datagrams for the session's address, and how many messages it may not get: one goes whole or not at all.
    pub(crate) fn allowed(&mut self, session: &Session, messages: &[Vec<u8>]) -> (Vec<Datagram<A>>, usize) {
        let (mut to_send, mut withheld) = (Vec::new(), 0);
        for message in messages {
            let datagrams = self.datagrams(message);
            let Some(Tracked { path, .. }) = self.sessions.get(session) else { break };
            withheld += put(path, datagrams, &mut to_send);
        }
        (to_send, withheld)
    }

    /// Likewise for an address that is no session's.
    fn within(&mut self, mut path: Path<A>, messages: &[Vec<u8>]) -> (Vec<Datagram<A>>, usize) {
        let mut to_send = Vec::new();
        let withheld = messages.iter().map(|message| put(&mut path, self.datagrams(message), &mut to_send)).sum();
        (to_send, withheld)
    }

    fn datagrams(&mut self, message: &[u8]) -> Vec<Vec<u8>> {
        if message.len() <= self.mtu || !may_be_cut(message) {
            return vec![message.to_vec()];
        }
        self.message_id = self.message_id.wrapping_add(1);
        // Never refused for what the service makes: 255 parts of the least MTU carry the largest packet.
        split(message, self.message_id, self.mtu).unwrap_or_else(|_| vec![message.to_vec()])
    }
}

/// Sends one message to a path; how many were withheld.
fn put<A: Clone + PartialEq>(path: &mut Path<A>, datagrams: Vec<Vec<u8>>, to_send: &mut Vec<Datagram<A>>) -> usize {
    if !path.may_send(datagrams.iter().map(Vec::len).sum()) {
        return 1;
    }
    to_send.extend(datagrams.into_iter().map(|bytes| Datagram { bytes, address: path.address.clone() }));
    0
}
