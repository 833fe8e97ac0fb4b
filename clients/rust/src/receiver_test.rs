use super::*;
use crate::facts::Facts;
use crate::{Options, pb};

/// A receiver without a service, on a clock that the test moves.
fn tracking(max_sessions: usize) -> (Receiver<&'static str>, Arc<Mutex<Instant>>) {
    let client = Client::connect("127.0.0.1:1", Options::new()).unwrap();
    let clock = Arc::new(Mutex::new(Instant::now()));
    let read = clock.clone();
    let now = Arc::new(move || *read.lock().unwrap());
    let options = ReceiverOptions { max_sessions, now, ..Default::default() };
    (Receiver::new(client, options).unwrap(), clock)
}

/// Of a session: live, or half-open for ten seconds.
fn handle(receiver: &Receiver<&'static str>, n: u8, live: bool) -> Session {
    let facts = Facts {
        id: vec![n; 24],
        mode: pb::RecordMode::Datagram,
        connection_id: vec![n, 2, 3, 4, 5, 6, 7, 8],
        pending_for: Duration::from_secs(10),
        established: live.then(Default::default),
        ..Facts::default()
    };
    Session::new(receiver.client.clone(), facts)
}

fn record(size: usize) -> Vec<u8> {
    let mut packet = b"\x0aconnect!".to_vec();
    packet.resize(size, 0);
    packet
}

#[test]
fn a_flood_of_beginners_pushes_out_nobody_who_plays() {
    let (receiver, _) = tracking(3);
    let plays = handle(&receiver, 1, true);
    receiver.add(&plays, "home", true);
    for n in 10..30 {
        receiver.add(&handle(&receiver, n, false), "stranger", false);
    }
    assert_eq!(receiver.address(&plays), Some(("home", true)));
    assert_eq!(receiver.state().sessions.sizes(), (1, 3, 4));
}

#[test]
fn the_longest_unused_gives_way() {
    let (receiver, _) = tracking(2);
    let [first, second, third] = [1, 2, 3].map(|n| handle(&receiver, n, true));
    receiver.add(&first, "a", true);
    receiver.add(&second, "b", true);
    receiver.state().sessions.find(&first.connection_id().try_into().unwrap());
    receiver.add(&third, "c", true);
    let known = [&first, &second, &third].map(|session| receiver.address(session).is_some());
    assert_eq!(known, [true, false, true]);
}

#[tokio::test]
async fn a_handshake_that_nobody_finished_is_forgotten() {
    let (receiver, clock) = tracking(8);
    let begun = handle(&receiver, 1, false);
    receiver.add(&begun, "a", false);
    *clock.lock().unwrap() += Duration::from_secs(10);
    // Any packet lets it look; this one is of nobody, and of a type that reaches no service.
    let received = receiver.receive(b"\x0econnect!", "b").await.unwrap();
    assert_eq!(received.refused, Some(Reason::UnexpectedPacket));
    assert_eq!(receiver.state().sessions.sizes(), (0, 0, 0));
}

#[test]
fn messages_go_where_they_may_and_as_large_as_the_path_takes() {
    let (receiver, _) = tracking(8);
    let session = handle(&receiver, 1, true);
    assert_eq!(receiver.route(&session, &[record(40)]), [], "a session that is not known has no address");
    receiver.add(&session, "here", false);
    assert_eq!(receiver.route(&session, &[record(40)]), [], "nothing came from there yet");
    receiver.mark_verified(&session, &"elsewhere");
    assert_eq!(receiver.address(&session), Some(("here", false)));
    receiver.mark_verified(&session, &"here");
    let datagrams = receiver.route(&session, &[record(40), record(3_000)]);
    assert_eq!((datagrams.len(), datagrams[0].bytes.len()), (4, 40));
    assert!(datagrams.iter().all(|each| each.address == "here" && each.bytes.len() <= DEFAULT_MTU));
    receiver.forget(&session);
    assert_eq!(receiver.address(&session), None);
}

#[test]
fn a_question_goes_to_one_address_and_its_answer_proves_it() {
    let (receiver, _) = tracking(8);
    let session = handle(&receiver, 1, true);
    receiver.add(&session, "here", false);
    receiver.state().sessions.get(&session).unwrap().path.came_from(&"here", 100);
    let change = pb::NetworkChange { to_peer: vec![record(60)], token: b"question".to_vec(), ..Default::default() };
    assert_eq!(receiver.route_change(&session, &change).len(), 1, "it was paid for");
    receiver.state().sessions.get(&session).unwrap().path.answered(&"here", b"question");
    assert_eq!(receiver.address(&session), Some(("here", true)));
}

#[tokio::test]
async fn who_is_not_admitted_reaches_no_service() {
    let (mut receiver, _) = tracking(8);
    receiver.options.admit = Arc::new(|_, _| None);
    for first in [0x09, 0x0c] {
        // HANDSHAKE and RESUME, step 1.
        let packet = [&[first, 0, 0, 0, 0, 0, 0, 0, 0, FIRST_STEP], b"hello".as_slice()].concat();
        assert_eq!(receiver.receive(&packet, "a").await.unwrap().refused, Some(Reason::NotAdmitted));
    }
}
