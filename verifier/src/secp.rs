//! The context that checks signatures and tweaks public keys.

use alloc::vec;
use bitcoin::secp256k1::{Secp256k1, VerifyOnlyPreallocated, ffi::types::AlignedType};

/// Runs something with a context.
///
/// No secret meets it, so it is not blinded: with the library's default features `Secp256k1::verification_only` blinds
/// each context that it makes, which takes longer than one multiplication.
pub(crate) fn with_context<T>(run: impl FnOnce(&Secp256k1<VerifyOnlyPreallocated<'_>>) -> T) -> T {
    let mut room = vec![AlignedType::zeroed(); Secp256k1::preallocate_verification_size()];
    run(&Secp256k1::preallocated_verification_only(&mut room).expect("the room has the size that was asked for"))
}
