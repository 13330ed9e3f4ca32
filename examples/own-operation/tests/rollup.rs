//! From `steps` to `follow` and `rebuild`. `TAPROOF_EXE` is the `taproof` of everybody else, who has neither operation;
//! without it, the one on the path.

use serde_json::Value;
use std::{env, ffi::OsString, fs, process::Command};

#[test]
fn a_rewarded_payment_goes_from_its_file_to_a_root_that_everybody_verifies() {
    let own = OsString::from(env!("CARGO_BIN_EXE_taproof-own-operation"));
    let others = env::var_os("TAPROOF_EXE").unwrap_or_else(|| "taproof".into());
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &OsString, arguments: &str| -> (bool, Value, String) {
        let arguments = arguments.split(' ');
        let output = Command::new(program).arg("--json").args(arguments).current_dir(folder.path()).output().unwrap();
        let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.success(), report, String::from_utf8(output.stderr).unwrap())
    };
    let done = |arguments: &str| {
        let (is_done, report, text) = run(&own, arguments);
        assert!(is_done, "{arguments}: {text}");
        report
    };
    done("wallet new");
    done("regtest mine 105");
    done("setup --depth 2 --slots 2 --deposit-slots 3 --withdraw-slots 1 --step-slots 4");
    for (index, amount) in [(0, 50_000), (1, 60_000), (2, 70_000)] {
        let keys = done(&format!("wallet keys --index {index}"));
        done(&format!("regtest deposit --owner {} --amount {amount}", keys["owners"][0]["owner"].as_str().unwrap()));
    }
    done("batch --reference-depth 1");
    // The shop, account 1, makes points in cell 3; account 2 pays it 5,000 sat and gets points for that.
    fs::write(folder.path().join("points.json"), include_str!("../points.json")).unwrap();
    fs::write(folder.path().join("purchase.json"), include_str!("../purchase.json")).unwrap();
    done("steps points.json --index 1 --add-to txs.json");
    done("steps purchase.json --index 2 --add-to txs.json");
    let told = done("tx decode txs.json").to_string();
    assert!(told.contains("owes 5000 sat to the shop of token 3, and mints its points for that"), "{told}");
    assert_eq!(done("batch --reference-depth 1 txs.json")["applied"], 2);
    for batch in [0, 1] {
        done(&format!("prove .taproof/batches/{batch}.batch"));
        done("anchor run --once");
        done("regtest mine 1");
    }
    let root = &done("follow")["root_verified"];
    assert_eq!((&done("rebuild")["root_rebuilt"], root.is_string()), (root, true));
    let cells = &done("account 2")["cells"];
    assert_eq!((&cells[0]["balance"], &cells[0]["second"]["balance"]), (&64_995.into(), &125.into()), "{cells}");
    // Everybody else verifies the same root, and says what he lacks to rebuild the state.
    assert_eq!(&run(&others, "follow").1["root_verified"], root);
    let (is_done, _, text) = run(&others, "rebuild");
    assert!(!is_done && text.contains("rules this release does not know"), "{text}");
}
