//! The address of one session's player, and how far it is believed.

use crate::Opened;

/// An address that has proved nothing gets at most this many times what came from it (RFC 9000, section 8).
const AMPLIFICATION: usize = 3;

/// An address proves itself by a handshake, or by the answer to a question: whoever finishes or answers it has read our
/// message, which went to that address and to no other. Any other record proves that the player sent it, not that the
/// player is where it says: a player may forge its own source address to have a stranger flooded.
#[derive(Clone, Debug)]
pub(crate) struct Path<A> {
    pub(crate) address: A,
    pub(crate) verified: bool,
    came: usize,
    sent: usize,
    /// Epoch and counter.
    latest: Option<(u32, u64)>,
    provable: bool,
    /// The last address that had proved itself.
    home: Option<A>,
    asked: Vec<u8>,
}

impl<A: Clone + PartialEq> Path<A> {
    pub(crate) fn new(address: A, came: usize, provable: bool) -> Path<A> {
        Path { address, verified: false, came, sent: 0, latest: None, provable, home: None, asked: Vec::new() }
    }

    /// So many bytes that name this session.
    pub(crate) fn came_from(&mut self, source: &A, size: usize) {
        if *source == self.address {
            self.came += size;
        }
    }

    /// Whether a message may go to the address now; it counts as sent if so.
    pub(crate) fn may_send(&mut self, size: usize) -> bool {
        if self.verified {
            return true;
        }
        let may = self.sent + size <= AMPLIFICATION * self.came;
        self.sent += if may { size } else { 0 };
        may
    }

    /// A handshake message of ours went to another address, so finishing proves nothing about this one.
    pub(crate) fn answered_elsewhere(&mut self) {
        self.provable = false;
    }

    /// The player finished the handshake with a message that needed ours.
    pub(crate) fn finished(&mut self, source: &A) {
        self.verified |= self.provable && *source == self.address;
    }

    /// A record opened that came from `source`; whether the player is now followed to there.
    pub(crate) fn opened(&mut self, source: &A, size: usize, record: &Opened) -> bool {
        let here = Some((record.epoch, record.counter));
        // Calls run side by side: an answer may come after that of a newer record.
        if !record.newest || here <= self.latest {
            return false;
        }
        self.latest = here;
        if *source == self.address {
            if !record.early {
                self.finished(source);
            }
            return false;
        }
        if self.verified {
            self.home = Some(self.address.clone());
        }
        *self = Path {
            verified: self.home.as_ref() == Some(source),
            latest: here,
            home: self.home.take(),
            ..Path::new(source.clone(), size, false)
        };
        true
    }

    /// A question with this token goes to the address, and to no other.
    pub(crate) fn ask(&mut self, token: &[u8]) {
        self.asked = token.to_vec();
    }

    /// A record from `source` has answered the question with this token, empty for none.
    pub(crate) fn answered(&mut self, source: &A, token: &[u8]) {
        self.verified |= !token.is_empty() && *source == self.address && token == self.asked;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(counter: u64) -> Opened {
        Opened { newest: true, counter, ..Opened::default() }
    }

    #[test]
    fn an_address_that_proved_nothing_gets_three_times_what_came() {
        let mut path = Path::new("here", 100, true);
        assert!(path.may_send(300));
        assert!(!path.may_send(1));
        path.came_from(&"elsewhere", 100);
        assert!(!path.may_send(1), "bytes of another address pay for nothing");
        path.came_from(&"here", 1);
        assert!(path.may_send(3));
        path.finished(&"here");
        assert!(path.may_send(1 << 20), "a handshake proves its address");
    }

    #[test]
    fn a_player_is_followed_by_its_newest_record_alone_and_believed_again_at_home() {
        let mut path = Path::new("home", 100, true);
        path.finished(&"home");
        assert!(!path.opened(&"away", 50, &Opened { counter: 9, ..Opened::default() }), "an old one");
        assert!(path.opened(&"away", 50, &newest(5)));
        assert_eq!((path.address, path.verified, path.may_send(151)), ("away", false, false));
        assert!(!path.opened(&"home", 50, &newest(4)), "an answer that comes late must not lead back");
        assert!(path.opened(&"home", 50, &newest(6)));
        assert!(path.verified, "the last address that proved itself is believed at once");
    }

    #[test]
    fn a_later_epoch_is_newer_than_any_counter() {
        let mut path = Path::new("home", 100, true);
        assert!(path.opened(&"away", 50, &Opened { epoch: 1, ..newest(0) }));
        assert!(!path.opened(&"home", 50, &newest(9)));
    }

    #[test]
    fn only_the_answer_to_our_question_from_there_proves_an_address() {
        let mut path = Path::new("here", 10, false);
        path.finished(&"here");
        path.answered(&"here", b"");
        path.ask(b"question");
        path.answered(&"here", b"answers!");
        path.answered(&"there", b"question");
        assert!(!path.verified);
        path.answered(&"here", b"question");
        assert!(path.verified);
    }
}
