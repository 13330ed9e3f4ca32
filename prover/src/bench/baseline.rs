//! Stored measurements: a list, in which subject, size, threads and back end are found once.

use super::{Backend, Measurement, Subject};

/// A stored measurement is of no time, so that nothing can be compared with it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name} of {subject} at size {size} is {found}, and a time is greater than 0")]
pub struct NoTimeError {
    /// What was measured.
    pub subject: Subject,
    /// At which size.
    pub size: u32,
    /// Which time.
    pub name: &'static str,
    /// What is stored.
    pub found: f64,
}

/// Checks that stored measurements are times.
///
/// # Errors
/// [`NoTimeError`] for the first that is none.
pub fn check(stored: &[Measurement]) -> Result<(), NoTimeError> {
    for measurement in stored {
        let times = [
            ("median_us_per_constraint", measurement.median_us_per_constraint),
            ("min_us_per_constraint", measurement.min_us_per_constraint),
            ("max_us_per_constraint", measurement.max_us_per_constraint),
        ];
        let none = times.into_iter().find(|(_, time)| !(time.is_finite() && *time > 0.0));
        if let Some((name, found)) = none {
            return Err(NoTimeError { subject: measurement.bench, size: measurement.size, name, found });
        }
    }
    Ok(())
}

impl Measurement {
    /// Whether both are of the same subject, size and number of threads: what programs must share to be compared.
    pub fn is_same_run(&self, other: &Self) -> bool {
        (self.bench, self.size, self.threads) == (other.bench, other.size, other.threads)
    }
}

/// Puts measurements into a stored list, in place of those of the same subject, size, threads and back end.
pub fn merge(stored: &mut Vec<Measurement>, new: &[Measurement]) {
    for measurement in new {
        let is_same = |other: &&mut Measurement| other.is_same_run(measurement) && other.backend == measurement.backend;
        match stored.iter_mut().find(is_same) {
            Some(same) => same.clone_from(measurement),
            None => stored.push(measurement.clone()),
        }
    }
}

/// How much slower one run's measurement is than the stored one: 1 for equally fast, 1.1 for a tenth slower. Where
/// both have arkworks beside ours, ours is taken relative to it. `None` if there is no stored measurement of the same
/// subject, size, threads and back end.
pub fn slowdown(now: &[Measurement], stored: &[Measurement]) -> Option<f64> {
    let ours = now.iter().find(|measurement| measurement.backend != Backend::Ark)?;
    let median = |of: &[Measurement], backend| {
        let found = of.iter().find(|other| other.is_same_run(ours) && other.backend == backend);
        found.map(|measurement| measurement.median_us_per_constraint)
    };
    let ratio = ours.median_us_per_constraint / median(stored, ours.backend)?;
    match (median(now, Backend::Ark), median(stored, Backend::Ark)) {
        (Some(ark_now), Some(ark_stored)) => Some(ratio * ark_stored / ark_now),
        _ => Some(ratio),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bench: Subject, backend: Backend, size: u32, median: f64) -> Measurement {
        Measurement {
            bench,
            backend,
            size,
            constraints: 1,
            threads: 2,
            rounds: 1,
            median_us_per_constraint: median,
            min_us_per_constraint: median,
            max_us_per_constraint: median,
            machine: String::new(),
        }
    }

    #[test]
    fn slowdowns_are_relative_to_arkworks_where_both_have_it() {
        let of = |backend, size, median| of(Subject::Prove, backend, size, median);
        let other = tests::of(Subject::MsmG1, Backend::Portable, 12, 9.0);
        let stored = [of(Backend::Portable, 11, 8.0), other, of(Backend::Portable, 12, 2.0), of(Backend::Ark, 12, 6.0)];
        let slower_machine = [of(Backend::Portable, 12, 4.0), of(Backend::Ark, 12, 12.0)];
        assert_eq!(slowdown(&slower_machine, &stored), Some(1.0));
        assert_eq!(slowdown(&slower_machine[..1], &stored), Some(2.0));
        assert_eq!(slowdown(&[of(Backend::Portable, 13, 2.0)], &stored), None);
        assert_eq!(slowdown(&[of(Backend::Ifma, 12, 2.0), of(Backend::Ark, 12, 6.0)], &stored), None);
        assert_eq!(slowdown(&stored, &[]), None);
        assert_eq!(slowdown(&[], &stored), None);
    }

    #[test]
    fn times_are_finite_and_more_than_nothing() {
        let good = of(Subject::MsmG1, Backend::Portable, 12, 0.5);
        assert_eq!(check(std::slice::from_ref(&good)), Ok(()));
        for time in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let bad = [
                ("median_us_per_constraint", Measurement { median_us_per_constraint: time, ..good.clone() }),
                ("min_us_per_constraint", Measurement { min_us_per_constraint: time, ..good.clone() }),
                ("max_us_per_constraint", Measurement { max_us_per_constraint: time, ..good.clone() }),
            ];
            for (name, bad) in bad {
                let error = check(&[good.clone(), bad]).expect_err("no time");
                assert_eq!((error.name, error.subject), (name, Subject::MsmG1));
                assert!(error.to_string().contains("of msm-g1 at size 12 is"), "{error}");
            }
        }
    }

    #[test]
    fn merging_replaces_the_same_and_keeps_the_others() {
        let stored = [
            of(Subject::Prove, Backend::Portable, 12, 1.0),
            of(Subject::Prove, Backend::Ark, 12, 2.0),
            of(Subject::MsmG1, Backend::Portable, 12, 3.0),
        ];
        let new = [of(Subject::Prove, Backend::Ark, 12, 4.0), of(Subject::Prove, Backend::Portable, 13, 5.0)];
        let mut merged = stored.to_vec();
        merge(&mut merged, &new);
        assert_eq!(merged, [&stored[0], &new[0], &stored[2], &new[1]].map(Clone::clone));
        let mut again = merged.clone();
        merge(&mut again, &new);
        assert_eq!(again, merged);
    }
}
