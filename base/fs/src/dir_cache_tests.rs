//! Tests of `dir_cache`.
