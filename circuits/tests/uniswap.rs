//! Uniswap's own library of its version 2 agrees with what a pool of ours gives to an order alone, to those who found
//! it and join it, and to shares that leave: to the unit, in 10,000 random cases.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    io::Write,
    path::Path,
    process::{Command, Stdio},
};
use taproof_circuits::exchange::{
    FoundError, LOCKED_SHARES, Parameters, RESERVE_END, Reserves, Session, Side, exit, found, join,
};

/// A pool and what is done to it.
struct Case {
    reserves: Reserves,
    /// What an order pays.
    amount: u64,
    shares: u64,
    /// What joins.
    joining: [u64; 2],
    /// The shares that leave.
    given: u64,
}

/// An integer from 1 to `most`, of any length, the shorter ones as often as the longer ones.
fn any_length(random: &mut ChaCha8Rng, most: u64) -> u64 {
    let length = random.gen_range(0..=most.ilog2());
    random.gen_range(1 << length..=most.min((2 << length) - 1))
}

impl Case {
    /// A case that a pool of ours can have: sums of less than 2^63, and shares up to the root of the product.
    fn random(random: &mut ChaCha8Rng) -> Self {
        loop {
            let (x, y) = (any_length(random, RESERVE_END - 1), any_length(random, RESERVE_END - 1));
            let reserves = Reserves::new(x, y).expect("from 1 to 2^63 - 1");
            let (room_x, room_y) = (RESERVE_END - 1 - x, RESERVE_END - 1 - y);
            let most = u64::try_from(reserves.product().isqrt()).expect("63 bits");
            if most <= LOCKED_SHARES || room_x.min(room_y) == 0 {
                continue;
            }
            let shares = any_length(random, most).max(LOCKED_SHARES + 1);
            let joining = [any_length(random, room_x), any_length(random, room_y)];
            let given = any_length(random, shares - LOCKED_SHARES);
            return Self { reserves, amount: any_length(random, room_x.min(room_y)), shares, joining, given };
        }
    }

    fn line(&self) -> String {
        let [dx, dy] = self.joining;
        let (x, y) = (self.reserves.x(), self.reserves.y());
        format!("{x} {y} {} {} {dx} {dy} {}\n", self.amount, self.shares, self.given)
    }

    /// What Uniswap's library is asked for, of ours: a fee of 30 parts of 10,000, a weight of 1, one order.
    fn answer(&self) -> [u128; 6] {
        let parameters = Parameters::new(30, 1, 1).expect("within bounds");
        let output = |side| {
            let (a, b) = if side == Side::X { (self.amount, 0) } else { (0, self.amount) };
            let session = Session::open(self.reserves, &parameters, a, b);
            session.fill(side, self.amount).expect("the session expects it").output.into()
        };
        let founded = match found(self.reserves) {
            Ok(founded) => founded.shares - LOCKED_SHARES,
            // Ours refuses a price of 2^48 and more, too, of which Uniswap knows nothing.
            Err(FoundError::Price(_)) => {
                u64::try_from(self.reserves.product().isqrt()).expect("63 bits") - LOCKED_SHARES
            }
            Err(error) => panic!("{error}"),
        };
        let [dx, dy] = self.joining;
        let joined = join(self.reserves, self.shares, dx, dy).expect("within bounds");
        let left = exit(self.reserves, self.shares, self.given).expect("the locked ones stay");
        let minted = u128::from(joined.minted);
        [output(Side::X), output(Side::Y), founded.into(), minted, left.x.quotient, left.y.quotient]
    }
}

/// Has the library answer each line.
fn ask(lines: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/uniswap");
    let missing = "run `cargo xtask test`, or `npm ci` in circuits/tests/uniswap";
    assert!(folder.join("node_modules/@uniswap/v2-sdk").is_dir(), "Uniswap's library is not installed: {missing}");
    let mut command = Command::new("node");
    let command = command.arg(folder.join("pair.cjs")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut node = command.spawn().unwrap_or_else(|error| panic!("node does not start ({error}): {missing}"));
    // It reads all before it writes.
    node.stdin.take().expect("piped").write_all(lines.as_bytes()).expect("node reads");
    let output = node.wait_with_output().expect("node ends");
    assert!(output.status.success(), "node fails");
    String::from_utf8(output.stdout).expect("digits")
}

#[test]
fn uniswap_s_library_agrees() {
    let mut random = ChaCha8Rng::seed_from_u64(1);
    let cases: Vec<_> = (0..10_000).map(|_| Case::random(&mut random)).collect();
    let answers = ask(&cases.iter().map(Case::line).collect::<String>());
    let answers: Vec<_> = answers.lines().collect();
    assert_eq!(answers.len(), cases.len());
    let mut zeros = [0; 6];
    for (case, answer) in cases.iter().zip(answers) {
        let expected: Vec<u128> = answer.split(' ').map(|number| number.parse().expect("digits")).collect();
        assert_eq!(case.answer().as_slice(), expected, "{}", case.line());
        zeros.iter_mut().zip(expected).for_each(|(zeros, number)| *zeros += u32::from(number == 0));
    }
    // Most cases are of amounts that count.
    assert!(zeros.iter().all(|zeros| *zeros < 5_000), "{zeros:?}");
}
