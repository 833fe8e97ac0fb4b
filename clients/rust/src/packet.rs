//! A player's packet (DATAGRAM), as far as it can be read without a key.

use sha2::{Digest, Sha256};

pub(crate) const HEADER_BYTES: usize = 9;
pub(crate) const MAX_PACKET_BYTES: usize = 65_535;

/// What a player's packet claims to be: the types of docs/protocol.md, section 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketType {
    /// A step of a handshake.
    Handshake = 1,
    /// A record.
    Record,
    /// A record with a salt.
    Salted,
    /// A step of a resume.
    Resume,
    /// A part of a larger packet.
    Fragment,
    /// The sender has to begin anew.
    Retry,
}

/// What a player's packets carry; zeros in its first one. It finds a session and proves nothing.
pub type ConnectionId = [u8; 8];

/// Reads the type and the connection id of a player's packet; None for bytes that are not one of noisegate's. It needs no
/// key and no service, and nothing of what it reads is authenticated.
///
/// First bytes 0x09 to 0x0e are free of STUN, TURN, DTLS, RTP and QUIC (RFC 7983, RFC 9443), so one port can serve all.
pub fn peek(packet: &[u8]) -> Option<(PacketType, ConnectionId)> {
    use PacketType::*;
    let (first, rest) = packet.split_first()?;
    let kind = match first {
        0x09 => Handshake,
        0x0a => Record,
        0x0b => Salted,
        0x0c => Resume,
        0x0d => Fragment,
        0x0e => Retry,
        _ => return None,
    };
    Some((kind, *rest.first_chunk()?))
}

/// The step of a HANDSHAKE or RESUME packet; 0 where it is too short to have one.
pub(crate) fn step_of(packet: &[u8]) -> u8 {
    packet.get(HEADER_BYTES).copied().unwrap_or_default()
}

/// What a RETRY carries of the packet that it refuses.
pub(crate) type Echo = [u8; 8];

pub(crate) fn echo_of(packet: &[u8]) -> Echo {
    let hash = Sha256::digest(packet);
    std::array::from_fn(|n| hash[n])
}

/// Reads it; None where the packet is too short.
pub(crate) fn echo_in(packet: &[u8]) -> Option<Echo> {
    packet.get(HEADER_BYTES..)?.first_chunk().copied()
}
