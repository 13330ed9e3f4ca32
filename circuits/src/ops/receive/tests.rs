use super::Receive;
use crate::{
    ops::Pay,
    step::{DUES, Due, Guesses, Lane, Limits, Refusal, Registers, flag},
    testing::{
        operations::{EMPTY, Example, OTHER, TOKEN, assert_all_sound, assert_operation, state},
        owing::owing,
        state::index,
        steps::{HEIGHT, Steps, record},
        twins::{any_account, any_below, any_clause, any_flags, any_lanes, assert_twins},
    },
};
use proptest::prelude::*;
use taproof_verifier::{
    cell::{Account, Cell, Token},
    record::StepRecord,
};

/// A transaction in which account 1 has paid 500 sat, or of its second holding.
fn paid(flags: u8) -> Steps {
    let mut steps = Steps::on(state());
    let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, flags) };
    steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
    steps
}

fn receive(cell: u32, flags: u8, a: u64) -> StepRecord {
    StepRecord { a, ..record(Receive::NUMBER, cell, flags) }
}

fn due(account: u32, token: u32, amount: u64) -> Option<Due> {
    Some(Due { account: index(account), token: Token(token), amount })
}

/// Two payments are owed: to account 3 in bitcoin, and to account 4 in the token.
fn owing_two() -> Steps {
    let mut steps = paid(0);
    let _ = steps.chunk(1);
    steps.machine = owing();
    steps.registers.dues = [due(3, 0, 70), due(4, TOKEN, 80)];
    steps
}

fn least(least: u64) -> Limits {
    Limits { least, until: 0 }
}

/// What rule and circuit say of a step: the registers after it.
fn received(steps: &mut Steps, record: StepRecord, limits: Limits) -> Result<Registers, Refusal> {
    let guesses = Guesses::from([(2, vec![limits.least.into()])]);
    let applied = assert_twins(steps, record, limits, &guesses);
    applied.map(|applied| applied.registers).map_err(|error| error.refusal)
}

#[test]
fn each_relation_is_held_alone() {
    let (due, second, rest) = (Receive::DUE, flag::SECOND, Receive::REST);
    let then = |mut steps: Steps| {
        steps.registers.dues.rotate_left(1);
        steps
    };
    let examples = [
        Example::after(paid(0), receive(2, 0, 300), least(300)),
        Example::after(paid(0), receive(2, rest, 0), least(499)),
        Example::after(paid(0), receive(2, 0, 0), least(0)),
        Example::after(paid(second), receive(2, second | rest, 0), least(0)),
        Example::after(paid(second), receive(2, second, 1), least(0)),
        // Accounts 1 and 7 have the key of account 1, whose clause runs.
        Example::after(paid(0), receive(1, Receive::OWN, 300), least(0)),
        Example::after(paid(0), receive(7, Receive::OWN | rest, 0), least(0)),
    ];
    let relations = [
        "RECEIVE R1, amount",
        "RECEIVE R2, holding",
        "RECEIVE R3, least",
        "RECEIVE R4, what is owed",
        "RECEIVE R5, second token",
        "RECEIVE R6, signer's key",
    ];
    assert_operation(&examples, &relations);
    let examples = [
        Example::after(owing_two(), receive(3, due, 0), least(70)),
        Example::after(then(owing_two()), receive(4, due | second, 0), least(0)),
        Example::after(owing_two(), receive(4, second, 0), least(0)),
        Example::after(owing_two(), receive(8, 0, 0), least(0)),
    ];
    assert_operation(&examples, &relations);
}

#[test]
fn every_combination_of_flags_is_sound() {
    let mut steps = owing_two();
    let (second, rest, by_due) = (flag::SECOND, Receive::REST, Receive::DUE);
    let in_clause = [receive(2, 0, 1), receive(2, second, 0), receive(2, second | rest, 0), receive(2, rest, 0)];
    let outside = [receive(3, 0, 0), receive(3, second, 0), receive(3, second | rest, 0), receive(3, rest, 0)];
    let owed = [receive(3, by_due, 0), receive(4, by_due | second, 0)];
    let end = receive(2, flag::END, 0);
    for step in in_clause.into_iter().chain([end]).chain(outside).chain(owed) {
        steps.run(step).expect("it can receive");
    }
    // What was owed was never given.
    let missing = [Lane { token: Token(0), value: -70 }, Lane { token: Token(TOKEN), value: -80 }, Lane::default()];
    assert_eq!(steps.registers, Registers { lanes: missing, ..Registers::default() });
    assert_all_sound(&mut steps);
}

/// Traps 10 and 51: what is owed goes to its account in its token, the first of two first, and once.
#[test]
fn traps_10_and_51_what_is_owed_goes_to_its_account_in_its_token_alone() {
    let (by_due, second) = (Receive::DUE, flag::SECOND);
    let refused = |record| received(&mut owing_two(), record, least(0)).map(|registers| registers.dues);
    assert_eq!(refused(receive(4, by_due, 0)), Err(Refusal::NotDue));
    assert_eq!(refused(receive(3, by_due | second, 0)), Err(Refusal::NotDue));
    assert_eq!(refused(receive(4, by_due | second, 0)), Err(Refusal::NotDue), "the first is first");
    assert_eq!(refused(receive(3, by_due | flag::DONE | flag::END, 0)), {
        Err(Refusal::DueOpen { account: index(4), token: Token(TOKEN), amount: 80 })
    });
    let mut steps = owing_two();
    let registers = received(&mut steps, receive(3, by_due, 0), least(70)).expect("it is owed to account 3");
    assert_eq!(steps.state.account(3).balance, 1_000_070);
    assert_eq!(registers.dues, [due(4, TOKEN, 80), None]);
    assert_eq!(received(&mut steps, receive(3, by_due, 0), least(0)), Err(Refusal::NotDue), "once");
    let registers = received(&mut steps, receive(4, by_due | second, 0), least(0)).expect("it is owed to account 4");
    assert_eq!(registers.dues, [None; DUES]);
    assert_eq!(received(&mut steps, receive(4, by_due | second, 0), least(0)), Err(Refusal::NotDue), "once");
}

/// Trap 55: with a flag that says how much, no amount is posted, and one flag alone says it.
#[test]
fn trap_55_an_amount_stands_against_no_flag() {
    for flags in [Receive::REST, Receive::DUE] {
        let found = received(&mut owing_two(), receive(3, flags, 1), least(0));
        assert_eq!(found, Err(Refusal::NotZero("the amount")));
    }
    let both = Receive::DUE | Receive::REST;
    assert_eq!(received(&mut owing_two(), receive(3, both, 0), least(0)), Err(Refusal::Flags(both)));
}

/// Trap 56: whoever makes the transaction takes from the lane first, so that the rest falls short of what the signer
/// gave: his clause says at least how much.
#[test]
fn trap_56_the_rest_is_no_less_than_the_signer_demands() {
    for (taken, demanded) in [(0u64, 500), (0, 501), (1, 499), (1, 500), (499, 1), (500, 1), (500, 0)] {
        let mut steps = Steps::on(state());
        steps.run(receive(3, 0, taken)).expect("it may be taken before it is given");
        let pay = StepRecord { a: 500, ..record(Pay::NUMBER, 1, Pay::JOINT) };
        steps.run_within(pay, Limits { least: 0, until: HEIGHT }).expect("it can pay");
        let (given, rest) = (500 - taken, receive(2, Receive::REST | flag::END | flag::DONE, 0));
        let refused = Err(Refusal::LimitNotMet { token: Token::BITCOIN, least: demanded, given });
        let found = received(&mut steps, rest, least(demanded)).map(drop);
        assert_eq!(found, if given >= demanded { Ok(()) } else { refused });
    }
}

/// What a clause puts into an account of its signer's key goes nowhere else, whoever came first into the cell.
#[test]
fn what_is_the_signers_own_is_put_into_accounts_of_his_key() {
    for (cell, is_his) in [(1, true), (7, true), (2, false), (8, false)] {
        let found = received(&mut paid(0), receive(cell, Receive::OWN, 300), least(0)).map(drop);
        assert_eq!(found, if is_his { Ok(()) } else { Err(Refusal::NotTheSigners) });
    }
    // Outside of clauses there is no signer.
    let found = received(&mut Steps::on(state()), receive(1, Receive::OWN, 300), least(0)).map(drop);
    assert_eq!(found, Err(Refusal::NotTheSigners));
}

/// Trap 42: what nobody gave is missing, and the transaction does not end.
#[test]
fn trap_42_receiving_from_nothing_leaves_a_lane_open() {
    let mut steps = Steps::on(state());
    let open = |value: i128| Err(Refusal::LaneOpen { token: Token::BITCOIN, value: value.into() });
    assert_eq!(received(&mut steps, receive(2, flag::DONE, 1), least(0)), open(-1));
    received(&mut steps, receive(2, 0, 1), least(0)).expect("it may be taken before it is given");
    assert_eq!(received(&mut steps, receive(2, flag::DONE, 0), least(0)), open(-1));
    let less_than_nothing = received(&mut steps, receive(3, Receive::REST, 0), least(0));
    assert_eq!(less_than_nothing, Err(Refusal::LaneValue { token: Token::BITCOIN, value: (-1).into() }));
    steps.registers.lanes[0].value = 1 << 64;
    let too_much = received(&mut steps, receive(3, Receive::REST, 0), least(0));
    assert_eq!(too_much, Err(Refusal::LaneValue { token: Token::BITCOIN, value: (1 << 64).into() }));
}

/// Trap 61: bitcoin stands in the first holding alone, where exits look for it. The owner alone gives the second one a
/// token, and until then nobody can put anything there.
#[test]
fn trap_61_a_second_holding_has_the_token_that_its_owner_set() {
    let (second, rest) = (flag::SECOND, Receive::REST);
    for (flags, amount) in [(second, 1), (second, 0), (second | rest, 0)] {
        // Account 8 has set none.
        let found = received(&mut paid(0), receive(8, flags, amount), least(0));
        assert_eq!(found, Err(Refusal::NotPaired));
    }
    let nothing = received(&mut paid(0), receive(2, second | rest, 0), least(0)).expect("nothing of the token");
    assert_eq!(nothing.lanes[0].value, 500, "bitcoin stays in motion");
}

#[test]
fn holdings_are_credited_up_to_64_bits() {
    let overflow = Err(Refusal::Overflow { what: "the balance", width_bits: 64 });
    let most = u64::MAX;
    for (balance, amount, fits) in
        [(0, most, true), (most, 0, true), (most - 1, 1, true), (most, 1, false), (most, most, false), (1, most, false)]
    {
        for flags in [0, flag::SECOND] {
            let mut steps = Steps::on(state());
            let mut account = steps.state.account(2);
            (account.balance, account.second.balance) = (balance, balance);
            steps.put(2, Cell::Account(account));
            let found = received(&mut steps, receive(2, flags, amount), least(0)).map(drop);
            assert_eq!(found, if fits { Ok(()) } else { overflow });
        }
    }
    let refusal = received(&mut paid(0), receive(EMPTY, 0, 1), least(0)).expect_err("no account");
    assert_eq!(refusal, Refusal::WrongCell { expected: Account::KIND, found: 0 });
    let limit = received(&mut Steps::on(state()), receive(2, 0, 1), least(1));
    assert_eq!(limit, Err(Refusal::NoLimit), "nobody signs it");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Rule and circuit agree on whatever is credited to any account, in a clause or outside, of what is in motion or
    /// owed, and the circuit leaves no choice.
    #[test]
    fn twins_agree(
        account in any_account(), lanes in any_lanes(), clause in any_clause(),
        flags in any_flags(flag::SECOND | Receive::REST | Receive::DUE | Receive::OWN), amount in any_below(64),
        posts in prop::bool::weighted(0.1),
        dues in prop::array::uniform2((1u32..3, prop::sample::select(vec![0, TOKEN, OTHER]), any_below(64))),
        owed in 0usize..=DUES, demanded in prop_oneof![2 => Just(0), 1 => any_below(64)],
    ) {
        let mut steps = Steps::on(state());
        steps.machine = owing();
        steps.put(1, Cell::Account(account));
        (steps.registers.lanes, steps.registers.clause) = (lanes, clause);
        for (place, (account, token, amount)) in dues.into_iter().enumerate().take(owed) {
            steps.registers.dues[place] = due(account, token, (amount as u64).max(1));
        }
        let before = steps.registers;
        let by_flag = flags & (Receive::REST | Receive::DUE) != 0;
        let a = if by_flag && !posts { 0 } else { amount as u64 };
        let limits = least(if clause.is_some() { demanded as u64 } else { 0 });
        if let Ok(after) = received(&mut steps, receive(1, flags, a), limits) {
            let credited = steps.state.account(1);
            let second = flags & flag::SECOND != 0;
            let holding = |account: &Account| if second { account.second.balance } else { account.balance };
            let amount = holding(&credited) - holding(&account);
            prop_assert!(amount >= limits.least);
            let by_due = flags & Receive::DUE != 0;
            if by_due {
                let token = if second { account.second.token.0 } else { account.token.0 };
                prop_assert_eq!(before.dues[0], due(1, token, amount));
                prop_assert_eq!(after.dues, [before.dues[1], None]);
            } else {
                prop_assert_eq!(after.dues, before.dues);
            }
            if !by_flag {
                prop_assert_eq!(amount, a);
            }
            prop_assert!(!second || account.second.token != Token::BITCOIN);
            let signer = clause.map(|clause| clause.owner);
            prop_assert!(flags & Receive::OWN == 0 || signer == Some(account.owner));
        }
    }
}
