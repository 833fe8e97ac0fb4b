use super::*;

fn record(size: usize) -> Vec<u8> {
    let mut packet = b"\x0aconnect!".to_vec();
    packet.extend((HEADER_BYTES..size).map(|n| n as u8));
    packet
}

#[test]
fn peek_reads_type_and_connection_id_of_our_packets_alone() {
    assert_eq!(peek(&record(9)), Some((PacketType::Record, *b"connect!")));
    for first in 0..=255 {
        let mut packet = record(9);
        packet[0] = first;
        assert_eq!(peek(&packet).is_some(), (0x09..=0x0e).contains(&first), "{first:#04x}");
    }
    assert_eq!(peek(&record(9)[..8]), None);
}

#[test]
fn large_packets_come_back_whole_from_their_parts_in_any_order() {
    let now = Instant::now();
    for size in [1_201, 5_000, MAX_PACKET_BYTES] {
        let packet = record(size);
        let parts = split(&packet, 7, DEFAULT_MTU).unwrap();
        assert!(parts.len() > 1 && parts.iter().all(|part| part.len() <= DEFAULT_MTU));
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        for part in parts[1..].iter().rev() {
            // A part that comes twice changes nothing.
            assert_eq!(reassembler.add(part, &"ann", now), Ok(None));
            assert_eq!(reassembler.add(part, &"ann", now), Ok(None));
        }
        assert_eq!(reassembler.add(&parts[0], &"bob", now), Ok(None), "another source's");
        assert_eq!(reassembler.add(&parts[0], &"ann", now), Ok(Some(packet)));
        assert_eq!(reassembler.sources.keys().collect::<Vec<_>>(), [&"bob"]);
    }
    assert_eq!(split(&record(1_200), 7, DEFAULT_MTU), Ok(vec![record(1_200)]));
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let mut fragment = record(2_000);
    fragment[0] = FRAGMENT_FIRST_BYTE;
    let (no_packet, too_large) = (vec![0; 2_000], record(MAX_PACKET_BYTES + 1));
    for packet in [&fragment, &no_packet, &too_large] {
        assert_eq!(split(packet, 0, DEFAULT_MTU), Err(BadFragment));
    }
    assert_eq!(split(&record(2_000), 0, FRAGMENT_HEADER_BYTES + 1), Err(BadFragment), "more than 255 parts");
    assert_eq!(split(&record(2_000), 0, FRAGMENT_HEADER_BYTES), Err(BadFragment), "no room at all");
}

#[test]
fn strangers_parts_cost_bounded_memory_for_a_bounded_time() {
    let limits = ReassemblyLimits::default();
    let mut reassembler = Reassembler::new(limits.clone());
    let now = Instant::now();
    let packet = record(30_000);
    for source in 0..300 {
        for message in 0..16 {
            let parts = split(&packet, message, 20_000).unwrap();
            assert_eq!(reassembler.add(&parts[0], &source, now), Ok(None));
            assert!(reassembler.held_bytes() <= limits.total_bytes);
            assert!(reassembler.sources[&source].sets.len() <= limits.sets_per_source);
            assert!(reassembler.sources[&source].cost <= limits.bytes_per_source);
        }
    }
    let last = split(&packet, 99, 20_000).unwrap();
    assert_eq!(reassembler.add(&last[0], &-1, now + limits.lifetime), Ok(None));
    assert_eq!((reassembler.sets.len(), reassembler.sources.len()), (1, 1));
}

#[test]
fn malformed_parts_are_refused() {
    let now = Instant::now();
    let parts = split(&record(3_000), 1, DEFAULT_MTU).unwrap();
    let mut past_the_last = parts[0].clone();
    past_the_last[11] = past_the_last[12];
    for part in [&parts[0][..13], &past_the_last, &record(20)] {
        let mut reassembler = Reassembler::new(ReassemblyLimits::default());
        assert_eq!(reassembler.add(part, &"ann", now), Err(BadFragment));
    }
}

#[test]
fn parts_whose_sum_is_no_packet_of_their_connection_are_refused() {
    let now = Instant::now();
    let mut reassembler = Reassembler::new(ReassemblyLimits::default());
    let mut parts = split(&record(3_000), 1, DEFAULT_MTU).unwrap();
    parts.iter_mut().for_each(|part| part[1] ^= 1);
    let (last, others) = parts.split_last().unwrap();
    for part in others {
        assert_eq!(reassembler.add(part, &"ann", now), Ok(None));
    }
    assert_eq!(reassembler.add(last, &"ann", now), Err(BadFragment));
    assert_eq!(reassembler.held_bytes(), 0);
}
