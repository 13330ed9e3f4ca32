//! A poster with a ledger, a sequencer and an anchoring service, for tests of them all together: the storm over
//! posters, users, signers and miners, and batches that are proven again.
#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "a harness for tests says by names what it does")]

pub mod poster;
