//! The names of Bitcoin's networks, as people say them.

use bitcoin::Network;

/// The networks that a rollup may live on.
pub const NETWORKS: [Network; 5] =
    [Network::Bitcoin, Network::Testnet, Network::Testnet4, Network::Signet, Network::Regtest];

/// What people call a network. Files keep the name that the Bitcoin library has, `bitcoin` for mainnet.
pub fn network_name(network: Network) -> &'static str {
    match network {
        Network::Bitcoin => "mainnet",
        Network::Testnet => "testnet",
        Network::Testnet4 => "testnet4",
        Network::Signet => "signet",
        Network::Regtest => "regtest",
    }
}
