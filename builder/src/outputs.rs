//! Writes what was built to where it was asked for.

use std::sync::Arc;

use rbuild_exporter::{
    ArchiveKind, ExportError, ImageParts, LayerOptions, StoredImage, annotate, make_image, tag, write_archive, write_local,
    write_tar,
};
use rbuild_fs::archive::Codec;
use rbuild_oci::Reference;
use rbuild_snapshotter::{Snapshot, Snapshotter, TimePolicy};
use rbuild_solver::EventSink;
use tokio_util::sync::CancellationToken;

use crate::progress::OwnStep;
use crate::{BuildError, OutputKind, OutputSpec};

/// The outputs as meant: none given is the local store, and one without names takes the build's.
pub(crate) fn meant(given: Vec<OutputSpec>, tags: &[Reference]) -> Vec<OutputSpec> {
    let mut outputs = given;
    if outputs.is_empty() {
        let layer = LayerOptions { codec: Codec::None, times: TimePolicy::Keep, force_compression: false, oci_media_types: true };
        outputs.push(OutputSpec { kind: OutputKind::Store, names: Vec::new(), layer, annotations: Default::default() });
    }
    for output in &mut outputs {
        if output.names.is_empty() {
            output.names = tags.to_vec();
        }
    }
    outputs
}

impl OutputKind {
    /// Whether it is an image with layers, rather than files or nothing.
    pub(crate) fn is_image(&self) -> bool {
        match self {
            OutputKind::Store | OutputKind::Oci(_) | OutputKind::Docker(_) => true,
            OutputKind::Local(_) | OutputKind::Tar(_) | OutputKind::CacheOnly => false,
        }
    }

    /// Whether the result's files are needed, not only its layers.
    pub(crate) fn is_files(&self) -> bool {
        match self {
            OutputKind::Local(_) | OutputKind::Tar(_) => true,
            OutputKind::Store | OutputKind::Oci(_) | OutputKind::Docker(_) | OutputKind::CacheOnly => false,
        }
    }

    /// BuildKit's name of the step.
    fn step(&self) -> &'static str {
        match self {
            OutputKind::Store => "exporting to image",
            OutputKind::Oci(_) => "exporting to oci image format",
            OutputKind::Docker(_) => "exporting to docker image format",
            OutputKind::Local(_) => "exporting to client directory",
            OutputKind::Tar(_) => "exporting to client tarball",
            OutputKind::CacheOnly => "keeping the result in the cache",
        }
    }
}

/// What is exported.
pub(crate) struct Export {
    pub(crate) snapshotter: Snapshotter,
    pub(crate) parts: ImageParts,
    /// The state that outputs of files are made from; `None` is the empty one.
    pub(crate) files: Option<Snapshot>,
    pub(crate) events: Arc<dyn EventSink>,
    pub(crate) cancel: CancellationToken,
}

impl Export {
    /// Writes all outputs, one after the other. Blocking. Between two steps it can be cancelled.
    pub(crate) fn write(&self, outputs: &[OutputSpec]) -> Result<Option<StoredImage>, BuildError> {
        let (mut first, mut in_store) = (None, None);
        for output in outputs {
            self.check_cancelled()?;
            let image = self.write_one(output)?;
            match output.kind {
                OutputKind::Store if in_store.is_none() => in_store = image,
                OutputKind::Store
                | OutputKind::Oci(_)
                | OutputKind::Docker(_)
                | OutputKind::Local(_)
                | OutputKind::Tar(_)
                | OutputKind::CacheOnly => first = first.or(image),
            }
        }
        Ok(in_store.or(first))
    }

    fn write_one(&self, output: &OutputSpec) -> Result<Option<StoredImage>, BuildError> {
        let name = output.kind.step();
        let step = OwnStep::start(&self.events, name);
        let epoch = self.parts.epoch;
        let failed = |source| BuildError::Export { step: name.to_owned(), source };
        let files = self.files.as_ref();
        let written = match &output.kind {
            OutputKind::Store => self.store(&step, output).map(Some),
            OutputKind::Oci(to) => self.archive(&step, output, ArchiveKind::Oci, to).map(Some),
            OutputKind::Docker(to) => self.archive(&step, output, ArchiveKind::Docker, to).map(Some),
            OutputKind::Local(to) => {
                step.part("copying files", || write_local(&self.snapshotter, files, to, epoch)).map_err(failed).map(|()| None)
            }
            OutputKind::Tar(to) => {
                step.part("sending tarball", || write_tar(&self.snapshotter, files, to, epoch)).map_err(failed).map(|()| None)
            }
            OutputKind::CacheOnly => Ok(None),
        };
        match written {
            Err(BuildError::Cancelled) => Err(BuildError::Cancelled),
            written => step.end(written),
        }
    }

    fn store(&self, step: &OwnStep, output: &OutputSpec) -> Result<StoredImage, BuildError> {
        let image = self.image(step, output)?;
        // All names in one transaction; each is a line, as in docker.
        let names: Vec<String> = output.names.iter().map(|name| format!("naming to {name}")).collect();
        let shown = if names.is_empty() { vec!["storing without a name".to_owned()] } else { names };
        let tagged = step.parts(&shown, || tag(&self.snapshotter, &image, &output.names));
        tagged.map_err(|source| failed(&output.kind, source))?;
        Ok(image)
    }

    fn archive(
        &self,
        step: &OwnStep,
        output: &OutputSpec,
        kind: ArchiveKind,
        to: &rbuild_exporter::Destination,
    ) -> Result<StoredImage, BuildError> {
        let image = self.image(step, output)?;
        let images = [(image, output.names.clone())];
        let written = step.part("sending tarball", || write_archive(&self.snapshotter, &images, kind, to));
        written.map_err(|source| failed(&output.kind, source))?;
        let [(image, _)] = images;
        Ok(image)
    }

    fn image(&self, step: &OwnStep, output: &OutputSpec) -> Result<StoredImage, BuildError> {
        let made = step.part("exporting layers", || make_image(&self.snapshotter, &self.parts, &output.layer));
        let mut image = made.map_err(|source| failed(&output.kind, source))?;
        if !output.annotations.is_empty() {
            let annotated = annotate(&self.snapshotter, &image, &output.annotations);
            image = annotated.map_err(|source| failed(&output.kind, source))?;
        }
        step.part(format!("exporting manifest {}", image.manifest), || ());
        step.part(format!("exporting config {}", image.config), || ());
        self.check_cancelled()?;
        Ok(image)
    }

    fn check_cancelled(&self) -> Result<(), BuildError> {
        if self.cancel.is_cancelled() { Err(BuildError::Cancelled) } else { Ok(()) }
    }
}

fn failed(kind: &OutputKind, source: ExportError) -> BuildError {
    BuildError::Export { step: kind.step().to_owned(), source }
}
