//! Sources: images that are unpacked when somebody needs the files, and files from URLs.

pub(crate) mod http;
pub(crate) mod image;
