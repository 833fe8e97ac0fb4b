//! One Transport stream over a connection of its own.
//!
//! Neither direction waits for the other. A caller that writes only while it is not reading can lock up with a service
//! that does the same as soon as both directions are full. Here the connection pulls what there is to write, and answers
//! are always read, whatever the writing side waits for.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio_stream::Stream;
use tonic::{Code, Status};

use crate::line::Line;
use crate::pb::session_crypto_service_client::SessionCryptoServiceClient;
use crate::pb::transport_answer::Answer;
use crate::{Error, Result, pb};

/// How many batches one stream has under way, as many as may wait at the service; more wait here and grow.
const MAX_UNANSWERED: usize = 32;

/// From here on a message takes no further batch; with the longest one it is still below the service's limit.
const JOINED_BYTES: usize = 256 << 10;

/// A stream's whole life.
pub(crate) async fn run(line: Arc<Line>, link: u64) {
    let why = live(&line, link).await.unwrap_err();
    line.ended(link, &why);
}

/// Reads every answer, until the stream ends: an error says how.
async fn live(line: &Arc<Line>, link: u64) -> Result<std::convert::Infallible> {
    let options = &line.channels.options;
    let mut stub = SessionCryptoServiceClient::new(options.dial(&line.address)?);
    let outgoing = options.request(Outgoing { line: line.clone(), link }, false).await?;
    let mut incoming = stub.transport(outgoing).await.map_err(how_it_ended)?.into_inner();
    loop {
        match incoming.message().await.map_err(how_it_ended)? {
            Some(response) => read(line, link, response),
            None => return Err(Error::of(Code::Unavailable, "the service ended the stream")),
        }
    }
}

fn read(line: &Arc<Line>, link: u64, response: pb::TransportResponse) {
    let mut state = line.state();
    for pb::TransportAnswer { correlation_id, answer } in response.answers {
        let bundle = state.links.get_mut(&link).and_then(|link| link.unanswered.remove(&correlation_id));
        match (bundle, answer) {
            (Some(bundle), Some(Answer::Refused(refused))) => line.refused(&mut state, bundle, &refused.into()),
            (Some(bundle), Some(answer)) => {
                line.answered(&mut state);
                bundle.answered(answer);
            }
            (Some(bundle), None) => bundle.fail(&Error::not_whole("an answer for the batch")),
            (None, _) => {}
        }
    }
    if let Some(known) = state.links.get_mut(&link) {
        known.draining |= response.draining.is_some();
        known.wake();
        if known.draining {
            line.draining(&mut state, link);
        }
    }
}

/// What is due, pulled by the connection as far as the service takes it.
struct Outgoing {
    line: Arc<Line>,
    link: u64,
}

impl Stream for Outgoing {
    type Item = pb::TransportRequest;

    /// The batches that are due, as one message: it costs both sides hardly more than one of them alone.
    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<pb::TransportRequest>> {
        let mut state = self.line.state();
        let (mut batches, mut size) = (Vec::new(), 0);
        while size < JOINED_BYTES {
            let Some(link) = state.links.get(&self.link) else { return Poll::Ready(None) };
            let has_room = !link.draining && link.unanswered.len() < MAX_UNANSWERED;
            let Some(mut bundle) = has_room.then(|| state.take(self.link)).flatten() else { break };
            let Some(link) = state.links.get_mut(&self.link) else { return Poll::Ready(None) };
            link.sent += 1;
            size += bundle.size;
            batches.push(pb::TransportBatch { correlation_id: link.sent, batch: Some(bundle.request()) });
            link.unanswered.insert(link.sent, bundle);
        }
        let Some(link) = state.links.get_mut(&self.link) else { return Poll::Ready(None) };
        if !batches.is_empty() {
            return Poll::Ready(Some(pb::TransportRequest { batches }));
        }
        if link.draining {
            // The service ends the stream once everything that it has read is answered.
            return Poll::Ready(None);
        }
        link.writer = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A connection that is gone is one thing, however gRPC names it.
fn how_it_ended(status: Status) -> Error {
    match Error::from(status) {
        Error::Refused(mut refusal)
            if refusal.reason.is_none() && matches!(refusal.code, Code::Internal | Code::Cancelled | Code::Unknown) =>
        {
            refusal.code = Code::Unavailable;
            Error::Refused(refusal)
        }
        error => error,
    }
}
