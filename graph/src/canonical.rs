//! How operations are encoded. Every struct is taken apart without `..`, so that a new field cannot be forgotten.

mod exec;
mod file;
mod op;
mod source;
