use super::*;
use std::{num::NonZeroU16, sync::Arc};
use taproof_circuits::{
    ops,
    schnorr::SecretKey,
    state::{Admission, Outlook, Plan, Slots},
    step::Machines,
    transaction::{Deposit, StepTransaction, TokenTerms, Transaction},
};
use taproof_verifier::cell::{ChainId, Depth, TokenName};

const CHAIN: ChainId = ChainId::from_byte_array([3; 15]);
const GOLD: Token = Token(20);
const SILVER: Token = Token(21);

fn index(index: u32) -> CellIndex {
    CellIndex::new(index).expect("a small index")
}

fn key() -> SecretKey {
    SecretKey::from_seed(&[1; 32])
}

/// One key that owns cell 1 with a million sat, and others that own cells 0 and 2.
fn outlook() -> Outlook {
    let machine = ops::standard();
    let operations = machine.set().hash();
    let mut state = State::new(CHAIN, Depth::new(2).expect("a depth")).with_machines(Machines::new(vec![machine]));
    let plan = Plan {
        height_blocks: 0,
        slots: Slots::uniform(NonZeroU16::MIN),
        operators: Default::default(),
        chunks_max: 10,
        admission: Admission::default(),
    };
    let owners = [7, 1, 8].map(|seed| *SecretKey::from_seed(&[seed; 32]).public());
    state.apply(&plan, &owners.map(|owner| Deposit { amount_sat: 1_000_000, owner }), &[]).expect("there are cells");
    Outlook::new(state, Some(operations), 800_000)
}

fn purses(outlook: &Outlook) -> Purses {
    Purses::new(outlook.state(), key().public(), vacant_cells(outlook.state(), index(1), 4, |_| false))
}

fn signer(outlook: &Outlook, account: u32, fee_sat: u64) -> Signer {
    let nonce = outlook.state().account(index(account)).expect("an account").nonce;
    Signer { account: index(account), once: Once { number: Number::Nonce(nonce), until: u32::MAX }, fee_sat }
}

fn apply(outlook: &mut Outlook, draft: Draft) {
    let machine: Arc<_> = ops::standard();
    let clause = draft.sign(&machine, CHAIN, &key()).expect("a clause");
    let transaction = Transaction::Steps(StepTransaction::of_clauses(CHAIN, [clause]));
    outlook.apply(&transaction).expect("it is applied");
}

/// The same, with two tokens that the key has minted, wherever they found a place.
fn minted() -> Outlook {
    let mut outlook = outlook();
    for (token, name) in [(GOLD, "gold"), (SILVER, "silver")] {
        let terms = TokenTerms { name: TokenName::new(name).expect("a name"), cap: 1_000, decimals: 0 };
        let draft = purses(&outlook).begin(&signer(&outlook, 1, 2), &[]).expect("a fee");
        apply(&mut outlook, draft.token(index(token.0), terms));
        let purses = purses(&outlook);
        let draft = purses.begin(&signer(&outlook, 1, 3), &[]).expect("a fee").mint(token, 900, false);
        let place = purses.place(token, index(1), 0).expect("a place");
        apply(&mut outlook, purses.put(draft, token, place, Taken::Exactly(900)));
    }
    outlook
}

#[test]
fn what_is_made_goes_where_there_is_room() {
    let outlook = minted();
    let purses = purses(&outlook);
    // Gold opened the second holding, and silver an account.
    assert_eq!(purses.place(GOLD, index(1), 0), Ok(Place::Second(index(1))));
    assert_eq!(purses.place(SILVER, index(1), 0), Ok(Place::First(index(3))));
    assert_eq!(purses.place(Token(9), index(1), 0), Ok(Place::Paired(index(3))));
    assert_eq!(purses.place(Token::BITCOIN, index(3), 0), Ok(Place::First(index(1))));
    assert_eq!([GOLD, SILVER, Token(9)].map(|token| purses.total(token)), [900, 900, 0]);
    let none = Purses::new(outlook.state(), SecretKey::from_seed(&[9; 32]).public(), vec![index(5)]);
    assert_eq!(none.place(GOLD, index(1), 0), Ok(Place::Opened(index(5))));
    assert_eq!(none.place(GOLD, index(1), 1), Err(PurseError::Full));
    // Cell 0 signs nothing and is put nothing into.
    let of_cell_0 = Purses::new(outlook.state(), SecretKey::from_seed(&[7; 32]).public(), Vec::new());
    assert_eq!(of_cell_0.signer(None, 1, None), Err(PurseError::NoSigner));
    assert_eq!(of_cell_0.total(Token::BITCOIN), 0);
}

#[test]
fn a_clause_takes_from_one_purse_if_one_can_pay_and_else_from_many() {
    let outlook = minted();
    let purses = purses(&outlook);
    let signer = signer(&outlook, 1, 10);
    let cells = |takes: &[(Token, u64)]| {
        let draft = purses.begin(&signer, takes).expect("they can pay");
        draft.steps().iter().map(|step| (step.record.cell.get(), step.record.a)).collect::<Vec<_>>()
    };
    assert_eq!(cells(&[(Token::BITCOIN, 5)]), [(1, 5)]);
    assert_eq!(cells(&[(GOLD, 5), (SILVER, 6)]), [(1, 5), (3, 6)]);
    assert_eq!(cells(&[(SILVER, 6), (GOLD, 5)]), [(1, 0), (3, 6), (1, 5)]);
    assert_eq!(cells(&[(GOLD, 0)]), [(1, 0)]);
    let held = u128::from(outlook.state().account(index(1)).expect("an account").balance) - 10;
    let needed = held as u64 + 1;
    let expected = PurseError::Insufficient { token: Token::BITCOIN, held, needed };
    assert_eq!(purses.begin(&signer, &[(Token::BITCOIN, needed)]), Err(expected), "the fee is not for sale");
    assert_eq!(purses.signer(Some(index(2)), 1, None), Err(PurseError::NotTheKeys(index(2))));
    assert_eq!(purses.signer(None, 1, Some((SILVER, 1))), Ok(index(1)), "silver's account has nothing for a fee");
}

fn pool(first: Token, second: Token) -> Pool {
    let [first, second] = [first, second].map(|token| Holding { token, balance: 1_000_000 });
    Pool {
        supply: 1_000_000,
        first,
        second,
        at_last_session: [1_000_000; 2],
        average: 1 << 48,
        last_height: 0,
        fee: 30,
        weight: 1,
        averaging_blocks: 10,
    }
}

/// Prepares what a trade needs, and gives the account's holdings then.
fn prepared(outlook: &Outlook, pool: &Pool, pays: Token, amount: u64) -> (Trader, [Holding; 2]) {
    let mut outlook = outlook.clone();
    let purses = purses(&outlook);
    let trader = purses.trader(pool, pays, amount, 1, None).expect("somebody can trade");
    if let Some(preparation) = &trader.preparation {
        let draft = purses.prepare(&signer(&outlook, 1, 9), trader.account, preparation).expect("it can be prepared");
        apply(&mut outlook, draft);
    }
    (trader, outlook.state().tree().get(trader.account).holdings())
}

#[test]
fn an_order_finds_an_account_that_holds_both_tokens_or_makes_one() {
    let outlook = minted();
    // Bitcoin and gold are in one account already.
    let (trader, _) = prepared(&outlook, &pool(Token::BITCOIN, GOLD), Token::BITCOIN, 500);
    assert_eq!((trader.account, trader.pays_second, trader.preparation), (index(1), false, None));
    let (trader, _) = prepared(&outlook, &pool(Token::BITCOIN, GOLD), GOLD, 500);
    assert_eq!((trader.account, trader.pays_second, trader.preparation), (index(1), true, None));
    // Gold cannot buy silver in account 1, but silver's account takes gold, and fetches it.
    let (trader, [silver, gold]) = prepared(&outlook, &pool(GOLD, SILVER), GOLD, 500);
    assert_eq!((trader.account, trader.pays_second), (index(3), true));
    assert_eq!((silver.token, gold), (SILVER, Holding { token: GOLD, balance: 500 }));
    // Bitcoin and silver find no account, as bitcoin can be in first holdings alone.
    for (pays, amounts) in [(Token::BITCOIN, [501, 0]), (SILVER, [1, 500])] {
        let (trader, holdings) = prepared(&outlook, &pool(Token::BITCOIN, SILVER), pays, 500);
        assert_eq!((trader.account, trader.pays_second), (index(4), pays == SILVER));
        assert_eq!(holdings.map(|holding| holding.token), [Token::BITCOIN, SILVER]);
        assert_eq!(holdings.map(|holding| holding.balance), amounts);
    }
    let of_account_1 = purses(&outlook).trader(&pool(Token::BITCOIN, SILVER), SILVER, 500, 1, Some(index(1)));
    assert_eq!(of_account_1, Err(PurseError::CannotTrade(index(1))));
    let refused = purses(&outlook).trader(&pool(GOLD, SILVER), GOLD, 901, 1, None);
    assert_eq!(refused, Err(PurseError::Insufficient { token: GOLD, held: 900, needed: 901 }));
}

#[test]
fn tickets_are_used_once_and_not_signed_with_twice_unless_it_is_asked_for() {
    let owner = *key().public();
    let mut account = Account::new(owner, Token::BITCOIN, 1);
    (account.tickets.base, account.tickets.used) = (64, 0b1011);
    let place = |asked, signed_with: &[u64]| match ticket(&account, asked, signed_with) {
        Ok(Number::Ticket { base: 64, place }) => Ok(place),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error),
    };
    assert_eq!((place(None, &[]), place(None, &[66]), place(Some(66), &[66])), (Ok(2), Ok(4), Ok(2)));
    assert_eq!(place(Some(65), &[]), Err(TicketError::Used(65)));
    for number in [63, 128, u64::MAX] {
        assert_eq!(place(Some(number), &[]), Err(TicketError::Range { number, base: 64 }));
    }
    account.tickets.used = u64::MAX;
    assert_eq!(ticket(&account, None, &[]), Err(TicketError::AllUsed { base: 64 }));
}
