//! What one packet of a player was.

use std::fmt;

use crate::{Opened, Reason, Session, pb};

/// How the game receives a player who begins a session. A resumed session has its ticket's names and options.
#[derive(Clone, Default)]
pub struct Admission {
    /// Names the player: at most 64 bytes.
    pub peer_id: String,
    /// The match, room or table: at most 64 bytes.
    pub group: String,
    /// The same at both ends: at most 1,024 bytes.
    pub prologue: Vec<u8>,
    /// Of message 2: at most 16,384 bytes, in practice a third of what the player sent.
    pub payload: Vec<u8>,
    /// For psk patterns: 32 bytes. Secret.
    pub psk: Vec<u8>,
    /// For this session.
    pub options: Option<pb::SessionOptions>,
    /// Takes the early data of a player who resumes, where it can come for the first time alone.
    pub accept_early_data: bool,
}

/// Goes to an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram<A> {
    /// What goes.
    pub bytes: Vec<u8>,
    /// Where to.
    pub address: A,
}

/// What one packet of a player was.
#[derive(Clone)]
pub struct Received<A> {
    /// Of the packet; None where it has none.
    pub session: Option<Session>,
    /// What the record was; None where the packet was no record, or was refused.
    pub opened: Option<Opened>,
    /// Of a handshake message; possibly replayed until a first record has opened.
    pub payload: Vec<u8>,
    /// What a resuming player sent along. Until a first record opens, whoever has its ticket's key may have sent it.
    pub early_data: Vec<u8>,
    /// Each of these in this order, each as one datagram.
    pub to_send: Vec<Datagram<A>>,
    /// This packet began the session, as far as this receiver knows.
    pub new_session: bool,
    /// With this packet the handshake finished, records may flow.
    pub established: bool,
    /// The session has ended, and the receiver has forgotten it.
    pub closed: bool,
    /// The player is followed to the address that this packet came from.
    pub moved: bool,
    /// How many messages were not sent, because their address has not proved that it wants them.
    pub withheld: usize,
    /// Why the packet was dropped; None where it was not.
    pub refused: Option<Reason>,
}

impl<A> fmt::Debug for Received<A> {
    /// Never shows what the player wrote.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("opened", &self.opened)
            .field("refused", &self.refused)
            .field("established", &self.established)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl<A> Received<A> {
    pub(crate) fn of(session: Option<Session>, refused: Option<Reason>) -> Received<A> {
        Received {
            session,
            opened: None,
            payload: Vec::new(),
            early_data: Vec::new(),
            to_send: Vec::new(),
            new_session: false,
            established: false,
            closed: false,
            moved: false,
            withheld: 0,
            refused,
        }
    }

    /// What the player wrote for the game; None where the packet had nothing for it.
    pub fn plaintext(&self) -> Option<&[u8]> {
        self.opened.as_ref()?.plaintext.as_deref()
    }
}
