//! How batches have their items: one behind the other.

use crate::session::refused_as_result;
use crate::{Error, Opened, Result, Sealed, pb};

pub(crate) const SESSION_ID_BYTES: usize = 24;
pub(crate) const MAX_BATCH_ITEMS: usize = 1_024;
pub(crate) const MAX_BATCH_BYTES: usize = 1_310_720;

/// One item of a batch: a plaintext to seal or a record to open.
#[derive(Clone, Default)]
pub(crate) struct Entry {
    pub(crate) session_id: Vec<u8>,
    pub(crate) body: Vec<u8>,
    pub(crate) associated_data: Vec<u8>,
}

impl Entry {
    /// What counts against a batch's limit of bytes.
    pub(crate) fn size(&self) -> usize {
        self.body.len() + self.associated_data.len()
    }
}

/// Neighbours of one session stand under one id; what all have alike is left out.
#[derive(Default)]
struct Packed {
    ids: Vec<u8>,
    counts: Vec<u32>,
    lengths: Vec<u32>,
    bodies: Vec<u8>,
    associated_data_lengths: Vec<u32>,
    associated_data: Vec<u8>,
}

fn pack<'a>(entries: impl Iterator<Item = &'a Entry>) -> Packed {
    let mut packed = Packed::default();
    let mut last: Option<&[u8]> = None;
    for entry in entries {
        match packed.counts.last_mut() {
            Some(count) if last == Some(&entry.session_id) => *count += 1,
            _ => {
                packed.ids.extend(&entry.session_id);
                packed.counts.push(1);
            }
        }
        last = Some(&entry.session_id);
        packed.lengths.push(entry.body.len() as u32);
        packed.bodies.extend(&entry.body);
        packed.associated_data_lengths.push(entry.associated_data.len() as u32);
        packed.associated_data.extend(&entry.associated_data);
    }
    if packed.counts.len() == packed.lengths.len() {
        packed.counts.clear(); // one each
    }
    if packed.associated_data.is_empty() {
        packed.associated_data_lengths.clear();
    }
    packed
}

pub(crate) fn encrypt_batch<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    request_id: String,
) -> pb::EncryptBatchRequest {
    let packed = pack(entries);
    pb::EncryptBatchRequest {
        session_ids: packed.ids,
        request_id,
        counts: packed.counts,
        lengths: packed.lengths,
        plaintexts: packed.bodies,
        associated_data_lengths: packed.associated_data_lengths,
        associated_data: packed.associated_data,
    }
}

pub(crate) fn decrypt_batch<'a>(
    entries: impl Iterator<Item = &'a Entry>,
    request_id: String,
) -> pb::DecryptBatchRequest {
    let packed = pack(entries);
    pb::DecryptBatchRequest {
        session_ids: packed.ids,
        request_id,
        counts: packed.counts,
        lengths: packed.lengths,
        ciphertexts: packed.bodies,
        associated_data_lengths: packed.associated_data_lengths,
        associated_data: packed.associated_data,
    }
}

impl From<pb::BroadcastResponse> for pb::EncryptBatchResponse {
    fn from(answer: pb::BroadcastResponse) -> pb::EncryptBatchResponse {
        let pb::BroadcastResponse { ciphertexts, lengths, counters, epochs, rotation_due, errors, to_peer } = answer;
        pb::EncryptBatchResponse { ciphertexts, lengths, counters, epochs, rotation_due, errors, to_peer }
    }
}

/// A result for each of `count` items; an error where the answer is not whole.
pub(crate) fn sealed_items(answer: pb::EncryptBatchResponse, count: usize) -> Result<Vec<Result<Sealed>>> {
    check_columns(count, &[answer.counters.len(), answer.epochs.len()])?;
    let mut sealed = Vec::with_capacity(count);
    for (n, packet) in cut(&answer.ciphertexts, &answer.lengths, count)?.into_iter().enumerate() {
        let (counter, epoch) = (at(&answer.counters, n), at(&answer.epochs, n));
        sealed.push(Sealed { packet, counter, epoch, ..Sealed::default() });
    }
    for n in answer.rotation_due {
        among(&mut sealed, n)?.rotation_due = true;
    }
    for each in answer.to_peer {
        among(&mut sealed, each.index)?.to_peer = each.to_peer;
    }
    let mut results: Vec<_> = sealed.into_iter().map(Ok).collect();
    for each in answer.errors {
        let one = among(&mut results, each.index)?;
        *one = Err(each.into());
    }
    Ok(results)
}

/// Likewise; a packet that was refused is a result.
pub(crate) fn opened_items<'a>(
    answer: pb::DecryptBatchResponse,
    entries: impl ExactSizeIterator<Item = &'a Entry>,
) -> Result<Vec<Result<Opened>>> {
    let count = entries.len();
    check_columns(count, &[answer.counters.len(), answer.epochs.len(), answer.newest.len()])?;
    let plaintexts = cut(&answer.plaintexts, &answer.lengths, count)?;
    let mut opened = Vec::with_capacity(count);
    for (n, (plaintext, entry)) in plaintexts.into_iter().zip(entries).enumerate() {
        opened.push(Opened {
            session_id: entry.session_id.clone(),
            plaintext: Some(plaintext),
            counter: at(&answer.counters, n),
            epoch: at(&answer.epochs, n),
            newest: at(&answer.newest, n) == 1,
            ..Opened::default()
        });
    }
    for n in answer.rotation_due {
        among(&mut opened, n)?.rotation_due = true;
    }
    for n in answer.early {
        among(&mut opened, n)?.early = true;
    }
    for each in answer.to_peer {
        among(&mut opened, each.index)?.to_peer = each.to_peer;
    }
    for each in answer.controls {
        let one = among(&mut opened, each.index)?;
        (one.plaintext, one.control, one.answered) = (None, each.kind(), each.answered);
    }
    let mut results: Vec<_> = opened.into_iter().map(Ok).collect();
    for each in answer.errors {
        let one = among(&mut results, each.index)?;
        let session_id = one.as_ref().map(|opened: &Opened| opened.session_id.clone()).unwrap_or_default();
        *one = refused_as_result(session_id, Err(each.into()));
    }
    Ok(results)
}

/// The item that an answer names.
fn among<T>(items: &mut [T], index: u32) -> Result<&mut T> {
    items.get_mut(index as usize).ok_or_else(|| Error::not_whole("items that were asked for"))
}

/// A value for each item, or none at all, which stands for zeros.
fn check_columns(count: usize, lengths: &[usize]) -> Result<()> {
    if lengths.iter().all(|length| *length == 0 || *length == count) {
        return Ok(());
    }
    Err(Error::not_whole("a result for each item"))
}

fn at<T: Copy + Default>(column: &[T], n: usize) -> T {
    column.get(n).copied().unwrap_or_default()
}

/// Each item's bytes.
fn cut(mut joined: &[u8], lengths: &[u32], count: usize) -> Result<Vec<Vec<u8>>> {
    if lengths.len() != count {
        return Err(Error::not_whole("a length for each item"));
    }
    let mut pieces = Vec::with_capacity(count);
    for length in lengths {
        let (piece, rest) = joined.split_at_checked(*length as usize).ok_or_else(|| Error::not_whole("all bytes"))?;
        pieces.push(piece.to_vec());
        joined = rest;
    }
    if joined.is_empty() { Ok(pieces) } else { Err(Error::not_whole("no bytes beside")) }
}

#[cfg(test)]
#[path = "packing_test.rs"]
mod tests;
