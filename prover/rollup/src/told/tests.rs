use super::*;
use taproof_circuits::{
    exchange::Parameters,
    ops,
    schnorr::SecretKey,
    transaction::{Draft, Fee, Number, Once as Uses, Purse, StepTransaction, TokenTerms, Trade},
};
use taproof_verifier::cell::TokenName;

const CHAIN: ChainId = ChainId::from_byte_array([3; 15]);

fn index(index: u32) -> CellIndex {
    CellIndex::new(index).expect("a small index")
}

fn told(draft: Draft) -> Vec<String> {
    let key = SecretKey::from_seed(&[1; 32]);
    let clause = draft.sign(&ops::standard(), CHAIN, &key).expect("a clause");
    Told::of_clause(CHAIN, &clause, &Known::default()).lines()
}

fn begun() -> Draft {
    let once = Uses { number: Number::Nonce(4), until: u32::MAX };
    Draft::pay(Purse::first(index(3)), 0, Fee { amount_sat: 2, is_from_second: false }, once)
}

#[test]
fn every_step_has_words_of_its_own() {
    let owner = *SecretKey::from_seed(&[2; 32]).public();
    let name = TokenName::new("gold").expect("a name");
    let parameters = Parameters::new(30, 2, 10).expect("parameters");
    let exactly = taproof_circuits::transaction::Taken::Exactly;
    let all = taproof_circuits::transaction::Taken::AllAtLeast;
    let lines = told(
        begun()
            .draw(Purse::second(index(5)), 7)
            .pair(index(5), Token(20))
            .rebase(index(5))
            .receive(Purse::second(index(5)), exactly(8))
            .receive(Purse::first(index(5)), all(9))
            .open(index(6), Token(20), &owner, exactly(10))
            .token(index(20), TokenTerms { name, cap: 1_234, decimals: 2 })
            .mint(Token(20), 11, true)
            .burn(Token(20), 12)
            .found_pool(index(30), &parameters)
            .join(index(30))
            .exit(index(30)),
    );
    assert_eq!(
        lines,
        [
            "account 3 signs, with nonce 4, a fee of 2 sat, with no end:".to_owned(),
            "  takes nothing from account 3 but the fee, if any (first holding)".to_owned(),
            "  takes 7 of its token from account 5 (second holding)".to_owned(),
            "  makes the empty second holding of account 5 one of token 20".to_owned(),
            "  gives account 5 64 new tickets in place of the old ones, used or not".to_owned(),
            "  puts exactly 8 of token 20 into account 5 (second holding)".to_owned(),
            "  puts all that is in motion, at least 9 of its token, into account 5 (first holding)".to_owned(),
            format!("  puts exactly 10 of token 20 into a new account of owner {owner} in an empty cell, now cell 6"),
            "  makes token \"gold\" in an empty cell, now cell 20: at most 12.34 may ever exist, with 2 decimal \
             places, and the signer's account alone can mint it"
                .to_owned(),
            "  mints 11 of token 20, for the last time: nobody can mint it afterwards".to_owned(),
            "  burns 12 of token 20, for ever".to_owned(),
            "  founds a pool in an empty cell, now cell 30, with all that is in motion of two tokens: fee 0.30 %, \
             weight 2, average over 10 blocks"
                .to_owned(),
            "  adds all that is in motion of its two tokens to pool 30, for new shares of it".to_owned(),
            "  gives all its shares that are in motion back to pool 30, for their part of it".to_owned(),
        ]
    );
}

#[test]
fn orders_tickets_and_ends_are_told() {
    let trade = Trade { pool: index(30), sells_second: true, amount: 40, least: 9 };
    let once = Uses { number: Number::Ticket { base: 64, place: 3 }, until: 800_000 };
    let lines = told(Draft::order(Purse::second(index(3)), trade, Fee::default(), once));
    let expected = [
        "account 3 signs, with ticket 67, a fee of 0 sat, until height 800000:",
        "  trades 40 of its token from account 3 (second holding) in pool 30 for at least 9 of its token, into its \
         other holding",
    ];
    assert_eq!(lines, expected);
}

#[test]
fn json_has_the_same_words() {
    let key = SecretKey::from_seed(&[1; 32]);
    let clause = begun().mint(Token(20), 11, false).sign(&ops::standard(), CHAIN, &key).expect("a clause");
    let told = Told::of_clause(CHAIN, &clause, &Known::default());
    let json = serde_json::to_value(&told).expect("JSON");
    let signed = &json["parts"][0]["signed"];
    assert_eq!(
        (&signed["account"], &signed["nonce"], &signed["until"]),
        (&3.into(), &4.into(), &serde_json::Value::Null)
    );
    let mint = &json["parts"][0]["actions"][1];
    assert_eq!((&mint["action"], &mint["amount"]["units"]), (&"mint".into(), &11.into()));
    let words: Vec<&str> = json["parts"][0]["actions"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|action| action["words"].as_str())
        .collect();
    let lines = told.lines();
    let of_actions: Vec<&str> = lines[1..].iter().map(|line| line.trim_start()).collect();
    assert_eq!(words, of_actions);
}

#[test]
fn operations_that_are_not_known_are_told_by_their_numbers() {
    let mut transaction = StepTransaction { chain_id: CHAIN, parts: Vec::new() };
    let mut record = taproof_verifier::record::StepRecord::new(200);
    (record.cell, record.a) = (index(9), 5);
    transaction.parts.push(Part::Step(record));
    let lines = Told::new(&Transaction::Steps(transaction), &Known::default()).lines();
    assert_eq!(lines[0], "anyone runs, and nobody signs:");
    assert!(lines[1].contains("operation 200") && lines[1].contains("on cell 9") && lines[1].contains("numbers 5, 0"));
}
