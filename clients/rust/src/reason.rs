//! Why the service, or a receiver, refused something.

use std::fmt;

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Why something was refused: a value of the contract's ErrorReason (docs/errors.md says what each means and what
        /// to do), or why a [`Receiver`](crate::Receiver) dropped a packet by itself.
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* #[doc = concat!("`", $name, "`.")] $variant,)*
            /// One of a newer service.
            Other(String),
        }

        impl Reason {
            /// The contract's name without its prefix, e.g. `SESSION_NOT_FOUND`.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Reason::$variant => $name,)*
                    Reason::Other(name) => name,
                }
            }
        }

        impl From<&str> for Reason {
            fn from(name: &str) -> Reason {
                match name {
                    $($name => Reason::$variant,)*
                    other => Reason::Other(other.to_owned()),
                }
            }
        }
    };
}

reasons! {
    InvalidRequest = "INVALID_REQUEST",
    UnsupportedProtocol = "UNSUPPORTED_PROTOCOL",
    MessageTooLarge = "MESSAGE_TOO_LARGE",
    PolicyRejected = "POLICY_REJECTED",
    HandshakeFailed = "HANDSHAKE_FAILED",
    HandshakeState = "HANDSHAKE_STATE",
    ClockSkew = "CLOCK_SKEW",
    StaleHandshake = "STALE_HANDSHAKE",
    SessionNotFound = "SESSION_NOT_FOUND",
    SessionClosed = "SESSION_CLOSED",
    NotEstablished = "NOT_ESTABLISHED",
    DecryptFailed = "DECRYPT_FAILED",
    ReplayDetected = "REPLAY_DETECTED",
    CounterTooOld = "COUNTER_TOO_OLD",
    RekeyRequired = "REKEY_REQUIRED",
    EpochConflict = "EPOCH_CONFLICT",
    WrongOwner = "WRONG_OWNER",
    TicketRejected = "TICKET_REJECTED",
    SessionQuota = "SESSION_QUOTA",
    Draining = "DRAINING",
    Overloaded = "OVERLOADED",
    IdempotencyConflict = "IDEMPOTENCY_CONFLICT",
    CallerUnauthenticated = "CALLER_UNAUTHENTICATED",
    CallerForbidden = "CALLER_FORBIDDEN",
    Internal = "INTERNAL",
    PeerRevoked = "PEER_REVOKED",
    BlobRejected = "BLOB_REJECTED",
    /// A receiver's own: no packet of noisegate.
    NotAPacket = "NOT_A_PACKET",
    /// A receiver's own: the game did not admit the player.
    NotAdmitted = "NOT_ADMITTED",
    /// A receiver's own: no packet that is due.
    UnexpectedPacket = "UNEXPECTED_PACKET",
    /// A receiver's own: the player has to begin anew with another protocol, and `to_send` tells it how.
    RetryChoose = "RETRY_CHOOSE",
    /// A receiver's own: the player has to begin anew with another clock, and `to_send` tells it how.
    RetryClock = "RETRY_CLOCK",
}

impl Reason {
    /// What a player's packet was refused for, as opposed to its call.
    pub(crate) fn refuses_packet(&self) -> bool {
        use Reason::*;
        matches!(self, DecryptFailed | ReplayDetected | CounterTooOld)
    }

    /// The session is lost.
    pub(crate) fn loses_session(&self) -> bool {
        matches!(self, Reason::SessionNotFound | Reason::SessionClosed)
    }

    /// What a player's packet can bring about; others are the service's and the caller's troubles.
    pub(crate) fn is_players_fault(&self) -> bool {
        use Reason::*;
        self.refuses_packet()
            || self.loses_session()
            || matches!(
                self,
                ClockSkew
                    | HandshakeFailed
                    | HandshakeState
                    | InvalidRequest
                    | MessageTooLarge
                    | NotEstablished
                    | PeerRevoked
                    | PolicyRejected
                    | SessionQuota
                    | StaleHandshake
                    | TicketRejected
                    | UnsupportedProtocol
            )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
