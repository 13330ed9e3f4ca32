//! The column codec of records: the input chooses the chunks, then gives the columns, plain and as a DEFLATE stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use taproof_verifier::{codec, record::Kind};

fuzz_target!(|input: (Vec<(u8, u16)>, Vec<u8>)| {
    let (choices, bytes) = input;
    let chunks: Vec<_> = choices.iter().map(|&(kind, count)| (Kind::ALL[usize::from(kind) % 4], count % 512)).collect();
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
