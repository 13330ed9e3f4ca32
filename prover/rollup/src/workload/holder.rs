//! Who pays and who is paid in a Bitcoin transaction.

use bitcoin::{
    OutPoint, PubkeyHash, Script, ScriptBuf, TxIn, WPubkeyHash, Witness,
    hashes::Hash,
    key::{Secp256k1, TapTweak, Verification},
    opcodes::all::{OP_PUSHNUM_1, OP_PUSHNUM_16, OP_PUSHNUM_NEG1},
    script::Instruction,
    taproot::{ControlBlock, TAPROOT_ANNEX_PREFIX, TapLeafHash, TapNodeHash},
};

/// Whom one account stands for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Holder {
    /// The operator, who collects the fees.
    Operator,
    /// Whoever can spend an output of this script.
    Script(ScriptBuf),
    /// Whoever spent this output, where its script cannot be told from the block.
    Outpoint(OutPoint),
    /// The subsidy and the fees of the block.
    Coinbase,
}

impl Holder {
    /// Encodes the holder, a tag of one byte first: what its key is derived from.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Operator => vec![0],
            Self::Script(script) => [&[1], script.as_bytes()].concat(),
            Self::Outpoint(outpoint) => [&[2], bitcoin::consensus::serialize(outpoint).as_slice()].concat(),
            Self::Coinbase => vec![3],
        }
    }
}

/// Writes the address where the script has one, otherwise the script's or the outpoint's usual form.
impl core::fmt::Display for Holder {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Operator => f.write_str("the operator"),
            Self::Script(script) => match bitcoin::Address::from_script(script, bitcoin::Network::Bitcoin) {
                Ok(address) => write!(f, "{address}"),
                Err(_) => write!(f, "script {script:x}"),
            },
            Self::Outpoint(outpoint) => write!(f, "spender of {outpoint}"),
            Self::Coinbase => f.write_str("coinbase"),
        }
    }
}

/// The script of the output that an input spends, as far as the input tells it.
///
/// An input shows what its output's script hashes: a key (P2PKH, P2WPKH), a script (P2SH, P2WSH) or a leaf and its
/// path (P2TR). It does not show a bare key or a key path's output key. The guess is by shape alone: no signature is
/// checked.
pub(super) fn spent_script<C: Verification>(secp: &Secp256k1<C>, input: &TxIn) -> Option<ScriptBuf> {
    if input.script_sig.is_empty() {
        return spent_witness_program(secp, &input.witness);
    }
    let pushes = pushes(&input.script_sig)?;
    match pushes.as_slice() {
        [program] if !input.witness.is_empty() => {
            let program = Script::from_bytes(program);
            program.is_witness_program().then(|| ScriptBuf::new_p2sh(&program.script_hash()))
        }
        // A lone signature spends a bare key.
        [] | [_] => None,
        [signature, key] if is_signature(signature) && is_key(key) => {
            Some(ScriptBuf::new_p2pkh(&PubkeyHash::hash(key)))
        }
        // Signatures to the end spend a bare multisig.
        [.., last] if last.is_empty() || is_signature(last) => None,
        [.., redeem_script] => Some(ScriptBuf::new_p2sh(&Script::from_bytes(redeem_script).script_hash())),
    }
}

fn spent_witness_program<C: Verification>(secp: &Secp256k1<C>, witness: &Witness) -> Option<ScriptBuf> {
    let mut items: Vec<&[u8]> = witness.iter().collect();
    if items.len() >= 2 && items.last().is_some_and(|item| item.first() == Some(&TAPROOT_ANNEX_PREFIX)) {
        items.pop();
    }
    match items.as_slice() {
        // The signature of a key path.
        [] | [_] => None,
        [signature, key] if is_signature(signature) && key.len() == 33 && is_key(key) => {
            Some(ScriptBuf::new_p2wpkh(&WPubkeyHash::hash(key)))
        }
        // No witness script begins with this byte: it is no valid opcode.
        [.., leaf, control] if control.first().is_some_and(|byte| byte & 0xfe == 0xc0) => {
            taproot_output_script(secp, leaf, control)
        }
        [.., witness_script] => Some(ScriptBuf::new_p2wsh(&Script::from_bytes(witness_script).wscript_hash())),
    }
}

/// The output script that a leaf and its control block commit to (BIP-341).
fn taproot_output_script<C: Verification>(secp: &Secp256k1<C>, leaf: &[u8], control: &[u8]) -> Option<ScriptBuf> {
    let control = ControlBlock::decode(control).ok()?;
    let leaf_hash = TapLeafHash::from_script(Script::from_bytes(leaf), control.leaf_version);
    let root = control
        .merkle_branch
        .as_slice()
        .iter()
        .fold(TapNodeHash::from(leaf_hash), |node, sibling| TapNodeHash::from_node_hashes(node, *sibling));
    let (output_key, parity) = control.internal_key.tap_tweak(secp, Some(root));
    (parity == control.output_key_parity).then(|| ScriptBuf::new_p2tr_tweaked(output_key))
}

/// The items that a script of pushes alone leaves on the stack; numbers become a placeholder that is no signature.
fn pushes(script: &Script) -> Option<Vec<&[u8]>> {
    script
        .instructions()
        .map(|instruction| match instruction {
            Ok(Instruction::PushBytes(bytes)) => Some(bytes.as_bytes()),
            Ok(Instruction::Op(op)) => {
                let code = op.to_u8();
                let number = (OP_PUSHNUM_1.to_u8()..=OP_PUSHNUM_16.to_u8()).contains(&code) || op == OP_PUSHNUM_NEG1;
                number.then_some(&[][..])
            }
            Err(_) => None,
        })
        .collect()
}

/// Whether bytes have the shape of an ECDSA signature in DER with a sighash byte.
fn is_signature(bytes: &[u8]) -> bool {
    (9..=73).contains(&bytes.len()) && bytes[0] == 0x30 && usize::from(bytes[1]) == bytes.len() - 3
}

/// Whether bytes have the shape of a public key of ECDSA.
fn is_key(bytes: &[u8]) -> bool {
    match bytes.first() {
        Some(2 | 3) => bytes.len() == 33,
        Some(4 | 6 | 7) => bytes.len() == 65,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::{Block, Sequence, consensus::deserialize, script::Builder, script::PushBytesBuf};
    use std::collections::HashMap;
    use taproof_fixtures::MAINNET_BLOCK_702861;

    fn input(script_sig: ScriptBuf, items: &[&[u8]]) -> TxIn {
        TxIn { script_sig, witness: Witness::from_slice(items), sequence: Sequence::MAX, ..TxIn::default() }
    }

    fn script_of(items: &[&[u8]]) -> ScriptBuf {
        let push = |builder: Builder, item: &&[u8]| builder.push_slice(PushBytesBuf::try_from(item.to_vec()).unwrap());
        items.iter().fold(Builder::new(), push).into_script()
    }

    fn signature() -> Vec<u8> {
        let mut bytes = vec![0; 72];
        bytes[..2].copy_from_slice(&[0x30, 69]);
        bytes
    }

    #[test]
    fn guesses_agree_with_the_outputs_that_the_block_itself_holds() {
        let block: Block = deserialize(MAINNET_BLOCK_702861).unwrap();
        let secp = Secp256k1::verification_only();
        let outputs: HashMap<OutPoint, &ScriptBuf> = block
            .txdata
            .iter()
            .flat_map(|tx| {
                let txid = tx.compute_txid();
                (0u32..).zip(&tx.output).map(move |(vout, output)| (OutPoint { txid, vout }, &output.script_pubkey))
            })
            .collect();
        let mut checked = 0;
        for input in block.txdata.iter().flat_map(|tx| &tx.input) {
            if let (Some(script), Some(guess)) = (outputs.get(&input.previous_output), spent_script(&secp, input)) {
                assert_eq!(*script, &guess);
                checked += 1;
            }
        }
        assert!(checked > 100, "the block spends {checked} of its own outputs");
    }

    #[test]
    fn shapes_that_hide_the_script_are_told_from_those_that_show_it() {
        let secp = Secp256k1::verification_only();
        let (signature, key) = (signature(), [2; 33]);
        let none = [
            input(script_of(&[&signature]), &[]),
            input(script_of(&[&[], &signature, &signature]), &[]),
            input(ScriptBuf::new(), &[&[1; 64]]),
            input(ScriptBuf::from(vec![0x4c]), &[]),
            input(ScriptBuf::new(), &[]),
        ];
        for input in none {
            assert_eq!(spent_script(&secp, &input), None, "{input:?}");
        }
        let p2pkh = spent_script(&secp, &input(script_of(&[&signature, &key]), &[]));
        assert!(p2pkh.is_some_and(|script| script.is_p2pkh()));
        let p2sh = spent_script(&secp, &input(script_of(&[&[], &signature, &[0x51, 0xae]]), &[]));
        assert!(p2sh.is_some_and(|script| script.is_p2sh()));
        let p2wpkh = spent_script(&secp, &input(ScriptBuf::new(), &[&signature, &key]));
        assert!(p2wpkh.as_ref().is_some_and(|script| script.is_p2wpkh()));
        let nested = spent_script(&secp, &input(script_of(&[p2wpkh.unwrap().as_bytes()]), &[&signature, &key]));
        assert!(nested.is_some_and(|script| script.is_p2sh()));
        let p2wsh = spent_script(&secp, &input(ScriptBuf::new(), &[&[], &signature, &[0x51]]));
        assert!(p2wsh.is_some_and(|script| script.is_p2wsh()));
    }

    #[test]
    fn a_taproot_leaf_shows_its_output_key() {
        let secp = Secp256k1::new();
        let internal = bitcoin::secp256k1::Keypair::from_seckey_slice(&secp, &[7; 32]).unwrap().x_only_public_key().0;
        let leaf = ScriptBuf::from(vec![0x51]);
        let builder = bitcoin::taproot::TaprootBuilder::new().add_leaf(0, leaf.clone()).unwrap();
        let spend = builder.finalize(&secp, internal).unwrap();
        let version = bitcoin::taproot::LeafVersion::TapScript;
        let control = spend.control_block(&(leaf.clone(), version)).unwrap().serialize();
        let expected = ScriptBuf::new_p2tr_tweaked(spend.output_key());
        let found = spent_script(&secp, &input(ScriptBuf::new(), &[leaf.as_bytes(), &control]));
        assert_eq!(found, Some(expected.clone()));
        let with_annex = input(ScriptBuf::new(), &[leaf.as_bytes(), &control, &[TAPROOT_ANNEX_PREFIX, 1]]);
        assert_eq!(spent_script(&secp, &with_annex), Some(expected));
        let mut wrong_parity = control;
        wrong_parity[0] ^= 1;
        assert_eq!(spent_script(&secp, &input(ScriptBuf::new(), &[leaf.as_bytes(), &wrong_parity])), None);
    }
}
