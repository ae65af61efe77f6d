//! Tests of `mount`.
