//! From a Dockerfile to a graph: lowering asks for images, this finds them, until nothing is missing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rbuild_exporter::{ExportError, StoredImage, read_layout, stored};
use rbuild_frontend::{Dockerfile, ImageNeed, ImageSpec, Lowered, Lowering, Options, Resolved, ResolvedImage, lower};
use rbuild_oci::{Digest, Reference};
use rbuild_snapshotter::Snapshotter;
use rbuild_solver::EventSink;
use rbuild_worker::{ImageHandle, ImageOrigin};
use tokio::task::JoinSet;

use crate::error::InStore;
use crate::progress::OwnStep;
use crate::similar::similar;
use crate::{BuildError, ContextSource};

/// The images of a build by the digest of their manifest.
pub(crate) type Images = BTreeMap<Digest, ImageHandle>;

/// Where images are looked for.
#[derive(Clone)]
pub(crate) struct Resolver {
    pub(crate) snapshotter: Snapshotter,
    pub(crate) named: Arc<BTreeMap<String, ContextSource>>,
    pub(crate) events: Arc<dyn EventSink>,
}

impl Resolver {
    /// Lowers, resolving what is needed, until it is done.
    pub(crate) async fn lower(&self, file: &Dockerfile, options: &Options) -> Result<(Lowered, Images), BuildError> {
        let (mut resolved, mut images) = (Resolved::default(), Images::new());
        loop {
            let lowering = lower(file, options, &resolved);
            let wrong = |diagnostics| BuildError::Dockerfile { source_text: file.source.clone(), diagnostics };
            let needs = match lowering.map_err(wrong)? {
                Lowering::Done(lowered) => return Ok((*lowered, images)),
                Lowering::Needs(needs) => needs,
            };
            if needs.keys().all(|need| resolved.images.contains_key(need)) {
                return Err(BuildError::Internal("the frontend asks for nothing new".to_owned()));
            }
            for (need, found) in self.resolve_all(needs).await? {
                resolved.images.insert(need, found.image);
                images.entry(found.handle.manifest.clone()).or_insert(found.handle);
            }
        }
    }

    /// All at once. The first failure in the order of the needs counts, so that messages do not depend on time.
    async fn resolve_all(&self, needs: BTreeMap<ImageNeed, Range<usize>>) -> Result<BTreeMap<ImageNeed, Found>, BuildError> {
        let mut jobs = JoinSet::new();
        for (need, span) in needs {
            let resolver = self.clone();
            jobs.spawn_blocking(move || (resolver.resolve(&need, &span), need));
        }
        let mut found = BTreeMap::new();
        while let Some(job) = jobs.join_next().await {
            let (image, need) = job.map_err(|error| BuildError::Internal(error.to_string()))?;
            found.insert(need, image);
        }
        found.into_iter().map(|(need, image)| Ok((need, image?))).collect()
    }

    fn resolve(&self, need: &ImageNeed, span: &Range<usize>) -> Result<Found, BuildError> {
        match &need.reference {
            ImageSpec::Reference(text) => {
                let reference = Reference::parse(text)?;
                let step = OwnStep::start(&self.events, format!("[internal] load metadata for {reference}"));
                step.end(self.look_in_store(text, &reference, span))
            }
            ImageSpec::Layout(name) => {
                let step = OwnStep::start(&self.events, format!("[context {name}] load metadata"));
                step.end(self.look_in_layout(name, need, span))
            }
        }
    }

    fn look_in_store(&self, written: &str, reference: &Reference, span: &Range<usize>) -> Result<Found, BuildError> {
        let Some(manifest) = self.find(reference)? else { return Err(self.not_found(written, reference, span)) };
        let image = match stored(&self.snapshotter, &manifest) {
            Ok(image) => image,
            Err(ExportError::MissingBlob(missing)) if missing == manifest => return Err(self.not_found(written, reference, span)),
            Err(source) => {
                return Err(BuildError::Image { reference: written.to_owned(), span: span.clone(), source: Box::new(source) });
            }
        };
        let StoredImage { manifest, image_config: config, parts, .. } = image;
        let handle = ImageHandle {
            manifest: manifest.clone(),
            diff_ids: config.rootfs.diff_ids.clone(),
            layers: parts.layers,
            origin: ImageOrigin::Store,
            reference: Some(reference.clone()),
        };
        Ok(Found { image: ResolvedImage { manifest, config }, handle })
    }

    /// A digest says which image it is; the tag beside it is not looked at, as in docker.
    fn find(&self, reference: &Reference) -> Result<Option<Digest>, BuildError> {
        if let Some(digest) = reference.digest() {
            return Ok(Some(digest.clone()));
        }
        let (store, session) = (self.snapshotter.store(), self.snapshotter.session());
        let row = store.resolve(session, reference).in_store("look up an image")?;
        Ok(row.map(|row| row.manifest))
    }

    fn not_found(&self, written: &str, reference: &Reference, span: &Range<usize>) -> BuildError {
        match self.snapshotter.store().images() {
            Ok(rows) => {
                let similar = similar(reference, rows.iter().filter_map(|row| row.reference.as_ref()));
                BuildError::ImageNotFound { reference: written.to_owned(), span: span.clone(), similar }
            }
            Err(source) => BuildError::Store { step: "list images", source },
        }
    }

    fn look_in_layout(&self, name: &str, need: &ImageNeed, span: &Range<usize>) -> Result<Found, BuildError> {
        let Some(ContextSource::Layout { path, tag, digest }) = self.named.get(name) else {
            return Err(BuildError::Internal(format!("`{name}` is no OCI layout")));
        };
        let read = read_layout(path, tag.as_deref(), digest.as_ref(), &need.platform);
        let (manifest, parts, config) = read.map_err(|source| BuildError::Image {
            reference: name.to_owned(),
            span: span.clone(),
            source: Box::new(source),
        })?;
        let handle = ImageHandle {
            manifest: manifest.clone(),
            diff_ids: config.rootfs.diff_ids.clone(),
            layers: parts.layers,
            origin: ImageOrigin::Layout(path.clone()),
            reference: None,
        };
        Ok(Found { image: ResolvedImage { manifest, config }, handle })
    }
}

/// An image for the frontend and for the worker.
struct Found {
    image: ResolvedImage,
    handle: ImageHandle,
}
