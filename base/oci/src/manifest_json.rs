//! Manifests and indexes as JSON: read strictly, written with Go's field order and an indent of two.
//!
//! A document that could be read both as a manifest and as an index is refused (CVE-2021-41190).

use serde_json::{Map, Value};

use crate::json::{Fields, Object, to_indented};
use crate::manifest::{Descriptor, Index, MAX_MANIFEST_BYTES, Manifest, ManifestError, ManifestOrIndex};
use crate::{MediaType, Platform};

impl ManifestOrIndex {
    /// Reads a document of at most [`MAX_MANIFEST_BYTES`]. `expected` is what the descriptor or the server said it is; a
    /// `mediaType` inside that says otherwise is refused.
    pub fn parse(bytes: &[u8], expected: Option<&MediaType>) -> Result<ManifestOrIndex, ManifestError> {
        let mut fields = Fields::parse(bytes, "manifest", MAX_MANIFEST_BYTES)?;
        check_schema(&mut fields)?;
        let is_index = fields.has("manifests");
        if is_index && (fields.has("layers") || fields.has("config")) {
            return Err(fields.rule("it has both `layers` and `manifests`".into()));
        }
        let media_type = read_media_type(&mut fields, expected, is_index)?;
        if is_index {
            return Ok(ManifestOrIndex::Index(read_index(fields, media_type)?));
        }
        Ok(ManifestOrIndex::Manifest(read_manifest(fields, media_type)?))
    }
}

fn check_schema(fields: &mut Fields) -> Result<(), ManifestError> {
    match fields.take::<u64>("schemaVersion")? {
        Some(2) => Ok(()),
        Some(1) => Err(fields.rule("docker's schema 1 is no longer supported; build or push the image anew".into())),
        Some(other) => Err(fields.rule(format!("schema version {other} is not known"))),
        None => Err(fields.rule("field `schemaVersion` is missing".into())),
    }
}

fn read_media_type(fields: &mut Fields, expected: Option<&MediaType>, is_index: bool) -> Result<MediaType, ManifestError> {
    let written: Option<MediaType> = fields.take("mediaType")?;
    if let (Some(written), Some(expected)) = (&written, expected)
        && written != expected
    {
        return Err(fields.rule(format!("its media type is `{written}`, but `{expected}` was expected")));
    }
    let default = if is_index { MediaType::OciIndex } else { MediaType::OciManifest };
    let media_type = written.or_else(|| expected.cloned()).unwrap_or(default);
    let fits = if is_index { media_type.is_index() } else { media_type.is_manifest() };
    if !fits {
        return Err(fields.rule(format!("its fields do not fit its media type `{media_type}`")));
    }
    Ok(media_type)
}

impl Manifest {
    /// Reads a manifest; an index is refused.
    pub fn from_json(bytes: &[u8]) -> Result<Manifest, ManifestError> {
        match ManifestOrIndex::parse(bytes, None)? {
            ManifestOrIndex::Manifest(manifest) => Ok(manifest),
            ManifestOrIndex::Index(_) => Err(ManifestError::Rule { what: "manifest", reason: "it is an index".into() }),
        }
    }

    /// Writes it as BuildKit does: Go's field order, indented by two.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Manifest { media_type, config, layers, annotations, extra } = self;
        let mut object = Object::default();
        object.always("schemaVersion", 2);
        object.always("mediaType", media_type.as_str());
        object.unless_empty("artifactType", &extra.get("artifactType"));
        object.always("config", write_descriptor(config));
        object.always("layers", layers.iter().map(write_descriptor).collect::<Vec<_>>());
        object.unless_empty("subject", &extra.get("subject"));
        object.unless_empty("annotations", annotations);
        object.extend(extra);
        to_indented(&object.in_order())
    }
}

impl Index {
    /// Reads an index; a manifest is refused.
    pub fn from_json(bytes: &[u8]) -> Result<Index, ManifestError> {
        match ManifestOrIndex::parse(bytes, None)? {
            ManifestOrIndex::Index(index) => Ok(index),
            ManifestOrIndex::Manifest(_) => Err(ManifestError::Rule { what: "index", reason: "it is a manifest".into() }),
        }
    }

    /// Writes it as BuildKit does: Go's field order, indented by two.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let Index { media_type, manifests, annotations, extra } = self;
        let mut object = Object::default();
        object.always("schemaVersion", 2);
        object.always("mediaType", media_type.as_str());
        object.unless_empty("artifactType", &extra.get("artifactType"));
        object.always("manifests", manifests.iter().map(write_descriptor).collect::<Vec<_>>());
        object.unless_empty("subject", &extra.get("subject"));
        object.unless_empty("annotations", annotations);
        object.extend(extra);
        to_indented(&object.in_order())
    }
}

fn read_manifest(mut fields: Fields, media_type: MediaType) -> Result<Manifest, ManifestError> {
    let config = fields.require("config")?;
    let layers: Vec<Map<String, Value>> = fields.take_or_default("layers")?;
    Ok(Manifest {
        media_type,
        config: read_descriptor(config)?,
        layers: layers.into_iter().map(read_descriptor).collect::<Result<_, _>>()?,
        annotations: fields.take_or_default("annotations")?,
        extra: fields.rest(),
    })
}

fn read_index(mut fields: Fields, media_type: MediaType) -> Result<Index, ManifestError> {
    let manifests: Vec<Map<String, Value>> = fields.take_or_default("manifests")?;
    Ok(Index {
        media_type,
        manifests: manifests.into_iter().map(read_descriptor).collect::<Result<_, _>>()?,
        annotations: fields.take_or_default("annotations")?,
        extra: fields.rest(),
    })
}

fn read_descriptor(map: Map<String, Value>) -> Result<Descriptor, ManifestError> {
    let mut fields = Fields::of("descriptor", map);
    let size: u64 = fields.require("size")?;
    if i64::try_from(size).is_err() {
        return Err(fields.rule(format!("size {size} is out of range")));
    }
    Ok(Descriptor {
        media_type: fields.require("mediaType")?,
        digest: fields.require("digest")?,
        size,
        platform: fields.take("platform")?,
        annotations: fields.take_or_default("annotations")?,
        extra: fields.rest(),
    })
}

fn write_descriptor(descriptor: &Descriptor) -> Value {
    let Descriptor { media_type, digest, size, platform, annotations, extra } = descriptor;
    let mut object = Object::default();
    object.always("mediaType", media_type.as_str());
    object.always("digest", digest.to_string());
    object.always("size", *size);
    object.unless_empty("urls", &extra.get("urls"));
    object.unless_empty("annotations", annotations);
    object.unless_empty("data", &extra.get("data"));
    if let Some(platform) = platform {
        object.always("platform", write_platform(platform));
    }
    object.unless_empty("artifactType", &extra.get("artifactType"));
    object.extend(extra);
    object.in_order()
}

fn write_platform(platform: &Platform) -> Value {
    serde_json::to_value(platform).expect("strings and a list of strings")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Digest;

    const MANIFEST: &str = r#"{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.manifest.v1+json",
  "config": {
    "mediaType": "application/vnd.oci.image.config.v1+json",
    "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
    "size": 2
  },
  "layers": [
    {
      "mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
      "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "size": 2,
      "urls": [
        "http://x/\u003c"
      ],
      "annotations": {
        "a": "1"
      }
    }
  ],
  "annotations": {
    "k": "v"
  },
  "zzz": 1
}"#;

    const INDEX: &str = r#"{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "manifests": [
    {
      "mediaType": "application/vnd.oci.image.manifest.v1+json",
      "digest": "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "size": 2,
      "platform": {
        "architecture": "arm",
        "os": "linux",
        "variant": "v7"
      }
    }
  ]
}"#;

    #[test]
    fn documents_come_back_byte_for_byte() {
        assert_eq!(String::from_utf8(Manifest::from_json(MANIFEST.as_bytes()).unwrap().to_json()).unwrap(), MANIFEST);
        assert_eq!(String::from_utf8(Index::from_json(INDEX.as_bytes()).unwrap().to_json()).unwrap(), INDEX);
        assert!(Index::from_json(MANIFEST.as_bytes()).is_err());
        assert!(Manifest::from_json(INDEX.as_bytes()).is_err());
    }

    #[test]
    fn ambiguous_and_broken_documents_are_refused() {
        let d =
            r#"{"mediaType":"x","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}"#;
        for (input, word) in [
            (format!(r#"{{"schemaVersion":2,"config":{d},"layers":[],"manifests":[]}}"#), "both"),
            (format!(r#"{{"schemaVersion":2,"config":{d},"manifests":[]}}"#), "both"),
            (format!(r#"{{"schemaVersion":2,"config":{d},"config":{d},"layers":[]}}"#), "JSON"),
            (r#"{"schemaVersion":1}"#.into(), "schema 1"),
            (r#"{"schemaVersion":3}"#.into(), "version 3"),
            (r#"{}"#.into(), "schemaVersion"),
            (r#"{"schemaVersion":2,"layers":[]}"#.into(), "`config` is missing"),
            (r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","layers":[]}"#.into(), "do not fit"),
            (r#"{"schemaVersion":2,"manifests":[{"mediaType":"x","digest":"y","size":1}]}"#.into(), "JSON"),
            (format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, d.replace(":2", ":-2")), "JSON"),
            (format!(r#"{{"schemaVersion":2,"manifests":[{}]}}"#, d.replace(":2", ":18446744073709551615")), "out of range"),
        ] {
            let error = ManifestOrIndex::parse(input.as_bytes(), None).unwrap_err().to_string();
            assert!(error.contains(word), "{input}: {error}");
        }
        let error = ManifestOrIndex::parse(INDEX.as_bytes(), Some(&MediaType::DockerIndex)).unwrap_err().to_string();
        assert!(error.contains("was expected"), "{error}");
        let huge = format!("{INDEX}{}", " ".repeat(MAX_MANIFEST_BYTES));
        assert!(Index::from_json(huge.as_bytes()).unwrap_err().to_string().contains("limit"));
    }

    #[test]
    fn a_missing_media_type_is_taken_from_outside() {
        let text = MANIFEST.replace("  \"mediaType\": \"application/vnd.oci.image.manifest.v1+json\",\n", "");
        let docker = ManifestOrIndex::parse(text.as_bytes(), Some(&MediaType::DockerManifest)).unwrap();
        assert!(matches!(docker, ManifestOrIndex::Manifest(m) if m.media_type == MediaType::DockerManifest));
        assert_eq!(Manifest::from_json(text.as_bytes()).unwrap().media_type, MediaType::OciManifest);
        assert!(ManifestOrIndex::parse(text.as_bytes(), Some(&MediaType::OciIndex)).is_err());
    }

    fn entry(platform: Option<&str>, content: u8) -> Descriptor {
        let platform = platform.map(|text| text.parse().unwrap());
        Descriptor { platform, ..Descriptor::new(MediaType::OciManifest, Digest::of(&[content]), 1) }
    }

    #[test]
    fn the_best_entry_is_selected() {
        let mut wasm = entry(Some("linux/amd64"), 0);
        wasm.media_type = MediaType::Other("application/x".into());
        let manifests = vec![
            wasm,
            entry(Some("unknown/unknown"), 1),
            entry(None, 2),
            entry(Some("linux/386"), 3),
            entry(Some("linux/amd64"), 4),
            entry(Some("linux/amd64"), 5),
            entry(Some("linux/arm/v6"), 6),
        ];
        let index = Index { media_type: MediaType::OciIndex, manifests, annotations: [].into(), extra: [].into() };
        for (wanted, chosen) in [("linux/amd64", 4), ("linux/arm/v7", 6), ("linux/386", 3), ("linux/s390x", 2)] {
            assert_eq!(index.select(&wanted.parse().unwrap()).unwrap().digest, Digest::of(&[chosen]), "{wanted}");
        }
        let only = Index { manifests: vec![entry(Some("unknown/unknown"), 1)], ..index };
        assert_eq!(only.select(&Platform::host()), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[\\[\\]{}:,\"a-z0-9]{0,80}") {
            let parsed = ManifestOrIndex::parse(text.as_bytes(), None);
            prop_assert!(parsed.is_ok() || parsed.is_err());
        }

        #[test]
        fn what_is_written_is_read_back(
            contents in proptest::collection::vec((any::<u8>(), 0u64..1 << 40), 0..5),
            annotations in proptest::collection::btree_map(".{0,8}", ".{0,8}", 0..4),
        ) {
            let layers = contents.iter().map(|(content, size)| Descriptor::new(MediaType::DockerLayerZstd, Digest::of(&[*content]), *size));
            let config = Descriptor::new(MediaType::DockerConfig, Digest::of(b""), 0);
            let manifest = Manifest { media_type: MediaType::DockerManifest, config, layers: layers.collect(), annotations, extra: [].into() };
            prop_assert_eq!(Manifest::from_json(&manifest.to_json()).unwrap(), manifest);
        }
    }
}
