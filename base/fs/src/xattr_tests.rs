//! Tests of `xattr`.
