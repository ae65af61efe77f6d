//! OCI image layout directories: `oci-layout`, `index.json` and `blobs/<algorithm>/<hex>` (image spec, image-layout.md).

use std::io::Read;
use std::path::{Path, PathBuf};

use rbuild_fs::Root;
use rbuild_oci::{
    Descriptor, Digest, Digester, ImageConfig, Index, MAX_CONFIG_BYTES, MAX_MANIFEST_BYTES, Manifest, MediaType, OciLayout,
    Platform,
};

use crate::error::{AtPath, ExportError, InDocument, Result};
use crate::resolve::{Choice, REF_NAME, offered, resolve};

/// The path of a blob in a layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// A layout directory. Links in it are resolved beneath it.
pub(crate) struct LayoutDirectory {
    path: PathBuf,
    root: Root,
}

impl LayoutDirectory {
    pub(crate) fn open(path: &Path) -> Result<LayoutDirectory> {
        Ok(LayoutDirectory { path: path.into(), root: Root::open(path).at("open", path)? })
    }

    /// A file of at most `limit` bytes; `None` when it is absent.
    pub(crate) fn read(&self, name: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        self.root.read(Path::new(name), limit as u64).at("read", &self.path.join(name))
    }

    /// A file for reading; `None` when it is absent.
    pub(crate) fn open_file(&self, name: &str) -> Result<Option<impl Read + Send + use<>>> {
        match self.root.open_file(Path::new(name)) {
            Ok(file) => Ok(Some(file)),
            Err(error) if rbuild_fs::is_absent(&error) => Ok(None),
            Err(error) => Err(error).at("open", &self.path.join(name)),
        }
    }

    /// A small blob, verified.
    fn document(&self, digest: &Digest, limit: usize) -> Result<Vec<u8>> {
        let bytes = self.read(&blob_path(digest), limit)?.ok_or_else(|| ExportError::MissingBlob(digest.clone()))?;
        let mut digester = Digester::new(digest.algorithm());
        digester.update(&bytes);
        let actual = digester.finish();
        if actual != *digest {
            let what = self.path.join(blob_path(digest)).display().to_string();
            return Err(ExportError::Mismatch { what, expected: digest.clone(), actual });
        }
        Ok(bytes)
    }

    fn index(&self) -> Result<Index> {
        let file = |name: &str| format!("{}/{name}", self.path.display());
        let version = self.read("oci-layout", 4096)?.ok_or_else(|| {
            ExportError::bad_archive(self.path.to_string_lossy(), "it is no OCI layout: there is no `oci-layout`")
        })?;
        OciLayout::parse(&version).document(file("oci-layout"))?;
        let index = self.read("index.json", MAX_MANIFEST_BYTES)?;
        let index = index.ok_or_else(|| ExportError::bad_archive(self.path.to_string_lossy(), "it has no `index.json`"))?;
        Index::from_json(&index).document(file("index.json"))
    }
}

/// Resolves `oci-layout://DIR[:TAG|@DIGEST]` for a platform: the manifest's digest, the manifest and the configuration, without
/// touching layers. With neither a tag nor a digest: the only image, the one tagged `latest`, or the one for the platform.
///
/// # Errors
/// When the directory is no layout, nothing in it fits, or a document is damaged.
pub fn read_layout(
    dir: &Path,
    tag: Option<&str>,
    digest: Option<&Digest>,
    platform: &Platform,
) -> Result<(Digest, Manifest, ImageConfig)> {
    let layout = LayoutDirectory::open(dir)?;
    let start = start(&layout, tag, digest, platform)?;
    let read = &mut |descriptor: &Descriptor| layout.document(&descriptor.digest, MAX_MANIFEST_BYTES);
    let resolved = resolve(read, &start, Choice::Exactly(platform))?;
    let config = &resolved.manifest.config.digest;
    let image_config = ImageConfig::from_json(&layout.document(config, MAX_CONFIG_BYTES)?).document(config)?;
    let (layers, diff_ids) = (resolved.manifest.layers.len(), image_config.rootfs.diff_ids.len());
    if layers != diff_ids {
        let reason = format!("its manifest has {layers} layers, but its configuration {diff_ids}");
        return Err(ExportError::bad_image(&resolved.digest, reason));
    }
    Ok((resolved.digest, resolved.manifest, image_config))
}

fn start(layout: &LayoutDirectory, tag: Option<&str>, digest: Option<&Digest>, platform: &Platform) -> Result<Descriptor> {
    let index = layout.index()?;
    if let Some(digest) = digest {
        let listed = index.manifests.iter().find(|entry| entry.digest == *digest).cloned();
        let other = || Descriptor::new(MediaType::Other(String::new()), digest.clone(), 0);
        return Ok(listed.unwrap_or_else(other));
    }
    let tagged = |tag: &str| index.manifests.iter().find(|entry| entry.annotations.get(REF_NAME).is_some_and(|name| name == tag));
    let found = match (tag, index.manifests.as_slice()) {
        (Some(tag), _) => tagged(tag),
        (None, [only]) => Some(only),
        (None, _) => tagged("latest").or_else(|| index.select(platform)),
    };
    found.cloned().ok_or_else(|| {
        let wanted = tag.map_or_else(|| format!("for {platform}"), |tag| format!("tagged `{tag}`"));
        ExportError::NoMatch { wanted: format!("{wanted} in `{}`", layout.path.display()), offered: offered(&index) }
    })
}
