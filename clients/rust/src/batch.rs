//! Many packets in few calls.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

use crate::calls::{BROADCAST, DECRYPT_BATCH, ENCRYPT_BATCH, new_request_id};
use crate::packing::{
    Entry, MAX_BATCH_BYTES, MAX_BATCH_ITEMS, SESSION_ID_BYTES, decrypt_batch, encrypt_batch, opened_items, sealed_items,
};
use crate::session::{Direction, Turns};
use crate::{Client, Error, Opened, Result, Sealed, Session, pb};

/// One of a batch: a plaintext to seal or a packet to open, and the session that it is for.
#[derive(Clone)]
pub struct Item {
    /// Whose.
    pub session: Session,
    /// The plaintext, or the packet.
    pub body: Vec<u8>,
    /// At most 1,024 bytes, authenticated, not sent.
    pub associated_data: Vec<u8>,
}

impl Item {
    /// One without associated data.
    pub fn new(session: &Session, body: impl Into<Vec<u8>>) -> Item {
        Item { session: session.clone(), body: body.into(), associated_data: Vec::new() }
    }
}

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

impl Client {
    /// Seals many plaintexts, of one session or of many, in few calls. There is a result for each item, in their order: an
    /// item that is refused leaves the others as they are, and a call that fails is the error of its items.
    pub async fn encrypt_batch(&self, items: Vec<Item>) -> Vec<Result<Sealed>> {
        self.seal_parts(items, &|endpoint, part| {
            Box::pin(async move {
                let request = encrypt_batch(part.iter(), new_request_id());
                let (answer, _) = self.0.channels.ask(&ENCRYPT_BATCH, &endpoint, request).await?;
                sealed_items(answer, part.len())
            })
        })
        .await
    }

    /// Opens many packets, likewise; one that is refused is a result with `refused`.
    pub async fn decrypt_batch(&self, items: Vec<Item>) -> Vec<Result<Opened>> {
        let ask = |endpoint: String, part: Vec<Entry>| -> Running<'_, _> {
            Box::pin(async move {
                let request = decrypt_batch(part.iter(), new_request_id());
                let (answer, _) = self.0.channels.ask(&DECRYPT_BATCH, &endpoint, request).await?;
                opened_items(answer, part.iter())
            })
        };
        let (sessions, mut results) = in_parts(items, Direction::Receiving, &ask).await;
        for (session, result) in sessions.iter().zip(&mut results) {
            if let Ok(opened) = result {
                session.notice_close(opened);
                session.hand(&mut opened.to_peer);
            }
        }
        results
    }

    /// Seals one plaintext for every session of a room, in their order.
    pub async fn broadcast(&self, sessions: &[Session], plaintext: impl Into<Vec<u8>>) -> Vec<Result<Sealed>> {
        self.broadcast_with_ad(sessions, plaintext, []).await
    }

    /// Broadcasts with associated data.
    pub async fn broadcast_with_ad(
        &self,
        sessions: &[Session],
        plaintext: impl Into<Vec<u8>>,
        associated_data: impl Into<Vec<u8>>,
    ) -> Vec<Result<Sealed>> {
        let (body, associated_data) = (plaintext.into(), associated_data.into());
        let item = |session: &Session| Item {
            session: session.clone(),
            body: body.clone(),
            associated_data: associated_data.clone(),
        };
        self.seal_parts(sessions.iter().map(item).collect(), &|endpoint, part| {
            Box::pin(async move {
                let request = pb::BroadcastRequest {
                    session_ids: part.iter().flat_map(|entry| entry.session_id.iter().copied()).collect(),
                    request_id: new_request_id(),
                    plaintext: part[0].body.clone(),
                    associated_data: part[0].associated_data.clone(),
                };
                let (answer, _) =
                    self.0.channels.ask::<_, pb::BroadcastResponse>(&BROADCAST, &endpoint, request).await?;
                sealed_items(answer.into(), part.len())
            })
        })
        .await
    }

    async fn seal_parts(&self, items: Vec<Item>, ask: &Asking<'_, Sealed>) -> Vec<Result<Sealed>> {
        let (sessions, mut results) = in_parts(items, Direction::Sending, ask).await;
        for (session, result) in sessions.iter().zip(&mut results) {
            if let Ok(sealed) = result {
                session.hand(&mut sealed.to_peer);
            }
        }
        results
    }
}

/// One call: of an endpoint, for a part of the items.
type Asking<'a, T> = dyn Fn(String, Vec<Entry>) -> Running<'a, Result<Vec<Result<T>>>> + Sync + 'a;

/// Asks for all items, the endpoints side by side. What fits into no one call goes in several, one after the other: parts
/// may have items of the same session, whose order is kept.
async fn in_parts<T: Send>(items: Vec<Item>, way: Direction, ask: &Asking<'_, T>) -> (Vec<Session>, Vec<Result<T>>) {
    let mut results: Vec<_> = items.iter().map(|_| Err(no_id())).collect();
    let mut by_endpoint: HashMap<String, Vec<(usize, Entry)>> = HashMap::new();
    let mut sessions = Vec::with_capacity(items.len());
    for (n, Item { session, body, associated_data }) in items.into_iter().enumerate() {
        let session_id = session.id();
        if session_id.len() == SESSION_ID_BYTES {
            let entry = Entry { session_id, body, associated_data };
            by_endpoint.entry(session.endpoint()).or_default().push((n, entry));
        }
        sessions.push(session);
    }
    let turns = turns_of(&sessions, way).await;
    let running = by_endpoint.iter_mut().map(|(endpoint, entries)| -> Running<'_, _> {
        Box::pin(async move {
            let mut answers = Vec::with_capacity(entries.len());
            while !entries.is_empty() {
                let fitting = fitting(entries.iter().map(|(_, entry)| entry.size()));
                let (numbers, part): (Vec<_>, Vec<_>) = entries.drain(..fitting).unzip();
                match ask(endpoint.clone(), part).await {
                    Ok(results) => answers.extend(numbers.into_iter().zip(results)),
                    Err(error) => answers.extend(numbers.into_iter().map(|n| (n, Err(error.clone())))),
                }
            }
            answers
        })
    });
    for (n, result) in together(running.collect()).await.into_iter().flatten() {
        results[n] = sessions[n].noticed(result);
    }
    drop(turns);
    (sessions, results)
}

/// In a batch an id of another length would shift those behind it.
fn no_id() -> Error {
    Error::Invalid("a session in a batch has an id of 24 bytes".into())
}

/// How many items of these sizes one call takes: at least one.
fn fitting(sizes: impl Iterator<Item = usize>) -> usize {
    let mut total = 0;
    let fits = |(n, size): &(usize, usize)| {
        total += size;
        *n == 0 || *n < MAX_BATCH_ITEMS && total <= MAX_BATCH_BYTES
    };
    sizes.enumerate().take_while(fits).count()
}

/// Those of all sessions, taken in the order of their ids, so that two batches cannot wait for each other.
async fn turns_of(sessions: &[Session], way: Direction) -> Vec<Turns<'_>> {
    let mut ordered: Vec<_> = sessions.iter().map(|session| (session.id(), session)).collect();
    ordered.sort_by(|(a, one), (b, other)| (a, one.address()).cmp(&(b, other.address())));
    ordered.dedup_by_key(|(_, session)| session.address());
    let mut taken = Vec::with_capacity(ordered.len());
    for (_, session) in ordered {
        taken.push(session.take_turns(&[way]).await);
    }
    taken
}

/// Runs futures side by side, in this task.
async fn together<T>(mut running: Vec<Running<'_, T>>) -> Vec<T> {
    let mut done = Vec::with_capacity(running.len());
    poll_fn(|context| {
        running.retain_mut(|each| match each.as_mut().poll(context) {
            Poll::Ready(value) => {
                done.push(value);
                false
            }
            Poll::Pending => true,
        });
        if running.is_empty() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_takes_at_most_its_limits() {
        assert_eq!(fitting(std::iter::repeat_n(0, MAX_BATCH_ITEMS + 1)), MAX_BATCH_ITEMS);
        assert_eq!(fitting([MAX_BATCH_BYTES - 1, 1, 1].into_iter()), 2);
        // The service refuses it, and says why.
        assert_eq!(fitting([MAX_BATCH_BYTES + 1, 0].into_iter()), 1);
    }
}
