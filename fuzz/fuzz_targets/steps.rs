//! The native rule of steps on whatever registers, cell and record there are, such as no step may have left: it refuses
//! or applies without a panic, and what it applies makes no value and can be applied anew from the record alone.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::{collections::BTreeMap, sync::LazyLock};
use taproof_circuits::{
    exchange::Session,
    ops,
    schnorr::SecretKey,
    step::{Due, Fact, Lane, Limits, Machine, OpenSession, PoolInteger, Registers, RunningClause, StepContext},
};
use taproof_verifier::{
    ark_bn254::Fr,
    baby_jubjub::PublicKey,
    cell::{
        Account, Cell, CellElements, CellIndex, ChainId, Depth, Holding, Pool, Tickets, Token, TokenCell, TokenName,
    },
    field,
    record::StepRecord,
};

/// Operation, flags, cell, numbers and word.
type Record = (u8, u8, u32, [u64; 3], [u8; 32]);
/// The kind, and what the cells of all kinds take their numbers from.
type Contents = (u8, [u64; 6], [u32; 4], u128);
/// Lanes, clause, session, what is owed, and a fact.
type Carried = ([(u32, i128); 3], Option<(u32, bool)>, Option<[u128; 3]>, [Option<(u32, u32, u64)>; 2], Option<u32>);

static MACHINE: LazyLock<std::sync::Arc<Machine>> = LazyLock::new(ops::standard);
static OWNERS: LazyLock<[PublicKey; 2]> =
    LazyLock::new(|| [1, 2].map(|seed| *SecretKey::from_seed(&[seed; 32]).public()));

fn index(number: u32) -> CellIndex {
    CellIndex::new(number).unwrap_or_default()
}

fn cell((kind, numbers, words, wide): Contents) -> Cell {
    let [first, second, third, ..] = numbers;
    let holding = |word: u32, balance| Holding { token: Token(word), balance };
    match kind % 4 {
        0 => Cell::Empty,
        1 => Cell::Account(Account {
            nonce: words[2],
            tickets: Tickets { base: words[3], used: third },
            second: holding(words[1], second),
            ..Account::new(OWNERS[usize::from(kind >> 7)], Token(words[0]), first)
        }),
        2 => Cell::Token(TokenCell {
            supply: first,
            name: TokenName::new("gold").expect("a name"),
            cap: second,
            issuer: index(words[0]),
            decimals: words[1] as u8,
            unit: third,
        }),
        _ => Cell::Pool(Pool {
            supply: first,
            first: holding(words[0], second),
            second: holding(words[1], third),
            at_last_session: [numbers[3], numbers[4]],
            average: wide >> 32,
            last_height: words[2],
            fee: words[3] as u16 & 0x3fff,
            weight: (words[3] >> 14) as u8 & 3,
            averaging_blocks: (words[3] >> 16) as u16,
        }),
    }
}

fn registers((lanes, clause, session, dues, fact): Carried) -> Registers {
    Registers {
        lanes: lanes.map(|(token, value)| Lane { token: Token(token), value }),
        clause: clause.map(|(signer, is_second)| RunningClause {
            signer: index(signer),
            owner: OWNERS[usize::from(is_second)],
            digest: Fr::from(signer),
        }),
        session: session.map(|[n, d, rest]| OpenSession {
            pool: index(rest as u32),
            tokens: [(rest >> 32) as u32, (rest >> 64) as u32].map(Token),
            session: Session { n, d, unpaid_x: rest as u64, unpaid_y: (rest >> 64) as u64, fee: (rest >> 112) as u16 },
        }),
        dues: dues.map(|due| {
            due.map(|(account, token, amount)| Due { account: index(account), token: Token(token), amount })
        }),
        fact: fact.map(|number| Fact {
            cell: index(number),
            base: Token(number),
            quote: Token(0),
            average: 1,
            spot: 1,
            reserve: 1,
            height_blocks: number,
        }),
    }
}

/// What a cell and the lanes have of each token, less what the cell has minted of its own; modulo 2^128.
fn held(at: CellIndex, cell: &Cell, lanes: &[Lane]) -> BTreeMap<u32, i128> {
    let holdings = cell.holdings().map(|holding| (holding.token.0, i128::from(holding.balance)));
    let locked = if let Cell::Pool(_) = cell { i128::from(Pool::SHARES_LOCKED) } else { 0 };
    let minted = cell.supply().map_or(0, |supply| locked - i128::from(supply));
    let mut sums = BTreeMap::<u32, i128>::new();
    for (token, amount) in holdings.into_iter().chain(lanes.iter().map(|lane| (lane.token.0, lane.value))) {
        let sum = sums.entry(token).or_default();
        *sum = sum.wrapping_add(amount);
    }
    let sum = sums.entry(at.get()).or_default();
    *sum = sum.wrapping_add(minted);
    sums
}

/// Record, cell, registers, limits, and the height and token of the chunk.
type Input = (Record, Contents, Carried, Option<(u64, u32)>, (u32, u32));

fuzz_target!(|input: Input| {
    let ((operation, flags, at, [a, b, c], word), contents, carried, limits, (height_blocks, token)) = input;
    let word = field::from_bytes(&word).unwrap_or_default();
    let record = StepRecord { flags, cell: index(at), a, b, c, word, ..StepRecord::new(operation) };
    let context = StepContext {
        chain_id: ChainId::from_byte_array([7; 15]),
        depth: Depth::MAX,
        height_blocks,
        token: Token(token),
    };
    let (registers, before) = (registers(carried), cell(contents));
    let limits = limits.map(|(least, until)| Limits { least, until });
    let Ok(applied) = MACHINE.apply(&context, &registers, &before, &record, limits) else { return };
    let known = MACHINE.get(operation).expect("it was applied").description();
    assert_eq!((before.kind(), applied.cell.kind()), (known.kind_before, known.kind_after));
    let mut after = held(record.cell, &applied.cell, &applied.registers.lanes);
    let fees = after.entry(token).or_default();
    *fees = fees.wrapping_add(applied.fee.into());
    let mut before_it = held(record.cell, &before, &registers.lanes);
    for sums in [&mut before_it, &mut after] {
        sums.retain(|_, sum| *sum != 0);
    }
    // Where the transaction ends, what was in motion is nothing.
    assert_eq!(before_it, after);
    let fits = |integer: &PoolInteger| integer.width_bits >= 128 || integer.value >> integer.width_bits == 0;
    assert!(applied.integers.iter().all(fits));
    assert_eq!(CellElements(applied.cell.elements().0).cell().as_ref(), Some(&applied.cell), "it can be read again");
    // Whoever replays the record knows no limits.
    let replayed = MACHINE.apply(&context, &registers, &before, &record, None).expect("it was applied with limits");
    assert_eq!(
        (replayed.cell, replayed.registers.lanes, replayed.fee),
        (applied.cell, applied.registers.lanes, applied.fee)
    );
});
