//! The scheduling kernel.
