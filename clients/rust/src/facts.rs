//! What a handle knows of its session without asking.

use std::time::Duration;

use crate::pb;

#[derive(Clone, Default)]
pub(crate) struct Facts {
    pub(crate) id: Vec<u8>,
    pub(crate) endpoint: String,
    pub(crate) mode: pb::RecordMode,
    pub(crate) resuming: bool,
    pub(crate) connection_id: Vec<u8>,
    pub(crate) peer_id: String,
    pub(crate) group: String,
    pub(crate) established: Option<pb::Established>,
    pub(crate) pending_for: Duration,
    pub(crate) to_peer: Vec<Vec<u8>>,
    pub(crate) payload: Vec<u8>,
    pub(crate) hello: Vec<u8>,
    pub(crate) ticket: Vec<u8>,
    pub(crate) early: pb::EarlyData,
    pub(crate) early_data: Vec<u8>,
    pub(crate) fell_back: bool,
    pub(crate) ended: bool,
}

impl From<pb::Session> for Facts {
    fn from(described: pb::Session) -> Facts {
        Facts {
            mode: described.mode(),
            id: described.session_id,
            endpoint: described.endpoint,
            connection_id: described.connection_id,
            peer_id: described.peer_id,
            group: described.group,
            established: described.established,
            ..Facts::default()
        }
    }
}

impl Facts {
    /// Remembers what a step of a handshake gave, and from where.
    pub(crate) fn shaken(&mut self, step: pb::HandshakeResponse, from: String) {
        use pb::handshake_response::Progress;
        self.stepped(step.session_id, step.endpoint, from, step.connection_id);
        (self.to_peer, self.payload) = (step.to_peer, step.payload);
        match step.progress {
            Some(Progress::Established(made)) => self.made(Some(made), None),
            Some(Progress::Pending(pending)) => self.made(None, pending.expires_in),
            _ => self.made(None, None),
        }
        replace(&mut self.hello, step.hello);
    }

    /// Remembers what a step of a resume gave, and from where.
    pub(crate) fn resumed(&mut self, step: pb::ResumeResponse, from: String) {
        use pb::resume_response::Progress;
        self.early = step.early();
        self.stepped(step.session_id, step.endpoint, from, step.connection_id);
        (self.to_peer, self.payload, self.early_data) = (step.to_peer, step.payload, step.early_data);
        match step.progress {
            Some(Progress::Established(made)) => self.made(Some(made), None),
            Some(Progress::Pending(pending)) => self.made(None, pending.expires_in),
            _ => self.made(None, None),
        }
        replace(&mut self.ticket, step.ticket);
        replace(&mut self.peer_id, step.peer_id);
        replace(&mut self.group, step.group);
        if step.fell_back {
            // What is under way is a full handshake, and its steps are Handshake's.
            (self.fell_back, self.resuming) = (true, false);
        }
    }

    fn made(&mut self, established: Option<pb::Established>, expires_in: Option<prost_types::Duration>) {
        self.established = established;
        self.pending_for = expires_in.unwrap_or_default().try_into().unwrap_or_default();
    }

    fn stepped(&mut self, id: Vec<u8>, named: String, from: String, connection_id: Vec<u8>) {
        replace(&mut self.id, id);
        replace(&mut self.connection_id, connection_id);
        self.endpoint = if named.is_empty() { from } else { named };
    }
}

/// What an answer leaves empty stays as it was.
fn replace<T: Default + PartialEq>(known: &mut T, said: T) {
    if said != T::default() {
        *known = said;
    }
}
