//! Dockerfile text to graph: parsing, expansion, lowering. Touches no disk and no network.
//!
//! [`parse`] understands the text and never stops at the first mistake; [`lower`] turns the target stage into a graph and an image
//! configuration. Lowering may need images that are not resolved yet; the caller resolves what it asks for and calls it again:
//!
//! ```text
//! text ─parse→ Dockerfile ─lower(options, resolved)→ Needs(images) ─┐
//!                              ↑                                    │ the caller resolves
//!                              └────────────────────────────────────┘
//!                              └→ Done(graph, config, history, warnings)
//! ```

mod diagnostic;
mod expand;
mod go_format;
mod instruction;
mod lint;
mod lower;
mod options;
mod parse;
mod render;
mod source;
mod suggest;

pub use diagnostic::{Diagnostic, Severity};
pub use lower::lower;
pub use options::{
    BaseImage, HistoryStep, ImageNeed, ImageSpec, Lowered, Lowering, NamedContext, NoCache, Options, Resolved, ResolvedImage,
};
pub use parse::{Dockerfile, parse};
pub use render::render;
pub use source::{Source, lines};
