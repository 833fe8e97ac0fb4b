//! The calls for one endpoint, collected into batches over one stream at a time.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Waker;
use std::time::Duration;

use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::bundle::{Bundle, Kind, Waiting};
use crate::channels::Channels;
use crate::link;
use crate::{Error, Multiplex};

/// While a stream that drains is read to its end, another one takes what is new.
pub(crate) struct Line {
    pub(crate) address: String,
    pub(crate) channels: Arc<Channels>,
    options: Multiplex,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    /// The oldest first. Only the last of each kind may still grow.
    queue: VecDeque<Bundle>,
    /// How many batches wait to go again.
    waits: usize,
    ticking: bool,
    pausing: bool,
    failures: u32,
    /// The stream that takes batches.
    current: Option<u64>,
    pub(crate) links: BTreeMap<u64, Link>,
    links_made: u64,
    closed: bool,
}

/// A stream, as its line sees it.
pub(crate) struct Link {
    /// By their correlation ids, so in the order in which they went.
    pub(crate) unanswered: BTreeMap<u64, Bundle>,
    pub(crate) sent: u64,
    pub(crate) draining: bool,
    /// Of the pump that writes, where it waits for something to write.
    pub(crate) writer: Option<Waker>,
    task: AbortHandle,
}

impl Link {
    fn new(task: AbortHandle) -> Link {
        Link { unanswered: BTreeMap::new(), sent: 0, draining: false, writer: None, task }
    }

    pub(crate) fn wake(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

impl Drop for Link {
    /// Lets the pump that writes see that its stream is over.
    fn drop(&mut self) {
        self.wake();
    }
}

impl State {
    /// The oldest batch that is due and that somebody still waits for, for a stream; None for none at present.
    pub(crate) fn take(&mut self, link: u64) -> Option<Bundle> {
        while self.current == Some(link) {
            let oldest = self.queue.iter().position(|bundle| bundle.due)?;
            let bundle = self.queue.remove(oldest)?;
            if bundle.is_wanted() {
                return Some(bundle);
            }
        }
        None
    }

    fn is_due(&self) -> bool {
        self.queue.iter().any(|bundle| bundle.due)
    }
}

impl Line {
    pub(crate) fn new(address: String, channels: Arc<Channels>, options: Multiplex) -> Arc<Line> {
        Arc::new(Line { address, channels, options, state: Mutex::default() })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Lets a call go with the next batch of its kind.
    pub(crate) fn add(self: &Arc<Self>, kind: Kind, call: Waiting) {
        let mut state = self.state();
        let room = self.options.max_bytes.saturating_sub(call.entry.size());
        let mut growing = state.queue.iter().rposition(|bundle| bundle.kind == kind && !bundle.full);
        if let Some(place) = growing.filter(|place| state.queue[*place].size > room) {
            (state.queue[place].due, state.queue[place].full) = (true, true);
            growing = None;
        }
        let place = growing.unwrap_or_else(|| {
            state.queue.push_back(Bundle::new(kind));
            state.queue.len() - 1
        });
        let bundle = &mut state.queue[place];
        bundle.add(call);
        if bundle.len() >= self.options.max_items || bundle.size >= self.options.max_bytes {
            (bundle.due, bundle.full) = (true, true);
        } else if !bundle.due && !state.ticking {
            state.ticking = true;
            self.after(self.options.tick, Line::tick);
        }
        self.wake(&mut state);
    }

    /// What has been collected goes now, and grows on until a stream takes it.
    fn tick(self: Arc<Self>) {
        let mut state = self.state();
        state.ticking = false;
        state.queue.iter_mut().for_each(|bundle| bundle.due = true);
        self.wake(&mut state);
    }

    /// Does something after a while.
    fn after(self: &Arc<Self>, delay: Duration, work: impl FnOnce(Arc<Line>) + Send + 'static) {
        let line = self.clone();
        tokio::spawn(async move {
            sleep(delay).await;
            work(line);
        });
    }

    /// Lets the stream look, and opens one where there is none.
    fn wake(self: &Arc<Self>, state: &mut State) {
        if state.closed || state.pausing || !state.is_due() {
            return;
        }
        match state.current.and_then(|current| state.links.get_mut(&current)) {
            Some(link) => link.wake(),
            None => {
                state.links_made += 1;
                let task = tokio::spawn(link::run(self.clone(), state.links_made)).abort_handle();
                state.links.insert(state.links_made, Link::new(task));
                state.current = Some(state.links_made);
            }
        }
    }

    /// The service did nothing for this batch; where that may change, the batch goes again after a while.
    pub(crate) fn refused(self: &Arc<Self>, state: &mut State, bundle: Bundle, why: &Error) {
        let policy = &self.channels.options.policy;
        let delay = policy.delay(bundle.attempts, fastrand::f64(), why.retry_delay());
        if let Some(bundle) = self.again(bundle, why) {
            state.waits += 1;
            self.after(delay, move |line| {
                let mut state = line.state();
                state.waits -= 1;
                if !state.closed {
                    state.queue.push_back(bundle);
                    line.wake(&mut state);
                }
            });
        }
    }

    /// What is new goes over another connection.
    pub(crate) fn draining(self: &Arc<Self>, state: &mut State, link: u64) {
        state.current.take_if(|current| *current == link);
        self.wake(state);
    }

    pub(crate) fn answered(&self, state: &mut State) {
        state.failures = 0;
    }

    /// Batches without an answer go again, in their order and before newer ones; after a while, if the stream failed.
    pub(crate) fn ended(self: &Arc<Self>, link: u64, why: &Error) {
        let mut state = self.state();
        let Some(mut ended) = state.links.remove(&link) else { return };
        state.current.take_if(|current| *current == link);
        for bundle in std::mem::take(&mut ended.unanswered).into_values().rev() {
            if let Some(bundle) = self.again(bundle, why) {
                state.queue.push_front(bundle);
            }
        }
        if !why.is_unavailable() {
            state.queue.drain(..).for_each(|bundle| bundle.fail(why));
        }
        state.queue.iter().for_each(|bundle| bundle.refused(why));
        if state.current.is_some() {
            self.wake(&mut state);
        } else if state.is_due() && !state.pausing {
            state.pausing = true;
            let delay = self.channels.options.policy.delay(state.failures, fastrand::f64(), why.retry_delay());
            state.failures += 1;
            self.after(delay, |line| {
                let mut state = line.state();
                state.pausing = false;
                line.wake(&mut state);
            });
        }
    }

    /// A batch that was in vain, where it goes again.
    fn again(&self, mut bundle: Bundle, why: &Error) -> Option<Bundle> {
        bundle.refused(why);
        bundle.attempts += u32::from(self.channels.options.policy.counts(why.reason()));
        (bundle.due, bundle.full) = (true, true);
        if !why.is_unavailable() || bundle.attempts >= self.channels.options.policy.attempts {
            bundle.fail(why);
            return None;
        }
        bundle.is_wanted().then_some(bundle)
    }

    /// Closes the line if nobody waits for it; whether it did.
    pub(crate) fn retire(&self) -> bool {
        let state = self.state();
        let is_busy =
            !state.queue.is_empty() || state.waits > 0 || state.links.values().any(|link| !link.unanswered.is_empty());
        drop(state);
        if !is_busy {
            self.close();
        }
        !is_busy
    }

    /// Ends every stream; what waits is dropped, which ends its calls.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        state.queue.clear();
        for link in std::mem::take(&mut state.links).values() {
            link.task.abort();
        }
    }
}
