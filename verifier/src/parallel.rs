//! Work on many items, on several threads where the feature `parallel` is on.

use alloc::vec::Vec;

/// What `work` makes of each part of the items, in order; no part is shorter than `length_min` but the last, or all
/// of it.
///
/// There are as many parts as threads at most, so what parts share is shared by many items.
#[cfg(feature = "parallel")]
pub(crate) fn by_parts<T: Sync, R: Send>(items: &[T], length_min: usize, work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    use rayon::prelude::*;
    let length = items.len().div_ceil(rayon::current_num_threads()).max(length_min).max(1);
    if items.len() <= length {
        return alloc::vec![work(items)];
    }
    items.par_chunks(length).map(&work).collect()
}

/// What `work` makes of the items, as one part.
#[cfg(not(feature = "parallel"))]
pub(crate) fn by_parts<T, R>(items: &[T], _length_min: usize, work: impl Fn(&[T]) -> R) -> Vec<R> {
    alloc::vec![work(items)]
}

/// What `each` makes of each item, in order; a thread takes `length_min` of them or more.
#[cfg(feature = "parallel")]
pub(crate) fn map<T: Sync, R: Send>(items: &[T], length_min: usize, each: impl Fn(&T) -> R + Sync) -> Vec<R> {
    use rayon::prelude::*;
    if items.len() <= length_min || rayon::current_num_threads() == 1 {
        return items.iter().map(each).collect();
    }
    items.par_iter().with_min_len(length_min).map(&each).collect()
}

/// What `each` makes of each item, in order.
#[cfg(not(feature = "parallel"))]
pub(crate) fn map<T, R>(items: &[T], _length_min: usize, each: impl Fn(&T) -> R) -> Vec<R> {
    items.iter().map(each).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_number_are_kept() {
        for count in [0usize, 1, 2, 7, 1_000] {
            let items: Vec<usize> = (0..count).collect();
            assert_eq!(map(&items, 3, |item| item * 2), items.iter().map(|item| item * 2).collect::<Vec<_>>());
            assert_eq!(by_parts(&items, 3, <[usize]>::to_vec).concat(), items);
        }
    }
}
