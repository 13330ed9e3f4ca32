use super::*;

const FILES: [(&str, &str); 4] = [
    (
        "lib.rs",
        "//! Words.
            pub mod shown;
            mod hidden;
            #[cfg(feature = \"extra\")]
            pub mod extra;
            #[cfg(test)]
            mod nowhere;
            pub use hidden::{Error as HiddenError, make};
            pub use core::fmt;
            struct Private;
            impl Private { pub fn unseen(&self) {} }",
    ),
    (
        "shown.rs",
        "/// Words.
            #[derive(Clone)]
            #[serde(rename = \"x\")]
            pub struct Error { /// Words.
                pub code: u8, secret: u8, other: u8 }
            pub struct Pair(pub u8, u16);
            impl Error { pub fn code(&self) -> u8 { self.code } fn unseen(&self) {} pub(crate) fn neither(&self) {} }
            impl TryFrom<Unchecked> for Error { type Error = u8; }
            struct Unchecked;
            pub const SIZE: usize = 3;
            pub mod inner { pub type Code = u8; use super::Pair; impl Drop for Pair {} }",
    ),
    (
        "hidden.rs",
        "use crate::shown::Pair;
            #[non_exhaustive]
            pub enum Error { A, B(#[from] u8) }
            pub struct Unnamed;
            pub fn make(mut count: usize) -> Error { loop {} }
            impl Pair { pub const ZERO: Self = Pair(0, 0); }",
    ),
    ("extra.rs", "impl core::fmt::Display for crate::shown::Pair { fn fmt(&self) {} }"),
];

/// The interface of a crate of some files.
fn interface_of(test: &str, files: &[(&str, &str)]) -> anyhow::Result<String> {
    let folder = std::env::temp_dir().join(format!("taproof-api-{test}-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a folder for the test");
    files.iter().for_each(|(name, text)| fs::write(folder.join(name), text).expect("a file for the test"));
    let found = interface(&folder.join("lib.rs"));
    fs::remove_dir_all(&folder).expect("the folder is ours");
    found
}

/// Two types of one name are told apart; what is private or a test is not shown; conditions go with impls.
#[test]
fn an_interface_is_what_others_can_name() {
    let expected = r#"pub mod shown {
    #[derive(Clone)]
    pub struct Error {
        pub code: u8,
        _: _,
    }
    impl Error {
        pub fn code(&self) -> u8 {}
    }
    pub struct Pair(pub u8, _);
    #[cfg(feature = "extra")]
    impl core::fmt::Display for crate::shown::Pair {}
    impl Pair {
        pub const ZERO: Self = _;
    }
    impl Drop for Pair {}
    pub const SIZE: usize = _;
    pub mod inner {
        pub type Code = u8;
    }
}
#[cfg(feature = "extra")]
pub mod extra {}
#[non_exhaustive]
pub enum Error {
    A,
    B(#[from] u8),
}
pub use hidden::Error as HiddenError;
pub fn make(count: usize) -> Error {}
pub use core::fmt;
"#;
    let found = interface_of("named", &FILES).expect("the files are a crate");
    assert_eq!(found, format!("{HEAD}{expected}"));
}

#[test]
fn an_impl_is_never_left_out_unseen() {
    let lost = interface_of("lost", &[("lib.rs", "use elsewhere::*; impl Lost { pub fn unseen(&self) {} }")]);
    assert!(lost.is_err_and(|error| error.to_string().contains("impl of a type that is not found")));
}
