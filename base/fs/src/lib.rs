//! Rooted paths, walks, copies, extended attributes, archives, detached mounts and path patterns.

pub mod archive;
mod copy;
mod dir_cache;
pub mod glob;
pub mod ignore;
mod list;
pub mod mount;
pub mod place;
mod remove;
mod root;
mod stat;
mod sys;
mod walk;
pub mod xattr;

pub use copy::copy_contents;
pub use dir_cache::DirCache;
pub use list::list_dir;
pub use mount::MountSource;
pub use remove::remove_tree;
pub use root::{Root, is_absent};
pub use stat::{DirEntry, Kind, Stat};
pub use walk::{Enter, WalkEntry, WalkError, walk};
