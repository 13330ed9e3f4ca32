use super::*;
use bitcoin::hashes::Hash;
use std::{
    path::{Path, PathBuf},
    process::Command,
};
use taproof_bitcoin::{
    bridge::watch::BridgeWatch,
    chain_store::ChainStore,
    follow::FollowError,
    testing::toy_rollup::{FINAL_DEPTH_BLOCKS, ToyRollup},
};
use taproof_circuits::transaction::{Signed, Withdraw};
use taproof_verifier::{
    cell::{CellIndex, Token},
    evidence::ClaimRequest,
    exit::{Request, ScannedExit, ScannedRequest},
    record::Destination,
};

/// Follows a toy rollup to its tip, with the store in a folder.
fn follow(toy: &ToyRollup, folder: &Path) -> StoredFollower {
    let store = ChainStore::new(folder.join("chain.redb"), &toy.params, View::Full);
    let opened = StoredFollower::open(store, &toy.node, toy.params.clone(), toy.program.clone());
    let mut stored = opened.expect("the chain holds the start");
    stored.catch_up(&toy.node, |_, _| Ok::<(), FollowError>(())).expect("a steady source");
    stored
}

/// Two batches, of which `blocks_after` blocks more make the second deep, and a copy of the second that is refused.
fn overview(blocks_after: u32) -> Overview {
    let (mut toy, anchors) = ToyRollup::with_two_batches();
    let payload = taproof_verifier::payload::Payload::decode(anchors[1].payload(), toy.program.table());
    let payload = payload.expect("just anchored");
    let copy = toy.build_anchor(&payload);
    toy.mine(&[copy.commit().clone(), copy.reveal().clone()]);
    toy.node.mine(blocks_after).expect("valid");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (params, program) = (toy.params.clone(), toy.program.clone());
    let mut watch = BridgeWatch::start(&toy.node, params, program).expect("the chain holds the start");
    watch.catch_up(&toy.node).expect("a steady source");
    Overview::new(&follow(&toy, folder.path()), &[], Some(watch.scan())).expect("a store that was just written")
}

#[test]
fn an_overview_tells_what_is_final_and_what_is_not() {
    let fresh = overview(0);
    assert_eq!((fresh.batches, fresh.anchors.len(), fresh.refused.len()), (2, 2, 1));
    let states: Vec<_> = fresh.anchors.iter().map(|row| (row.batch, row.state.as_str(), row.depth_blocks)).collect();
    assert_eq!(states, [(0, "in block", Some(3)), (1, "in block", Some(2))]);
    assert_eq!((fresh.payouts_due, fresh.payouts_waiting, fresh.payouts_waiting_sat), (0, 1, 30_000));
    assert_eq!((fresh.deposits.credited, fresh.deposits.waiting), (5, 0));
    assert_eq!(fresh.anchors[1].root.as_ref(), Some(&fresh.root_verified));

    let settled = overview(FINAL_DEPTH_BLOCKS);
    assert!(settled.anchors.iter().all(|row| row.state == "final"));
    assert_eq!((settled.payouts_due, settled.payouts_due_sat, settled.payouts_waiting), (1, 30_000, 0));
    assert_eq!(settled.refused.len(), 1);
    let bridge = settled.bridge.expect("it was watched");
    assert_eq!((bridge.payouts_settled, bridge.unpaid_sat, bridge.faults.len()), (0, 30_000, 0));
    assert!(bridge.held_sat > 30_000);
    let rate = settled.anchors[1].sat_per_vb().expect("the commit stands in the same block");
    assert!((1.9..2.2).contains(&rate), "built at 2 sat/vB, shown at {rate}");
}

/// A browser, from `CHROMIUM` or the path.
fn browser() -> PathBuf {
    let named = std::env::var_os("CHROMIUM").map(PathBuf::from);
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let on_path = || {
        let names = ["chromium", "chromium-browser", "google-chrome"];
        let candidates = std::env::split_paths(&folders).flat_map(|folder| names.map(|name| folder.join(name)));
        candidates.into_iter().find(|candidate| candidate.is_file())
    };
    let found = named.or_else(on_path);
    found.expect(
        "no Chromium: install it, or name it by the environment variable CHROMIUM (`cargo xtask test` installs it)",
    )
}

#[test]
fn the_page_has_the_program_and_who_posts() {
    let mut overview = overview(0);
    let posting = |overview: &Overview| {
        let html = overview.to_html();
        let table = html.split_once("<table id=\"schedule\">").expect("the table is there").1;
        table.split_once("</table>").expect("the table ends").0.to_owned()
    };
    let open = posting(&overview);
    assert!(open.contains(&overview.upgrades.program_id) && open.contains("anchors count<"), "{open}");
    assert!(open.contains("none: nothing changes, ever"), "{open}");
    overview.upgrades.sequencers = vec!["cd".repeat(32)];
    let next = overview.height + 1;
    overview.upgrades.open_height = Some(next + 1);
    overview.upgrades.is_renounced = true;
    let announced = AnnouncedRow {
        number: 1,
        height: 99,
        program_id: Some("ef".repeat(32)),
        is_known: false,
        ends_batches: None,
        sequencers: None,
    };
    overview.upgrades.announced.push(announced);
    let closed = posting(&overview);
    let from = format!("from height {} on, if", next + 1);
    let expected = [&"cd".repeat(32), &*from, "from height 99 on: program efef", "not known", "renounced"];
    assert!(expected.iter().all(|part| closed.contains(*part)), "{closed}");
    // Once the next block is one, nobody has to wait any more.
    overview.upgrades.open_height = Some(next);
    let open = posting(&overview);
    assert!(open.contains(&format!("anchors count from the next block on, height {next}<")), "{open}");
    overview.upgrades.open_height = Some(next - 1);
    let open = posting(&overview);
    assert!(open.contains(&format!("anchors count since height {}<", next - 1)), "{open}");
}

#[test]
fn a_browser_shows_the_page_and_loads_nothing_else() {
    let overview = overview(FINAL_DEPTH_BLOCKS);
    let html = overview.to_html();
    for reference in ["http:", "https:", "src=", "href=", "@import", "url(", "<script"] {
        assert!(!html.contains(reference), "the page refers to something else: {reference}");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let page = folder.path().join("report.html");
    std::fs::write(&page, &html).expect("room for a page");
    let picture = folder.path().join("report.png");
    let run = |arguments: &[String], page: &Path| {
        let mut command = Command::new(browser());
        // Containers often run as root without the kernel's namespaces that the browser's sandbox wants.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
        ]);
        command.arg(format!("--user-data-dir={}", folder.path().join("profile").display()));
        let output = command.args(arguments).arg(format!("file://{}", page.display())).output();
        let output = output.expect("the browser starts");
        let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        assert!(output.status.success(), "{stderr}");
        assert!(!stderr.contains("CONSOLE"), "the page reports an error: {stderr}");
        stdout
    };
    let dom = run(&["--dump-dom".to_owned()], &page);
    let (_, anchors) = dom.split_once("id=\"anchors\"").expect("a table of anchors");
    let (anchors, rest) = anchors.split_once("</table>").expect("the table ends");
    assert_eq!(anchors.matches("<tr>").count(), 1 + overview.anchors.len());
    assert!(dom.contains("payouts settled") && dom.contains("30\u{202f}000 sat unpaid"), "{dom}");
    assert!(dom.contains(&format!("title=\"{}\"", overview.root_verified)));
    assert_eq!(dom.matches("<rect class=\"bar").count(), overview.anchors.len());
    assert!(rest.contains(&overview.refused[0].reason));

    run(&[format!("--screenshot={}", picture.display()), "--window-size=1200,900".to_owned()], &page);
    let picture = std::fs::read(&picture).expect("the browser drew the page");
    assert!(picture.starts_with(b"\x89PNG") && picture.len() > 20_000, "a page with text on it");

    // Nothing is wider than the screen, down to that of a telephone, and no hash takes more than its line.
    for width in [320, 400, 700, 1_000, 1_400] {
        let measure = folder.path().join("measure.html");
        let script = "const d=f.contentDocument,h=[...d.querySelectorAll('code.hash')];\
            document.title=[d.documentElement.scrollWidth,h.length,\
            Math.max(...h.map(c=>c.offsetHeight/parseFloat(getComputedStyle(c).fontSize)))].join(' ')";
        let escaped = html.replace('&', "&amp;").replace('"', "&quot;");
        let frame = format!(
            "<!doctype html><title></title><iframe id=f style=\"width:{width}px;border:0\" srcdoc=\"{escaped}\" \
             onload=\"{script}\"></iframe>"
        );
        std::fs::write(&measure, frame).expect("room for a page");
        let dom = run(&["--dump-dom".to_owned(), "--window-size=1600,900".to_owned()], &measure);
        let title = dom.split_once("<title>").and_then(|(_, rest)| rest.split_once("</title>")).expect("a title").0;
        let [wide, hashes, lines] =
            title.split(' ').map(|number| number.parse().expect("a number")).collect::<Vec<f64>>()[..]
        else {
            panic!("three numbers: {title}")
        };
        assert!(wide <= f64::from(width), "{wide} of {width} pixels");
        assert!(hashes as usize >= 2 * overview.anchors.len() && lines < 2.0, "{hashes} hashes, {lines} lines");
    }
}

#[test]
fn claim_requests_are_listed_as_exit_requests_are() {
    let (toy, _) = ToyRollup::with_two_batches();
    let exit = {
        let (chain_id, token, destination) = (toy.params.chain_id(), Token::BITCOIN, Destination::P2wpkh([6; 20]));
        let body = Withdraw { chain_id, token, from: toy.cell(1), nonce: 0, amount: 1_000, fee: 0, destination };
        Signed::sign(body, &toy.owner(1)).demand(*toy.owner(1).public()).expect("bitcoin")
    };
    let claim = |cell: CellIndex| ClaimRequest { cell, secret: [7; 32], height_blocks: 150 };
    let outside = CellIndex::new(1 << 20).expect("small");
    let requests: [Request; 3] = [exit.into(), claim(toy.cell(1)).into(), claim(outside).into()];
    let scanned: Vec<ScannedRequest> = (0..)
        .zip(requests)
        .map(|(index, request)| ScannedRequest { index, height: 150, txid: Txid::all_zeros(), vout: 3, request })
        .collect();
    let mut rows = ClaimRow::waiting(scanned.iter(), &toy.params);
    let due_height = toy.params.due_height(150);
    let listed: Vec<_> = rows.iter().map(|row| (row.index, row.cell, row.output.vout, row.due_height)).collect();
    assert_eq!(listed, [(1, toy.cell(1).get(), 3, due_height), (2, 1 << 20, 3, due_height)]);
    let told = rows[0].to_string();
    assert!(told.ends_with(&format!("every anchor from height {due_height} on must serve or refute it")), "{told}");
    // No cell here is a lock.
    ClaimRow::judge(&mut rows, &toy.state);
    assert!(rows.iter().all(|row| row.is_servable == Some(false)), "{rows:?}");
    assert!(rows.iter().all(|row| row.to_string().ends_with("the next batch refutes it")), "{rows:?}");

    let mut overview = overview(0);
    assert_eq!(overview.claims, []);
    overview.claims = rows;
    let json = serde_json::to_value(&overview).expect("plain data");
    assert_eq!((&json["claims"][0]["index"], &json["claims"][0]["secret"]), (&1.into(), &"07".repeat(32).into()));
    let page = overview.to_html();
    let tile = format!("<dt>claim requests waiting</dt><dd>2<small>due from height {due_height} on</small>");
    assert!(page.contains(&tile), "{page}");
}

#[test]
fn exit_requests_that_no_account_can_serve_are_told_as_that() {
    let (toy, _) = ToyRollup::with_two_batches();
    let demand = |owner: u32, from: CellIndex, nonce: u32, amount: u64| {
        let (chain_id, token, destination) = (toy.params.chain_id(), Token::BITCOIN, Destination::P2wpkh([6; 20]));
        let body = Withdraw { chain_id, token, from, nonce, amount, fee: 0, destination };
        let key = toy.owner(owner);
        Signed::sign(body, &key).demand(*key.public()).expect("bitcoin")
    };
    let cell = toy.cell(1);
    let account = toy.state.account(cell).expect("it has one");
    let (nonce, balance) = (account.nonce, account.balance);
    assert!(nonce > 0, "it has paid before");
    let outside = CellIndex::new(1 << 20).expect("small");
    let requests = [
        demand(1, cell, nonce - 1, 1_000),
        demand(1, cell, nonce, balance + 1),
        demand(1, cell, nonce, 1_000),
        demand(1, cell, nonce + 1, 1_000),
        demand(2, cell, nonce, 1_000),
        demand(2, outside, 0, 1_000),
        demand(2, toy.cell(3), 0, 1_000),
    ];
    let exits: Vec<ScannedExit> = (0..)
        .zip(requests)
        .map(|(index, request)| ScannedExit { index, height: 150, txid: Txid::all_zeros(), vout: 0, request })
        .collect();
    let mut rows = ExitRow::waiting(exits.into_iter(), &toy.params, None);
    assert!(rows.iter().all(|row| row.is_servable.is_none() && row.to_string().contains("from height")));
    ExitRow::judge(&mut rows, &toy.state);
    let judged: Vec<Option<bool>> = rows.iter().map(|row| row.is_servable).collect();
    assert_eq!(judged, [Some(false), Some(false), Some(true), None, None, Some(false), Some(false)]);
    for row in rows {
        let (told, is_refuted) = (row.to_string(), row.is_servable == Some(false));
        assert_eq!(
            (told.contains("cannot be served"), told.contains("from height")),
            (is_refuted, !is_refuted),
            "{told}"
        );
    }
}
