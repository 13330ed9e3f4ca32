//! Development keys: a Groth16 setup by one party, who could forge proofs if it kept what this module forgets.
//!
//! For a circuit with matrices A, B, C over m wires, l of them public, the domain has n >= rows + l + 1 roots. One row
//! per public wire i is appended to A alone, with a single one at wire i, so that the public wires' polynomials are
//! independent. With trapdoors tau, alpha, beta, gamma, delta and A_i, B_i, C_i the polynomials that take the matrices'
//! column i on the domain, evaluated at tau, the queries are
//!
//! - A: A_i in G1 over the wires that occur in A; B: B_i in G1 and G2 over the wires that occur in B. Other provers
//!   blind with those in G1, ours does not.
//! - IC: (beta A_i + alpha B_i + C_i) / gamma over the public wires; L: the same over delta for all others
//! - H: L_j / delta for the Lagrange polynomials L_j of the domain of size 2n that belong to its odd coset. The prover
//!   then needs the values of AB - C on that coset and divides by nothing: this is the reduction of circom and snarkjs.

mod qap;
#[cfg(test)]
mod tests;

use crate::{
    matrices::MatricesBuf,
    proving_key::{Circuit, Counts, FixedPoints, ProvingKey},
};
use ark_bn254::{Fr, G1Affine, G2Affine};
use ark_ec::AffineRepr;
use ark_ff::{Field, One, UniformRand, Zero};
use bitcoin::Network;
use rand::{CryptoRng, RngCore, SeedableRng, rngs::OsRng};
use rand_chacha::ChaCha20Rng;
use rayon::prelude::*;
use taproof_arith::{Domain, G1, G2, Point, batch_mul};
use taproof_base::{
    network_name::network_name,
    progress::{Progress, Work},
};
use taproof_circuits::cs::Shape;
use taproof_verifier::{
    groth16::{KeyError, VerifyingKey},
    statement::CircuitId,
};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Where a setup's secrets come from.
pub enum Randomness {
    /// The operating system.
    Os,
    /// A seed, from which anyone who knows it can forge proofs: for tests.
    Seed([u8; 32]),
}

/// What a setup is for, which decides whether it may run at all.
pub struct SetupOptions {
    /// The network whose rollup will use the keys.
    pub network: Network,
    /// Allows keys made by one party outside test networks. Keys from a seed are refused there even so.
    pub allow_outside_test_networks: bool,
    /// Where the secrets come from.
    pub randomness: Randomness,
}

/// Why there are no keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// One party's keys outside test networks need an explicit permission.
    #[error(
        "keys made by one party could be used to forge proofs, and {} is no test network: run a ceremony, or allow it \
         explicitly",
        network_name(*.0)
    )]
    NotATestNetwork(Network),
    /// A seed is no secret.
    #[error("keys from a seed are for tests, and {} is no test network", network_name(*.0))]
    SeedOutsideTestNetworks(Network),
    /// The field has too few roots of unity.
    #[error("{rows} rows are too many: the field's largest domain has 2^{log_size_max} roots")]
    TooManyRows {
        /// The rows of the circuit with those of its public wires.
        rows: usize,
        /// The largest domain.
        log_size_max: u32,
    },
    /// The verifying key is degenerate, which no circuit of ours and no random trapdoor brings about.
    #[error("the verifying key is unusable: {0}")]
    VerifyingKey(#[from] KeyError),
}

/// The wires whose queries IC, not L, holds: the constant one and the public input.
pub const PUBLIC_WIRES: usize = 2;

/// The smallest domain for a circuit's rows and those of its public wires.
pub(crate) fn domain_for(row_count: usize) -> Option<Domain> {
    Domain::new(row_count.checked_add(PUBLIC_WIRES)?)
}

/// Makes the keys of a circuit.
///
/// # Errors
/// Each of [`SetupError`].
pub fn generate(
    shape: &Shape,
    circuit: CircuitId,
    options: &SetupOptions,
    progress: &dyn Progress,
) -> Result<ProvingKey, SetupError> {
    let is_test_network = options.network != Network::Bitcoin;
    let mut rng: Box<dyn CryptoRngCore> = match &options.randomness {
        Randomness::Seed(_) if !is_test_network => {
            return Err(SetupError::SeedOutsideTestNetworks(options.network));
        }
        _ if !is_test_network && !options.allow_outside_test_networks => {
            return Err(SetupError::NotATestNetwork(options.network));
        }
        Randomness::Seed(seed) => Box::new(ChaCha20Rng::from_seed(*seed)),
        Randomness::Os => Box::new(OsRng),
    };
    let rows = shape.row_count();
    let domain = domain_for(rows).ok_or(SetupError::TooManyRows { rows, log_size_max: Domain::LOG_SIZE_MAX })?;
    let trapdoor = Trapdoor::draw(&mut *rng, &domain);
    generate_with(shape, circuit, &domain, &trapdoor, progress)
}

/// A random number generator that is fit for secrets.
trait CryptoRngCore: RngCore + CryptoRng {}

impl<R: RngCore + CryptoRng> CryptoRngCore for R {}

/// The secrets of a setup, overwritten when dropped.
#[derive(Zeroize, ZeroizeOnDrop)]
struct Trapdoor {
    tau: Fr,
    alpha: Fr,
    beta: Fr,
    gamma: Fr,
    delta: Fr,
}

impl Trapdoor {
    /// Draws until the secrets are usable, which all but one in about 2^225 are.
    fn draw(rng: &mut (impl RngCore + CryptoRng + ?Sized), domain: &Domain) -> Self {
        loop {
            let [tau, alpha, beta, gamma, delta] = core::array::from_fn(|_| Fr::rand(rng));
            let trapdoor = Self { tau, alpha, beta, gamma, delta };
            if trapdoor.is_usable(domain) {
                return trapdoor;
            }
        }
    }

    /// No secret is zero, tau is no root of the domains of the queries, and gamma is neither delta nor its negative.
    fn is_usable(&self, domain: &Domain) -> bool {
        [self.alpha, self.beta, self.gamma, self.delta].iter().all(|secret| !secret.is_zero())
            && !self.tau.is_zero()
            && !self.tau.pow([2 * domain.size() as u64]).is_one()
            && self.gamma.square() != self.delta.square()
    }
}

fn generate_with(
    shape: &Shape,
    circuit: CircuitId,
    domain: &Domain,
    trapdoor: &Trapdoor,
    progress: &dyn Progress,
) -> Result<ProvingKey, SetupError> {
    let lagrange = Zeroizing::new(domain.lagrange_at(trapdoor.tau).expect("tau is no root of the domain"));
    let qap = qap::Columns::evaluate(shape, &lagrange);
    drop(lagrange);
    let (gamma_inverse, delta_inverse) = trapdoor.inverses();
    let mut joined = Zeroizing::new(qap.joined(trapdoor.alpha, trapdoor.beta));
    let (public, private) = joined.split_at_mut(PUBLIC_WIRES);
    public.iter_mut().for_each(|value| *value *= gamma_inverse);
    private.par_iter_mut().for_each(|value| *value *= delta_inverse);
    let mut h = Zeroizing::new(domain.odd_lagrange_at(trapdoor.tau).expect("tau is no root of the double domain"));
    h.par_iter_mut().for_each(|value| *value *= delta_inverse);
    let (a_wires, a) = qap::occurring(&qap.a);
    let (b_wires, b) = qap::occurring(&qap.b);
    drop(qap);

    let scalars_g1: [&[Fr]; 6] = [&[trapdoor.alpha, trapdoor.beta, trapdoor.delta], public, &a, &b, private, &h];
    let scalars_g2: [&[Fr]; 2] = [&[trapdoor.beta, trapdoor.gamma, trapdoor.delta], &b];
    let total = |scalars: &[&[Fr]]| scalars.iter().map(|scalars| scalars.len() as u64).sum::<u64>();
    let work = &Work::new(total(&scalars_g1) + G2_COST * total(&scalars_g2), progress);
    let advance = |cost: u64| move |products: usize| work.advance(cost * products as u64);
    let [fixed_g1, ic, a, b_g1, l, h] = batch_mul::<G1, _>(&G1Affine::generator(), scalars_g1, &advance(1));
    let [fixed_g2, b_g2] = batch_mul::<G2, _>(&G2Affine::generator(), scalars_g2, &advance(G2_COST));
    let [alpha, beta_g1, delta_g1] = fixed_g1[..].try_into().expect("three products");
    let [beta, gamma, delta] = fixed_g2[..].try_into().expect("three products");
    let affine_ic: Vec<G1Affine> = ic.iter().map(G1::to_affine).collect();
    VerifyingKey::new(alpha.to_affine(), beta.to_affine(), gamma.to_affine(), delta.to_affine(), &affine_ic)?;
    let count = |n: usize| u32::try_from(n).expect("a circuit has fewer than 2^32 wires and rows");
    let [wires, rows] = [shape.wire_count(), shape.row_count()].map(count);
    Ok(ProvingKey {
        circuit: Circuit::Own(circuit),
        matrix_hash: shape.matrix_hash(),
        counts: Counts::new(wires, PUBLIC_WIRES as u32, rows, domain.log_size())
            .expect("the domain is one for the circuit's rows and public wires"),
        points: FixedPoints { alpha, beta_g1, delta_g1, beta, gamma, delta },
        beacons_only: false,
        ic,
        a_wires,
        a,
        b_wires,
        b_g1,
        b_g2,
        l,
        h,
        matrices: MatricesBuf::default(),
    })
}

impl Trapdoor {
    fn inverses(&self) -> (Fr, Fr) {
        let inverse = |secret: &Fr| secret.inverse().expect("no secret is zero");
        (inverse(&self.gamma), inverse(&self.delta))
    }
}

/// How much longer a point of G2 takes than one of G1, for the progress.
const G2_COST: u64 = 3;
