//! Packets larger than a datagram (docs/protocol.md, section 2), without a key.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use crate::packet::{ConnectionId, HEADER_BYTES, MAX_PACKET_BYTES, PacketType, peek};

/// Bytes of a datagram that every path takes, as QUIC reckons (RFC 9000, section 14).
pub const DEFAULT_MTU: usize = 1_200;

const FRAGMENT_HEADER_BYTES: usize = 13;
const FRAGMENT_FIRST_BYTE: u8 = 0x0d;
const MAX_PARTS: usize = 255;
/// What a set costs beside its parts, rounded up.
const SET_BYTES: usize = 512;
/// What a part costs beside its bytes, rounded up.
const PART_BYTES: usize = 128;

/// A fragment that is none, or that no set can take; or a packet that cannot be cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad fragment")]
pub struct BadFragment;

/// A RETRY is small, and a FRAGMENT is no packet to be cut again.
pub(crate) fn may_be_cut(packet: &[u8]) -> bool {
    peek(packet).is_some_and(|(kind, _)| !matches!(kind, PacketType::Fragment | PacketType::Retry))
}

/// The datagrams of at most `mtu` bytes that carry a packet: itself where it fits, otherwise FRAGMENTs. Give each packet,
/// and each repeat, another `message_id`.
pub fn split(packet: &[u8], message_id: u16, mtu: usize) -> Result<Vec<Vec<u8>>, BadFragment> {
    if packet.len() <= mtu {
        return Ok(vec![packet.to_vec()]);
    }
    let room = mtu.checked_sub(FRAGMENT_HEADER_BYTES).filter(|room| *room > 0).ok_or(BadFragment)?;
    let count = packet.len().div_ceil(room);
    if packet.len() > MAX_PACKET_BYTES || !may_be_cut(packet) || count > MAX_PARTS {
        return Err(BadFragment);
    }
    let part = |(n, body): (usize, &[u8])| {
        let (id, place) = (&packet[1..HEADER_BYTES], [n as u8, count as u8]);
        [&[FRAGMENT_FIRST_BYTE], id, &message_id.to_be_bytes(), &place, body].concat()
    };
    Ok(packet.chunks(room).enumerate().map(part).collect())
}

/// What parts may cost while the rest of their sets is on its way. Bytes count bookkeeping too.
#[derive(Clone, Debug, PartialEq)]
pub struct ReassemblyLimits {
    /// Of all sets; beyond it the oldest go.
    pub total_bytes: usize,
    /// Beyond it that source's oldest go.
    pub sets_per_source: usize,
    /// Likewise.
    pub bytes_per_source: usize,
    /// From a set's first part to its last.
    pub lifetime: Duration,
}

impl Default for ReassemblyLimits {
    /// Bounds what strangers can make a [`Reassembler`] keep to 4 MiB, for 2 s.
    fn default() -> ReassemblyLimits {
        ReassemblyLimits {
            total_bytes: 4 << 20,
            sets_per_source: 8,
            bytes_per_source: 160 << 10,
            lifetime: Duration::from_secs(2),
        }
    }
}

/// Puts the parts of large packets together, of sources that `A` names. It needs no key, and nothing here is
/// authenticated: a whole packet proves itself when the service opens it.
#[derive(Debug)]
pub struct Reassembler<A> {
    limits: ReassemblyLimits,
    sets: HashMap<Key<A>, PartSet>,
    /// By their first parts, which is by their expiry: a part does not make its set younger.
    oldest: BTreeMap<u64, Key<A>>,
    sources: HashMap<A, Share<A>>,
    begun: u64,
    cost: usize,
}

/// Parts that differ in one of these are of different sets.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key<A> {
    source: A,
    connection_id: ConnectionId,
    message_id: [u8; 2],
    count: u8,
}

#[derive(Debug)]
struct PartSet {
    number: u64,
    expires_at: Instant,
    parts: BTreeMap<u8, Vec<u8>>,
    size: usize,
    cost: usize,
}

/// What one source has here, oldest first.
#[derive(Debug)]
struct Share<A> {
    sets: VecDeque<Key<A>>,
    cost: usize,
}

impl<A: Clone + Eq + Hash> Reassembler<A> {
    /// One with nothing in it.
    pub fn new(limits: ReassemblyLimits) -> Reassembler<A> {
        Reassembler {
            limits,
            sets: HashMap::new(),
            oldest: BTreeMap::new(),
            sources: HashMap::new(),
            begun: 0,
            cost: 0,
        }
    }

    /// What the parts that wait cost.
    pub fn held_bytes(&self) -> usize {
        self.cost
    }

    /// Takes a part that came at `now` and answers the whole packet where it was the last one missing, otherwise None. A
    /// part that has come before changes nothing. [`BadFragment`] where it is malformed, or completes what is no packet.
    pub fn add(&mut self, fragment: &[u8], source: &A, now: Instant) -> Result<Option<Vec<u8>>, BadFragment> {
        self.expire(now);
        let (header, body) = fragment.split_at_checked(FRAGMENT_HEADER_BYTES).ok_or(BadFragment)?;
        let [FRAGMENT_FIRST_BYTE, id @ .., high, low, number, count] = header else { return Err(BadFragment) };
        if body.is_empty() || number >= count {
            return Err(BadFragment);
        }
        let connection_id = id.try_into().map_err(|_| BadFragment)?;
        let key = Key { source: source.clone(), connection_id, message_id: [*high, *low], count: *count };
        if !self.sets.contains_key(&key) {
            self.begin(key.clone(), now);
        }
        let set = self.sets.get_mut(&key).ok_or(BadFragment)?;
        if set.parts.contains_key(number) {
            return Ok(None);
        }
        set.parts.insert(*number, body.to_vec());
        set.size += body.len();
        let (size, is_whole) = (set.size, set.parts.len() == usize::from(*count));
        self.pay(&key, body.len() + PART_BYTES);
        if size <= MAX_PACKET_BYTES && !is_whole {
            self.make_room(source);
            return Ok(None);
        }
        let parts = self.drop(&key).filter(|_| size <= MAX_PACKET_BYTES).ok_or(BadFragment)?;
        let whole: Vec<u8> = parts.into_values().flatten().collect();
        let is_packet = may_be_cut(&whole) && peek(&whole).is_some_and(|(_, id)| id == connection_id);
        if is_packet { Ok(Some(whole)) } else { Err(BadFragment) }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(key) = self.oldest.values().next().filter(|key| self.sets[key].expires_at <= now).cloned() {
            self.drop(&key);
        }
    }

    fn begin(&mut self, key: Key<A>, now: Instant) {
        self.begun += 1;
        let expires_at = now + self.limits.lifetime;
        let set = PartSet { number: self.begun, expires_at, parts: BTreeMap::new(), size: 0, cost: 0 };
        let share = self.sources.entry(key.source.clone());
        share.or_insert_with(|| Share { sets: VecDeque::new(), cost: 0 }).sets.push_back(key.clone());
        self.oldest.insert(self.begun, key.clone());
        self.sets.insert(key.clone(), set);
        self.pay(&key, SET_BYTES);
    }

    fn pay(&mut self, key: &Key<A>, cost: usize) {
        if let (Some(set), Some(share)) = (self.sets.get_mut(key), self.sources.get_mut(&key.source)) {
            set.cost += cost;
            share.cost += cost;
            self.cost += cost;
        }
    }

    fn make_room(&mut self, source: &A) {
        let ReassemblyLimits { total_bytes, sets_per_source, bytes_per_source, .. } = self.limits;
        let is_over = |share: &Share<A>| share.sets.len() > sets_per_source || share.cost > bytes_per_source;
        while let Some(key) =
            self.sources.get(source).filter(|share| is_over(share)).and_then(|share| share.sets.front())
        {
            self.drop(&key.clone());
        }
        while let Some(key) = self.oldest.values().next().filter(|_| self.cost > total_bytes).cloned() {
            self.drop(&key);
        }
    }

    fn drop(&mut self, key: &Key<A>) -> Option<BTreeMap<u8, Vec<u8>>> {
        let set = self.sets.remove(key)?;
        self.oldest.remove(&set.number);
        self.cost -= set.cost;
        let share = self.sources.get_mut(&key.source)?;
        share.cost -= set.cost;
        share.sets.retain(|other| other != key);
        if share.sets.is_empty() {
            self.sources.remove(&key.source);
        }
        Some(set.parts)
    }
}

#[cfg(test)]
#[path = "fragments_test.rs"]
mod tests;
