//! Tests of `remove`.
