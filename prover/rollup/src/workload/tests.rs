use super::*;
use bitcoin::consensus::{deserialize, serialize};
use taproof_fixtures::MAINNET_BLOCK_702861;

fn block() -> Block {
    deserialize(MAINNET_BLOCK_702861).unwrap()
}

#[test]
fn every_output_with_an_amount_is_a_payment_of_that_amount() {
    let block = block();
    let outputs: Vec<_> = block.txdata.iter().flat_map(|tx| &tx.output).collect();
    assert_eq!(outputs.len(), 6_015);
    let amounts: Vec<u64> = outputs.iter().map(|output| output.value.to_sat()).filter(|amount| *amount > 0).collect();
    let payments = BlockPayments::from_block(MAINNET_BLOCK_702861, usize::MAX).unwrap();
    assert!(payments.payments().iter().map(|payment| payment.amount_sat).eq(amounts.iter().copied()));
    assert_eq!(amounts.len(), 5_992);
    let paid = |payment: &BlockPayment| payments.holders()[payment.to].clone();
    let scripts = outputs.iter().filter(|output| output.value > Amount::ZERO);
    assert!(
        payments.payments().iter().map(paid).eq(scripts.map(|output| Holder::Script(output.script_pubkey.clone())))
    );
}

#[test]
fn outputs_of_one_transaction_have_one_payer() {
    let payments = BlockPayments::from_block(MAINNET_BLOCK_702861, usize::MAX).unwrap();
    assert_eq!(payments.holders()[payments.payments()[0].from], Holder::Coinbase);
    let payer_of_ten = payments.payments()[42].from;
    assert!(payments.payments()[42..52].iter().all(|payment| payment.from == payer_of_ten));
    let unknown = payments.holders().iter().filter(|holder| matches!(holder, Holder::Outpoint(_))).count();
    assert!(unknown * 100 < payments.holders().len(), "{unknown} holders are known by an outpoint alone");
}

#[test]
fn the_first_payments_are_a_prefix() {
    let all = BlockPayments::from_block(MAINNET_BLOCK_702861, usize::MAX).unwrap();
    let first = BlockPayments::from_block(MAINNET_BLOCK_702861, 45).unwrap();
    assert_eq!(first.payments(), &all.payments()[..45]);
    assert_eq!(first.holders(), &all.holders()[..first.holders().len()]);
    assert!(first.virtual_bytes() < all.virtual_bytes());
    assert_eq!(BlockPayments::from_block(MAINNET_BLOCK_702861, 0).unwrap().payments(), &[]);
}

#[test]
fn virtual_bytes_are_those_of_the_paying_transactions() {
    let block = block();
    let paying = |tx: &&Transaction| tx.output.iter().any(|output| output.value > Amount::ZERO);
    let expected: u64 = block.txdata[1..].iter().filter(paying).map(|tx| tx.vsize() as u64).sum();
    let all = BlockPayments::from_block(MAINNET_BLOCK_702861, usize::MAX).unwrap();
    assert_eq!(all.virtual_bytes(), expected);
}

#[test]
fn malformed_blocks_are_refused() {
    let truncated = &MAINNET_BLOCK_702861[..MAINNET_BLOCK_702861.len() - 1];
    assert!(matches!(
        BlockPayments::from_block(truncated, 1),
        Err(BlockError::Truncated(length)) if length == truncated.len()
    ));
    let trailing = [MAINNET_BLOCK_702861, &[0]].concat();
    assert!(matches!(BlockPayments::from_block(&trailing, 1), Err(BlockError::Trailing)));
    assert!(matches!(BlockPayments::from_block(b"not a block", 1), Err(BlockError::Decode(_))));
    let mut dearer = block();
    dearer.txdata[1].output[0].value += Amount::ONE_SAT;
    assert!(matches!(BlockPayments::from_block(&serialize(&dearer), 1), Err(BlockError::MerkleRoot)));
    let mut witness = block();
    let spender = witness.txdata[1..].iter_mut().find(|tx| !tx.input[0].witness.is_empty()).unwrap();
    spender.input[0].witness.push([1]);
    assert!(matches!(BlockPayments::from_block(&serialize(&witness), 1), Err(BlockError::WitnessCommitment)));
    let mut empty = block();
    empty.txdata.clear();
    assert!(matches!(BlockPayments::from_block(&serialize(&empty), 1), Err(BlockError::Empty)));
    let mut absurd = block();
    // The coinbase, which no witness commitment covers.
    absurd.txdata[0].output[0].value = Amount::MAX;
    absurd.header.merkle_root = absurd.compute_merkle_root().unwrap();
    assert!(matches!(BlockPayments::from_block(&serialize(&absurd), usize::MAX), Err(BlockError::Amount { .. })));
}
