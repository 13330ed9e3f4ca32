// Signs a PSBT with a library of JavaScript: sign.mjs LIBRARY SEED PATH IN OUT. The seed is hexadecimal, the files are binary; what comes
// out is finalised by the libraries whose names end so, and in base64 by bitcoinjs, as its users pass it on.

import * as ecc from "@bitcoinerlab/secp256k1";
import { HDKey } from "@scure/bip32";
import { Transaction } from "@scure/btc-signer";
import { BIP32Factory } from "bip32";
import { Psbt, crypto, initEccLib, networks } from "bitcoinjs-lib";
import { readFileSync, writeFileSync } from "node:fs";

const [library, seed, path, source, target] = process.argv.slice(2);
const psbt = new Uint8Array(readFileSync(source));

function scure(isFinal) {
  const transaction = Transaction.fromPSBT(psbt, { allowUnknownOutputs: true });
  transaction.sign(HDKey.fromMasterSeed(Buffer.from(seed, "hex")).derive(path).privateKey);
  if (isFinal) transaction.finalize();
  return transaction.toPSBT();
}

function bitcoinjs(isFinal) {
  initEccLib(ecc);
  const key = BIP32Factory(ecc).fromSeed(Buffer.from(seed, "hex"), networks.regtest).derivePath(path);
  const signer = key.tweak(crypto.taggedHash("TapTweak", key.publicKey.subarray(1)));
  const transaction = Psbt.fromBuffer(psbt, { network: networks.regtest });
  transaction.signAllInputs(signer);
  if (isFinal) transaction.finalizeAllInputs();
  return transaction.toBase64();
}

// A leaf is signed by the key as it is.
function bitcoinjsLeaf() {
  initEccLib(ecc);
  const key = BIP32Factory(ecc).fromSeed(Buffer.from(seed, "hex"), networks.regtest).derivePath(path);
  return Psbt.fromBuffer(psbt, { network: networks.regtest }).signAllInputs(key).toBase64();
}

const libraries = {
  scure: () => scure(false),
  "scure-final": () => scure(true),
  bitcoinjs: () => bitcoinjs(false),
  "bitcoinjs-final": () => bitcoinjs(true),
  "bitcoinjs-leaf": bitcoinjsLeaf,
};
writeFileSync(target, libraries[library]());
