//! The rules by tables, without chain or node: every state by every event.

use crate::anchoring::{
    Action, Anchored, BumpOrder, Decision, Fees, GenerationView, Hold, Inputs, Job, JobState, Place, Spender, Standing,
    StatementId, View, decide,
};
use crate::testing::rig::{Rig, rate};
use bitcoin::{OutPoint, Txid, hashes::Hash};
use proptest::prelude::*;
use taproof_verifier::{headers::BlockId, payload::PayloadHash};

/// A signed job that nobody has seen, and the rig that it is from.
fn signed() -> (Rig, Job) {
    let mut rig = Rig::new(1);
    // Stopped before the commit is marked as sent.
    rig.script.stop_at = Some(3);
    let _ = rig.try_tick();
    let job = rig.job(0).clone();
    (rig, job)
}

/// The job as it is in each state before it is in a block.
fn jobs(job: &Job) -> [(JobState, Job); 5] {
    let at = |commit_sent: Option<u32>, sent: &[u32]| {
        let mut job = job.clone();
        let generation = &mut job.generations[0];
        generation.commit_sent = commit_sent;
        let first = generation.attempts[0].clone();
        generation.attempts = if sent.is_empty() { vec![first.clone()] } else { Vec::new() };
        for (rung, height) in sent.iter().enumerate() {
            let mut attempt = first.clone();
            attempt.transaction.output[1].value -= bitcoin::Amount::from_sat(rung as u64 * 1_000);
            attempt.fee_sat += rung as u64 * 1_000;
            attempt.sent = Some(*height);
            generation.attempts.push(attempt);
        }
        generation.broadcast = (commit_sent.is_some()).then_some(tip(200).hash);
        job
    };
    let mut waiting = job.clone();
    waiting.generations.clear();
    [
        (JobState::Waiting, waiting),
        (JobState::Signed, at(None, &[])),
        (JobState::CommitSent, at(Some(200), &[])),
        (JobState::RevealSent, at(Some(200), &[200])),
        (JobState::Bumped, at(Some(200), &[199, 200])),
    ]
}

fn tip(height: u32) -> BlockId {
    BlockId { height, hash: bitcoin::BlockHash::from_byte_array([height as u8; 32]) }
}

fn txid(number: u8) -> Txid {
    Txid::from_byte_array([number; 32])
}

fn fees() -> Fees {
    Fees { estimate: None, min_pool: rate("0.1"), incremental: rate("0.1") }
}

/// A view in which all that was handed over waits in the pool.
fn view(job: &Job, height: u32, standing: Standing) -> View {
    let seen = |generation: &crate::anchoring::Generation| {
        let commit = if generation.commit_sent.is_some() { Place::Pool } else { Place::Nowhere };
        let latest = generation.latest_sent().map(|(index, attempt)| (index, attempt.transaction.compute_txid()));
        let place =
            |index| if latest.is_some_and(|(latest, _)| latest == index) { Place::Pool } else { Place::Nowhere };
        GenerationView {
            commit,
            attempts: (0..generation.attempts.len()).map(place).collect(),
            inputs: Inputs::Good,
            output: latest.map_or(Spender::None, |(_, txid)| Spender::Pool { txid, evicted_fee_sat: 300 }),
        }
    };
    let generations = job.generations.iter().map(seen).collect();
    View { tip: tip(height), node_hold: None, standing, generations, fees: fees() }
}

fn wanted(job: &Job) -> Standing {
    let hash = job.generations.first().map_or(PayloadHash::NONE, |generation| generation.payload_hash());
    Standing::Next(hash)
}

fn kind(action: Option<Action>) -> &'static str {
    match action {
        None => "-",
        Some(Action::Build { .. }) => "build",
        Some(Action::SendCommit { .. }) => "commit",
        Some(Action::SendReveal { .. }) => "reveal",
        Some(Action::Rebroadcast { .. }) => "again",
        Some(Action::Bump { .. }) => "bump",
        Some(Action::Sweep { .. }) => "sweep",
        Some(Action::ResendSweep { .. }) => "sweep again",
    }
}

fn anchored(job: &Job, height: u32, reveal: Txid) -> Standing {
    let payload_hash = PayloadHash::NONE;
    Standing::Anchored(Anchored { block: tip(height), txid: reveal, statement: job.statement, payload_hash })
}

fn other_statement(rig: &Rig) -> StatementId {
    let batch = &rig.batches.0.borrow()[&0];
    let header = taproof_verifier::payload::Header { batch: 77, ..*batch.payload().header() };
    let (table, chunks) = (batch.payload().table().clone(), batch.payload().chunks().to_vec());
    let payload = taproof_verifier::payload::Payload::new(table, header, chunks);
    StatementId::of(&payload.expect("as long as before"))
}

#[test]
fn every_state_meets_every_event() {
    let (rig, job) = signed();
    let config = rig.config;
    let other = other_statement(&rig);
    /// An event: its name, what it makes of the view, then what comes of it in each state.
    type Event<'a> = (&'static str, &'a dyn Fn(&Job, &mut View), [(JobState, &'static str); 5]);
    use JobState::{Abandoned, Bumped, CommitSent, Final, InBlock, RevealSent, Safe, Signed, Stale, Swept, Waiting};
    let standing = |standing: Standing| move |_: &Job, view: &mut View| view.standing = standing.clone();
    let anchored_at = |height| move |job: &Job, view: &mut View| view.standing = anchored(job, height, txid(9));
    // A reveal that waits for nothing gives way to a sweep, at any depth.
    let lost = |state| [(state, "-"), (state, "-"), (state, "-"), (state, "sweep"), (state, "sweep")];
    let events: [Event<'_>; 18] = [
        (
            "the payload is wanted",
            &|_, _| (),
            [(Waiting, "build"), (Signed, "commit"), (CommitSent, "reveal"), (RevealSent, "-"), (Bumped, "-")],
        ),
        (
            "a block without the anchor",
            &|_, view| view.tip = tip(201),
            [(Waiting, "build"), (Signed, "commit"), (CommitSent, "reveal"), (RevealSent, "again"), (Bumped, "again")],
        ),
        (
            "another payload is wanted",
            &|_, view| view.standing = Standing::Next(PayloadHash::of(b"other")),
            // A reveal that waits gives way first: it could be mined in the other's place.
            [(Waiting, "build"), (Waiting, "build"), (Waiting, "build"), (RevealSent, "sweep"), (Bumped, "sweep")],
        ),
        (
            "the node is not up to date",
            &|_, view| view.node_hold = Some(Hold::InitialDownload { blocks: 200 }),
            [(Waiting, "-"), (Signed, "-"), (CommitSent, "-"), (RevealSent, "-"), (Bumped, "-")],
        ),
        (
            "the batch before left the chain",
            &standing(Standing::Behind { next: 0 }),
            [(Waiting, "-"), (Signed, "-"), (CommitSent, "-"), (RevealSent, "-"), (Bumped, "-")],
        ),
        (
            "the reference is above the tip",
            &standing(Standing::ReferenceAhead { height: 300 }),
            [(Waiting, "-"), (Signed, "-"), (CommitSent, "-"), (RevealSent, "-"), (Bumped, "-")],
        ),
        (
            "the poster is no sequencer",
            &standing(Standing::NotSequencer { open_height: 300 }),
            [(Waiting, "-"), (Signed, "-"), (CommitSent, "-"), (RevealSent, "sweep"), (Bumped, "sweep")],
        ),
        ("the proofs are missing", &standing(Standing::Unproven), [(Stale, "-"); 5]),
        (
            "the proofs are damaged",
            &standing(Standing::Unusable("truncated".to_owned())),
            [(Waiting, "-"), (Signed, "-"), (CommitSent, "-"), (RevealSent, "-"), (Bumped, "-")],
        ),
        ("the deposits differ", &standing(Standing::Refused("differs".to_owned())), lost(Stale)),
        ("in a block", &anchored_at(200), lost(InBlock)),
        ("three deep", &anchored_at(198), lost(Safe)),
        ("six deep", &anchored_at(195), lost(Final)),
        ("anchored long ago", &standing(Standing::AnchoredBefore), lost(Final)),
        (
            "another batch took the number",
            &|_, view| {
                let block = tip(200);
                let payload_hash = PayloadHash::NONE;
                view.standing = Standing::Anchored(Anchored { block, txid: txid(9), statement: other, payload_hash });
            },
            lost(Stale),
        ),
        (
            "an input is spent in a block",
            &|_, view| {
                for seen in &mut view.generations {
                    (seen.commit, seen.inputs) = (Place::Nowhere, Inputs::SpentInBlock(OutPoint::null(), txid(8)));
                    (seen.output, seen.attempts) = (Spender::None, vec![Place::Nowhere; seen.attempts.len()]);
                }
            },
            [(Waiting, "build"); 5],
        ),
        (
            "an input is spent in the pool",
            &|_, view| {
                for seen in &mut view.generations {
                    (seen.commit, seen.inputs) = (Place::Nowhere, Inputs::SpentInPool(OutPoint::null(), txid(8)));
                }
            },
            // What others have seen is not built anew: both could be mined.
            [(Waiting, "build"), (Waiting, "build"), (CommitSent, "reveal"), (RevealSent, "-"), (Bumped, "-")],
        ),
        (
            "the commit's output is spent by something else",
            &|_, view| {
                for seen in &mut view.generations {
                    (seen.commit, seen.output) = (Place::Block(tip(200)), Spender::Block(txid(8)));
                }
            },
            [(Waiting, "build"); 5],
        ),
    ];
    for (event, change, expected) in &events {
        for ((state, mut job), expected) in jobs(&job).into_iter().zip(expected) {
            job.state = state;
            let mut view = view(&job, 200, wanted(&job));
            change(&job, &mut view);
            let Decision { state: found, action, .. } = decide(&job, &view, &config);
            assert_eq!((found, kind(action)), *expected, "{state} and {event}");
        }
    }
    // Given up: what others have not seen is gone, what they have seen is swept at once, before it is mined.
    let expected =
        [(Abandoned, "-"), (Abandoned, "-"), (Abandoned, "sweep"), (Abandoned, "sweep"), (Abandoned, "sweep")];
    for ((state, mut job), expected) in jobs(&job).into_iter().zip(expected) {
        job.is_abandoned = true;
        let mut seen = view(&job, 200, wanted(&job));
        let decision = decide(&job, &seen, &config);
        assert_eq!((decision.state, kind(decision.action)), expected, "{state}, abandoned");
        assert_eq!(decision.is_closed, matches!(state, Waiting | Signed));
        if !decision.is_closed {
            seen.generations[0].commit = Place::Block(tip(200));
            assert_eq!(kind(decide(&job, &seen, &config).action), "sweep", "{state}, abandoned and mined");
            seen.generations[0].output = Spender::Block(txid(7));
            assert_eq!(decide(&job, &seen, &config).state, Swept);
        }
    }
}

#[test]
fn fees_rise_on_schedule_on_demand_and_when_the_pool_lets_go() {
    let (rig, job) = signed();
    let [.., (_, sent), _] = jobs(&job);
    let bump = |job: &Job, view: &View| match decide(job, view, &rig.config).action {
        Some(Action::Bump { range, .. }) => Some(range),
        _ => None,
    };
    let mut seen = view(&sent, 202, wanted(&sent));
    let mut job = sent;
    job.generations[0].broadcast = Some(seen.tip.hash);
    assert_eq!(bump(&job, &seen), None, "two blocks are not three");
    seen.tip = tip(203);
    job.generations[0].broadcast = Some(seen.tip.hash);
    let range = bump(&job, &seen).expect("three blocks");
    let package = job.generations[0].package(false, 300).expect("a reveal");
    let vsize = package.reveal_vsize_vb + package.unmined_commit.expect("unmined").0;
    let paid = range.aim_sat + package.unmined_commit.expect("unmined").1;
    assert!(paid * 1_000 >= vsize * 1_250, "a quarter more for commit and reveal together");
    assert!(range.min_sat >= 300 + package.reveal_vsize_vb.div_ceil(10), "what it evicts, and its own size on top");
    // A mined commit needs no more help.
    seen.generations[0].commit = Place::Block(tip(201));
    let alone = bump(&job, &seen).expect("still late");
    assert!(alone.max_sat < range.max_sat + package.unmined_commit.expect("unmined").1);
    seen.tip = tip(201);
    job.generations[0].broadcast = Some(seen.tip.hash);
    assert_eq!(bump(&job, &seen), None);
    job.bump = Some(BumpOrder { sat_per_kvb: Some(50_000) });
    let range = bump(&job, &seen).expect("on demand");
    assert_eq!(range.aim_sat, super::super::fees::fee_sat(rate("50"), package.reveal_vsize_vb));
    job.bump = None;
    seen.generations[0].attempts[0] = Place::Nowhere;
    seen.generations[0].output = Spender::None;
    assert_eq!(bump(&job, &seen), None, "it was sent at this tip, and the pool takes the like");
    seen.fees.min_pool = rate("7");
    let range = bump(&job, &seen).expect("evicted");
    assert!(range.aim_sat >= super::super::fees::fee_sat(rate("7"), package.reveal_vsize_vb));
    seen.fees.min_pool = rate("200");
    let decision = decide(&job, &seen, &rig.config);
    assert!(decision.action.is_none(), "never above the cap: {decision:?}");
}

#[test]
fn a_commit_that_is_in_no_pool_is_paid_for_only_where_its_coins_are_free() {
    let (rig, job) = signed();
    let [.., (_, mut job), _] = jobs(&job);
    let mut seen = view(&job, 210, wanted(&job));
    job.generations[0].broadcast = Some(seen.tip.hash);
    let lost = &mut seen.generations[0];
    (lost.commit, lost.output, lost.attempts) = (Place::Nowhere, Spender::None, vec![Place::Nowhere]);
    assert_eq!(kind(decide(&job, &seen, &rig.config).action), "-", "the pool takes the like: no fee is the reason");
    seen.fees.min_pool = rate("7");
    let Some(Action::Bump { range, .. }) = decide(&job, &seen, &rig.config).action else { panic!("no bump") };
    let package = job.generations[0].package(false, 0).expect("a reveal");
    let (commit_vb, commit_sat) = package.unmined_commit.expect("unmined");
    let needed = super::super::fees::fee_sat(rate("7"), commit_vb + package.reveal_vsize_vb);
    assert!(range.aim_sat + commit_sat >= needed, "what the commit lacks, too");
    for inputs in [Inputs::SpentInPool(OutPoint::null(), txid(8)), Inputs::Unconfirmed(OutPoint::null())] {
        seen.generations[0].inputs = inputs;
        assert_eq!(kind(decide(&job, &seen, &rig.config).action), "-", "{inputs:?}");
    }
}

#[test]
fn the_clock_of_bumps_counts_no_block_that_the_anchor_spent_in_the_chain() {
    let (rig, job) = signed();
    let [.., (_, mut job), _] = jobs(&job);
    let bumps = |job: &Job, height: u32| {
        let (mut job, seen) = (job.clone(), view(job, height, wanted(job)));
        job.generations[0].broadcast = Some(seen.tip.hash);
        kind(decide(&job, &seen, &rig.config).action) == "bump"
    };
    assert!(bumps(&job, 203), "sent at 200");
    // Seen in the chain at the last look, and gone at this one.
    for state in [JobState::InBlock, JobState::Safe, JobState::Final] {
        job.state = state;
        assert!(!bumps(&job, 230), "{state}");
    }
    job.history.clear();
    job.state = JobState::RevealSent;
    for (to, height) in
        [(JobState::InBlock, 201), (JobState::Safe, 203), (JobState::RevealSent, 205), (JobState::Bumped, 208)]
    {
        job.move_to(to, height, 0, "");
    }
    assert!(!bumps(&job, 207) && bumps(&job, 208), "it left the chain at 205");
    job.generations[0].attempts[0].sent = Some(208);
    assert!(!bumps(&job, 210) && bumps(&job, 211), "another was sent at 208");
}

#[test]
fn rates_keep_their_decimals() {
    let (rig, _) = signed();
    let config = crate::anchoring::Config { fee_floor: rate("0.1"), ..rig.config };
    let fees = Fees { estimate: Some(rate("0.25")), ..fees() };
    assert_eq!(fees.first_rate(&config), Ok(rate("0.25")), "not rounded to nothing");
    let none = Fees { estimate: None, ..fees };
    assert_eq!(none.first_rate(&config), Ok(rate("0.1")));
    let spike = Fees { estimate: Some(rate("9000")), ..fees };
    assert_eq!(spike.first_rate(&config), Ok(config.fee_cap));
    let full = Fees { min_pool: rate("101"), ..fees };
    assert!(matches!(full.first_rate(&config), Err(Hold::PoolAboveCap { .. })));
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![Just(Place::Nowhere), Just(Place::Pool), (190u32..=205).prop_map(|height| Place::Block(tip(height)))]
}

fn inputs() -> impl Strategy<Value = Inputs> {
    let outpoint = OutPoint::null();
    prop_oneof![
        Just(Inputs::Good),
        Just(Inputs::Unconfirmed(outpoint)),
        Just(Inputs::SpentInPool(outpoint, txid(1))),
        Just(Inputs::SpentInBlock(outpoint, txid(2))),
        Just(Inputs::Missing(outpoint)),
    ]
}

fn spender() -> impl Strategy<Value = Spender> {
    prop_oneof![
        Just(Spender::None),
        (0u64..10_000_000).prop_map(|evicted_fee_sat| Spender::Pool { txid: txid(3), evicted_fee_sat }),
        Just(Spender::Block(txid(4))),
    ]
}

#[test]
fn no_view_makes_a_decision_that_breaks_a_rule() {
    let (rig, job) = signed();
    let (jobs, other) = (jobs(&job), other_statement(&rig));
    let payload_hash = job.generations[0].payload_hash();
    let standing = prop_oneof![
        Just(Standing::Next(payload_hash)),
        Just(Standing::Next(PayloadHash::NONE)),
        Just(Standing::Behind { next: 0 }),
        Just(Standing::AnchoredBefore),
        Just(Standing::Refused("differs".to_owned())),
        Just(Standing::Unproven),
        Just(Standing::Unusable("truncated".to_owned())),
        Just(Standing::ReferenceAhead { height: 9 }),
        Just(Standing::NotSequencer { open_height: 300 }),
        (190u32..=205, any::<bool>()).prop_map(move |(height, is_ours)| Standing::Anchored(Anchored {
            block: tip(height),
            txid: txid(5),
            statement: if is_ours { job.statement } else { other },
            payload_hash: PayloadHash::NONE,
        })),
    ];
    let rates = (100u64..=200_000, 100u64..=200_000, 100u64..=5_000);
    let seen = (place(), inputs(), spender(), proptest::collection::vec(place(), 2));
    let strategy = (0usize..5, standing, seen, rates, 195u32..=210, any::<[bool; 4]>());
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let outcome =
        runner.run(&strategy, |(which, standing, seen, rates, height, [is_synced, is_abandoned, ordered, is_ours])| {
            let (_, mut job) = jobs[which].clone();
            job.is_abandoned = is_abandoned;
            job.bump = ordered.then_some(BumpOrder { sat_per_kvb: None });
            let (commit, inputs, output, places) = seen;
            // Whoever spends the output may be our own reveal.
            let own = job.generations.first().map(|generation| generation.attempts[0].transaction.compute_txid());
            let output = match (output, own.filter(|_| is_ours)) {
                (Spender::Pool { evicted_fee_sat, .. }, Some(txid)) => Spender::Pool { txid, evicted_fee_sat },
                (output, _) => output,
            };
            let one = |generation: &crate::anchoring::Generation| GenerationView {
                commit,
                attempts: places[..generation.attempts.len()].to_vec(),
                inputs,
                output,
            };
            let rate = |sat_per_kvb| crate::anchor::FeeRate::from_sat_per_kvb(sat_per_kvb).expect("in range");
            let (estimate, min_pool, incremental) = (Some(rate(rates.0)), rate(rates.1), rate(rates.2));
            let generations: Vec<GenerationView> = job.generations.iter().map(one).collect();
            let fees = Fees { estimate, min_pool, incremental };
            let node_hold = (!is_synced).then_some(Hold::InitialDownload { blocks: height });
            let view = View { tip: tip(height), node_hold, standing, generations, fees };
            let decision = decide(&job, &view, &rig.config);
            let is_next = matches!(view.standing, Standing::Next(_));
            match decision.action {
                None => {}
                Some(_) if !is_synced => return Err(TestCaseError::fail("acts on a node that is not up to date")),
                Some(Action::Sweep { fee_sat, generation }) => {
                    let is_in_vain = own.is_some_and(|own| matches!(output, Spender::Pool { txid, .. } if txid == own));
                    prop_assert!(
                        commit.is_mined() || (commit == Place::Pool && (is_in_vain || is_abandoned)),
                        "sweeps what is not mined, and may be needed"
                    );
                    prop_assert!(fee_sat < job.generations[generation].commit.output[0].value.to_sat());
                    let is_safe = matches!(decision.state, JobState::Safe | JobState::Final | JobState::Stale);
                    prop_assert!(is_safe || is_abandoned || is_in_vain, "sweeps what may be needed");
                }
                Some(Action::ResendSweep { .. }) => {}
                Some(_) if !is_next || is_abandoned => return Err(TestCaseError::fail("sends what is not wanted")),
                Some(Action::Bump { range, generation }) => {
                    let is_free = commit != Place::Nowhere || inputs == Inputs::Good;
                    prop_assert!(is_free, "pays for a commit whose coins something else spends");
                    let commit_fee = job.generations[generation].commit_fee_sat();
                    let package = job.generations[generation].package(commit.is_mined(), 0).expect("a reveal");
                    let vsize = package.reveal_vsize_vb + package.unmined_commit.map_or(0, |(vsize, _)| vsize);
                    let total = range.max_sat + if commit.is_mined() { 0 } else { commit_fee };
                    prop_assert!(total <= super::super::fees::fee_sat(rig.config.fee_cap, vsize), "above the cap");
                    prop_assert!(range.max_sat + package.dust_sat <= package.locked_sat, "beyond the headroom");
                    prop_assert!(range.min_sat <= range.aim_sat && range.aim_sat <= range.max_sat);
                    prop_assert!(range.min_sat > package.last_fee_sat, "a replacement that pays no more");
                }
                Some(Action::Build { .. }) => {
                    let wanted = Standing::Next(payload_hash);
                    let is_live = !job.generations.is_empty()
                        && view.standing == wanted
                        && job.generations[0].commit_sent.is_some()
                        && commit != Place::Nowhere
                        && !matches!(output, Spender::Block(_));
                    prop_assert!(!is_live, "a second commit beside one that may be mined");
                }
                Some(_) => {}
            }
            Ok(())
        });
    outcome.expect("every rule holds");
}
