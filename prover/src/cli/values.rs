//! The values that options take: digits, keys, hashes, outputs and addresses, each refused in words that say what is
//! wanted.

use super::failure::{Exit, Failure};
use ark_bn254::Fr;
use bitcoin::{
    Address, Network, OutPoint, ScriptBuf, Txid, XOnlyPublicKey,
    address::{NetworkUnchecked, ParseError},
    base58,
    bech32::primitives::decode::{SegwitHrpstring, SegwitHrpstringError},
};
use taproof_base::network_name::{NETWORKS, network_name};
use taproof_rollup::amount::{AmountError, Decimal};
use taproof_verifier::{
    baby_jubjub::PublicKey,
    cell::{CellIndex, ChainId, Token, TokenName},
    field,
};

type Parsed<T> = Result<T, String>;

/// Parses so many bytes in hexadecimal digits.
pub(super) fn digits<const LENGTH: usize>(text: &str) -> Parsed<[u8; LENGTH]> {
    let (wanted, found) = (2 * LENGTH, text.chars().count());
    if let Some(other) = text.chars().find(|character| !character.is_ascii_hexdigit()) {
        return Err(format!("{wanted} hexadecimal digits are wanted, and {other:?} is none"));
    }
    let mut bytes = [0; LENGTH];
    hex::decode_to_slice(text, &mut bytes)
        .map_err(|_| format!("{wanted} hexadecimal digits are wanted, and there are {found}"))?;
    Ok(bytes)
}

/// Parses a rollup's chain id.
pub(super) fn chain_id(text: &str) -> Parsed<ChainId> {
    digits(text).map(ChainId::from_byte_array)
}

/// The most threads: more than any machine has processors are a slip of the pen.
const THREADS_MAX: u16 = 1024;

/// Parses a number of threads.
pub(super) fn threads(text: &str) -> Parsed<u16> {
    let number = text.parse().ok().filter(|number| (1..=THREADS_MAX).contains(number));
    number.ok_or_else(|| format!("a whole number from 1 to {THREADS_MAX} is wanted"))
}

/// Parses a share in percent that may be any.
pub(super) fn percent(text: &str) -> Parsed<f64> {
    let share = text.parse().ok().filter(|share: &f64| share.is_finite() && !share.is_sign_negative());
    share.ok_or_else(|| "a number that is not negative is wanted, such as 1.5".to_owned())
}

/// Parses a cell's index.
pub(super) fn cell(text: &str) -> Parsed<CellIndex> {
    let index = text.parse().ok().and_then(CellIndex::new);
    index.ok_or_else(|| "a cell is a whole number below 2^30".to_owned())
}

/// Parses an amount, of whatever token.
pub(super) fn amount(text: &str) -> Parsed<Decimal> {
    text.parse().map_err(|error: AmountError| error.to_string())
}

/// Parses an amount of a token, TOKEN:AMOUNT.
pub(super) fn token_amount(text: &str) -> Parsed<(Token, Decimal)> {
    let (token, number) = text.split_once(':').ok_or("TOKEN:AMOUNT is wanted, as in 0:5000 for 5000 sat")?;
    let token =
        cell(token).map_err(|_| "TOKEN:AMOUNT is wanted, and TOKEN is the number of its cell, 0 for bitcoin")?;
    Ok((Token(token.get()), amount(number)?))
}

/// Parses the name of a token.
pub(super) fn token_name(text: &str) -> Parsed<TokenName> {
    if text.is_empty() {
        return Err("a name has at least one letter".to_owned());
    }
    TokenName::new(text).map_err(|error| error.to_string())
}

/// Parses a share in percent, in parts of 10,000.
pub(super) fn parts(text: &str) -> Parsed<u16> {
    let share = text.parse::<Decimal>().ok().and_then(|share| share.units(2).ok()).filter(|share| *share <= 10_000);
    share.map(|share| share as u16).ok_or_else(|| {
        "a share from 0 to 100 percent is wanted, with at most two digits after the point, such as 0.5".to_owned()
    })
}

/// Parses an owner's key.
pub(super) fn owner(text: &str) -> Parsed<PublicKey> {
    PublicKey::from_bytes(&digits(text)?).map_err(|error| format!("this is no owner's key: {error}"))
}

/// Parses a root.
pub(super) fn root(text: &str) -> Parsed<Fr> {
    field::from_bytes(&digits(text)?).map_err(|_| "this is no root: none is so great".to_owned())
}

/// Parses a key on Bitcoin.
pub(super) fn bitcoin_key(text: &str) -> Parsed<XOnlyPublicKey> {
    let bytes: [u8; 32] = digits(text)?;
    XOnlyPublicKey::from_slice(&bytes).map_err(|_| "this is no key on Bitcoin: no point of the curve has it".to_owned())
}

/// Parses the id of a transaction.
pub(super) fn txid(text: &str) -> Parsed<Txid> {
    digits::<32>(text)?;
    text.parse().map_err(|_| "this is no id of a transaction".to_owned())
}

/// Parses an output, TXID:VOUT.
pub(super) fn outpoint(text: &str) -> Parsed<OutPoint> {
    let (id, vout) = text.split_once(':').ok_or("an output is TXID:VOUT, as in 5e...1f:0")?;
    let is_number = !vout.is_empty() && vout.bytes().all(|byte| byte.is_ascii_digit());
    let vout = vout.parse().ok().filter(|_| is_number);
    let vout = vout.ok_or("an output is TXID:VOUT, and VOUT its number in the transaction, from 0")?;
    Ok(OutPoint { txid: txid(id).map_err(|error| format!("an output is TXID:VOUT: of TXID {error}"))?, vout })
}

/// Parses a script.
pub(super) fn script(text: &str) -> Parsed<ScriptBuf> {
    if let Some(other) = text.chars().find(|character| !character.is_ascii_hexdigit()) {
        return Err(format!("a script is hexadecimal digits, and {other:?} is none"));
    }
    ScriptBuf::from_hex(text).map_err(|_| "a script has an even number of hexadecimal digits".to_owned())
}

/// How addresses of witness programs begin, on each network.
const PREFIXES: [&str; 3] = ["bc1", "tb1", "bcrt1"];

/// Parses an address, of whatever network.
pub(super) fn address(text: &str) -> Parsed<Address<NetworkUnchecked>> {
    text.parse().map_err(|_: ParseError| {
        let lower = text.to_lowercase();
        let is_segwit = PREFIXES.into_iter().any(|prefix| lower.starts_with(prefix));
        let is_checksum = match is_segwit {
            true => matches!(SegwitHrpstring::new(text), Err(SegwitHrpstringError::Checksum(_))),
            false => matches!(base58::decode_check(text), Err(base58::Error::IncorrectChecksum(_))),
        };
        match (is_checksum, is_segwit) {
            (true, _) => "its checksum does not match: it is mistyped, or not whole".to_owned(),
            (false, true) => "it is mistyped, or not whole: no address is like this".to_owned(),
            (false, false) => "this is no address on Bitcoin, such as bc1q..., 1... or bcrt1q...".to_owned(),
        }
    })
}

/// The address, if it is one of this network.
pub(super) fn of_network(address: &Address<NetworkUnchecked>, network: Network) -> super::failure::Result<Address> {
    if let Ok(address) = address.clone().require_network(network) {
        return Ok(address);
    }
    let others = NETWORKS.into_iter().filter(|other| address.is_valid_for_network(*other)).map(network_name);
    let others = others.collect::<Vec<_>>().join(" or ");
    let text = address.clone().assume_checked();
    let message = format!("{text} is an address of {others}, and one of {} is wanted", network_name(network));
    Err(Failure::new(Exit::Input, message).advise("give an address of the rollup's network"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADDRESS: &str = "bcrt1q6z64a43mjgkcq0ul2znwneq3spghrlau9slefp";

    #[test]
    fn digits_are_counted() {
        assert_eq!(digits::<4>("00fF0102"), Ok([0, 255, 1, 2]));
        for (text, told) in [
            ("", "8 hexadecimal digits are wanted, and there are 0"),
            ("0011223", "8 hexadecimal digits are wanted, and there are 7"),
            ("001122334", "8 hexadecimal digits are wanted, and there are 9"),
            ("0011223x", "8 hexadecimal digits are wanted, and 'x' is none"),
            ("-1", "8 hexadecimal digits are wanted, and '-' is none"),
            ("\u{fc}0112233", "8 hexadecimal digits are wanted, and '\u{fc}' is none"),
        ] {
            assert_eq!(digits::<4>(text), Err(told.to_owned()), "{text}");
        }
        let short = "0".repeat(63);
        for told in [owner(&short).err(), root(&short).err(), bitcoin_key(&short).err(), txid(&short).err()] {
            assert_eq!(told.as_deref(), Some("64 hexadecimal digits are wanted, and there are 63"));
        }
    }

    #[test]
    fn shares_are_finite_and_not_negative() {
        for (text, share) in [("0", 0.0), ("10", 10.0), ("1.5", 1.5), ("1e3", 1_000.0)] {
            assert_eq!(percent(text), Ok(share));
        }
        for text in ["nan", "NaN", "inf", "-inf", "infinity", "1e400", "-1e400", "-0", "-200", "", "abc", "10 %"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cells_and_outputs_are_told_by_their_form() {
        assert_eq!(cell("1073741823").map(CellIndex::get), Ok((1 << 30) - 1));
        for text in ["", "-1", "abc", "18446744073709551616", "1073741824", "\u{0663}"] {
            assert_eq!(cell(text), Err("a cell is a whole number below 2^30".to_owned()), "{text}");
        }
        let id = "5e".repeat(32);
        assert_eq!(outpoint(&format!("{id}:7")).map(|output| output.vout), Ok(7));
        for (text, told) in [
            (id.clone(), "TXID:VOUT, as in"),
            (format!("{id}:"), "its number in the transaction"),
            (format!("{id}:+1"), "its number in the transaction"),
            (format!("{id}:4294967296"), "its number in the transaction"),
            (format!("{}:0", &id[1..]), "64 hexadecimal digits are wanted, and there are 63"),
        ] {
            let error = outpoint(&text).expect_err("no output");
            assert!(error.contains(told), "{text}: {error}");
        }
        assert_eq!(script("6a0"), Err("a script has an even number of hexadecimal digits".to_owned()));
        assert_eq!(script("6a0x"), Err("a script is hexadecimal digits, and 'x' is none".to_owned()));
    }

    #[test]
    fn a_mistyped_address_is_told_by_its_checksum() {
        assert!(address(ADDRESS).is_ok());
        let mistyped = [ADDRESS.replace("slefp", "slefq"), "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3".to_owned()];
        for text in mistyped {
            let error = address(&text).expect_err("mistyped");
            assert!(error.contains("checksum does not match"), "{text}: {error}");
        }
        for text in [&ADDRESS[..30], "bcrt1q6z64a43mjgkcq0ul2znwneq3spghrlau9slefb"] {
            let error = address(text).expect_err("mistyped");
            assert!(error.contains("mistyped, or not whole"), "{text}: {error}");
        }
        for text in ["", "-1", "abc", "\u{fc}"] {
            let error = address(text).expect_err("no address");
            assert!(error.contains("no address on Bitcoin"), "{text}: {error}");
        }
    }

    #[test]
    fn an_address_of_another_network_is_told_with_its_own() {
        let address = address(ADDRESS).expect("an address");
        assert!(of_network(&address, Network::Regtest).is_ok());
        let failure = of_network(&address, Network::Bitcoin).expect_err("of regtest");
        assert!(
            failure.message().ends_with("is an address of regtest, and one of mainnet is wanted"),
            "{}",
            failure.message()
        );
        let test = super::address("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx").expect("an address");
        let failure = of_network(&test, Network::Regtest).expect_err("of test networks");
        assert!(
            failure.message().contains("of testnet or testnet4 or signet, and one of regtest"),
            "{}",
            failure.message()
        );
    }
}
