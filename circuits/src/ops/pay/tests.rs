use super::Pay;
use crate::{
    step::{Limits, flag},
    testing::operations::{Example, assert_operation, state},
    testing::steps::{HEIGHT, Steps, record},
};
use taproof_verifier::record::StepRecord;

fn example(cell: u32, flags: u8, [a, b, c]: [u64; 3]) -> Example {
    let record = StepRecord { a, b, c, ..record(Pay::NUMBER, cell, flags) };
    Example::after(Steps::on(state()), record, Limits { least: 0, until: HEIGHT + 9 })
}

#[test]
fn each_relation_is_held_alone() {
    let examples = [
        example(1, 0, [500, 3, 0]),
        example(2, flag::SECOND | flag::TICKET, [5_000_000, 1_000_000, 5]),
        example(3, flag::TICKET | flag::END, [0, 0, 62]),
    ];
    assert_operation(&examples, &["PAY R1, nonce or ticket", "PAY R2, holdings"]);
}
