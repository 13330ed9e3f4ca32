//! Stores whose pages are damaged.

use rand::{RngCore, SeedableRng, rngs::StdRng};
use std::path::Path;

/// Damages each page of a store in turn, in a copy, with bytes of chance and with zeros, and gives the copy to
/// `read`, which must not panic. Gives how many of the damages `read` noticed.
pub fn damage_every_page<T, E>(path: &Path, mut read: impl FnMut(&Path) -> Result<T, E>) -> usize {
    const PAGE_BYTES: usize = 4096;
    let whole = std::fs::read(path).expect("the store is there");
    let folder = tempfile::tempdir().expect("a scratch folder");
    let copy = folder.path().join("damaged.redb");
    let mut rng = StdRng::seed_from_u64(4);
    let mut noticed = 0;
    for (page, start) in (0..whole.len()).step_by(PAGE_BYTES).enumerate() {
        let mut noise = [0; PAGE_BYTES];
        rng.fill_bytes(&mut noise);
        for (filler, name) in [(noise, "chance"), ([0; PAGE_BYTES], "zeros")] {
            // The first page is the header: what is left of it decides how far redb gets.
            for skipped in if page == 0 { &[0, 64, 320][..] } else { &[0] } {
                let mut damaged = whole.clone();
                let end = whole.len().min(start + PAGE_BYTES);
                damaged[start + skipped..end].copy_from_slice(&filler[*skipped..end - start]);
                std::fs::write(&copy, damaged).expect("room");
                println!("page {page} from byte {skipped} with {name}");
                noticed += usize::from(read(&copy).is_err());
            }
        }
    }
    noticed
}
