//! The column codec of records: the input chooses a set of operations and the chunks, then gives the columns, plain and
//! as a DEFLATE stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::Arc;
use taproof_verifier::{
    codec::{self, Layout},
    operation::OperationSet,
    record::Kind,
};

fuzz_target!(|input: (Vec<u8>, Vec<(u8, u16)>, Vec<u8>)| {
    let (set, choices, bytes) = input;
    let set = OperationSet::from_start(&set).map(|(set, _)| Arc::new(set));
    let layout = |&(kind, count): &(u8, u16)| {
        let count = count % 512;
        let steps = || set.as_ref().ok().map(|set| Layout::Step(count, set.clone()));
        Layout::payments(Kind::ALL[usize::from(kind) % 5], count).or_else(steps)
    };
    let chunks: Vec<_> = choices.iter().filter_map(layout).collect();
    if let Ok(records) = codec::from_columns(&chunks, &bytes) {
        let columns = codec::columns(&records.iter().collect::<Vec<_>>());
        assert_eq!(columns, bytes, "columns have one encoding");
        assert_eq!(codec::inflate(&codec::deflate(&columns), columns.len()), Ok(columns));
    }
    let length = choices.len() * 64;
    if let Ok(columns) = codec::inflate(&bytes, length) {
        assert_eq!(columns.len(), length);
    }
});
