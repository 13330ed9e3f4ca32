//! Vectors in AVX2 registers: numbers in nine limbs of 29 bits, multiplied by the product of two numbers of 32 bits.
#![allow(unsafe_code, reason = "vector instructions")]

use super::{
    Mask, Register, Task, Unit, Vector,
    field::{InLimbs, LIMBS_MAX, Modulus, carried, limb_mask},
};
use core::arch::{asm, x86_64::*};

/// Four words in a register.
///
/// Values exist only where the processor has AVX2: every function that makes one is called by kernels that are
/// compiled for it, and these are called only after [`are_there`].
#[derive(Clone, Copy)]
pub(crate) struct Avx2(__m256i);

/// Whether the processor has the instructions and the operating system keeps the registers.
pub(crate) fn are_there() -> bool {
    std::arch::is_x86_feature_detected!("avx2")
}

impl Unit for Avx2 {
    type Vector = Self;

    fn perform<T: Task>(task: T) -> T::Output {
        assert!(are_there(), "the processor has AVX2");
        // SAFETY: it has.
        unsafe { perform(task) }
    }
}

#[target_feature(enable = "avx2")]
fn perform<T: Task>(task: T) -> T::Output {
    task.run()
}

/// Calls an instruction, or a function of instructions.
macro_rules! instruction {
    ($call:expr) => {
        // SAFETY: a value of the type exists or is made here, so the processor has the instruction; it reads and
        // writes registers only.
        unsafe { $call }
    };
}

impl Register for Avx2 {
    const LANES: usize = 4;

    #[inline(always)]
    fn splat(word: u64) -> Self {
        Self(instruction!(_mm256_set1_epi64x(word.cast_signed())))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(instruction!(_mm256_add_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        Self(instruction!(_mm256_sub_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn and(self, other: Self) -> Self {
        Self(instruction!(_mm256_and_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        Self(instruction!(_mm256_or_si256(self.0, other.0)))
    }

    #[inline(always)]
    fn shl(self, bits: u32) -> Self {
        Self(instruction!(_mm256_sll_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed()))))
    }

    #[inline(always)]
    fn shr(self, bits: u32) -> Self {
        Self(instruction!(_mm256_srl_epi64(self.0, _mm_cvtsi32_si128(bits.cast_signed()))))
    }

    #[inline(always)]
    fn lookup(self, table: &[u64; 8]) -> Self {
        // The upper half of each word is zero, and so is the entry that it names.
        debug_assert!(table[0] == 0 && table.iter().all(|entry| entry >> 32 == 0));
        let [t0, t1, t2, t3, t4, t5, t6, t7] = *table;
        let table = instruction!(_mm256_setr_epi32(
            t0 as i32, t1 as i32, t2 as i32, t3 as i32, t4 as i32, t5 as i32, t6 as i32, t7 as i32
        ));
        Self(instruction!(_mm256_permutevar8x32_epi32(table, self.0)))
    }

    #[inline(always)]
    fn equal(self, other: Self) -> Mask {
        mask(instruction!(_mm256_cmpeq_epi64(self.0, other.0)))
    }

    #[inline(always)]
    fn at_most(self, other: Self) -> Mask {
        // Comparisons are of signed numbers.
        let sign = Self::splat(1 << 63);
        let (this, other) = (self.sub(sign), other.sub(sign));
        !mask(instruction!(_mm256_cmpgt_epi64(this.0, other.0))) & Self::ALL
    }

    #[inline(always)]
    fn replaced(self, mask: Mask, chosen: Self) -> Self {
        let bits = instruction!(_mm256_setr_epi64x(1, 2, 4, 8));
        let mask = Self::splat(mask.into()).and(Self(bits));
        Self(instruction!(_mm256_blendv_epi8(self.0, chosen.0, _mm256_cmpeq_epi64(mask.0, bits))))
    }

    #[inline(always)]
    fn load_rows(rows: &[&[u64; 8]]) -> [Self; 8] {
        let [r0, r1, r2, r3] = *rows else { panic!("a row for each lane") };
        let [[a0, b0], [a1, b1], [a2, b2], [a3, b3]] = [load_two(r0), load_two(r1), load_two(r2), load_two(r3)];
        let [v0, v1, v2, v3] = transpose([a0, a1, a2, a3]);
        let [v4, v5, v6, v7] = transpose([b0, b1, b2, b3]);
        [v0, v1, v2, v3, v4, v5, v6, v7]
    }

    #[inline(always)]
    fn store_rows(vectors: [Self; 8], rows: &mut [[u64; 8]]) {
        let [v0, v1, v2, v3, v4, v5, v6, v7] = vectors;
        let (low, high) = (transpose([v0, v1, v2, v3]), transpose([v4, v5, v6, v7]));
        assert_eq!(rows.len(), Self::LANES, "a row for each lane");
        for lane in 0..Self::LANES {
            let (first, second) = rows[lane].split_at_mut(4);
            low[lane].store(first);
            high[lane].store(second);
        }
    }

    #[inline(always)]
    fn load_quarters(rows: &[[u64; 4]]) -> [Self; 4] {
        let [a, b, c, d] = rows else { panic!("a row for each lane") };
        transpose([load(a), load(b), load(c), load(d)])
    }

    #[inline(always)]
    fn store_quarters(vectors: [Self; 4], rows: &mut [[u64; 4]]) {
        let vectors = transpose(vectors);
        assert_eq!(rows.len(), Self::LANES, "a row for each lane");
        for lane in 0..Self::LANES {
            vectors[lane].store(&mut rows[lane]);
        }
    }

    #[inline(always)]
    fn store(self, words: &mut [u64]) {
        let words: &mut [u64; 4] = words.try_into().expect("a word for each lane");
        // SAFETY: the reference is to the 32 bytes that are written, which need no alignment; a vector exists, so the
        // processor has the instruction.
        unsafe { _mm256_storeu_si256(words.as_mut_ptr().cast(), self.0) };
    }
}

#[inline(always)]
fn load(words: &[u64; 4]) -> Avx2 {
    // SAFETY: the reference is to the 32 bytes that are read, which need no alignment; the processor has the
    // instruction, as for any value of the type.
    Avx2(unsafe { _mm256_loadu_si256(words.as_ptr().cast()) })
}

#[inline(always)]
fn load_two(row: &[u64; 8]) -> [Avx2; 2] {
    let [a, b] = row.as_chunks().0 else { unreachable!("eight words are two times four") };
    [load(a), load(b)]
}

/// The lanes whose bits are all set, where the others' are all zero.
#[inline(always)]
fn mask(lanes: __m256i) -> Mask {
    instruction!(_mm256_movemask_pd(_mm256_castsi256_pd(lanes))).cast_unsigned()
}

/// Swaps rows and columns.
#[inline(always)]
fn transpose([a, b, c, d]: [Avx2; 4]) -> [Avx2; 4] {
    instruction!({
        let (ab_even, ab_odd) = (_mm256_unpacklo_epi64(a.0, b.0), _mm256_unpackhi_epi64(a.0, b.0));
        let (cd_even, cd_odd) = (_mm256_unpacklo_epi64(c.0, d.0), _mm256_unpackhi_epi64(c.0, d.0));
        [
            Avx2(_mm256_permute2x128_si256::<0x20>(ab_even, cd_even)),
            Avx2(_mm256_permute2x128_si256::<0x20>(ab_odd, cd_odd)),
            Avx2(_mm256_permute2x128_si256::<0x31>(ab_even, cd_even)),
            Avx2(_mm256_permute2x128_si256::<0x31>(ab_odd, cd_odd)),
        ]
    })
}

impl Vector for Avx2 {
    type Limbs = [Self; 9];
    const LIMBS: usize = 9;
    const LIMB_BITS: u32 = 29;

    #[inline(always)]
    fn zero() -> [Self; 9] {
        [Self::splat(0); 9]
    }

    /// A limb of 31 bits and a sign is the lower half of its word, and the upper half is nothing but the sign.
    #[inline(always)]
    fn carry(self) -> Self {
        if cfg!(debug_assertions) {
            let mut words = [0; 4];
            self.store(&mut words);
            assert!(words.iter().all(|word| i32::try_from(word.cast_signed()).is_ok()), "limbs are carried in time");
        }
        Self(instruction!(_mm256_srai_epi32::<29>(self.0)))
    }

    #[inline(always)]
    fn low_product(self, other: Self) -> Self {
        Self(instruction!(_mm256_mul_epu32(self.0, other.0))).and(Self::splat(limb_mask::<Self>()))
    }

    #[inline(always)]
    fn times<M: Modulus>(a: &[Self; 9], b: &[Self; 9]) -> [Self; 9] {
        instruction!(times::<M>(a, b))
    }

    #[inline(always)]
    fn squared<M: Modulus>(a: &[Self; 9]) -> [Self; 9] {
        instruction!(squared::<M>(a))
    }

    /// a0 b0 + a1 (11p - b1) and a0 b1 + a1 b0, each reduced once. Both are below 2^514 + 2^514.1 < 2^515.1, so the
    /// results are below 2^255.1 + p, which is below 2^257.
    #[inline(always)]
    fn times_in_extension<M: Modulus>([a0, a1]: [&[Self; 9]; 2], [b0, b1]: [&[Self; 9]; 2]) -> [[Self; 9]; 2] {
        let eleven_p: [u64; LIMBS_MAX] = const { InLimbs::<Self, M>::multiple(11) };
        let mut negative = *b1;
        for j in 0..9 {
            negative[j] = Self::splat(eleven_p[j]).sub(b1[j]);
        }
        let negative = carried::<Self>(negative);
        [outlined::sum_of_products::<M>([a0, a1], [b0, &negative]), outlined::sum_of_products::<M>([a0, a1], [b1, b0])]
    }
}

/// What a reduction reads: the limbs of p, then -1 / p modulo 2^29, in every lane.
#[repr(C, align(32))]
struct Divisor {
    p: [[u64; 4]; 9],
    factor: [u64; 4],
}

impl Divisor {
    const fn of<M: Modulus>() -> Self {
        let mut p = [[0; 4]; 9];
        let mut i = 0;
        while i < 9 {
            p[i] = [InLimbs::<Avx2, M>::P[i]; 4];
            i += 1;
        }
        Self { p, factor: [M::INVERSE.wrapping_neg() & limb_mask::<Avx2>(); 4] }
    }
}

/// The eight columns of a sum of products from the lowest that is not yet zero. Each is the sum of at most 45
/// products of limbs, those of twice a limb counted twice, so below 2^64.
type Columns = [__m256i; 8];

/// Adds a limb's multiples of columns 1 to 7, which lie in the registers a1 to a7.
macro_rules! add_multiples {
    ($limb:literal, $of:literal) => {
        concat!(
            add_multiples!(@ "u", $limb, $of, "1"),
            add_multiples!(@ "t", $limb, $of, "2"),
            add_multiples!(@ "u", $limb, $of, "3"),
            add_multiples!(@ "t", $limb, $of, "4"),
            add_multiples!(@ "u", $limb, $of, "5"),
            add_multiples!(@ "t", $limb, $of, "6"),
            add_multiples!(@ "u", $limb, $of, "7"),
        )
    };
    (@ $scratch:literal, $limb:literal, $of:literal, $column:literal) => {
        concat!(
            "vpmuludq {", $scratch, "}, {", $limb, "}, [{", $of, "} + 32 * ", $column, "]\n",
            "vpaddq {a", $column, "}, {a", $column, "}, {", $scratch, "}\n",
        )
    };
}

/// Makes column 0 zero by a multiple q of p, after what `$before` adds to it, and hands its carry to column 1; in
/// between, `$between` does work that q does not need.
macro_rules! step {
    ([$($before:expr),*], [$($between:expr),*], $columns:ident, $divisor:ident, $($operands:tt)*) => {{
        let [a0, mut a1, mut a2, mut a3, mut a4, mut a5, mut a6, mut a7] = $columns;
        let a8: __m256i;
        // SAFETY: the block reads nine vectors at each pointer, which come from references to as many, and of the
        // divisor ten; it writes nothing but registers. The function that it stands in is compiled for AVX2.
        unsafe {
            asm!(
                $($before,)*
                "vpmuludq {q}, {a0}, [{p} + 32 * 9]",
                "vpand {q}, {q}, {mask}",
                $($between,)*
                "vpmuludq {t}, {q}, [{p}]",
                "vpaddq {a0}, {a0}, {t}",
                "vpsrlq {a0}, {a0}, 29",
                "vpaddq {a1}, {a1}, {a0}",
                add_multiples!("q", "p"),
                "vpmuludq {t}, {q}, [{p} + 32 * 8]",
                "vpaddq {a8}, {a8}, {t}",
                $($operands)*
                p = in(reg) $divisor,
                mask = in(ymm_reg) Avx2::splat(limb_mask::<Avx2>()).0,
                q = out(ymm_reg) _,
                t = out(ymm_reg) _,
                u = out(ymm_reg) _,
                a0 = inout(ymm_reg) a0 => _,
                a1 = inout(ymm_reg) a1,
                a2 = inout(ymm_reg) a2,
                a3 = inout(ymm_reg) a3,
                a4 = inout(ymm_reg) a4,
                a5 = inout(ymm_reg) a5,
                a6 = inout(ymm_reg) a6,
                a7 = inout(ymm_reg) a7,
                a8 = out(ymm_reg) a8,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        [a1, a2, a3, a4, a5, a6, a7, a8]
    }};
}

/// Adds a limb of a times b to the columns, and takes out the lowest.
#[target_feature(enable = "avx2")]
#[inline]
fn step(columns: Columns, a: Avx2, b: &[Avx2; 9], divisor: &Divisor) -> Columns {
    let (b, divisor): (*const Avx2, *const Divisor) = (b.as_ptr(), divisor);
    step!(
        ["vpmuludq {t}, {x}, [{b}]", "vpaddq {a0}, {a0}, {t}"],
        [add_multiples!("x", "b"), "vpmuludq {a8}, {x}, [{b} + 32 * 8]"],
        columns, divisor, x = in(ymm_reg) a.0, b = in(reg) b,
    )
}

/// The first of such steps.
#[target_feature(enable = "avx2")]
#[inline]
fn first_step(a: Avx2, b: &[Avx2; 9], divisor: &Divisor) -> Columns {
    let columns = first_columns(a, b);
    let (b, divisor): (*const Avx2, *const Divisor) = (b.as_ptr(), divisor);
    step!([], ["vpmuludq {a8}, {x}, [{b} + 32 * 8]"], columns, divisor, x = in(ymm_reg) a.0, b = in(reg) b,)
}

/// Adds a limb each of two products to the columns, and takes out the lowest.
#[target_feature(enable = "avx2")]
#[inline]
fn step_of_two(columns: Columns, a: [Avx2; 2], b: [&[Avx2; 9]; 2], divisor: &Divisor) -> Columns {
    let (b, c, divisor): (*const Avx2, *const Avx2, *const Divisor) = (b[0].as_ptr(), b[1].as_ptr(), divisor);
    step!(
        [
            "vpmuludq {t}, {x}, [{b}]",
            "vpaddq {a0}, {a0}, {t}",
            "vpmuludq {u}, {y}, [{c}]",
            "vpaddq {a0}, {a0}, {u}"
        ],
        [
            add_multiples!("x", "b"),
            "vpmuludq {a8}, {x}, [{b} + 32 * 8]",
            add_multiples!("y", "c"),
            "vpmuludq {t}, {y}, [{c} + 32 * 8]",
            "vpaddq {a8}, {a8}, {t}"
        ],
        columns, divisor, x = in(ymm_reg) a[0].0, y = in(ymm_reg) a[1].0, b = in(reg) b, c = in(reg) c,
    )
}

/// The first of such steps.
#[target_feature(enable = "avx2")]
#[inline]
fn first_step_of_two(a: [Avx2; 2], b: [&[Avx2; 9]; 2], divisor: &Divisor) -> Columns {
    let columns = first_columns(a[0], b[0]);
    let (b, c, divisor): (*const Avx2, *const Avx2, *const Divisor) = (b[0].as_ptr(), b[1].as_ptr(), divisor);
    step!(
        ["vpmuludq {u}, {y}, [{c}]", "vpaddq {a0}, {a0}, {u}"],
        [
            "vpmuludq {a8}, {x}, [{b} + 32 * 8]",
            add_multiples!("y", "c"),
            "vpmuludq {t}, {y}, [{c} + 32 * 8]",
            "vpaddq {a8}, {a8}, {t}"
        ],
        columns, divisor, x = in(ymm_reg) a[0].0, y = in(ymm_reg) a[1].0, b = in(reg) b, c = in(reg) c,
    )
}

/// A limb times the lowest eight.
#[target_feature(enable = "avx2")]
#[inline]
fn first_columns(a: Avx2, b: &[Avx2; 9]) -> Columns {
    let mut columns = [_mm256_setzero_si256(); 8];
    for i in 0..8 {
        columns[i] = _mm256_mul_epu32(a.0, b[i].0);
    }
    columns
}

/// The numbers that columns stand for, in limbs.
#[target_feature(enable = "avx2")]
#[inline]
fn limbs(columns: Columns) -> [Avx2; 9] {
    let mut limbs = Avx2::zero();
    let mut carry = Avx2::splat(0);
    for i in 0..8 {
        let column = Avx2(columns[i]).add(carry);
        limbs[i] = column.and(Avx2::splat(limb_mask::<Avx2>()));
        carry = column.shr(29);
    }
    limbs[8] = carry;
    limbs
}

/// Takes nine steps, and gives the limbs of what is left. They divide by 2^261, so one factor goes in twice as large.
macro_rules! in_steps {
    ($first:ident, $step:ident, |$i:ident| $($arguments:tt)*) => {{
        let columns = {
            const $i: usize = 0;
            $first($($arguments)*)
        };
        in_steps!(@ columns, $step, $i, ($($arguments)*), 1 2 3 4 5 6 7 8);
        limbs(columns)
    }};
    (@ $columns:ident, $step:ident, $i:ident, $arguments:tt, $($index:literal)*) => {
        $(
            let $columns = {
                const $i: usize = $index;
                in_steps!(@ $columns, $step, $arguments)
            };
        )*
    };
    (@ $columns:ident, $step:ident, ($($arguments:tt)*)) => {
        $step($columns, $($arguments)*)
    };
}

/// The Montgomery product of factors.
#[target_feature(enable = "avx2")]
fn times<M: Modulus>(a: &[Avx2; 9], b: &[Avx2; 9]) -> [Avx2; 9] {
    in_steps!(first_step, step, |I| a[I].add(a[I]), b, const { &Divisor::of::<M>() })
}

/// The Montgomery square of a factor: each product of different limbs is computed once, from twice one and twice the
/// other.
#[target_feature(enable = "avx2")]
fn squared<M: Modulus>(a: &[Avx2; 9]) -> [Avx2; 9] {
    let mut doubled = *a;
    for i in 0..9 {
        doubled[i] = a[i].add(a[i]);
    }
    let mut columns = first_columns(doubled[0], &doubled);
    columns[0] = _mm256_mul_epu32(doubled[0].0, a[0].0);
    let (own, other): (*const Avx2, *const Avx2) = (a.as_ptr(), doubled.as_ptr());
    let divisor: *const Divisor = const { &Divisor::of::<M>() };
    /// Adds twice limb i times itself and the later limbs.
    macro_rules! square_step {
        ($i:literal, $($later:literal)*) => {
            columns = step!(
                [],
                [
                    concat!("vpmuludq {t}, {x}, [{a} + 32 * ", $i, "]"),
                    concat!("vpaddq {a", $i, "}, {a", $i, "}, {t}"),
                    $(add_multiples!(@ "u", "x", "b", $later),)*
                    "vpmuludq {a8}, {x}, [{b} + 32 * 8]"
                ],
                columns, divisor, x = in(ymm_reg) doubled[$i].0, a = in(reg) own, b = in(reg) other,
            );
        };
    }
    columns = step!(
        [], ["vpmuludq {a8}, {x}, [{b} + 32 * 8]"],
        columns, divisor, x = in(ymm_reg) doubled[0].0, b = in(reg) other,
    );
    square_step!(1, 2 3 4 5 6 7);
    square_step!(2, 3 4 5 6 7);
    square_step!(3, 4 5 6 7);
    square_step!(4, 5 6 7);
    square_step!(5, 6 7);
    square_step!(6, 7);
    square_step!(7,);
    columns = step!(
        [], ["vpmuludq {a8}, {x}, [{a} + 32 * 8]"],
        columns, divisor, x = in(ymm_reg) doubled[8].0, a = in(reg) own,
    );
    limbs(columns)
}

/// The same for the sum of two products.
#[target_feature(enable = "avx2")]
fn sum_of_products<M: Modulus>(a: [&[Avx2; 9]; 2], b: [&[Avx2; 9]; 2]) -> [Avx2; 9] {
    in_steps!(
        first_step_of_two,
        step_of_two,
        |I| [a[0][I].add(a[0][I]), a[1][I].add(a[1][I])],
        b,
        const { &Divisor::of::<M>() }
    )
}

/// What is called and not inlined: its code takes a tenth of the first cache, and an addition in G2 needs it ten
/// times. A function that is compiled for AVX2 would be inlined after all once its caller was inlined into one that
/// is; this one is compiled for no more than its caller.
mod outlined {
    use super::*;

    #[inline(never)]
    pub(super) fn sum_of_products<M: Modulus>(a: [&[Avx2; 9]; 2], b: [&[Avx2; 9]; 2]) -> [Avx2; 9] {
        instruction!(super::sum_of_products::<M>(a, b))
    }
}
