//! One header after another: what a header must satisfy, given its parent.

use super::{BlockId, HeaderError, limit_bits};
use bitcoin::{CompactTarget, Network, Target, Work, block::Header, consensus::Params};

/// How many times the median is taken of.
const MEDIAN_COUNT: usize = 11;
/// By how much the first header of a period may lie before its parent where BIP-94 holds.
const TIME_WARP_SECONDS_MAX: u32 = 600;

/// A header that satisfies the rules, with what the rules need to know of its ancestors.
#[derive(Clone, Debug)]
pub struct ValidatedHeader {
    header: Header,
    id: BlockId,
    work: Work,
    /// The first header of the retargeting period, if it is known.
    period_start: Option<PeriodStart>,
    /// The difficulty of the last header of the period that did not use the networks' allowance for late blocks.
    ordinary_bits: Option<CompactTarget>,
    /// The times of the last headers, this one's last; zero where unknown or before the first block.
    times: [u32; MEDIAN_COUNT],
}

#[derive(Clone, Copy, Debug)]
struct PeriodStart {
    time: u32,
    bits: CompactTarget,
}

impl ValidatedHeader {
    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Its place in the chain.
    pub fn id(&self) -> BlockId {
        self.id
    }

    /// The work of its chain, from the first known header on.
    pub fn work(&self) -> Work {
        self.work
    }

    /// The median of its time and those of the ten headers before it.
    pub fn median_time(&self) -> u32 {
        let count = MEDIAN_COUNT.min(self.id.height as usize + 1);
        let mut times = self.times;
        let known = &mut times[MEDIAN_COUNT - count..];
        known.sort_unstable();
        known[count / 2]
    }

    pub(super) fn knows_period_start(&self) -> bool {
        self.period_start.is_some()
    }

    /// Whether the next header's difficulty can be told within the period.
    pub(super) fn knows_ordinary_bits(&self, params: &Params) -> bool {
        self.ordinary_bits.is_some() || !params.allow_min_difficulty_blocks || params.no_pow_retargeting
    }

    /// Takes the first of the headers that lead up to a trusted one: only its own work can be checked.
    pub(super) fn first(header: Header, height: u32, params: &Params) -> Result<Self, HeaderError> {
        check_height(height)?;
        check_range(height, header.bits, params)?;
        check_version(height, &header, params)?;
        let id = check_work(height, &header)?;
        let opens = opens_period(height, params);
        let mut times = [0; MEDIAN_COUNT];
        times[MEDIAN_COUNT - 1] = header.time;
        Ok(Self {
            header,
            id,
            work: header.work(),
            period_start: opens.then_some(PeriodStart { time: header.time, bits: header.bits }),
            ordinary_bits: (opens || header.bits != limit_bits(params)).then_some(header.bits),
            times,
        })
    }

    /// Checks a header that names this one as its parent.
    pub(super) fn child(&self, header: Header, params: &Params) -> Result<Self, HeaderError> {
        if header.prev_blockhash != self.id.hash {
            return Err(HeaderError::ParentUnknown { hash: header.block_hash(), parent: header.prev_blockhash });
        }
        let height = check_height(self.id.height.saturating_add(1))?;
        self.check_bits(height, &header, params)?;
        self.check_time(height, &header, params)?;
        check_version(height, &header, params)?;
        let id = check_work(height, &header)?;
        let own = PeriodStart { time: header.time, bits: header.bits };
        let opens = opens_period(height, params);
        let is_ordinary = opens || header.bits != limit_bits(params);
        let mut times = self.times;
        times.rotate_left(1);
        times[MEDIAN_COUNT - 1] = header.time;
        Ok(Self {
            header,
            id,
            work: self.work + header.work(),
            period_start: if opens { Some(own) } else { self.period_start },
            ordinary_bits: if is_ordinary { Some(header.bits) } else { self.ordinary_bits },
            times,
        })
    }

    fn check_bits(&self, height: u32, header: &Header, params: &Params) -> Result<(), HeaderError> {
        let expected = if !opens_period(height, params) {
            self.bits_within_period(header.time, params)
        } else if params.no_pow_retargeting {
            self.header.bits
        } else if let Some(start) = self.period_start {
            self.retargeted_bits(start, params)
        } else {
            return self.check_retarget_range(height, header.bits, params);
        };
        if header.bits != expected {
            let (expected, found) = (expected.to_consensus(), header.bits.to_consensus());
            return Err(HeaderError::Bits { height, expected, found });
        }
        Ok(())
    }

    /// Within a period the difficulty stays, but test networks let a block that is late by twice the spacing be easy;
    /// the next that is not takes up the difficulty of the last ordinary one.
    fn bits_within_period(&self, time: u32, params: &Params) -> CompactTarget {
        if !params.allow_min_difficulty_blocks {
            return self.header.bits;
        }
        if u64::from(time) > u64::from(self.header.time) + 2 * params.pow_target_spacing {
            return limit_bits(params);
        }
        self.ordinary_bits.unwrap_or(self.header.bits)
    }

    /// The difficulty after a period. The span is signed: times may run backwards. BIP-94 takes the difficulty of the
    /// period's first header, which no late block has eased.
    fn retargeted_bits(&self, start: PeriodStart, params: &Params) -> CompactTarget {
        let base = if has_bip94(params) { start.bits } else { self.header.bits };
        let span_seconds = u64::from(self.header.time.saturating_sub(start.time));
        CompactTarget::from_next_work_required(base, span_seconds, params)
    }

    /// Without the period's first time: no change exceeds a factor of four.
    fn check_retarget_range(&self, height: u32, bits: CompactTarget, params: &Params) -> Result<(), HeaderError> {
        check_range(height, bits, params)?;
        let base = if has_bip94(params) { self.ordinary_bits.unwrap_or(self.header.bits) } else { self.header.bits };
        let hardest = CompactTarget::from_next_work_required(base, 0, params);
        let easiest = CompactTarget::from_next_work_required(base, u64::MAX, params);
        let range = Target::from_compact(hardest)..=Target::from_compact(easiest);
        if !range.contains(&Target::from_compact(bits)) {
            return Err(HeaderError::BitsOutOfRange { height, found: bits.to_consensus() });
        }
        Ok(())
    }

    fn check_time(&self, height: u32, header: &Header, params: &Params) -> Result<(), HeaderError> {
        let median = self.median_time();
        if header.time <= median {
            return Err(HeaderError::TimeTooOld { height, time: header.time, median });
        }
        let is_warped = header.time < self.header.time.saturating_sub(TIME_WARP_SECONDS_MAX);
        if has_bip94(params) && opens_period(height, params) && is_warped {
            return Err(HeaderError::TimeWarp { height });
        }
        Ok(())
    }
}

fn opens_period(height: u32, params: &Params) -> bool {
    u64::from(height).is_multiple_of(params.difficulty_adjustment_interval())
}

fn has_bip94(params: &Params) -> bool {
    params.network == Network::Testnet4
}

/// The last height has no block: whoever has a block's height can name that of the next.
fn check_height(height: u32) -> Result<u32, HeaderError> {
    if height < u32::MAX { Ok(height) } else { Err(HeaderError::HeightOverflow) }
}

/// Checks that bits encode, in the one canonical way, a target between 1 and the network's limit.
fn check_range(height: u32, bits: CompactTarget, params: &Params) -> Result<(), HeaderError> {
    let found = bits.to_consensus();
    let size_bytes = found >> 24;
    let is_canonical = size_bytes <= 32 && Target::from_compact(bits).to_compact_lossy() == bits;
    if !is_canonical || bits == CompactTarget::from_consensus(0) {
        return Err(HeaderError::BitsOutOfRange { height, found });
    }
    if Target::from_compact(bits) > params.max_attainable_target {
        return Err(HeaderError::BitsOutOfRange { height, found });
    }
    Ok(())
}

fn check_work(height: u32, header: &Header) -> Result<BlockId, HeaderError> {
    let hash = header.block_hash();
    if !header.target().is_met_by(hash) {
        return Err(HeaderError::ProofOfWork { height, hash });
    }
    Ok(BlockId { height, hash })
}

fn check_version(height: u32, header: &Header, params: &Params) -> Result<(), HeaderError> {
    let version = header.version.to_consensus();
    let least = match height {
        _ if height >= params.bip65_height => 4,
        _ if height >= params.bip66_height => 3,
        _ if height >= params.bip34_height => 2,
        _ => i32::MIN,
    };
    if version < least {
        return Err(HeaderError::Version { height, version });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::constants::genesis_block;

    /// The last header of a period that took `span_seconds`, its own difficulty eased.
    fn last_of_period(span_seconds: i64, first_bits: u32) -> (ValidatedHeader, PeriodStart) {
        let header = genesis_block(Network::Bitcoin).header;
        let last = ValidatedHeader::first(header, 2_015, Network::Bitcoin.params()).expect("a real header");
        let time = (i64::from(header.time) - span_seconds) as u32;
        (last, PeriodStart { time, bits: CompactTarget::from_consensus(first_bits) })
    }

    fn retargeted(span_seconds: i64, first_bits: u32, network: Network) -> u32 {
        let (last, start) = last_of_period(span_seconds, first_bits);
        last.retargeted_bits(start, network.params()).to_consensus()
    }

    #[test]
    fn testnet4_retargets_from_the_first_header_and_others_from_the_last() {
        const TWO_WEEKS_SECONDS: i64 = 14 * 24 * 60 * 60;
        let (hard, limit) = (0x1c00_ffff, 0x1d00_ffff);
        assert_eq!(retargeted(TWO_WEEKS_SECONDS, hard, Network::Testnet4), hard);
        assert_eq!(retargeted(TWO_WEEKS_SECONDS, hard, Network::Testnet), limit);
        assert_eq!(retargeted(TWO_WEEKS_SECONDS / 2, limit, Network::Bitcoin), 0x1c7f_ff80);
    }

    #[test]
    fn a_retarget_is_held_to_a_factor_of_four_even_if_time_runs_backwards() {
        let quarter = 0x1c3f_ffc0;
        assert_eq!(retargeted(0, 0x1d00_ffff, Network::Bitcoin), quarter);
        assert_eq!(retargeted(-1_000, 0x1d00_ffff, Network::Bitcoin), quarter);
        assert_eq!(retargeted(1_000_000_000, 0x1c00_ffff, Network::Testnet4), 0x1c03_fffc);
    }
}
