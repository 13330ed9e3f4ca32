use super::*;
use crate::{
    baby_jubjub::{Point, Scalar},
    cell::{Cell, Depth, Holding, MerklePath, Tickets, empty_root},
    schnorr::tests::sign,
};
use ark_ec::{AffineRepr, CurveGroup};
use ark_ff::{AdditiveGroup, Field};
use bitcoin::Txid;
use proptest::prelude::*;

mod answers;
mod claims;

const CHAIN: ChainId = ChainId::from_byte_array([7; 15]);
/// Opcode, push, length, chain id, tag.
const PREFIX_LENGTH: usize = 3 + ChainId::LENGTH + 1;

fn index(i: u32) -> CellIndex {
    CellIndex::new(i).expect("below 2^30")
}

fn key(secret: u64) -> PublicKey {
    PublicKey::new((Point::generator() * Scalar::from(secret)).into_affine()).expect("a small multiple")
}

fn fields(secret: u64, from: u32, nonce: u32, amount_sat: u64) -> ExitRequestFields {
    let destination = Destination::P2wpkh([5; 20]);
    let signature = sign(secret, 99, &[Fr::from(0u64); 4]);
    ExitRequestFields { from: index(from), nonce, amount_sat, fee_sat: 0, destination, owner: key(secret), signature }
}

/// A request signed by the owner with a secret.
fn signed(secret: u64, fields: ExitRequestFields) -> ExitRequest {
    signed_for(CHAIN, secret, fields)
}

fn signed_for(chain_id: ChainId, secret: u64, mut fields: ExitRequestFields) -> ExitRequest {
    fields.owner = key(secret);
    let unsigned = ExitRequest::try_from(fields).expect("within the bounds");
    fields.signature = sign(secret, 100 + u64::from(fields.nonce), &unsigned.message(chain_id));
    fields.try_into().expect("within the bounds")
}

/// A signed request to pay from a cell to an address of 20 bytes.
pub(crate) fn request_for(chain_id: ChainId, secret: u64, from: u32, nonce: u32, amount_sat: u64) -> ExitRequest {
    signed_for(chain_id, secret, fields(secret, from, nonce, amount_sat))
}

fn request(secret: u64, from: u32, nonce: u32, amount_sat: u64) -> ExitRequest {
    request_for(CHAIN, secret, from, nonce, amount_sat)
}

fn scanned(index: u64, request: impl Into<Request>) -> ScannedRequest {
    let txid = Txid::all_zeros();
    ScannedRequest { index, height: 1, txid, vout: 0, request: request.into() }
}

/// What serves requests in a batch of a program that opens locks.
fn serving(withdrawals: impl IntoIterator<Item = WithdrawRecord>) -> ServingRecords {
    ServingRecords { withdrawals: withdrawals.into_iter().collect(), claims: Some(Vec::new()) }
}

fn account(secret: u64, nonce: u32, balance: u64) -> Account {
    Account { nonce, ..Account::new(key(secret), Token::BITCOIN, balance) }
}

fn depth(levels: u8) -> Depth {
    Depth::new(levels).expect("1 to 10 levels")
}

fn show(index: u32, cell: impl Into<CellElements>) -> Refutation {
    let levels = (0..2).map(|level| [empty_root(level); 7]).collect();
    Refutation { index: self::index(index), cell: cell.into(), path: MerklePath::new(levels).expect("two levels") }
}

/// The outcomes by index, where all goes well.
fn outcomes(
    waiting: &[ExitRequest],
    served: &[ExitRequest],
    refutations: &[Refutation],
) -> Result<Vec<(u64, Outcome)>, u64> {
    let waiting: Vec<_> = (0..).zip(waiting).map(|(index, request)| scanned(index, *request)).collect();
    let records = served.iter().map(ExitRequest::record);
    let settled = settle(&waiting, serving(records), refutations, depth(2)).map_err(|LeftOutError { index }| index)?;
    Ok(settled.iter().map(|settled| (settled.request.index, settled.outcome)).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn requests_round_trip_and_hold(
        secret in 1u64..50, from in 0u32..1 << 30, nonce in 0..u32::MAX, amount_sat in 546u64..,
        kind in 0..Destination::TYPES, bytes: [u8; 32],
    ) {
        let length = Destination::program_length(kind).expect("a type");
        let destination = Destination::new(kind, &bytes[..length]).expect("a type");
        let fee_sat = u64::MAX - amount_sat;
        let fields = ExitRequestFields { fee_sat, destination, ..fields(secret, from, nonce, amount_sat) };
        let request = signed(secret, fields);
        prop_assert_eq!(request.verify(CHAIN), Ok(()));
        prop_assert_eq!(request.verify(ChainId::from_byte_array([8; 15])), Err(SignatureError::Mismatch));
        prop_assert_eq!(ExitRequest::from_bytes(&request.to_bytes()), Some(request));
        let script = request.output(CHAIN).script_pubkey;
        prop_assert_eq!(ExitRequest::parse(&script, CHAIN), Some(request));
        prop_assert_eq!(ExitRequest::parse(&script, ChainId::from_byte_array([8; 15])), None);
        prop_assert_eq!(script.len() - PREFIX_LENGTH, request.to_bytes().len());
    }
}

#[test]
fn the_grammar_of_requests_is_exact() {
    let request = request(3, 1, 2, 505);
    let script = request.output(CHAIN).script_pubkey.to_bytes();
    let parse = |script: &[u8]| ExitRequest::parse(Script::from_bytes(script), CHAIN);
    assert_eq!(parse(&script), Some(request));
    for length in 0..script.len() {
        assert_eq!(parse(&script[..length]), None, "{length} bytes");
    }
    assert_eq!(parse(&[script.as_slice(), &[0]].concat()), None);
    let altered = |position: usize, bytes: &[u8]| {
        let mut altered = script.clone();
        altered[position..position + bytes.len()].copy_from_slice(bytes);
        parse(&altered)
    };
    // Opcode, push, length, chain id, tag; then signature, owner, from, nonce, amount, fee, number.
    for (position, byte) in script[..PREFIX_LENGTH].iter().enumerate() {
        assert_eq!(altered(position, &[byte ^ 1]), None, "byte {position}");
    }
    let (signature, owner) = (PREFIX_LENGTH, PREFIX_LENGTH + 64);
    assert_eq!(altered(signature + 32, &[0xff; 32]), None, "the response is not below the order");
    assert_eq!(altered(owner, &[0; 32]), None, "the owner is outside the subgroup");
    let from = owner + 32;
    assert_eq!(altered(from, &(1u32 << 30).to_le_bytes()), None, "the cell is beyond the largest tree");
    assert_eq!(altered(from + 4, &u32::MAX.to_le_bytes()), None, "no account pays at the last nonce");
    assert!(altered(from + 4, &(u32::MAX - 1).to_le_bytes()).is_some());
    assert_eq!(altered(from + 8, &[[0xff; 8], [1, 0, 0, 0, 0, 0, 0, 0]].concat()), None, "the sum exceeds 64 bits");
    assert!(altered(from + 8, &[[0xff; 8], [0; 8]].concat()).is_some());
    for number in (1..=2).chain(Destination::TYPES..=u8::MAX) {
        assert_eq!(altered(from + 24, &[number]), None, "20 bytes are no program of type {number}");
    }
    let with = |number: u8, amount_sat: u64| {
        let mut altered = script.clone();
        altered[from + 8..from + 16].copy_from_slice(&amount_sat.to_le_bytes());
        altered[from + 24] = number;
        parse(&altered)
    };
    for (number, min_sat) in [(0, 330), (3, 546), (4, 540)] {
        assert_eq!(with(number, min_sat - 1), None, "nobody would be paid");
        assert!(with(number, min_sat).is_some_and(|request| request.record().destination.number() == number));
    }
}

#[test]
fn a_name_leaves_out_the_signature_alone() {
    let fields = fields(3, 1, 2, 505);
    let request = signed(3, fields);
    let resigned = ExitRequestFields { signature: sign(3, 77, &request.message(CHAIN)), ..fields };
    let resigned = ExitRequest::try_from(resigned).expect("within the bounds");
    assert_ne!(resigned, request);
    assert_eq!((resigned.verify(CHAIN), resigned.id()), (Ok(()), request.id()));
    let others = [
        ExitRequestFields { from: index(2), ..fields },
        ExitRequestFields { nonce: 3, ..fields },
        ExitRequestFields { amount_sat: 506, ..fields },
        ExitRequestFields { fee_sat: 1, ..fields },
        ExitRequestFields { destination: Destination::P2wpkh([6; 20]), ..fields },
        ExitRequestFields { destination: Destination::P2pkh([5; 20]), amount_sat: 546, ..fields },
        ExitRequestFields { owner: key(4), ..fields },
    ];
    for other in others {
        let other = ExitRequest::try_from(other).expect("within the bounds");
        assert_ne!(other.id(), request.id());
        assert_eq!(
            other.verify(CHAIN),
            Err(SignatureError::Mismatch),
            "the signature is of other fields or by another"
        );
    }
}

#[test]
fn only_the_owners_account_at_the_nonce_with_the_balance_can_serve() {
    let request = signed(3, ExitRequestFields { fee_sat: 2, ..fields(3, 1, 2, 505) });
    let good = account(3, 2, 507);
    let is_servable_by = |cell: Cell| request.is_servable_by(&cell.elements());
    let second = Holding { token: Token(5), balance: 9 };
    for able in [
        good,
        Account { balance: u64::MAX, ..good },
        Account { tickets: Tickets { base: 64, used: u64::MAX }, ..good },
        Account { second, ..good },
    ] {
        assert!(is_servable_by(Cell::Account(able)), "{able:?}");
    }
    let bad = [
        Cell::Empty,
        Cell::Account(Account { balance: 506, ..good }),
        Cell::Account(Account { nonce: 1, ..good }),
        Cell::Account(Account { nonce: 3, ..good }),
        Cell::Account(Account { owner: key(4), ..good }),
        Cell::Account(Account { token: Token(1), ..good }),
        Cell::Account(Account { balance: 0, second: Holding { token: Token::BITCOIN, balance: 507 }, ..good }),
    ];
    for cell in bad {
        assert!(!is_servable_by(cell), "{cell:?}");
    }
}

#[test]
fn a_cell_of_any_elements_serves_or_refutes() {
    let request = signed(3, ExitRequestFields { fee_sat: 2, ..fields(3, 1, 2, 505) });
    let good = Cell::Account(account(3, 2, 507)).elements();
    let with = |position: usize, element: Fr| {
        let mut cell = good;
        cell.0[position] = element;
        cell
    };
    let beyond = |bits: u64| Fr::from(2u64).pow([bits]);
    // Other kinds, fields that exceed their widths and agree in their low bits, and an owner that is no key.
    let refuting =
        [(0, Fr::ZERO), (0, Fr::from(5u64)), (0, -Fr::ONE), (1, beyond(32)), (2, beyond(32) + Fr::from(2u64))];
    let refuting = refuting.into_iter().chain([(2, -Fr::ONE), (4, Fr::ZERO), (5, -key(3).y())]);
    for (position, element) in refuting {
        let cell = with(position, element);
        assert!(!request.is_servable_by(&cell), "element {position} is {element}");
        assert_eq!(outcomes(&[request], &[], &[show(1, cell)]), Ok([(0, Outcome::Refuted)].to_vec()));
    }
    // What an account holds besides is any element, and a balance is compared as an integer.
    for (position, element) in [(6, -Fr::ONE), (7, -Fr::ONE), (3, beyond(64)), (3, -Fr::ONE)] {
        let cell = with(position, element);
        assert!(request.is_servable_by(&cell), "element {position} is {element}");
        assert_eq!(outcomes(&[request], &[], &[show(1, cell)]), Err(0));
    }
}

#[test]
fn each_rule_of_settling_decides_alone() {
    use Outcome::{Refuted, Served};
    let [a, b] = [request(3, 1, 2, 505), request(4, 2, 0, 505)];
    assert_eq!(outcomes(&[], &[a], &[]), Ok(Vec::new()));
    assert_eq!(outcomes(&[a, b], &[b, a], &[]), Ok([(0, Served), (1, Served)].to_vec()));
    assert_eq!(outcomes(&[a, b], &[a], &[]), Err(1));
    assert_eq!(outcomes(&[a, b], &[b], &[]), Err(0));
    // A record differs in one field, so it serves another request or none.
    let near = [
        ExitRequestFields { from: index(3), ..fields(3, 1, 2, 505) },
        ExitRequestFields { amount_sat: 506, ..fields(3, 1, 2, 505) },
        ExitRequestFields { fee_sat: 1, ..fields(3, 1, 2, 505) },
        ExitRequestFields { destination: Destination::P2tr([5; 32]), ..fields(3, 1, 2, 505) },
    ];
    for near in near {
        assert_eq!(outcomes(&[a], &[signed(3, near)], &[]), Err(0));
    }
    // Shown cells refute what they cannot serve, and nothing else.
    assert_eq!(outcomes(&[a], &[], &[show(1, Cell::Empty)]), Ok([(0, Refuted)].to_vec()));
    assert_eq!(outcomes(&[a], &[], &[show(1, Cell::Account(account(3, 2, 505)))]), Err(0), "it could be served");
    assert_eq!(outcomes(&[a], &[], &[show(2, Cell::Empty)]), Err(0), "another cell");
    // A cell outside the tree of 64 needs no path; the last one inside does.
    assert_eq!(outcomes(&[request(3, 64, 0, 505)], &[], &[]), Ok([(0, Refuted)].to_vec()));
    assert_eq!(outcomes(&[request(3, 63, 0, 505)], &[], &[]), Err(0));
}

#[test]
fn of_several_requests_on_one_account_the_first_is_served_and_those_that_come_next_wait() {
    use Outcome::{Refuted, Served};
    let [first, rival, next] = [request(3, 1, 2, 505), request(3, 1, 2, 506), request(3, 1, 3, 490)];
    let before = show(1, Cell::Account(account(3, 2, 2_000)));
    let shown = core::slice::from_ref(&before);
    assert_eq!(outcomes(&[first, rival, next], &[first], &[]), Ok([(0, Served)].to_vec()));
    assert_eq!(
        outcomes(&[first, rival, next], &[first], shown),
        Ok([(0, Served), (1, Refuted)].to_vec()),
        "what waits behind a request that is served is refuted by what that one leaves"
    );
    // What comes one after another waits, as far as the balance goes, 1,495 after the first; all else is refuted.
    let [third, poor, fourth] = [request(3, 1, 4, 675), request(3, 1, 5, 331), request(3, 1, 5, 330)];
    let chain = [first, next, third, poor, fourth, request(3, 1, 7, 330)];
    let settled = [(0, Served), (3, Refuted), (5, Refuted)].to_vec();
    assert_eq!(outcomes(&chain, &[first], shown), Ok(settled));
    let others = [request(4, 1, 3, 500), request(3, 1, 3, 1_496), request(3, 1, 3, 1_495), request(3, 1, 3, 500)];
    let others = [&[first][..], &others].concat();
    let settled = [(0, Served), (1, Refuted), (2, Refuted), (4, Refuted)].to_vec();
    assert_eq!(outcomes(&others, &[first], shown), Ok(settled));
    // A record of the same terms that another request takes takes its place.
    let [far, farther] = [request(3, 1, 99, 505), request(3, 1, 100, 505)];
    let settled = [(0, Served), (1, Refuted), (2, Refuted)].to_vec();
    assert_eq!(outcomes(&[far, farther, first, next], &[first], shown), Ok(settled));
    assert_eq!(outcomes(&[far, farther, first, next], &[first], &[]), Ok([(0, Served)].to_vec()));
    // In the order of the queue: what comes before the one that is served has its own turn.
    assert_eq!(outcomes(&[rival, first], &[first], &[]), Err(0), "both could be served, so the first must be");
    assert_eq!(outcomes(&[next, first], &[first], &[before]), Ok([(0, Refuted), (1, Served)].to_vec()));
    // The batch after: the account stands at nonce 3.
    let after = show(1, Cell::Account(account(3, 3, 995)));
    assert_eq!(
        outcomes(&[rival, next], &[next], core::slice::from_ref(&after)),
        Ok([(0, Refuted), (1, Served)].to_vec())
    );
    assert_eq!(outcomes(&[rival, next], &[], &[after]), Err(1));
    // Two requests whose records are the same need two records; one takes the older one and lets the other wait.
    let twin = request(3, 1, 3, 505);
    assert_eq!(outcomes(&[first, twin], &[first], &[]), Ok([(0, Served)].to_vec()));
    assert_eq!(outcomes(&[first, twin], &[first, twin], &[]), Ok([(0, Served), (1, Served)].to_vec()));
}

#[test]
fn a_batch_that_did_enough_may_leave_the_rest() {
    let many: Vec<_> =
        (0..REQUESTS_ENOUGH as u32 + 2).map(|i| request(3, i % 60, i / 60, 505 + u64::from(i))).collect();
    let enough = &many[..REQUESTS_ENOUGH];
    assert_eq!(outcomes(&many, enough, &[]).map(|settled| settled.len()), Ok(REQUESTS_ENOUGH));
    assert_eq!(outcomes(&many, &enough[1..], &[]), Err(0), "what was done for later requests does not count");
    let short: Vec<_> = enough[..REQUESTS_ENOUGH - 1].to_vec();
    // Request 63 is on a cell that has one served, and waits; request 64 as well. So the last is on a cell of its own.
    let mut last = short.clone();
    last.push(request(3, 61, 0, 505));
    assert_eq!(outcomes(&last, &short, &[]), Err(REQUESTS_ENOUGH as u64 - 1));
    last.insert(short.len(), request(3, 62, 0, 505));
    let shown = [show(62, Cell::Empty)];
    assert_eq!(
        outcomes(&last, &short, &shown).map(|settled| settled.len()),
        Ok(REQUESTS_ENOUGH),
        "a cell shown counts"
    );
    last.insert(short.len(), request(4, 1 << 20, 0, 505));
    assert_eq!(outcomes(&last, &short, &[]), Err(REQUESTS_ENOUGH as u64), "what needs no path counts as nothing done");
}

#[test]
fn refutations_round_trip_and_are_exact() {
    let unknown = CellElements([5, 1, 2, 3, 4, 5, 6, 7].map(|element: u64| -Fr::from(element)));
    let account = Cell::Account(account(3, u32::MAX, u64::MAX)).elements();
    for cell in [Cell::Empty.elements(), account, unknown] {
        let refutation = show(9, cell);
        let mut bytes = Vec::new();
        refutation.write(&mut bytes);
        assert_eq!((bytes.len(), Refutation::length(depth(2))), (260 + 224 * 2, 260 + 224 * 2));
        assert_eq!(Refutation::from_bytes(&bytes, depth(2)), Ok(refutation.clone()));
        assert!(Refutation::from_bytes(&bytes, depth(3)).is_err());
        assert!(Refutation::from_bytes(&bytes[1..], depth(2)).is_err());
        let altered = |position: usize, bytes_at: &[u8]| {
            let mut altered = bytes.clone();
            altered[position..position + bytes_at.len()].copy_from_slice(bytes_at);
            Refutation::from_bytes(&altered, depth(2))
        };
        assert_eq!(altered(0, &(1u32 << 30).to_le_bytes()), Err(RefutationError::Index(1 << 30)));
        for element in 0..8 {
            let altered = altered(4 + 32 * element, &[0xff; 32]);
            assert!(matches!(altered, Err(RefutationError::Cell(_))), "element {element}");
        }
        for sibling in 0..14 {
            let altered = altered(260 + 32 * sibling, &[0xff; 32]);
            assert!(matches!(altered, Err(RefutationError::Path(_))), "sibling {sibling}");
        }
        assert_eq!(refutation.root() == Some(empty_root(2)), cell == Cell::Empty.elements());
    }
}
