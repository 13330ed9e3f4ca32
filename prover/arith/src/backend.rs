//! Which instructions the kernels use.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU8, Ordering},
};

/// A set of kernels. All give the same results.
///
/// Unless one is forced, by [`Backend::force`] or the environment variable [`Backend::VARIABLE`], the fastest that
/// the processor can run is used. No choice is made when the program is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Backend {
    /// For every processor; multiplies by `mulx`, `adcx` and `adox` where an x86-64 processor has them.
    Portable = 1,
    /// Four elements at a time with AVX2, on x86-64.
    Avx2 = 2,
    /// Eight or sixteen elements at a time with AVX-512 IFMA, on x86-64.
    Ifma = 3,
    /// The kernels of [`Backend::Ifma`] over plain words, to test them everywhere.
    #[cfg(test)]
    Emulated = 4,
}

/// The processor cannot run a back end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this processor cannot run the back end {0}")]
pub struct UnavailableBackendError(pub Backend);

/// A name is that of no back end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no back end: there are portable, avx2 and ifma")]
pub struct UnknownBackendError(pub String);

/// The back end in use, or 0 until it is asked for.
static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Backend {
    /// The environment variable that forces a back end by its name. A value that names none, or one that the
    /// processor cannot run, is as good as none.
    pub const VARIABLE: &str = "TAPROOF_BACKEND";

    /// The back end in use.
    pub fn current() -> Self {
        match CURRENT.load(Ordering::Relaxed) {
            0 => {
                let named = std::env::var(Self::VARIABLE).ok().and_then(|name| name.parse().ok());
                let current = named.filter(|backend: &Self| backend.is_available()).unwrap_or_else(Self::fastest);
                CURRENT.store(current as u8, Ordering::Relaxed);
                current
            }
            2 => Self::Avx2,
            3 => Self::Ifma,
            #[cfg(test)]
            4 => Self::Emulated,
            _ => Self::Portable,
        }
    }

    /// Makes every later computation of the process use a back end.
    ///
    /// # Errors
    /// [`UnavailableBackendError`] if the processor cannot run it.
    pub fn force(self) -> Result<(), UnavailableBackendError> {
        if !self.is_available() {
            return Err(UnavailableBackendError(self));
        }
        CURRENT.store(self as u8, Ordering::Relaxed);
        Ok(())
    }

    /// Whether the processor can run it.
    pub fn is_available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => crate::lanes::avx2::are_there(),
            #[cfg(target_arch = "x86_64")]
            Self::Ifma => crate::lanes::ifma::are_there(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx2 | Self::Ifma => false,
            Self::Portable => true,
            #[cfg(test)]
            Self::Emulated => true,
        }
    }

    /// Every back end that the processor can run, the slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let all = [
            #[cfg(test)]
            Self::Emulated,
            Self::Portable,
            Self::Avx2,
            Self::Ifma,
        ];
        all.into_iter().filter(|backend| backend.is_available())
    }

    fn fastest() -> Self {
        Self::available().last().expect("the portable one is")
    }
}

/// Does work on the unit of a back end, or the portable work if it has none.
macro_rules! on_backend {
    ($backend:expr, $unit:ident => $in_lanes:expr, Portable => $portable:expr) => {
        match $backend {
            #[cfg(target_arch = "x86_64")]
            $crate::Backend::Avx2 => {
                type $unit = $crate::lanes::Avx2;
                $in_lanes
            }
            #[cfg(target_arch = "x86_64")]
            $crate::Backend::Ifma => {
                type $unit = $crate::lanes::Ifma;
                $in_lanes
            }
            #[cfg(not(target_arch = "x86_64"))]
            $crate::Backend::Avx2 | $crate::Backend::Ifma => unreachable!("no processor of this architecture has it"),
            #[cfg(test)]
            $crate::Backend::Emulated => {
                type $unit = $crate::lanes::Emulated;
                $in_lanes
            }
            $crate::Backend::Portable => $portable,
        }
    };
}
pub(crate) use on_backend;

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Ifma => "ifma",
            #[cfg(test)]
            Self::Emulated => "emulated",
        })
    }
}

impl FromStr for Backend {
    type Err = UnknownBackendError;

    fn from_str(name: &str) -> Result<Self, UnknownBackendError> {
        match name {
            "portable" => Ok(Self::Portable),
            "avx2" => Ok(Self::Avx2),
            "ifma" => Ok(Self::Ifma),
            _ => Err(UnknownBackendError(name.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for backend in [Backend::Portable, Backend::Avx2, Backend::Ifma] {
            assert_eq!(backend.to_string().parse(), Ok(backend));
        }
        assert_eq!("avx".parse::<Backend>(), Err(UnknownBackendError("avx".to_owned())));
    }

    #[test]
    fn the_fastest_that_the_processor_runs_is_chosen() {
        let from_fastest = [Backend::Ifma, Backend::Avx2, Backend::Portable];
        let fastest = from_fastest.into_iter().find(|backend| backend.is_available());
        assert_eq!(Some(Backend::fastest()), fastest);
        for backend in from_fastest.into_iter().filter(|backend| !backend.is_available()) {
            assert_eq!(backend.force(), Err(UnavailableBackendError(backend)));
        }
    }
}
