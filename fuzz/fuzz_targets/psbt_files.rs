//! Files of PSBTs, of either version and in any form. Nothing panics, and what is read is read again in both versions.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taproof_bitcoin::psbt_file::{parse, to_version_2};

fuzz_target!(|input: &[u8]| {
    let Ok(psbt) = parse(input) else { return };
    let written = parse(&psbt.serialize()).expect("what was read can be written");
    assert_eq!(written, psbt);
    // A negative amount has no place in version 2.
    if psbt.unsigned_tx.output.iter().all(|output| i64::try_from(output.value.to_sat()).is_ok()) {
        assert_eq!(parse(&to_version_2(&psbt)).expect("as written"), psbt);
    }
});
