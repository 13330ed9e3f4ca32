//! Products of field elements: by `mulx` and two carry chains (`adcx`, `adox`) on x86-64 processors that have them, by
//! ark-ff elsewhere. Both give the reduced product in Montgomery form.

use ark_bn254::{Fq, Fq2, Fr};
use ark_ff::{AdditiveGroup, Field};
use taproof_verifier::field::inverse_modulo;

/// A field whose elements are multiplied in bulk.
pub trait Multiply: Field {
    /// The product.
    fn times(&self, other: &Self) -> Self;

    /// The square.
    fn squared(&self) -> Self {
        self.times(self)
    }

    /// The inverse, or `None` for zero.
    fn inverted(&self) -> Option<Self>;
}

macro_rules! prime_field {
    ($field:ty) => {
        impl Multiply for $field {
            #[inline(always)]
            #[allow(unsafe_code)]
            fn times(&self, other: &Self) -> Self {
                #[cfg(target_arch = "x86_64")]
                if carry_chains::are_there() {
                    use ark_ff::{BigInt, MontConfig, PrimeField};
                    const MODULUS: [u64; 4] = <$field as PrimeField>::MODULUS.0;
                    const INVERSE: u64 = <carry_chains::ConfigOf<$field> as MontConfig<4>>::INV;
                    // SAFETY: the processor has the instructions.
                    let product = unsafe { carry_chains::multiply(&self.0.0, &other.0.0, &MODULUS, INVERSE) };
                    return Self::new_unchecked(BigInt::new(product));
                }
                *self * other
            }

            fn inverted(&self) -> Option<Self> {
                if *self == <Self as AdditiveGroup>::ZERO {
                    return None;
                }
                // The words are those of x R, so the inverse's of 1 / (x R), which as an element is 1 / (x R^2).
                let inverse = inverse_modulo(&self.0.0, &<$field as ark_ff::PrimeField>::MODULUS.0);
                let radix = Self::new_unchecked(<$field>::R2);
                Some(Self::new_unchecked(ark_ff::BigInt::new(inverse)).times(&radix).times(&radix))
            }
        }
    };
}

prime_field!(Fq);
prime_field!(Fr);

impl Multiply for Fq2 {
    /// By Karatsuba's method; u^2 = -1.
    #[inline(always)]
    fn times(&self, other: &Self) -> Self {
        let (low, high) = (self.c0.times(&other.c0), self.c1.times(&other.c1));
        let sums = (self.c0 + self.c1).times(&(other.c0 + other.c1));
        Self::new(low - high, sums - low - high)
    }

    #[inline(always)]
    fn squared(&self) -> Self {
        let low = (self.c0 + self.c1).times(&(self.c0 - self.c1));
        let half = self.c0.times(&self.c1);
        Self::new(low, half + half)
    }

    /// The conjugate over the norm.
    fn inverted(&self) -> Option<Self> {
        let norm = (self.c0.squared() + self.c1.squared()).inverted()?;
        Some(Self::new(self.c0.times(&norm), -self.c1.times(&norm)))
    }
}

#[cfg(target_arch = "x86_64")]
mod carry_chains {
    use ark_ff::{Fp, MontBackend};
    use core::arch::asm;

    /// The configuration of a prime field of four limbs.
    pub(super) type ConfigOf<F> = <F as HasConfig>::Config;

    pub(super) trait HasConfig {
        type Config;
    }

    impl<T: ark_ff::MontConfig<4>> HasConfig for Fp<MontBackend<T, 4>, 4> {
        type Config = T;
    }

    /// Whether the processor has `mulx`, `adcx` and `adox`.
    #[inline(always)]
    pub(super) fn are_there() -> bool {
        std::arch::is_x86_feature_detected!("adx") && std::arch::is_x86_feature_detected!("bmi2")
    }

    /// t = t + x y_i, for the limb y_i at a byte offset: t of four limbs before, of five after.
    macro_rules! add_product {
        ($offset:literal) => {
            concat!(
                "mov rdx, [{y} + ",
                $offset,
                "]\n",
                "xor {z:e}, {z:e}\n",
                "mulx {t4}, {a}, [{x}]\n",
                "adox {t0}, {a}\n",
                "adcx {t1}, {t4}\n",
                "mulx {t4}, {a}, [{x} + 8]\n",
                "adox {t1}, {a}\n",
                "adcx {t2}, {t4}\n",
                "mulx {t4}, {a}, [{x} + 16]\n",
                "adox {t2}, {a}\n",
                "adcx {t3}, {t4}\n",
                "mulx {t4}, {a}, [{x} + 24]\n",
                "adox {t3}, {a}\n",
                "adcx {t4}, {z}\n",
                "adox {t4}, {z}\n",
            )
        };
    }

    /// t = (t + m modulus) / 2^64 with m = t0 inverse: t of five limbs before, of four after.
    macro_rules! reduce {
        () => {
            concat!(
                "mov rdx, {inverse}\n",
                "imul rdx, {t0}\n",
                "xor {z:e}, {z:e}\n",
                "mulx {b}, {a}, [{p}]\n",
                "adcx {a}, {t0}\n",
                "mov {t0}, {b}\n",
                "adcx {t0}, {t1}\n",
                "mulx {t1}, {a}, [{p} + 8]\n",
                "adox {t0}, {a}\n",
                "adcx {t1}, {t2}\n",
                "mulx {t2}, {a}, [{p} + 16]\n",
                "adox {t1}, {a}\n",
                "adcx {t2}, {t3}\n",
                "mulx {t3}, {a}, [{p} + 24]\n",
                "adox {t2}, {a}\n",
                "adcx {t3}, {z}\n",
                "adox {t3}, {t4}\n",
            )
        };
    }

    /// x y / 2^256 modulo `modulus`, for x and y below it, where the modulus is below 2^255 and `inverse` is -1 over
    /// its lowest limb: Montgomery's method limb by limb, in which no sum exceeds five limbs (gnark's no-carry
    /// variant).
    ///
    /// # Safety
    /// The processor must have the instructions: [`are_there`].
    #[inline(always)]
    #[allow(unsafe_code)]
    pub(super) unsafe fn multiply(x: &[u64; 4], y: &[u64; 4], modulus: &[u64; 4], inverse: u64) -> [u64; 4] {
        debug_assert!(are_there() && modulus[3] >> 63 == 0);
        let (mut t0, mut t1, mut t2, mut t3): (u64, u64, u64, u64);
        // SAFETY: the code reads the four limbs behind each of three pointers to arrays of four limbs, writes no
        // memory and leaves the stack alone; the caller has made sure of the instructions.
        unsafe {
            asm!(
                "mov rdx, [{y}]",
                "xor {z:e}, {z:e}",
                "mulx {t1}, {t0}, [{x}]",
                "mulx {t2}, {a}, [{x} + 8]",
                "adox {t1}, {a}",
                "mulx {t3}, {a}, [{x} + 16]",
                "adox {t2}, {a}",
                "mulx {t4}, {a}, [{x} + 24]",
                "adox {t3}, {a}",
                "adox {t4}, {z}",
                reduce!(),
                add_product!("8"),
                reduce!(),
                add_product!("16"),
                reduce!(),
                add_product!("24"),
                reduce!(),
                x = in(reg) x.as_ptr(),
                y = in(reg) y.as_ptr(),
                p = in(reg) modulus.as_ptr(),
                inverse = in(reg) inverse,
                t0 = out(reg) t0,
                t1 = out(reg) t1,
                t2 = out(reg) t2,
                t3 = out(reg) t3,
                t4 = out(reg) _,
                a = out(reg) _,
                b = out(reg) _,
                z = out(reg) _,
                out("rdx") _,
                options(pure, readonly, nostack),
            );
        }
        subtract_once([t0, t1, t2, t3], modulus)
    }

    /// Takes a number below twice the modulus below the modulus.
    #[inline(always)]
    fn subtract_once(number: [u64; 4], modulus: &[u64; 4]) -> [u64; 4] {
        let mut difference = [0; 4];
        let mut borrow = false;
        for i in 0..4 {
            let (partial, under) = number[i].overflowing_sub(modulus[i]);
            let (limb, under_again) = partial.overflowing_sub(u64::from(borrow));
            (difference[i], borrow) = (limb, under | under_again);
        }
        if borrow { number } else { difference }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn agrees<F: Multiply>() {
        let mut rng = rand_chacha::ChaCha20Rng::seed_from_u64(3);
        let two = F::ONE.double();
        // The largest elements, powers of two, and limbs of ones, in Montgomery form and out of it.
        let mut elements = vec![F::ZERO, F::ONE, -F::ONE, two, -two];
        for exponent in [63, 64, 65, 127, 128, 191, 192, 253, 254, 256, 512] {
            let power = two.pow([exponent]);
            elements.extend([power, -power, power - F::ONE, power.inverse().expect("no power of two is zero")]);
        }
        elements.extend((0..200).map(|_| F::rand(&mut rng)));
        for left in &elements {
            assert_eq!(left.squared(), left.square());
            assert_eq!(left.inverted(), left.inverse());
            for right in &elements {
                assert_eq!(left.times(right), *left * right, "{left} times {right}");
            }
        }
    }

    #[test]
    fn products_are_those_of_ark_ff() {
        agrees::<Fq>();
        agrees::<Fr>();
        agrees::<Fq2>();
    }
}
