//! A chunk: a fixed number of slots of one kind, and the statement that they prove together.

pub mod witness;
