//! Calls of many sessions, together on one stream to each endpoint.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::bundle::{Done, Kind, Waiting};
use crate::calls::{self, too_late};
use crate::channels::{Channels, MAX_CHANNELS};
use crate::line::Line;
use crate::packing::{Entry, MAX_BATCH_BYTES, MAX_BATCH_ITEMS};
use crate::{Error, Result};

/// How calls of many sessions travel together.
#[derive(Clone, Debug, PartialEq)]
pub struct Multiplex {
    /// How long a batch collects calls: 1 ms by default, at most 100 ms.
    pub tick: Duration,
    /// Of one batch, which goes at once when it has them: 256 by default, at most 1,024.
    pub max_items: usize,
    /// Of its plaintexts or records: 256 KiB by default, at most 1,310,720; a longer call goes alone.
    pub max_bytes: usize,
}

impl Default for Multiplex {
    fn default() -> Multiplex {
        Multiplex { tick: Duration::from_millis(1), max_items: 256, max_bytes: 256 << 10 }
    }
}

impl Multiplex {
    pub(crate) fn check(&self) -> Result<()> {
        let is_right = self.tick <= Duration::from_millis(100)
            && (1..=MAX_BATCH_ITEMS).contains(&self.max_items)
            && (1..=MAX_BATCH_BYTES).contains(&self.max_bytes);
        let limits = "Multiplex: tick at most 100 ms, max_items 1 to 1,024, max_bytes 1 to 1,310,720";
        if is_right { Ok(()) } else { Err(Error::Invalid(limits.into())) }
    }
}

/// Has one line for each endpoint, made when first needed.
pub(crate) struct Multiplexer {
    channels: Arc<Channels>,
    options: Multiplex,
    lines: Mutex<HashMap<String, Arc<Line>>>,
}

impl Multiplexer {
    pub(crate) fn new(channels: Arc<Channels>, options: Multiplex) -> Multiplexer {
        Multiplexer { channels, options, lines: Mutex::default() }
    }

    /// Lets one item go with the next batch of its kind, and waits for what becomes of it.
    pub(crate) async fn enter<T>(
        &self,
        endpoint: &str,
        kind: Kind,
        entry: Entry,
        wrap: fn(oneshot::Sender<Result<T>>) -> Done,
    ) -> Result<T> {
        let (done, result) = oneshot::channel();
        let refused = Arc::default();
        let call = Waiting { entry, done: wrap(done), refused: Arc::clone(&refused) };
        let deadline = self.channels.options.policy.deadline(calls::Kind::Packet);
        let entered = async {
            self.add(endpoint, kind, call)?;
            match timeout(deadline, result).await {
                // A line that was closed drops its calls.
                Ok(settled) => settled.unwrap_or(Err(Error::Closed)),
                // It may have been waiting to go again.
                Err(_) => Err(refused.lock().unwrap().take().unwrap_or_else(|| too_late(""))),
            }
        };
        self.channels.open(entered).await
    }

    /// Gives a call to its endpoint's line, all under one lock: a line that is just being retired, or closed, takes none.
    fn add(&self, endpoint: &str, kind: Kind, call: Waiting) -> Result<()> {
        let mut lines = self.lines.lock().unwrap();
        if self.channels.is_closed() {
            return Err(Error::Closed);
        }
        if let Some(line) = lines.get(endpoint) {
            line.add(kind, call);
            return Ok(());
        }
        let address = self.channels.address(endpoint).to_owned();
        self.channels.options.check_plaintext(&address)?;
        let line = Line::new(address, self.channels.clone(), self.options.clone());
        if lines.len() >= MAX_CHANNELS {
            let idle = lines.iter().find(|(_, line)| line.retire()).map(|(endpoint, _)| endpoint.clone());
            idle.and_then(|endpoint| lines.remove(&endpoint));
        }
        line.add(kind, call);
        lines.insert(endpoint.to_owned(), line);
        Ok(())
    }

    /// Ends every stream; calls that wait end with [`Error::Closed`].
    pub(crate) fn close(&self) {
        for (_, line) in self.lines.lock().unwrap().drain() {
            line.close();
        }
    }
}

impl Drop for Multiplexer {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Options;

    #[tokio::test]
    async fn a_client_that_is_closed_opens_no_stream() {
        let channels = Arc::new(Channels::new("127.0.0.1:1".into(), Options::new()));
        let multiplexer = Multiplexer::new(channels.clone(), Multiplex::default());
        let add = || {
            let (done, _) = oneshot::channel();
            let entry = Entry { session_id: vec![0; 24], body: Vec::new(), associated_data: Vec::new() };
            multiplexer.add("", Kind::Seal, Waiting { entry, done: Done::Sealed(done), refused: Arc::default() })
        };
        add().unwrap();
        assert_eq!(multiplexer.lines.lock().unwrap().len(), 1);
        channels.close();
        multiplexer.close();
        assert!(matches!(add(), Err(Error::Closed)));
        assert!(multiplexer.lines.lock().unwrap().is_empty());
    }
}
