//! One batch of the stream, from its first call to its answer.

use std::sync::{Arc, Mutex};

use tokio::sync::oneshot;

use crate::calls::new_request_id;
use crate::packing::{Entry, decrypt_batch, encrypt_batch, opened_items, sealed_items};
use crate::pb::transport_answer::Answer;
use crate::pb::transport_batch::Batch;
use crate::{Error, Opened, Result, Sealed};

/// What may stand together in one batch.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// DATAGRAM: whoever seals again gets another counter, so a repeat needs no request_id and nothing kept for it.
    Seal,
    /// NOISE: the counter travels with nobody. Sealed once, by a request_id.
    SealInTurn,
    /// Opened once, by a request_id; a second time it would be a replay.
    Open,
}

/// Who waits for the result.
pub(crate) enum Done {
    Sealed(oneshot::Sender<Result<Sealed>>),
    Opened(oneshot::Sender<Result<Opened>>),
}

/// One call that waits for its result.
pub(crate) struct Waiting {
    pub(crate) entry: Entry,
    pub(crate) done: Done,
    /// Why the last attempt was in vain.
    pub(crate) refused: Arc<Mutex<Option<Error>>>,
}

impl Waiting {
    fn is_gone(&self) -> bool {
        match &self.done {
            Done::Sealed(done) => done.is_closed(),
            Done::Opened(done) => done.is_closed(),
        }
    }

    pub(crate) fn fail(self, why: Error) {
        // Whoever does not wait any more needs no result, here and below.
        match self.done {
            Done::Sealed(done) => drop(done.send(Err(why))),
            Done::Opened(done) => drop(done.send(Err(why))),
        }
    }
}

pub(crate) struct Bundle {
    pub(crate) kind: Kind,
    calls: Vec<Waiting>,
    pub(crate) size: usize,
    /// It may go.
    pub(crate) due: bool,
    /// It takes no more calls.
    pub(crate) full: bool,
    /// As the policy counts them.
    pub(crate) attempts: u32,
    /// As it went before: a repeat has the same request_id and the same items.
    body: Option<Batch>,
}

impl Bundle {
    pub(crate) fn new(kind: Kind) -> Bundle {
        Bundle { kind, calls: Vec::new(), size: 0, due: false, full: false, attempts: 0, body: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    pub(crate) fn add(&mut self, call: Waiting) {
        self.size += call.entry.size();
        self.calls.push(call);
    }

    /// Whether a call still waits for it.
    pub(crate) fn is_wanted(&self) -> bool {
        !self.calls.iter().all(Waiting::is_gone)
    }

    /// What carries it.
    pub(crate) fn request(&mut self) -> Batch {
        if let Some(body) = self.body.as_ref().filter(|_| self.kind != Kind::Seal) {
            return body.clone();
        }
        // What nobody waits for any more is not sent: in NOISE mode it would cost a counter, and so the session.
        self.calls.retain(|call| !call.is_gone());
        let entries = self.calls.iter().map(|call| &call.entry);
        let body = match self.kind {
            Kind::Seal => return Batch::Encrypt(encrypt_batch(entries, String::new())),
            Kind::SealInTurn => Batch::Encrypt(encrypt_batch(entries, new_request_id())),
            Kind::Open => Batch::Decrypt(decrypt_batch(entries, new_request_id())),
        };
        self.body = Some(body.clone());
        body
    }

    /// Hands out the results.
    pub(crate) fn answered(self, answer: Answer) {
        let failed = match answer {
            Answer::Encrypt(answer) => match sealed_items(answer, self.calls.len()) {
                Ok(results) => {
                    return self.settle(results, |done, result| {
                        if let Done::Sealed(done) = done {
                            let _ = done.send(result);
                        }
                    });
                }
                Err(error) => error,
            },
            Answer::Decrypt(answer) => match opened_items(answer, self.calls.iter().map(|call| &call.entry)) {
                Ok(results) => {
                    return self.settle(results, |done, result| {
                        if let Done::Opened(done) = done {
                            let _ = done.send(result);
                        }
                    });
                }
                Err(error) => error,
            },
            _ => Error::not_whole("the batch that was asked for"),
        };
        self.fail(&failed);
    }

    fn settle<T>(self, results: Vec<Result<T>>, send: impl Fn(Done, Result<T>)) {
        for (call, result) in self.calls.into_iter().zip(results) {
            send(call.done, result);
        }
    }

    /// Ends every call that still waits.
    pub(crate) fn fail(self, why: &Error) {
        for call in self.calls {
            call.fail(why.clone());
        }
    }

    /// Remembers why an attempt was in vain.
    pub(crate) fn refused(&self, why: &Error) {
        for call in &self.calls {
            *call.refused.lock().unwrap() = Some(why.clone());
        }
    }
}
