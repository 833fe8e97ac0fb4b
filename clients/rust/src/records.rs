//! What a record became.

use crate::{Reason, pb};

/// A record for the player.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sealed {
    /// The record.
    pub packet: Vec<u8>,
    /// Must go to the player besides, before it, each on its own. Empty where an `on_send` hook has them.
    pub to_peer: Vec<Vec<u8>>,
    /// Of the record; never used twice under one key.
    pub counter: u64,
    /// Of the record's key.
    pub epoch: u32,
    /// A soft limit of age or use is passed: rotate soon.
    pub rotation_due: bool,
}

impl Sealed {
    /// Everything to send to the player, in order: `to_peer`, then the record.
    pub fn into_messages(self) -> Vec<Vec<u8>> {
        let mut messages = self.to_peer;
        messages.push(self.packet);
        messages
    }
}

/// What a packet of the player was.
#[derive(Clone, Default, PartialEq)]
pub struct Opened {
    /// The session's.
    pub session_id: Vec<u8>,
    /// Why the packet is to be dropped (DECRYPT_FAILED, REPLAY_DETECTED, COUNTER_TOO_OLD); None where it opened. A forged
    /// or late packet is a result and no error: the session goes on.
    pub refused: Option<Reason>,
    /// What the player wrote; None where the packet was nothing for the game. Secret.
    pub plaintext: Option<Vec<u8>>,
    /// What the record was when it was nothing for the game.
    pub control: pb::ControlKind,
    /// The token of the question that a keep-alive answers.
    pub answered: Vec<u8>,
    /// Must go to the player, each on its own. Empty where an `on_send` hook has them.
    pub to_peer: Vec<Vec<u8>>,
    /// Of the record.
    pub counter: u64,
    /// Of the record's key.
    pub epoch: u32,
    /// The handshake is not yet confirmed by the player, so this may be a replay.
    pub early: bool,
    /// The newest record so far (DATAGRAM). Only then follow the player to the address that it came from.
    pub newest: bool,
    /// A soft limit of age or use is passed: rotate soon.
    pub rotation_due: bool,
}

impl std::fmt::Debug for Opened {
    /// Never shows what the player wrote.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened")
            .field("refused", &self.refused)
            .field("control", &self.control)
            .field("counter", &self.counter)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl Opened {
    pub(crate) fn refused(session_id: Vec<u8>, reason: Reason) -> Opened {
        Opened { session_id, refused: Some(reason), ..Opened::default() }
    }

    pub(crate) fn is_close(&self) -> bool {
        self.control == pb::ControlKind::Close
    }
}

impl From<pb::EncryptResponse> for Sealed {
    fn from(answer: pb::EncryptResponse) -> Sealed {
        Sealed {
            packet: answer.ciphertext,
            to_peer: answer.to_peer,
            counter: answer.counter,
            epoch: answer.epoch,
            rotation_due: answer.rotation_due,
        }
    }
}

impl From<pb::DecryptResponse> for Opened {
    /// A content of a later contract reads as a control record that the game may ignore.
    fn from(answer: pb::DecryptResponse) -> Opened {
        let mut opened = Opened {
            session_id: answer.session_id,
            to_peer: answer.to_peer,
            counter: answer.counter,
            epoch: answer.epoch,
            early: answer.early,
            newest: answer.newest,
            rotation_due: answer.rotation_due,
            ..Opened::default()
        };
        match answer.content {
            Some(pb::decrypt_response::Content::Plaintext(text)) => opened.plaintext = Some(text),
            Some(pb::decrypt_response::Content::Control(control)) => {
                (opened.control, opened.answered) = (control.kind(), control.answered);
            }
            None => {}
        }
        opened
    }
}
