//! Transactions and signatures as bytes, and files of transactions and anchors as text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taproof_bitcoin::anchor::AnchorArtefact;
use taproof_circuits::{schnorr::Signature, transaction::Transaction};
use taproof_rollup::transaction_file::TransactionFile;

fuzz_target!(|input: &[u8]| {
    if let Ok(transaction) = Transaction::from_bytes(input) {
        assert_eq!(transaction.to_bytes(), input);
    }
    if let Some(bytes) = input.first_chunk::<{ Signature::SIZE_BYTES }>()
        && let Ok(signature) = Signature::from_bytes(bytes)
    {
        assert_eq!(signature.to_bytes(), *bytes);
    }
    if let Ok(text) = core::str::from_utf8(input) {
        let _ = TransactionFile::from_json(text);
        let _ = AnchorArtefact::from_json(text);
    }
});
