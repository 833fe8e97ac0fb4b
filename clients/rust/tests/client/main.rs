//! The client against a service of its own, and against what stands in for one on the wire.

mod wire;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use noisegate::testing::Service;
use noisegate::{Client, Code, Error, Item, Multiplex, Options, Policy, Reason, Session, pb};

/// Patient enough for a busy machine.
fn patient() -> Options {
    let long = Duration::from_secs(10);
    Options::new().policy(Policy { packet_deadline: long, control_deadline: long, ..Policy::default() })
}

async fn initiate(client: &Client, peer_id: &str) -> Session {
    let protocol = pb::Protocol { pattern: pb::Pattern::Xx.into(), suite: pb::Suite::Chacha20Poly1305X25519.into() };
    let step = pb::InitiateHandshake {
        mode: pb::RecordMode::Noise.into(),
        protocol: Some(protocol),
        peer_id: peer_id.to_owned(),
        ..Default::default()
    };
    client.initiate(step).await.unwrap()
}

fn unknown(client: &Client) -> Session {
    client.session([0; 24], "", pb::RecordMode::Datagram)
}

/// One service for all, since each start costs the better part of a second.
#[tokio::test]
async fn against_a_running_service() {
    let service = Service::start().unwrap();
    let target = service.address();
    a_refusal_has_its_reason(target).await;
    a_session_that_is_unknown_needs_a_resume_and_its_handle_knows_that_it_is_over(target).await;
    what_is_for_the_player_goes_to_the_hook_alone(target).await;
    a_session_lives_at_an_endpoint_and_listing_finds_it(target).await;
    a_watch_begins_with_watching(target).await;
    items_of_a_batch_fail_one_by_one(target).await;
    calls_of_many_sessions_travel_together(target).await;
    a_closed_client_says_so(target).await;
    a_client_that_is_gone_leaves_nothing_running(target).await;
}

async fn a_refusal_has_its_reason(target: &str) {
    let client = Client::connect(target, patient()).unwrap();
    let capabilities = client.capabilities().await.unwrap();
    assert_eq!(capabilities.static_key.len(), 32);
    let step = pb::RespondHandshake {
        mode: pb::RecordMode::Noise.into(),
        protocol: Some(pb::Protocol {
            pattern: pb::Pattern::Xx.into(),
            suite: pb::Suite::Chacha20Poly1305X25519.into(),
        }),
        message: b"no handshake".to_vec(),
        ..Default::default()
    };
    let error = client.respond(step).await.unwrap_err();
    assert_eq!(
        (error.reason(), error.refusal().unwrap().code),
        (Some(&Reason::HandshakeFailed), Code::InvalidArgument)
    );
}

async fn a_session_that_is_unknown_needs_a_resume_and_its_handle_knows_that_it_is_over(target: &str) {
    let client = Client::connect(target, patient()).unwrap();
    let session = client.session([0; 24], "", pb::RecordMode::Noise);
    assert!(matches!(session.encrypt("six").await, Err(Error::ResumeNeeded(_))));
    assert!(session.ended());
    assert!(session.close().await.unwrap().is_empty(), "it is over already");
}

async fn what_is_for_the_player_goes_to_the_hook_alone(target: &str) {
    let sent = Arc::new(Mutex::new(Vec::new()));
    let hook = sent.clone();
    let options = patient().on_send(move |session, messages| hook.lock().unwrap().push((session.peer_id(), messages)));
    let session = initiate(&Client::connect(target, options).unwrap(), "hooked").await;
    let sent = sent.lock().unwrap();
    let [(peer_id, messages)] = sent.as_slice() else { panic!("{}", sent.len()) };
    assert_eq!((peer_id.as_str(), messages.len(), messages[0].len()), ("hooked", 1, 32));
    assert!(session.to_peer().is_empty());
}

async fn a_session_lives_at_an_endpoint_and_listing_finds_it(target: &str) {
    let client = Client::connect(target, patient()).unwrap();
    let sessions = [initiate(&client, "listed").await, initiate(&client, "listed").await];
    assert_eq!(sessions[0].endpoint(), target);
    let request = pb::ListSessionsRequest { peer_id: "listed".into(), page_size: 1, ..Default::default() };
    let (mut pages, mut found) = (client.sessions("", request), Vec::new());
    while let Some(described) = pages.next().await.unwrap() {
        found.push(described.session_id);
    }
    let mut wanted = sessions.each_ref().map(Session::id);
    (found.sort(), wanted.sort());
    assert_eq!(found, wanted);
    sessions[0].close().await.unwrap();
    assert!(sessions[0].ended());
}

async fn a_watch_begins_with_watching(target: &str) {
    let client = Client::connect(target, patient()).unwrap();
    let mut watch = client.watch("", pb::WatchSessionsRequest::default()).await.unwrap();
    let told = watch.next().await.unwrap().unwrap();
    assert!(matches!(told.what, Some(pb::watch_sessions_response::What::Watching(_))));
}

async fn items_of_a_batch_fail_one_by_one(target: &str) {
    let client = Client::connect(target, patient()).unwrap();
    let session = initiate(&client, "batch").await;
    let short = client.session([0; 3], "", pb::RecordMode::Datagram);
    let items = [&session, &unknown(&client), &short, &session].map(|session| Item::new(session, "early"));
    let sealed = client.encrypt_batch(items.into()).await;
    let [Err(early), Err(lost), Err(short), Err(again)] = sealed.as_slice() else { panic!("{sealed:?}") };
    assert_eq!([early.reason(), again.reason()], [Some(&Reason::NotEstablished); 2]);
    assert!(matches!((lost, short), (Error::ResumeNeeded(_), Error::Invalid(_))));
}

async fn calls_of_many_sessions_travel_together(target: &str) {
    let multiplex = Multiplex { tick: Duration::from_millis(50), ..Multiplex::default() };
    let client = Client::connect(target, patient().multiplex(multiplex)).unwrap();
    let calls: Vec<_> = (0..200)
        .map(|n| client.session([n; 24], "", pb::RecordMode::Datagram))
        .map(|session| tokio::spawn(async move { session.encrypt("six").await }))
        .collect();
    for call in calls {
        assert!(matches!(call.await.unwrap(), Err(Error::ResumeNeeded(_))));
    }
}

async fn a_closed_client_says_so(target: &str) {
    for options in [patient(), patient().multiplex(Multiplex::default())] {
        let client = Client::connect(target, options).unwrap();
        assert!(matches!(unknown(&client).encrypt("six").await, Err(Error::ResumeNeeded(_))));
        client.close();
        assert!(matches!(unknown(&client).encrypt("six").await, Err(Error::Closed)));
    }
}

async fn a_client_that_is_gone_leaves_nothing_running(target: &str) {
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for close in [Client::close, |_: &Client| ()] {
        let client = Client::connect(target, patient().multiplex(Multiplex::default())).unwrap();
        assert!(matches!(unknown(&client).encrypt("six").await, Err(Error::ResumeNeeded(_))));
        client.capabilities().await.unwrap();
        assert!(tasks() > before);
        close(&client);
        drop(client);
        let ended = async {
            while tasks() > before {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), ended).await.expect("some task is left");
    }
}

#[test]
fn plaintext_stays_on_this_machine() {
    let token = |options: Options| options.token(async || Ok("secret".to_owned()));
    let stranger = ["10.0.0.1:7443", "example.com:7443", "localhost.example:7443", "[::2]:7443", "noisegate"];
    for target in stranger {
        let refused = Client::connect(target, Options::new());
        assert!(matches!(refused, Err(Error::InsecureTarget(named)) if named == target), "{target}");
    }
    // A token is good for whoever reads it, even in a network that is trusted.
    assert!(Client::connect("10.0.0.2:7443", token(Options::new().insecure())).is_err());
    for target in ["127.0.0.1:1", "[::1]:1", "localhost:1", "unix:/run/noisegate"] {
        Client::connect(target, token(Options::new())).unwrap();
    }
    Client::connect("10.0.0.1:1", Options::new().insecure()).unwrap();
}

#[test]
fn options_that_cannot_be_are_refused() {
    let wrong = [
        Options::new().policy(Policy { attempts: 0, ..Policy::default() }),
        Options::new().policy(Policy { packet_deadline: Duration::ZERO, ..Policy::default() }),
        Options::new().multiplex(Multiplex { max_items: 1_025, ..Multiplex::default() }),
    ];
    for options in wrong {
        assert!(matches!(Client::connect("127.0.0.1:1", options), Err(Error::Invalid(_))));
    }
}

#[tokio::test]
async fn a_packet_does_not_wait_for_a_server_and_a_control_call_does() {
    // Nobody listens there: the port of a service that has gone.
    let policy = Policy { attempts: 1, control_deadline: Duration::from_millis(50), ..Policy::default() };
    let client = Client::connect("127.0.0.1:1", Options::new().policy(policy)).unwrap();
    assert_eq!(unknown(&client).encrypt("six").await.unwrap_err().refusal().unwrap().code, Code::Unavailable);
    let too_late = client.capabilities().await.unwrap_err();
    assert_eq!(too_late.refusal().unwrap().code, Code::DeadlineExceeded);
    assert!(too_late.to_string().contains("refused"), "{too_late} does not say why");
}

#[tokio::test]
async fn a_service_that_does_not_come_up_says_why() {
    let error = Service::start_with(&["--no-such-option"]).unwrap_err();
    assert!(error.to_string().contains("no-such-option"), "{error}");
}
