use super::*;
use crate::toy_chain::{REGTEST_BITS, mine_header, regtest_genesis, regtest_headers};
use alloc::vec::Vec;
use bitcoin::{consensus::deserialize, hashes::Hash};
use rand::{Rng, SeedableRng};
use taproof_fixtures::MAINNET_HEADERS_40000;

const FIRST_HEIGHT: u32 = 40_000;
/// The first height of a retargeting period among the fixture's headers.
const FIRST_BOUNDARY: u32 = 40_320;

fn mainnet_headers() -> Vec<Header> {
    let decode = |bytes: &[u8]| deserialize(bytes).expect("80 bytes are a header");
    MAINNET_HEADERS_40000.chunks_exact(Header::SIZE).map(decode).collect()
}

fn id(height: u32, header: &Header) -> BlockId {
    BlockId { height, hash: header.block_hash() }
}

fn mainnet_chain(headers: &[Header], first_height: u32) -> HeaderChain {
    let lead = &headers[(first_height - FIRST_HEIGHT) as usize..][..1];
    HeaderChain::new(Network::Bitcoin, id(first_height, &lead[0]), lead, 100).expect("a real header")
}

fn regtest_chain(final_depth_blocks: u32) -> HeaderChain {
    let genesis = regtest_genesis();
    HeaderChain::new(Network::Regtest, id(0, &genesis), &[genesis], final_depth_blocks).expect("the genesis block")
}

fn accept_all(chain: &mut HeaderChain, headers: &[Header]) {
    for header in headers {
        assert_eq!(chain.accept(*header), Ok(Accepted::Extended));
    }
}

#[test]
fn ten_thousand_mainnet_headers_are_accepted() {
    let headers = mainnet_headers();
    let mut chain = mainnet_chain(&headers, FIRST_HEIGHT);
    assert!(!chain.is_first_retarget_exact());
    accept_all(&mut chain, &headers[1..]);
    assert_eq!(chain.tip(), id(49_999, &headers[9_999]));
    assert_eq!(chain.final_block().height, 49_900);
    assert!(chain.contains(id(45_000, &headers[5_000])));
    assert_eq!(chain.at(39_999), None);
    assert_eq!(chain.at(50_000), None);
    assert_eq!(chain.accept(headers[9_900]), Ok(Accepted::Known));
    assert_eq!(chain.accept(headers[6_000]), Ok(Accepted::Known));
    assert!(chain.accept(headers[5_000]).is_err(), "so deep, nothing is told apart");
    let locator = chain.locator();
    assert_eq!((locator[0], locator.last()), (headers[9_999].block_hash(), Some(&headers[0].block_hash())));
    assert!(locator.len() < 32);
}

#[test]
fn from_a_period_start_every_retarget_is_exact() {
    let headers = mainnet_headers();
    let mut chain = mainnet_chain(&headers, FIRST_BOUNDARY);
    assert!(chain.is_first_retarget_exact());
    accept_all(&mut chain, &headers[321..]);
}

#[test]
fn a_lead_makes_the_first_retarget_exact() {
    let headers = mainnet_headers();
    let start = id(41_000, &headers[1_000]);
    let mut chain = HeaderChain::new(Network::Bitcoin, start, &headers[320..=1_000], 100).expect("real headers");
    assert!(chain.is_first_retarget_exact());
    accept_all(&mut chain, &headers[1_001..3_000]);
    let wrong = HeaderError::LeadLength { count: 0, height: 41_000 };
    assert_eq!(HeaderChain::new(Network::Bitcoin, start, &[], 100).expect_err("no lead"), wrong);
    let error = HeaderChain::new(Network::Bitcoin, start, &headers[..1_000], 100).expect_err("another block");
    assert!(matches!(error, HeaderError::StartHash { .. }));
    let gap: Vec<_> = [&headers[320..600], &headers[601..=1_000]].concat();
    let error = HeaderChain::new(Network::Bitcoin, start, &gap, 100).expect_err("a gap");
    assert!(matches!(error, HeaderError::ParentUnknown { .. }));
}

/// Flips bits of the header at an offset and feeds it, then its successors: the chain must stop before the end.
fn assert_altered_is_refused(chain: &HeaderChain, headers: &[Header], bits: impl Iterator<Item = usize>) {
    for bit in bits {
        let mut bytes = bitcoin::consensus::serialize(&headers[0]);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let altered: Header = deserialize(&bytes).expect("80 bytes are a header");
        let mut chain = chain.clone();
        let refused = chain.accept(altered).is_err() || headers.get(1).is_some_and(|next| chain.accept(*next).is_err());
        assert!(refused, "bit {bit} of {}", headers[0].block_hash());
    }
}

#[test]
fn any_altered_bit_of_a_mainnet_header_is_refused() {
    const ALL_BITS: core::ops::Range<usize> = 0..Header::SIZE * 8;
    let headers = mainnet_headers();
    let thorough = |height: u32| height % 2_016 <= 1 || height % 2_016 == 2_015 || !(40_003..49_998).contains(&height);
    let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
    let mut chain = mainnet_chain(&headers, FIRST_HEIGHT);
    for (height, offset) in (FIRST_HEIGHT + 1..).zip(1..headers.len()) {
        if thorough(height) {
            assert_altered_is_refused(&chain, &headers[offset..], ALL_BITS);
        } else {
            assert_altered_is_refused(&chain, &headers[offset..], core::iter::once(rng.gen_range(ALL_BITS)));
        }
        assert_eq!(chain.accept(headers[offset]), Ok(Accepted::Extended));
    }
}

#[test]
fn an_altered_start_is_refused() {
    let headers = mainnet_headers();
    let start = id(FIRST_HEIGHT, &headers[0]);
    for bit in 0..Header::SIZE * 8 {
        let mut bytes = bitcoin::consensus::serialize(&headers[0]);
        bytes[bit / 8] ^= 1 << (bit % 8);
        let altered = deserialize(&bytes).expect("80 bytes are a header");
        assert!(HeaderChain::new(Network::Bitcoin, start, &[altered], 100).is_err());
    }
}

#[test]
fn each_rule_of_mainnet_is_enforced() {
    let headers = mainnet_headers();
    let boundary = (FIRST_BOUNDARY - FIRST_HEIGHT + 2_016) as usize;
    let mut chain = mainnet_chain(&headers, FIRST_HEIGHT);
    accept_all(&mut chain, &headers[1..boundary]);
    let height = FIRST_HEIGHT + boundary as u32;
    let expected = headers[boundary].bits.to_consensus();
    for found in [expected + 1, expected - 1, headers[boundary - 1].bits.to_consensus()] {
        let altered = Header { bits: CompactTarget::from_consensus(found), ..headers[boundary] };
        assert_eq!(chain.accept(altered), Err(HeaderError::Bits { height, expected, found }));
    }
    let altered = Header { nonce: headers[boundary].nonce ^ 1, ..headers[boundary] };
    let hash = altered.block_hash();
    assert_eq!(chain.accept(altered), Err(HeaderError::ProofOfWork { height, hash }));
    let median = chain.header(&chain.tip().hash).expect("the tip is kept").median_time();
    let altered = Header { time: median, ..headers[boundary] };
    assert_eq!(chain.accept(altered), Err(HeaderError::TimeTooOld { height, time: median, median }));
    let parent = altered.prev_blockhash;
    let skipped = headers[boundary + 1];
    let (hash, unknown) = (skipped.block_hash(), skipped.prev_blockhash);
    assert_eq!(chain.accept(skipped), Err(HeaderError::ParentUnknown { hash, parent: unknown }));
    assert_ne!(unknown, parent);
}

#[test]
fn an_unknown_period_start_still_bounds_the_first_retarget() {
    let headers = mainnet_headers();
    let boundary = (FIRST_BOUNDARY - FIRST_HEIGHT) as usize;
    let mut chain = mainnet_chain(&headers, FIRST_HEIGHT);
    accept_all(&mut chain, &headers[1..boundary]);
    // The bits before are 1d008cc3; a fourth of that target is 1c2330c0, and four times it exceeds the limit.
    for (found, in_range) in [(0x1c23_30bf, false), (0x1c23_30c0, true), (0x1d00_ffff, true), (0x1d01_0000, false)] {
        let altered = Header { bits: CompactTarget::from_consensus(found), ..headers[boundary] };
        let error = chain.accept(altered).expect_err("no work was done for it");
        let out_of_range = HeaderError::BitsOutOfRange { height: FIRST_BOUNDARY, found };
        assert_eq!(error == out_of_range, !in_range, "{found:#x}: {error}");
    }
    for found in [0, 0x0100_0001, 0x1d80_0001, 0xff00_ffff, 0x1e00_00ff, 0xffff_ffff] {
        let altered = Header { bits: CompactTarget::from_consensus(found), ..headers[boundary] };
        assert_eq!(chain.accept(altered), Err(HeaderError::BitsOutOfRange { height: FIRST_BOUNDARY, found }));
    }
}

#[test]
fn outdated_versions_are_refused() {
    let mut chain = regtest_chain(2_000);
    let headers = regtest_headers(&regtest_genesis(), 1_350, 0);
    accept_all(&mut chain, &headers);
    let old = bitcoin::block::Version::from_consensus(3);
    let next = mine_header(Header { version: old, ..regtest_headers(&headers[1_349], 1, 0)[0] });
    assert_eq!(chain.accept(next), Err(HeaderError::Version { height: 1_351, version: 3 }));
}

#[test]
fn regtest_difficulty_never_changes() {
    let mut chain = regtest_chain(10);
    let headers = regtest_headers(&regtest_genesis(), 2_017, 0);
    accept_all(&mut chain, &headers[..2_015]);
    let found = REGTEST_BITS - 1;
    let harder = mine_header(Header { bits: CompactTarget::from_consensus(found), ..headers[2_015] });
    let error = HeaderError::Bits { height: 2_016, expected: REGTEST_BITS, found };
    assert_eq!(chain.accept(harder), Err(error));
    accept_all(&mut chain, &headers[2_015..]);
}

#[test]
fn reorganisations_are_followed_up_to_the_final_block() {
    let depth = 11;
    let trunk = regtest_headers(&regtest_genesis(), 20, 0);
    for lost in 1..=12 {
        let mut chain = regtest_chain(depth);
        accept_all(&mut chain, &trunk);
        let fork = 20 - lost;
        let branch = regtest_headers(&trunk[fork - 1], lost + 1, 1);
        if lost >= depth as usize {
            let hash = branch[0].block_hash();
            assert_eq!(chain.accept(branch[0]), Err(HeaderError::ForksBelowFinal { hash, final_height: 10 }));
            continue;
        }
        for header in &branch[..lost] {
            assert_eq!(chain.accept(*header), Ok(Accepted::Side), "equal work does not displace the first seen");
        }
        let fork = id(fork as u32, &trunk[fork - 1]);
        assert_eq!(chain.accept(branch[lost]), Ok(Accepted::Reorganised(fork)));
        assert_eq!(chain.tip(), id(21, &branch[lost]));
        assert!(!chain.contains(id(20, &trunk[19])) && chain.contains(fork));
        assert_eq!(chain.final_block().height, 11);
    }
}

#[test]
fn lost_branches_are_forgotten_and_kept_ones_are_bounded() {
    let mut chain = regtest_chain(5);
    let trunk = regtest_headers(&regtest_genesis(), 10, 0);
    accept_all(&mut chain, &trunk[..3]);
    for header in regtest_headers(&trunk[1], 1, 1) {
        assert_eq!(chain.accept(header), Ok(Accepted::Side));
    }
    assert_eq!(chain.side_count(), 1);
    accept_all(&mut chain, &trunk[3..]);
    assert_eq!((chain.side_count(), chain.unsettled.len()), (0, 5));
    for tag in 0..SIDE_HEADERS_MAX as u32 {
        let header = regtest_headers(&trunk[8], 1, tag + 1)[0];
        assert_eq!(chain.accept(header), Ok(Accepted::Side));
    }
    let one_more = regtest_headers(&trunk[8], 1, u32::MAX)[0];
    assert_eq!(chain.accept(one_more), Err(HeaderError::TooManySideHeaders));
    accept_all(&mut chain, &regtest_headers(&trunk[9], 1, 0));
}

/// Runs a rule by itself, over headers for which no work was done.
fn bits_error(parent: &ValidatedHeader, header: Header, network: Network) -> Option<HeaderError> {
    match parent.child(header, network.params()) {
        Err(error @ (HeaderError::Bits { .. } | HeaderError::TimeWarp { .. } | HeaderError::TimeTooOld { .. })) => {
            Some(error)
        }
        Err(HeaderError::ProofOfWork { .. }) | Ok(_) => None,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn late_blocks_may_be_easy_on_test_networks() {
    let headers = mainnet_headers();
    let params = Network::Testnet.params();
    let parent = ValidatedHeader::first(headers[0], 10_081, params).expect("a real header");
    let next = |late_seconds: u32, bits: u32| Header {
        prev_blockhash: headers[0].block_hash(),
        time: headers[0].time + late_seconds,
        bits: CompactTarget::from_consensus(bits),
        ..headers[1]
    };
    let ordinary = headers[0].bits.to_consensus();
    assert_eq!(bits_error(&parent, next(1_200, ordinary), Network::Testnet), None);
    assert_eq!(bits_error(&parent, next(1_201, 0x1d00_ffff), Network::Testnet), None);
    assert!(bits_error(&parent, next(1_201, ordinary), Network::Testnet).is_some());
    assert!(bits_error(&parent, next(1_200, 0x1d00_ffff), Network::Testnet).is_some());
    assert!(bits_error(&parent, next(1_201, 0x1d00_ffff), Network::Bitcoin).is_some());
}

#[test]
fn a_test_network_takes_up_the_last_ordinary_difficulty() {
    let genesis = bitcoin::constants::genesis_block(Network::Bitcoin).header;
    let at = |height| ValidatedHeader::first(genesis, height, Network::Testnet.params()).expect("a real header");
    assert!(at(2_016).knows_ordinary_bits(Network::Testnet.params()), "a period's first header is ordinary");
    assert!(!at(2_017).knows_ordinary_bits(Network::Testnet.params()), "an easy header may follow a harder one");
    let start = id(2_017, &genesis);
    let error = HeaderChain::new(Network::Testnet, start, &[genesis], 10).expect_err("the difficulty is unknown");
    assert_eq!(error, HeaderError::LeadTooShort);
}

#[test]
fn a_period_of_testnet4_cannot_open_early() {
    let headers = mainnet_headers();
    let params = Network::Testnet4.params();
    let parent = ValidatedHeader::first(headers[0], 2 * 2_016 - 1, params);
    let Err(HeaderError::Version { version: 1, .. }) = parent else { panic!("versions below 4 are outdated there") };
    let genesis = bitcoin::constants::genesis_block(Network::Bitcoin).header;
    let mainnet = Network::Bitcoin.params();
    let parent = ValidatedHeader::first(genesis, 2_015, mainnet).expect("a real header");
    let next = |before_seconds: u32| Header {
        prev_blockhash: genesis.block_hash(),
        time: genesis.time - before_seconds,
        version: bitcoin::block::Version::from_consensus(4),
        ..genesis
    };
    let error = HeaderError::TimeWarp { height: 2_016 };
    assert_eq!(bits_error(&parent, next(600), Network::Testnet4), None);
    assert_eq!(bits_error(&parent, next(601), Network::Testnet4), Some(error));
    assert_eq!(bits_error(&parent, next(601), Network::Bitcoin), None);
}

#[test]
fn a_start_needs_a_final_depth() {
    let genesis = regtest_genesis();
    let error = HeaderChain::new(Network::Regtest, id(0, &genesis), &[genesis], 0).expect_err("zero blocks");
    assert_eq!(error, HeaderError::FinalDepthZero);
    let too_high = HeaderChain::new(Network::Regtest, id(0, &genesis), &[genesis, genesis], 1);
    assert_eq!(too_high.expect_err("two headers up to height 0"), HeaderError::LeadLength { count: 2, height: 0 });
    assert_eq!(BlockHash::all_zeros(), genesis.prev_blockhash);
}

/// So that whoever has the height of a block can add one to it.
#[test]
fn no_block_has_the_last_height() {
    let headers = regtest_headers(&regtest_genesis(), 3, 0);
    let start = |height| HeaderChain::new(Network::Regtest, id(height, &headers[0]), &headers[..1], 1);
    assert_eq!(start(u32::MAX).expect_err("too high"), HeaderError::HeightOverflow);
    let mut chain = start(u32::MAX - 2).expect("two below");
    assert_eq!(chain.accept(headers[1]), Ok(Accepted::Extended));
    assert_eq!(chain.accept(headers[2]), Err(HeaderError::HeightOverflow));
    assert_eq!((chain.tip().height, chain.final_block().height), (u32::MAX - 1, u32::MAX - 1));
}

#[test]
fn the_last_height_is_final_as_any_other() {
    // The genesis block's version is outdated at such a height.
    let first = regtest_headers(&regtest_genesis(), 1, 0)[0];
    let headers = regtest_headers(&first, 2, 0);
    let last = u32::MAX - 1;
    for (final_depth_blocks, final_height) in [(1, last), (2, last - 1), (u32::MAX, last - 1)] {
        let start = id(last - 1, &first);
        let mut chain =
            HeaderChain::new(Network::Regtest, start, &[first], final_depth_blocks).expect("any height is a start");
        accept_all(&mut chain, &headers[..1]);
        assert_eq!((chain.tip().height, chain.final_block().height), (last, final_height));
        assert_eq!(chain.accept(headers[1]), Err(HeaderError::HeightOverflow));
    }
}

#[test]
fn old_hashes_are_forgotten_and_recent_ones_are_not() {
    let headers = mainnet_headers();
    let mut chain = mainnet_chain(&headers, FIRST_HEIGHT);
    accept_all(&mut chain, &headers[1..]);
    let (tip, work, recent) = (chain.tip(), chain.work(), 49_900 - RECENT_BLOCKS as u32 + 1);
    chain.forget_below(FIRST_HEIGHT + FORGOTTEN_MIN as u32 - 1);
    assert!(chain.at(FIRST_HEIGHT).is_some(), "too few to be worth it");
    chain.forget_below(FIRST_HEIGHT + 3_000);
    assert_eq!(chain.at(FIRST_HEIGHT + 2_999), None);
    assert_eq!(chain.at(FIRST_HEIGHT + 3_000), Some(id(FIRST_HEIGHT + 3_000, &headers[3_000])));
    chain.forget_below(u32::MAX);
    assert_eq!(chain.at(recent - 1), None);
    assert!(chain.contains(id(recent, &headers[(recent - FIRST_HEIGHT) as usize])));
    assert_eq!((chain.tip(), chain.work(), chain.final_block().height), (tip, work, 49_900));
    assert_eq!(chain.accept(headers[9_000]), Ok(Accepted::Known));
    assert_eq!(chain.locator().last(), Some(&headers[0].block_hash()));
    // Blocks that are not final can still be left.
    let mut chain = regtest_chain(3);
    let first = regtest_headers(&regtest_genesis(), 10_000, 1);
    accept_all(&mut chain, &first);
    chain.forget_below(u32::MAX);
    for (position, header) in regtest_headers(&first[9_997], 3, 2).iter().enumerate() {
        let expected = if position < 2 { Accepted::Side } else { Accepted::Reorganised(id(9_998, &first[9_997])) };
        assert_eq!(chain.accept(*header), Ok(expected));
    }
    assert_eq!(chain.tip().height, 10_001);
}
