//! The node's back ends against a real bitcoind.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod bitcoind;

use bitcoind::Bitcoind;
use taproof::node::ChainSource;

#[test]
fn the_tip_is_the_nodes() {
    let bitcoind = Bitcoind::start();
    let node = bitcoind.node();
    assert_eq!(node.tip_height().unwrap(), 0);
    bitcoind.mine_empty(3);
    assert_eq!(node.tip_height().unwrap(), 3);
}
