//! The SDK of noisegate: a game service hands the crypto of its players' sessions to a service, bytes in, bytes out. It
//! forwards what a player sent and sends what it gets back; keys never leave the service, and no cryptography is done
//! here.
//!
//! ```no_run
//! use noisegate::{Client, Options, pb};
//!
//! # async fn play(first: Vec<u8>, packet: Vec<u8>) -> Result<(), noisegate::Error> {
//! let client = Client::connect("127.0.0.1:7443", Options::new())?;
//! let step = pb::RespondHandshake { mode: pb::RecordMode::Noise.into(), message: first, ..Default::default() };
//! let session = client.respond(step).await?;
//! let opened = session.decrypt(packet).await?;
//! let sealed = session.encrypt("welcome").await?;
//! # Ok(())
//! # }
//! ```
//!
//! Requests and descriptions are the contract's own messages ([`pb`]), whose comments are the reference of every field.
//! Handles are cheap to clone, and everything here may be used by several tasks at once. A future that is dropped cancels
//! its call.

mod batch;
mod begin;
mod bundle;
mod calls;
mod channels;
mod client;
mod error;
mod facts;
mod fragments;
mod lifecycle;
mod line;
mod link;
mod multiplexer;
mod options;
mod packet;
mod packing;
mod paths;
mod reason;
mod received;
mod receiver;
mod records;
mod routing;
mod session;
mod table;
pub mod testing;

/// The contract's messages, and the stub of its service, as the build writes them.
#[allow(missing_docs, clippy::all)]
pub mod pb {
    tonic::include_proto!("noisegate.v1");
}

pub use batch::Item;
pub use client::{Client, Pages, Watch};
pub use error::{Error, Refusal, Result};
pub use fragments::{BadFragment, DEFAULT_MTU, Reassembler, ReassemblyLimits, split};
pub use multiplexer::Multiplex;
pub use options::{Options, Policy};
pub use packet::{ConnectionId, PacketType, peek};
pub use reason::Reason;
pub use received::{Admission, Datagram, Received};
pub use receiver::{Receiver, ReceiverOptions};
pub use records::{Opened, Sealed};
pub use session::Session;
pub use tonic::{Code, metadata::MetadataMap, transport};
