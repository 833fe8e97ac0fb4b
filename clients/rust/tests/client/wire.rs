//! What the client puts on the wire: a server of HTTP/2 that refuses everything shows it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use noisegate::{Client, Code, Error, Multiplex, Options, Policy, Reason, pb};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tonic::codegen::http::{HeaderMap, Response};

use crate::{patient, unknown};

/// What came: headers, and the first message of the body.
struct Asked {
    headers: HeaderMap,
    message: Vec<u8>,
}

impl Asked {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Serves gRPC on a port of its own, and answers call after call with these codes, the last of them again and again.
async fn refusing(codes: &'static [&'static str]) -> (String, mpsc::UnboundedReceiver<Asked>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let calls = AtomicU32::new(0);
        let calls: &'static AtomicU32 = Box::leak(Box::new(calls));
        while let Ok((socket, _)) = listener.accept().await {
            let tell = tell.clone();
            tokio::spawn(async move {
                let mut connection = h2::server::handshake(socket).await.unwrap();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let tell = tell.clone();
                    tokio::spawn(async move {
                        let (parts, mut body) = request.into_parts();
                        let data = body.data().await.unwrap().unwrap_or_default();
                        let message = data.get(5..).unwrap_or_default().to_vec();
                        let code = codes[(calls.fetch_add(1, Ordering::Relaxed) as usize).min(codes.len() - 1)];
                        let response = Response::builder().header("content-type", "application/grpc");
                        let response = response.header("grpc-status", code).body(()).unwrap();
                        let _ = tell.send(Asked { headers: parts.headers, message });
                        let _ = respond.send_response(response, true);
                    });
                }
            });
        }
    });
    (address, told)
}

const CANCELLED: &str = "1";
const PERMISSION_DENIED: &str = "7";
const UNAVAILABLE: &str = "14";

#[tokio::test]
async fn each_call_and_stream_asks_for_its_token() {
    let (target, mut asked) = refusing(&[PERMISSION_DENIED]).await;
    let options = || {
        let count = AtomicU32::new(0);
        patient().token(move || {
            let token = format!("token {}", count.fetch_add(1, Ordering::Relaxed));
            async move { Ok(token) }
        })
    };
    for (options, calls) in [(options(), 2), (options().multiplex(Multiplex::default()), 1)] {
        let client = Client::connect(&target, options).unwrap();
        for n in 0..calls {
            let refused = unknown(&client).encrypt("six").await.unwrap_err();
            assert_eq!(refused.refusal().unwrap().code, noisegate::Code::PermissionDenied);
            assert_eq!(asked.recv().await.unwrap().header("authorization"), Some(format!("Bearer token {n}").as_str()));
        }
    }
}

#[tokio::test]
async fn a_call_carries_the_trace_context_of_its_task_and_its_deadline() {
    tokio::task_local!(static TRACE: &'static str);
    let (target, mut asked) = refusing(&[PERMISSION_DENIED]).await;
    let options = patient().metadata(|metadata| {
        if let Ok(trace) = TRACE.try_with(|trace| trace.parse().unwrap()) {
            metadata.insert("traceparent", trace);
        }
    });
    let client = Client::connect(&target, options).unwrap();
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    TRACE.scope(trace, unknown(&client).encrypt("six")).await.unwrap_err();
    let call = asked.recv().await.unwrap();
    assert_eq!((call.header("traceparent"), call.header("authorization")), (Some(trace), None));
    assert!(call.header("grpc-timeout").is_some());
    // The endpoints of a batch are asked side by side, in the same task.
    let item = noisegate::Item::new(&unknown(&client), "six");
    TRACE.scope(trace, client.encrypt_batch(vec![item])).await;
    assert_eq!(asked.recv().await.unwrap().header("traceparent"), Some(trace));
}

#[tokio::test]
async fn a_repeat_has_the_same_request_id_and_another_call_another() {
    let (target, mut asked) = refusing(&[UNAVAILABLE, UNAVAILABLE, PERMISSION_DENIED]).await;
    let client = Client::connect(&target, patient()).unwrap();
    for _ in 0..2 {
        assert!(matches!(unknown(&client).encrypt("six").await, Err(Error::Refused(_))));
    }
    let mut ids = Vec::new();
    for _ in 0..4 {
        let message = asked.recv().await.unwrap().message;
        let request: pb::EncryptRequest = prost::Message::decode(message.as_slice()).unwrap();
        ids.push(request.request_id);
    }
    assert_eq!((ids[0].len(), &ids[1], &ids[2]), (36, &ids[0], &ids[0]));
    assert_ne!(ids[3], ids[0]);
}

#[tokio::test]
async fn a_service_that_is_away_is_waited_for_unless_there_are_to_be_no_repeats() {
    const CODES: &[&str] = &[UNAVAILABLE, CANCELLED, UNAVAILABLE, CANCELLED, UNAVAILABLE, CANCELLED, PERMISSION_DENIED];
    for (attempts, wanted, code) in [(5, 7, Code::PermissionDenied), (1, 1, Code::Unavailable)] {
        let (target, mut asked) = refusing(CODES).await;
        let (packet_deadline, backoff) = (Duration::from_secs(10), Duration::from_millis(1));
        let policy =
            Policy { attempts, packet_deadline, first_backoff: backoff, max_backoff: backoff, ..Policy::default() };
        let client = Client::connect(&target, Options::new().policy(policy)).unwrap();
        let error = unknown(&client).decrypt("six").await.unwrap_err();
        assert_eq!((error.refusal().unwrap().code, error.reason()), (code, None::<&Reason>));
        let mut calls = 0;
        while asked.try_recv().is_ok() {
            calls += 1;
        }
        assert_eq!(calls, wanted);
    }
}

#[tokio::test]
async fn calls_within_a_tick_are_one_batch_on_one_stream() {
    let (target, mut asked) = refusing(&[PERMISSION_DENIED]).await;
    let multiplex = Multiplex { tick: Duration::from_millis(100), ..Multiplex::default() };
    let client = Client::connect(&target, patient().multiplex(multiplex)).unwrap();
    let calls: Vec<_> = (0..50)
        .map(|n| client.session([n; 24], "", pb::RecordMode::Datagram))
        .map(|session| tokio::spawn(async move { session.encrypt("six").await }))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap_err().refusal().unwrap().code, noisegate::Code::PermissionDenied);
    }
    let message = asked.recv().await.unwrap().message;
    let request: pb::TransportRequest = prost::Message::decode(message.as_slice()).unwrap();
    let [pb::TransportBatch { batch: Some(pb::transport_batch::Batch::Encrypt(batch)), .. }] =
        request.batches.as_slice()
    else {
        panic!("{} batches", request.batches.len());
    };
    assert_eq!((batch.lengths.len(), batch.session_ids.len()), (50, 50 * 24));
    assert!(asked.try_recv().is_err(), "another stream");
}
