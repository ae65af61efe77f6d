//! Why a build failed, in the classes that exit codes are made of.

use std::ops::Range;
use std::path::PathBuf;

use rbuild_exporter::ExportError;
use rbuild_frontend::{Diagnostic, Source};
use rbuild_oci::ReferenceError;
use rbuild_solver::RecordError;
use rbuild_store::StoreError;
use rbuild_worker::{ErrorClass, WorkError};

/// Why a build failed.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The Dockerfile is wrong: all that was found.
    #[error("the Dockerfile has errors")]
    Dockerfile {
        /// The file.
        source_text: Source,
        /// What is wrong with it.
        diagnostics: Vec<Diagnostic>,
    },
    /// A step failed.
    #[error("failed to solve: {name}")]
    Step {
        /// The step's name.
        name: String,
        /// First and last line in the Dockerfile, from 1.
        lines: Option<(u32, u32)>,
        /// Why.
        #[source]
        source: Box<WorkError>,
    },
    /// The caller cancelled.
    #[error("cancelled")]
    Cancelled,
    /// An image is not there.
    #[error("image `{reference}` is not in the local store, and pulling comes with the registry client")]
    ImageNotFound {
        /// As written.
        reference: String,
        /// The bytes of the Dockerfile that ask for it.
        span: Range<usize>,
        /// Names in the store that look alike.
        similar: Vec<String>,
    },
    /// A base image's name is no reference.
    #[error("bad name of an image")]
    Reference(#[from] ReferenceError),
    /// A base image is damaged, or does not fit.
    #[error("image `{reference}` could not be read")]
    Image {
        /// As written, or the context's name.
        reference: String,
        /// The bytes of the Dockerfile that ask for it.
        span: Range<usize>,
        /// Why.
        #[source]
        source: Box<ExportError>,
    },
    /// A context cannot be read.
    #[error("context `{name}` could not be read at `{}`", path.display())]
    Context {
        /// `context`, or its name.
        name: String,
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The result could not be written.
    #[error("{step} failed")]
    Export {
        /// `exporting to image` …
        step: String,
        /// Why.
        #[source]
        source: ExportError,
    },
    /// The state directory failed.
    #[error("could not {step}")]
    Store {
        /// What was tried.
        step: &'static str,
        /// Why.
        #[source]
        source: StoreError,
    },
    /// The cache failed.
    #[error(transparent)]
    Records(#[from] RecordError),
    /// A defect of rbuild.
    #[error("internal error: {0}")]
    Internal(String),
}

impl BuildError {
    /// Which class of failures it belongs to.
    #[must_use]
    pub fn class(&self) -> ErrorClass {
        match self {
            BuildError::Dockerfile { .. } | BuildError::Reference(_) | BuildError::Context { .. } => ErrorClass::Dockerfile,
            BuildError::Step { source, .. } => source.class(),
            BuildError::Cancelled => ErrorClass::Cancelled,
            BuildError::ImageNotFound { .. } => ErrorClass::Network,
            BuildError::Image { .. } | BuildError::Export { .. } | BuildError::Store { .. } | BuildError::Records(_) => {
                ErrorClass::Storage
            }
            BuildError::Internal(_) => ErrorClass::Internal,
        }
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            BuildError::Step { source, .. } => source.hint(),
            BuildError::ImageNotFound { similar, .. } => Some(not_found_hint(similar)),
            BuildError::Image { source, .. } => source.hint(),
            BuildError::Export { source, .. } => source.hint(),
            BuildError::Store { source, .. } => source.hint(),
            BuildError::Records(error) => error.source.downcast_ref().and_then(StoreError::hint),
            BuildError::Dockerfile { .. }
            | BuildError::Cancelled
            | BuildError::Reference(_)
            | BuildError::Context { .. }
            | BuildError::Internal(_) => None,
        }
    }
}

fn not_found_hint(similar: &[String]) -> String {
    let bring = "bring it in with `rbuild load -i FILE` or `rbuild import FILE`, or give it as \
                 `--build-context NAME=oci-layout://DIR`";
    if similar.is_empty() {
        return bring.to_owned();
    }
    let names: Vec<String> = similar.iter().map(|name| format!("`{name}`")).collect();
    format!("did you mean {}? else {bring}", names.join(" or "))
}

/// Names the step of the state directory that failed.
pub(crate) trait InStore<T> {
    fn in_store(self, step: &'static str) -> Result<T, BuildError>;
}

impl<T> InStore<T> for Result<T, StoreError> {
    fn in_store(self, step: &'static str) -> Result<T, BuildError> {
        self.map_err(|source| BuildError::Store { step, source })
    }
}
