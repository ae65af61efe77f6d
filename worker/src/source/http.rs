//! Files from URLs (spec G-51).
pub(crate) struct Downloads;
impl Default for Downloads { fn default() -> Self { Downloads } }
use rbuild_graph::HttpSource;
use rbuild_oci::Digest;
use rbuild_solver::StepContext;
use crate::options::FileOutput;
use crate::worker::Inner;
use crate::WorkError;
use std::sync::Arc;
pub(crate) async fn fetch(_w: &Inner, _s: &HttpSource, _c: &StepContext) -> Result<Arc<FileOutput>, WorkError> { Err(WorkError::NotSupported("http".into())) }
pub(crate) fn root_key(_f: &FileOutput) -> [u8;32] { [0;32] }
pub(crate) fn output(source: &HttpSource, blob: Digest, size: u64, mtime: i64) -> FileOutput {
    FileOutput { blob, size, name: source.filename.clone(), mode: source.mode, uid: source.uid, gid: source.gid, mtime }
}
