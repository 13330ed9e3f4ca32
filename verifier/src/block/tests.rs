use super::*;
use crate::{
    cell::ChainId,
    deposit::Deposit,
    envelope::Reveal,
    toy_chain::{mine_block, mine_header, pay, regtest_genesis},
};
use bitcoin::{Amount, ScriptBuf, TxOut, Witness};
use proptest::prelude::*;
use taproof_fixtures::MAINNET_BLOCK_702861;

fn block(transactions: u32) -> Block {
    let output = || TxOut { value: Amount::from_sat(1), script_pubkey: ScriptBuf::new() };
    let mut payments: Vec<_> = (0..transactions).map(|tag| pay(tag, alloc::vec![output()])).collect();
    for payment in &mut payments {
        payment.input[0].witness.push([7; 10]);
    }
    mine_block(&regtest_genesis(), 1, 0, payments)
}

fn id(block: &Block) -> BlockId {
    BlockId { height: 1, hash: block.block_hash() }
}

fn validate(block: &Block) -> Result<ValidatedBlock, BlockError> {
    ValidatedBlock::new(block.clone(), id(block))
}

/// Makes the header commit to the transactions again.
fn remine(block: &mut Block) {
    block.header.merkle_root = block.compute_merkle_root().expect("the coinbase is there");
    block.header = mine_header(block.header);
}

#[test]
fn a_real_block_is_valid_and_holds_nothing_of_a_rollup() {
    let block = decode_block(MAINNET_BLOCK_702861).expect("a real block");
    let id = BlockId { height: 702_861, hash: block.block_hash() };
    let validated = ValidatedBlock::decode(MAINNET_BLOCK_702861, id).expect("a real block");
    assert_eq!((validated.id(), validated.transactions().len()), (id, 2_500));
    let (bridge, chain_id) = (crate::bridge::tests::bridge(), ChainId::from_byte_array([7; 15]));
    for (_, transaction) in validated.transactions() {
        assert_eq!(Reveal::parse(transaction, chain_id), Ok(None));
        assert!(Deposit::scan(transaction, &bridge, chain_id).is_empty());
    }
}

#[test]
fn altered_real_blocks_are_refused() {
    let block = decode_block(MAINNET_BLOCK_702861).expect("a real block");
    let id = BlockId { height: 702_861, hash: block.block_hash() };
    let refused = |alter: &dyn Fn(&mut Block)| {
        let mut altered = block.clone();
        alter(&mut altered);
        ValidatedBlock::new(altered, id).expect_err("altered")
    };
    assert_eq!(refused(&|block| block.txdata.truncate(2_499)), BlockError::MerkleRoot);
    assert_eq!(refused(&|block| block.txdata.swap(1, 2)), BlockError::MerkleRoot);
    assert_eq!(refused(&|block| block.txdata[7].output[0].value += Amount::ONE_SAT), BlockError::MerkleRoot);
    assert_eq!(refused(&|block| block.txdata.extend_from_within(2_496..)), BlockError::Mutated);
    let strip = |block: &mut Block| block.txdata.iter_mut().for_each(|tx| tx.input[0].witness.clear());
    assert_eq!(refused(&strip), BlockError::WitnessCommitment);
    let has_witness = |tx: &Transaction| !tx.input[0].witness.is_empty();
    let position = block.txdata.iter().skip(1).position(has_witness).expect("someone uses segwit") + 1;
    assert_eq!(refused(&|block| block.txdata[position].input[0].witness.clear()), BlockError::WitnessCommitment);
    assert_eq!(refused(&|block| block.txdata[position].input[0].witness.push([])), BlockError::WitnessCommitment);
    let found = |block: &Block| BlockError::NotExpected { expected: id, found: block.block_hash() };
    let mut other = block.clone();
    other.header.nonce ^= 1;
    assert_eq!(refused(&|block| block.header.nonce ^= 1), found(&other));
    assert_eq!(decode_block(&MAINNET_BLOCK_702861[..1_000]), Err(BlockError::Decode));
    let longer = [MAINNET_BLOCK_702861, &[0]].concat();
    assert_eq!(decode_block(&longer), Err(BlockError::Decode));
    assert_eq!(decode_block(&alloc::vec![0; 4_000_001]), Err(BlockError::TooLong(4_000_001)));
}

#[test]
fn repeated_ends_are_refused_though_the_root_is_the_same() {
    for (count, repeated) in [(2, 2..), (4, 4..), (5, 4..), (9, 8..)] {
        let mut block = block(count);
        block.txdata.extend_from_within(repeated);
        assert_eq!(block.compute_merkle_root(), Some(block.header.merkle_root));
        assert_eq!(validate(&block).expect_err("repeated"), BlockError::Mutated);
    }
}

#[test]
fn coinbases_stand_first_and_alone() {
    let mut two = block(2);
    two.txdata.push(two.txdata[0].clone());
    remine(&mut two);
    assert_eq!(validate(&two).expect_err("two coinbases"), BlockError::Coinbase { position: 3 });
    let mut none = block(2);
    none.txdata.remove(0);
    remine(&mut none);
    assert_eq!(validate(&none).expect_err("no coinbase"), BlockError::Coinbase { position: 0 });
    let empty = Block { txdata: Vec::new(), ..block(0) };
    assert_eq!(validate(&empty).expect_err("nothing"), BlockError::Coinbase { position: 0 });
}

#[test]
fn witnesses_need_a_commitment_and_its_reserved_value() {
    let mut uncommitted = block(3);
    uncommitted.txdata[0].output.clear();
    remine(&mut uncommitted);
    assert_eq!(validate(&uncommitted).expect_err("witnesses"), BlockError::WitnessCommitment);
    for transaction in &mut uncommitted.txdata {
        transaction.input[0].witness.clear();
    }
    assert!(validate(&uncommitted).is_ok(), "nothing is there to commit to");
    let reserved: [&[&[u8]]; 5] = [&[], &[&[0; 31]], &[&[0; 33]], &[&[0; 32], &[]], &[&[1; 32]]];
    for reserved in reserved {
        let mut altered = block(3);
        altered.txdata[0].input[0].witness = Witness::from_slice(reserved);
        assert_eq!(validate(&altered).expect_err("another value"), BlockError::WitnessCommitment);
    }
    let mut overruled = block(3);
    let wrong = [COMMITMENT_PREFIX.as_slice(), &[9; 32]].concat().into();
    overruled.txdata[0].output.push(TxOut { value: Amount::ZERO, script_pubkey: wrong });
    remine(&mut overruled);
    assert_eq!(validate(&overruled).expect_err("the last one counts"), BlockError::WitnessCommitment);
}

#[test]
fn too_heavy_blocks_are_refused() {
    let script = ScriptBuf::from(alloc::vec![0x6a; 1_000_000]);
    let output = TxOut { value: Amount::ZERO, script_pubkey: script };
    let block = mine_block(&regtest_genesis(), 1, 0, alloc::vec![pay(0, alloc::vec![output])]);
    let weight = block.weight().to_wu();
    assert_eq!(validate(&block).expect_err("too heavy"), BlockError::TooHeavy(weight));
}

#[test]
fn every_transaction_can_be_excerpted() {
    for count in 0..=17u32 {
        let block = block(count);
        let positions: Vec<_> = (0..=count).collect();
        let excerpt = Excerpt::of(&block, &positions).expect("the coinbase is there");
        let validated = ValidatedExcerpt::new(excerpt, id(&block)).expect("cut from the block");
        let transactions: Vec<_> = validated.transactions().iter().map(|(_, tx)| tx.clone()).collect();
        assert_eq!((validated.id(), transactions), (id(&block), block.txdata));
    }
}

#[test]
fn altered_excerpts_are_refused() {
    let block = block(5);
    let refused = |alter: &dyn Fn(&mut Excerpt)| {
        let mut excerpt = Excerpt::of(&block, &[1, 4]).expect("the coinbase is there");
        alter(&mut excerpt);
        ValidatedExcerpt::new(excerpt, id(&block)).expect_err("altered")
    };
    let not_included = |position| BlockError::NotIncluded { position };
    assert_eq!(refused(&|excerpt| excerpt.transactions.swap(0, 1)), BlockError::Order { position: 1 });
    assert_eq!(
        refused(&|excerpt| excerpt.transactions[1] = excerpt.transactions[0].clone()),
        BlockError::Order { position: 1 }
    );
    assert_eq!(refused(&|excerpt| excerpt.transactions[0].position = 2), not_included(2));
    assert_eq!(refused(&|excerpt| excerpt.transactions[0].position += 8), not_included(9));
    assert_eq!(refused(&|excerpt| excerpt.transactions[0].position = u32::MAX), not_included(u32::MAX));
    assert_eq!(refused(&|excerpt| excerpt.transactions[0].transaction.output.clear()), not_included(1));
    let lengths = BlockError::BranchLength { expected: 3, found: 2 };
    assert_eq!(refused(&|excerpt| excerpt.transactions[0].branch.truncate(2)), lengths);
    let node = TxMerkleNode::all_zeros();
    let lengths = BlockError::BranchLength { expected: 15, found: 16 };
    assert_eq!(refused(&|excerpt| excerpt.coinbase.branch.resize(16, node)), lengths);
    assert_eq!(refused(&|excerpt| excerpt.coinbase.branch[0] = node), BlockError::MerkleRoot);
    let no_coinbase = BlockError::Coinbase { position: 0 };
    assert_eq!(refused(&|excerpt| excerpt.coinbase = excerpt.transactions[0].clone()), no_coinbase);
    assert_eq!(refused(&|excerpt| excerpt.coinbase.position = 1), no_coinbase);
    assert!(matches!(refused(&|excerpt| excerpt.header.time += 1), BlockError::NotExpected { .. }));
}

/// A transaction's identity does not cover its witnesses, so others could be shown in their place.
#[test]
fn witnesses_of_an_excerpt_are_those_of_the_block_or_none() {
    let block = block(5);
    let excerpt = Excerpt::of(&block, &[0, 2]).expect("the coinbase is there");
    let taken = |excerpt: Excerpt| {
        let validated = ValidatedExcerpt::new(excerpt, id(&block))?;
        Ok::<_, BlockError>(validated.transactions()[1].1.clone())
    };
    assert_eq!(taken(excerpt.clone()).as_ref(), Ok(&block.txdata[2]));
    let mut unproven = excerpt.clone();
    unproven.transactions[1].witness_branch = None;
    let stripped = taken(unproven).expect("the transaction is in the block");
    assert_eq!(stripped.compute_txid(), block.txdata[2].compute_txid());
    assert!(stripped.input.iter().all(|input| input.witness.is_empty()));
    let refused = |alter: &dyn Fn(&mut Excerpt)| {
        let mut altered = excerpt.clone();
        alter(&mut altered);
        ValidatedExcerpt::new(altered, id(&block)).expect_err("altered")
    };
    let commitment = BlockError::WitnessCommitment;
    assert_eq!(refused(&|excerpt| excerpt.transactions[1].transaction.input[0].witness.push([1])), commitment);
    assert_eq!(refused(&|excerpt| excerpt.transactions[1].transaction.input[0].witness.clear()), commitment);
    assert_eq!(refused(&|excerpt| excerpt.coinbase.transaction.input[0].witness.clear()), commitment);
    let other = excerpt.transactions[0].witness_branch.clone();
    assert_eq!(refused(&|excerpt| excerpt.transactions[1].witness_branch = other.clone()), commitment);
    let lengths = BlockError::BranchLength { expected: 3, found: 2 };
    let cut = |excerpt: &mut Excerpt| {
        excerpt.transactions[1].witness_branch = Some(other.clone().unwrap_or_default()[1..].to_vec())
    };
    assert_eq!(refused(&cut), lengths);
    // The coinbase's own witness is what its commitment is made with.
    assert_eq!(refused(&|excerpt| excerpt.transactions[0].transaction.input[0].witness.push([1])), commitment);
}

/// In a tree over an odd number of nodes the last is repeated; the repetition is no second place of the transaction.
#[test]
fn a_repeated_node_is_no_place() {
    for (count, last, ghost) in [(2, 2, 3), (4, 4, 5), (4, 4, 6), (4, 4, 7), (5, 5, 7), (8, 8, 15)] {
        let block = block(count);
        let mut excerpt = Excerpt::of(&block, &[last]).expect("the coinbase is there");
        assert!(ValidatedExcerpt::new(excerpt.clone(), id(&block)).is_ok());
        excerpt.transactions[0].position = ghost;
        let error = BlockError::NotIncluded { position: ghost };
        assert_eq!(ValidatedExcerpt::new(excerpt, id(&block)).expect_err("a repetition"), error);
    }
}

/// A transaction of 64 bytes is also an inner node over two hashes. An attacker grinds it so that one of these is a
/// forged transaction's; that takes work, but the depth refuses the claim before any hash is looked at.
#[test]
fn a_transaction_below_a_64_byte_transaction_is_refused() {
    let forged = pay(77, Vec::new());
    let disguise = pay(0, alloc::vec![TxOut { value: Amount::ZERO, script_pubkey: alloc::vec![0x51; 4].into() }]);
    assert_eq!(disguise.total_size(), 64);
    let block = mine_block(&regtest_genesis(), 1, 0, alloc::vec![disguise.clone()]);
    let mut excerpt = Excerpt::of(&block, &[1]).expect("the coinbase is there");
    let bytes = encode::serialize(&disguise);
    let left: [u8; 32] = bytes[..32].try_into().expect("32 of 64 bytes");
    let right: [u8; 32] = bytes[32..].try_into().expect("32 of 64 bytes");
    let node = |half| TxMerkleNode::from_byte_array(half);
    assert_eq!(parent(node(left), node(right)), TxMerkleNode::from(disguise.compute_txid()));
    excerpt.transactions[0].transaction = forged;
    excerpt.transactions[0].position = 2;
    excerpt.transactions[0].branch.insert(0, node(right));
    let error = BlockError::BranchLength { expected: 1, found: 2 };
    assert_eq!(ValidatedExcerpt::new(excerpt, id(&block)).expect_err("too deep"), error);
}

proptest! {
    #[test]
    fn no_bytes_of_a_block_panic(position: prop::sample::Index, byte: u8, cut: prop::sample::Index) {
        let block = block(6);
        let mut bytes = encode::serialize(&block);
        let position = position.index(bytes.len());
        let is_altered = bytes[position] != byte;
        bytes[position] = byte;
        prop_assert_eq!(ValidatedBlock::decode(&bytes, id(&block)).is_err(), is_altered);
        prop_assert!(ValidatedBlock::decode(&bytes[..cut.index(bytes.len())], id(&block)).is_err());
    }
}
