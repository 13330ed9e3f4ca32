// Makes first.zkey, to which nobody has contributed, circuit.zkey, to which somebody has, vk.json, the verifying key of the latter,
// zkey.json, the former as JSON, beacon.zkey, of which everybody knows the secret, and plonk.zkey, of another protocol,
// with its verifying key and a proof, from circuit.r1cs and witness.wtns in the current folder: what `snarkjs
// powersoftau`, `snarkjs zkey` and `snarkjs plonk` do, in one process.
const fs = require("fs");
const { curves, plonk, powersOfTau, zKey } = require("snarkjs");

const POWER = 4;

async function main() {
    const curve = await curves.getCurveFromName("bn128");
    await powersOfTau.newAccumulator(curve, POWER, "new.ptau");
    await powersOfTau.contribute("new.ptau", "tau.ptau", "test", "entropy");
    await powersOfTau.preparePhase2("tau.ptau", "final.ptau");
    await zKey.newZKey("circuit.r1cs", "final.ptau", "first.zkey");
    await zKey.contribute("first.zkey", "circuit.zkey", "test", "entropy");
    await zKey.beacon("first.zkey", "beacon.zkey", "test", "0102030405060708090a0b0c0d0e0f10", 10);
    await zKey.beacon("circuit.zkey", "final.zkey", "test", "0102030405060708090a0b0c0d0e0f10", 10);
    await plonk.setup("circuit.r1cs", "final.ptau", "plonk.zkey");
    const write = (name, value) => fs.writeFileSync(name, JSON.stringify(value, null, 1));
    write("vk.json", await zKey.exportVerificationKey("circuit.zkey"));
    write("zkey.json", await zKey.exportJson("circuit.zkey"));
    write("plonk_vk.json", await zKey.exportVerificationKey("plonk.zkey"));
    const { proof, publicSignals } = await plonk.prove("plonk.zkey", "witness.wtns");
    write("plonk_proof.json", proof);
    write("plonk_public.json", publicSignals);
}

main().then(
    () => process.exit(0),
    (error) => {
        console.log(error);
        process.exit(1);
    },
);
