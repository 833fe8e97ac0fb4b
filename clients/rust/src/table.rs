//! The sessions that a receiver knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Instant;

use crate::Session;
use crate::packet::{ConnectionId, Echo, echo_in, echo_of};
use crate::paths::Path;

pub(crate) type SessionId = Vec<u8>;

pub(crate) struct Tracked<A> {
    pub(crate) session: Session,
    pub(crate) path: Path<A>,
    /// When its handshake is given up; None once it is established.
    expires_at: Option<Instant>,
    connection_ids: HashSet<ConnectionId>,
    /// What a RETRY to a packet with which the game began it would carry, while its handshake has not finished.
    echoes: HashSet<Echo>,
    place: u64,
}

/// Sessions by connection id and by id: at most `limit` that live and `limit` half-open ones, each the latest used. Apart,
/// so that a flood of forged first packets cannot push out sessions that live.
pub(crate) struct SessionTable<A> {
    limit: usize,
    by_id: HashMap<SessionId, Tracked<A>>,
    by_connection: HashMap<ConnectionId, SessionId>,
    by_echo: HashMap<Echo, SessionId>,
    /// The longest unused first.
    live: BTreeMap<u64, SessionId>,
    /// The oldest first.
    half_open: BTreeMap<u64, SessionId>,
    places: u64,
}

impl<A> SessionTable<A> {
    pub(crate) fn new(limit: usize) -> SessionTable<A> {
        SessionTable {
            limit,
            by_id: HashMap::new(),
            by_connection: HashMap::new(),
            by_echo: HashMap::new(),
            live: BTreeMap::new(),
            half_open: BTreeMap::new(),
            places: 0,
        }
    }

    /// The session whose player's packets carry this connection id, which is then the latest used.
    pub(crate) fn find(&mut self, connection_id: &ConnectionId) -> Option<&mut Tracked<A>> {
        let id = self.by_connection.get(connection_id)?;
        let tracked = self.by_id.get_mut(id)?;
        if tracked.expires_at.is_none() {
            self.places += 1;
            self.live.remove(&tracked.place);
            self.live.insert(self.places, id.clone());
            tracked.place = self.places;
        }
        Some(tracked)
    }

    pub(crate) fn get(&mut self, session: &Session) -> Option<&mut Tracked<A>> {
        self.by_id.get_mut(&session.id())
    }

    /// Takes up a session; without an expiry it is one that is established.
    pub(crate) fn add(&mut self, session: Session, path: Path<A>, expires_at: Option<Instant>) {
        let (id, connection_id) = (session.id(), session.connection_id());
        self.drop(&id);
        self.places += 1;
        let place = self.places;
        let (connection_ids, echoes) = Default::default();
        let tracked = Tracked { session, path, expires_at, connection_ids, echoes, place };
        self.by_id.insert(id.clone(), tracked);
        self.enlist(expires_at.is_none(), place, id.clone());
        if let Ok(connection_id) = connection_id.try_into() {
            self.alias(&id, connection_id);
        }
    }

    fn enlist(&mut self, is_live: bool, place: u64, id: SessionId) {
        let list = if is_live { &mut self.live } else { &mut self.half_open };
        list.insert(place, id);
        if let Some(first) = list.values().next().filter(|_| list.len() > self.limit).cloned() {
            self.drop(&first);
        }
    }

    /// The player's packets carry this connection id too.
    pub(crate) fn alias(&mut self, id: &SessionId, connection_id: ConnectionId) {
        if let Some(tracked) = self.by_id.get_mut(id).filter(|_| connection_id != ConnectionId::default()) {
            tracked.connection_ids.insert(connection_id);
            self.by_connection.insert(connection_id, id.clone());
        }
    }

    /// The game began this session with these packets, or began it anew.
    pub(crate) fn sent(&mut self, id: &SessionId, packets: &[Vec<u8>]) {
        if let Some(tracked) = self.by_id.get_mut(id).filter(|tracked| tracked.expires_at.is_some()) {
            for echo in packets.iter().map(|packet| echo_of(packet)) {
                tracked.echoes.insert(echo);
                self.by_echo.insert(echo, id.clone());
            }
        }
    }

    /// The half-open session that sent the packet which a RETRY with this echo refuses.
    pub(crate) fn that_sent(&mut self, packet: &[u8]) -> Option<&mut Tracked<A>> {
        self.by_id.get_mut(self.by_echo.get(&echo_in(packet)?)?)
    }

    /// The session is established.
    pub(crate) fn settle(&mut self, id: &SessionId) {
        self.forget_echoes(id);
        let Some(tracked) = self.by_id.get_mut(id) else { return };
        if tracked.expires_at.take().is_some() {
            self.half_open.remove(&tracked.place);
            self.places += 1;
            tracked.place = self.places;
            self.enlist(true, self.places, id.clone());
        }
    }

    /// Forgets handshakes that nobody finished.
    pub(crate) fn expire(&mut self, now: Instant) {
        let is_over = |id: &SessionId, by_id: &HashMap<_, Tracked<A>>| by_id[id].expires_at.is_some_and(|at| at <= now);
        while let Some(oldest) = self.half_open.values().next().filter(|id| is_over(id, &self.by_id)).cloned() {
            self.drop(&oldest);
        }
    }

    /// Forgets a session; nothing happens if it is not known.
    pub(crate) fn drop(&mut self, id: &SessionId) {
        self.forget_echoes(id);
        let Some(tracked) = self.by_id.remove(id) else { return };
        let list = if tracked.expires_at.is_none() { &mut self.live } else { &mut self.half_open };
        list.remove(&tracked.place);
        for connection_id in tracked.connection_ids {
            if self.by_connection.get(&connection_id) == Some(id) {
                self.by_connection.remove(&connection_id);
            }
        }
    }

    fn forget_echoes(&mut self, id: &SessionId) {
        for echo in self.by_id.get_mut(id).map(|tracked| std::mem::take(&mut tracked.echoes)).unwrap_or_default() {
            if self.by_echo.get(&echo) == Some(id) {
                self.by_echo.remove(&echo);
            }
        }
    }

    #[cfg(test)]
    pub(crate) fn sizes(&self) -> (usize, usize, usize) {
        (self.live.len(), self.half_open.len(), self.by_connection.len())
    }
}
