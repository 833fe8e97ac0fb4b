use super::*;
use crate::Reason;

fn id(n: u8) -> Vec<u8> {
    vec![n; SESSION_ID_BYTES]
}

fn entry(n: u8, body: &[u8], associated_data: &[u8]) -> Entry {
    Entry { session_id: id(n), body: body.to_vec(), associated_data: associated_data.to_vec() }
}

#[test]
fn neighbours_of_one_session_stand_under_one_id() {
    let entries = [entry(1, b"a", b""), entry(1, b"", b"ad"), entry(2, b"bc", b""), entry(1, b"d", b"")];
    let packed = pack(entries.iter());
    assert_eq!(packed.ids, [id(1), id(2), id(1)].concat());
    assert_eq!((packed.counts, packed.lengths, packed.bodies), (vec![2, 1, 1], vec![1, 0, 2, 1], b"abcd".to_vec()));
    assert_eq!((packed.associated_data_lengths, packed.associated_data), (vec![0, 2, 0, 0], b"ad".to_vec()));
}

#[test]
fn what_all_have_alike_is_left_out() {
    let packed = pack([entry(1, b"a", b""), entry(2, b"b", b"")].iter());
    assert!(packed.counts.is_empty() && packed.associated_data_lengths.is_empty());
}

fn refused(index: u32, code: u32, reason: pb::ErrorReason) -> pb::ItemError {
    pb::ItemError { index, code, reason: reason.into(), ..Default::default() }
}

#[test]
fn each_item_gets_its_result() {
    let entries = [entry(1, b"", b""), entry(2, b"", b""), entry(3, b"", b""), entry(4, b"", b"")];
    let answer = pb::DecryptBatchResponse {
        plaintexts: b"hi".to_vec(),
        lengths: vec![2, 0, 0, 0],
        counters: vec![7, 0, 0, 0],
        newest: vec![1, 0, 0, 0],
        early: vec![0],
        rotation_due: vec![0],
        controls: vec![pb::ItemControl {
            index: 1,
            kind: pb::ControlKind::KeepAlive.into(),
            answered: b"token".to_vec(),
        }],
        to_peer: vec![pb::ItemMessages { index: 1, to_peer: vec![b"pong".to_vec()] }],
        errors: vec![refused(2, 3, pb::ErrorReason::DecryptFailed), refused(3, 5, pb::ErrorReason::SessionNotFound)],
        ..Default::default()
    };
    let results = opened_items(answer, entries.iter()).unwrap();
    let [Ok(data), Ok(control), Ok(forged), Err(lost)] = results.as_slice() else { panic!("{results:?}") };
    assert_eq!((data.plaintext.as_deref(), data.counter), (Some(b"hi".as_slice()), 7));
    assert!(data.newest && data.early && data.rotation_due);
    assert_eq!((control.plaintext.as_ref(), control.control), (None, pb::ControlKind::KeepAlive));
    assert_eq!((control.answered.as_slice(), control.to_peer.len()), (b"token".as_slice(), 1));
    assert_eq!((forged.refused.as_ref(), &forged.session_id), (Some(&Reason::DecryptFailed), &id(3)));
    assert!(matches!(lost, Error::ResumeNeeded(_)));
}

#[test]
fn an_answer_that_is_not_whole_is_an_error() {
    let whole = || pb::EncryptBatchResponse {
        ciphertexts: b"abcd".to_vec(),
        lengths: vec![2, 2],
        counters: vec![0, 1],
        ..Default::default()
    };
    assert_eq!(sealed_items(whole(), 2).unwrap()[1].as_ref().unwrap().packet, b"cd");
    let broken: [fn(&mut pb::EncryptBatchResponse); 6] = [
        |answer| answer.lengths = vec![4],
        |answer| answer.lengths = vec![2, 3],
        |answer| answer.lengths = vec![2, 1],
        |answer| answer.counters = vec![0],
        |answer| answer.rotation_due = vec![2],
        |answer| answer.errors = vec![refused(2, 3, pb::ErrorReason::Internal)],
    ];
    for (n, harm) in broken.iter().enumerate() {
        let mut answer = whole();
        harm(&mut answer);
        let error = sealed_items(answer, 2).unwrap_err();
        assert_eq!(error.refusal().unwrap().code, tonic::Code::Internal, "{n}");
    }
}
