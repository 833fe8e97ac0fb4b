//! One connection per endpoint, made when first needed, all with the same credentials.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Mutex;

use tokio::sync::watch;
use tonic::transport::Channel;

use crate::{Error, Options, Result};

/// How many connections are kept; the longest idle gives way, and ends with the calls that still use it.
pub(crate) const MAX_CHANNELS: usize = 64;

pub(crate) struct Channels {
    pub(crate) target: String,
    pub(crate) options: Options,
    known: Mutex<Known>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct Known {
    by_address: HashMap<String, (Channel, u64)>,
    /// Counts uses, to tell which was the latest.
    uses: u64,
}

impl Channels {
    pub(crate) fn new(target: String, options: Options) -> Channels {
        Channels { target, options, known: Mutex::default(), closed: watch::Sender::new(false) }
    }

    /// HOST:PORT of an endpoint, which is empty for the client's own target.
    pub(crate) fn address<'a>(&'a self, endpoint: &'a str) -> &'a str {
        if endpoint.is_empty() { &self.target } else { endpoint }
    }

    /// The connection to an endpoint.
    pub(crate) fn take(&self, endpoint: &str) -> Result<Channel> {
        let address = self.address(endpoint);
        let mut known = self.known.lock().unwrap();
        known.uses += 1;
        let now = known.uses;
        if let Some((channel, used)) = known.by_address.get_mut(address) {
            *used = now;
            return Ok(channel.clone());
        }
        let channel = self.options.dial(address)?;
        if known.by_address.len() >= MAX_CHANNELS {
            let idle = known.by_address.iter().min_by_key(|(_, (_, used))| *used).map(|(address, _)| address.clone());
            idle.and_then(|address| known.by_address.remove(&address));
        }
        known.by_address.insert(address.to_owned(), (channel.clone(), now));
        Ok(channel)
    }

    /// Runs something until the client is closed.
    pub(crate) async fn open<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            _ = closed.wait_for(|closed| *closed) => Err(Error::Closed),
            answer = work => answer,
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        *self.closed.borrow()
    }

    /// Ends every connection; calls under way end with [`Error::Closed`].
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
        self.known.lock().unwrap().by_address.clear();
    }
}
