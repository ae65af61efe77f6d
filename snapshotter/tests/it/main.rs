//! The snapshotter on real file systems, each test on every driver.

mod apply;
mod deep;
mod fixture;
mod layers;
mod mounts;
mod random;
mod unpack;
mod writer;
