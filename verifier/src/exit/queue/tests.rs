use super::*;
use crate::{
    baby_jubjub::{Point, PublicKey, Scalar},
    evidence::ClaimRequest,
    exit::{ExitRequest, ExitRequestFields},
    record::Destination,
    schnorr::tests::sign,
};
use ark_ec::{AffineRepr, CurveGroup};
use bitcoin::hashes::Hash;
use proptest::prelude::*;
use std::sync::LazyLock;

/// Requests of three keys on four cells, each with two nonces, and a claim on each cell.
static REQUESTS: LazyLock<Vec<Request>> = LazyLock::new(|| {
    let askers = (3..6).flat_map(|secret| (1..5).map(move |from| (secret, from)));
    let exits = askers.flat_map(|(secret, from)| [0, 1].map(|nonce| request(secret, from, nonce)));
    exits.chain((1..5).map(|cell| claim(cell, 1, 1))).collect()
});

/// A request that nobody signed: the queue does not look.
fn request(secret: u64, from: u32, nonce: u32) -> Request {
    let owner = PublicKey::new((Point::generator() * Scalar::from(secret)).into_affine()).expect("a small multiple");
    let (from, destination) = (CellIndex::new(from).expect("a small index"), Destination::P2wpkh([5; 20]));
    let signature = sign(1, 1, &[0; 4].map(Into::into));
    let fields = ExitRequestFields { from, nonce, amount_sat: 505, fee_sat: 0, destination, owner, signature };
    ExitRequest::try_from(fields).expect("within the bounds").into()
}

fn push(queue: &mut Queue, height: u32, request: &Request) -> bool {
    let takes = queue.takes(request);
    let before = queue.queued();
    queue.push(height, Txid::all_zeros(), 0, *request);
    assert_eq!(queue.queued() - before, u64::from(takes));
    takes
}

fn numbers(queue: &Queue) -> Vec<u64> {
    queue.waiting().map(|exit| exit.index).collect()
}

/// What a queue holds, told from the requests that wait alone.
fn expect_consistent(queue: &Queue) {
    let waiting: Vec<_> = queue.waiting().copied().collect();
    let rebuilt = Queue::resume(waiting, queue.queued());
    assert_eq!((&queue.ids, &queue.numbers, &queue.counts), (&rebuilt.ids, &rebuilt.numbers, &rebuilt.counts));
    assert_eq!(queue.longest, rebuilt.longest);
    assert!(queue.len() <= queue.room);
}

#[test]
fn a_full_queue_makes_room_for_who_has_less() {
    let mut queue = Queue::with_room(4);
    let of = |secret: u64, from: u32, nonce: u32| request(secret, from, nonce);
    for nonce in 0..4 {
        assert!(push(&mut queue, 1, &of(3, 1, nonce)));
    }
    assert!(!push(&mut queue, 1, &of(3, 1, 3)), "it waits already");
    assert!(!push(&mut queue, 1, &of(3, 1, 4)), "nobody has more than this asker");
    // Another key on the same cell is another asker: nobody can be kept out by requests that name his cell.
    assert!(push(&mut queue, 2, &of(4, 1, 0)));
    assert_eq!(numbers(&queue), [0, 1, 2, 4], "the youngest of the one with the most went");
    assert!(push(&mut queue, 2, &of(4, 2, 0)));
    assert_eq!(numbers(&queue), [0, 1, 4, 5]);
    assert!(!push(&mut queue, 2, &of(4, 1, 1)), "with two each, nobody would be better off");
    assert!(push(&mut queue, 3, &of(5, 1, 0)));
    assert_eq!(numbers(&queue), [0, 4, 5, 6]);
    assert!(!push(&mut queue, 3, &of(6, 1, 0)), "who has one keeps it");
    // What went can be asked again once there is room.
    queue.remove(4, 5);
    assert!(push(&mut queue, 4, &of(3, 1, 1)));
    expect_consistent(&queue);
}

#[test]
fn of_those_with_the_most_the_highest_cell_gives_way() {
    let mut queue = Queue::with_room(4);
    for (from, nonce) in [(1, 0), (7, 0), (7, 1), (1, 1)] {
        assert!(push(&mut queue, 1, &request(3, from, nonce)));
    }
    assert!(push(&mut queue, 1, &request(4, 3, 0)));
    assert_eq!(numbers(&queue), [0, 1, 3, 4], "the youngest of cell 7, though cell 1 has a younger one");
}

fn claim(cell: u32, secret: u8, height_blocks: u32) -> Request {
    ClaimRequest { cell: CellIndex::new(cell).expect("a small index"), secret: [secret; 32], height_blocks }.into()
}

#[test]
fn each_claim_is_an_asker_of_its_own_and_keeps_its_place() {
    let mut queue = Queue::with_room(4);
    assert!(push(&mut queue, 1, &claim(1, 1, 1)));
    assert!(!push(&mut queue, 2, &claim(1, 1, 2)), "the first that shows a secret counts, whatever its height");
    assert!(push(&mut queue, 2, &claim(1, 2, 2)), "who shows another for the cell is somebody else");
    assert!(push(&mut queue, 2, &request(3, 1, 0)));
    assert!(push(&mut queue, 2, &request(3, 1, 1)));
    // The room is full: a claim takes the place of who has more, and neither claim gives way to anybody.
    assert!(push(&mut queue, 3, &claim(2, 1, 3)));
    assert_eq!(numbers(&queue), [0, 1, 2, 4]);
    for asked in [claim(1, 3, 3), claim(7, 1, 3), request(4, 1, 0), request(3, 1, 1)] {
        assert!(!push(&mut queue, 3, &asked), "everybody has one");
    }
    expect_consistent(&queue);
    queue.remove(4, 0);
    assert!(push(&mut queue, 4, &claim(1, 1, 4)), "what was settled can be asked again");
    queue.rewind(2);
    assert_eq!(numbers(&queue), [0, 1, 2, 3]);
    expect_consistent(&queue);
}

#[test]
fn what_is_final_is_not_taken_back() {
    let mut queue = Queue::default();
    for height in 1..=4 {
        assert!(push(&mut queue, height, &REQUESTS[height as usize]));
    }
    queue.remove(5, 0);
    queue.forget(2);
    queue.rewind(0);
    assert_eq!((numbers(&queue), queue.queued()), ([0, 1].to_vec(), 2));
}

proptest! {
    #[test]
    fn whatever_happens_can_be_taken_back_to_every_height(
        room in 1usize..8, steps in prop::collection::vec((0usize..28, 0usize..4), 1..60),
    ) {
        let mut queue = Queue::with_room(room);
        let mut states = alloc::vec![queue.clone()];
        for (height, (position, outgoing)) in (1..).zip(steps) {
            push(&mut queue, height, &REQUESTS[position]);
            if let (0, Some(index)) = (outgoing, numbers(&queue).get(position % room)) {
                queue.remove(height, *index);
            }
            push(&mut queue, height, &REQUESTS[(position + 7) % REQUESTS.len()]);
            expect_consistent(&queue);
            states.push(queue.clone());
        }
        for (height, state) in states.iter().enumerate().rev() {
            queue.rewind(height as u32);
            prop_assert_eq!(&queue, state);
        }
    }
}
