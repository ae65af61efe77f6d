//! `--output`: where the result of a build goes.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow, bail};
use rbuild_builder::{OutputKind, OutputSpec};
use rbuild_exporter::{Destination, LayerOptions};
use rbuild_fs::archive::Codec;
use rbuild_oci::Reference;
use rbuild_snapshotter::TimePolicy;

use crate::values;

/// Gzip's usual level.
const GZIP_LEVEL: u8 = 6;
/// Zstandard's usual level.
const ZSTD_LEVEL: i32 = 3;

/// What an output needs to know of the rest of the command line.
#[derive(Clone, Debug)]
pub(crate) struct Surroundings<'a> {
    /// `--tag`.
    pub(crate) tags: &'a [Reference],
    /// SOURCE_DATE_EPOCH in seconds, if set.
    pub(crate) epoch: Option<i64>,
    /// Whether standard output is a terminal.
    pub(crate) terminal: bool,
}

/// All outputs as meant: without any, and with `--load`, the local image store.
pub(crate) fn all(words: &[String], load: bool, around: &Surroundings<'_>) -> Result<Vec<OutputSpec>> {
    let mut outputs = words
        .iter()
        .map(|word| one(word, around).with_context(|| format!("invalid --output `{word}`")))
        .collect::<Result<Vec<_>>>()?;
    let stored = outputs.iter().any(|output| matches!(output.kind, OutputKind::Store));
    if outputs.is_empty() || (load && !stored) {
        outputs.push(store(around));
    }
    let to_stdout = outputs.iter().filter(|output| writes_stdout(&output.kind)).count();
    if to_stdout > 1 {
        bail!("only one output can go to standard output");
    }
    Ok(outputs)
}

/// Whether the result itself goes to standard output.
pub(crate) fn writes_stdout(kind: &OutputKind) -> bool {
    match kind {
        OutputKind::Oci(to) | OutputKind::Docker(to) | OutputKind::Tar(to) => matches!(to, Destination::Stdout),
        OutputKind::Store | OutputKind::Local(_) | OutputKind::CacheOnly => false,
    }
}

/// The local store keeps uncompressed layers, which cost nothing to make.
fn store(around: &Surroundings<'_>) -> OutputSpec {
    let layer = LayerOptions { codec: Codec::None, times: TimePolicy::Keep, force_compression: false, oci_media_types: true };
    OutputSpec { kind: OutputKind::Store, names: around.tags.to_vec(), layer, annotations: BTreeMap::new() }
}

fn one(word: &str, around: &Surroundings<'_>) -> Result<OutputSpec> {
    let fields = values::csv(word)?;
    if let [only] = &fields[..]
        && !only.contains('=')
    {
        return short(only, around);
    }
    let mut attributes = Attributes::parse(&fields)?;
    let kind = attributes.take("type").ok_or_else(|| anyhow!("it has no type"))?;
    let output = match kind.as_str() {
        "oci" => archive(&mut attributes, around, OutputKind::Oci),
        "docker" => docker(&mut attributes, around),
        "image" => image(&mut attributes, around),
        "local" => local(&mut attributes, around),
        "tar" => tar(&mut attributes, around),
        "cacheonly" => Ok(OutputSpec { kind: OutputKind::CacheOnly, ..store(around) }),
        "registry" => Err(anyhow!("type=registry is not supported yet")),
        other => Err(anyhow!("there is no output type `{other}`; there are oci, docker, image, local, tar and cacheonly")),
    }?;
    attributes.finish(&kind)?;
    Ok(output)
}

/// `-o DIR` and `-o -`.
fn short(word: &str, around: &Surroundings<'_>) -> Result<OutputSpec> {
    let kind = match word {
        "" => bail!("it is empty"),
        "-" => OutputKind::Tar(stdout(around)?),
        directory => OutputKind::Local(PathBuf::from(directory)),
    };
    Ok(OutputSpec { kind, ..store(around) })
}

fn stdout(around: &Surroundings<'_>) -> Result<Destination> {
    if around.terminal {
        bail!("an archive is not written to a terminal: say dest=FILE, or redirect standard output");
    }
    Ok(Destination::Stdout)
}

fn archive(
    attributes: &mut Attributes,
    around: &Surroundings<'_>,
    kind: impl FnOnce(Destination) -> OutputKind,
) -> Result<OutputSpec> {
    let tar = attributes.take_bool("tar")?.unwrap_or(true);
    let to = match (attributes.take_dest(), tar) {
        (Some(path), true) => Destination::File(path),
        (Some(path), false) => Destination::Directory(path),
        (None, true) => stdout(around)?,
        (None, false) => bail!("tar=false needs dest=DIRECTORY"),
    };
    image_like(attributes, around, kind(to), Codec::Gzip { level: GZIP_LEVEL })
}

/// Without a destination it is `--load`.
fn docker(attributes: &mut Attributes, around: &Surroundings<'_>) -> Result<OutputSpec> {
    if attributes.has("dest") || attributes.has("tar") {
        archive(attributes, around, OutputKind::Docker)
    } else {
        image(attributes, around)
    }
}

fn image(attributes: &mut Attributes, around: &Surroundings<'_>) -> Result<OutputSpec> {
    if attributes.take_bool("push")?.unwrap_or(false) {
        bail!("push=true is not supported yet");
    }
    image_like(attributes, around, OutputKind::Store, Codec::None)
}

/// Attributes that every image has.
fn image_like(attributes: &mut Attributes, around: &Surroundings<'_>, kind: OutputKind, codec: Codec) -> Result<OutputSpec> {
    let names = match attributes.take("name") {
        Some(list) if !list.is_empty() => list.split(',').map(|name| Ok(name.trim().parse()?)).collect::<Result<_>>()?,
        Some(_) | None => around.tags.to_vec(),
    };
    let layer = LayerOptions {
        codec: take_codec(attributes, codec)?,
        times: take_times(attributes, around)?,
        force_compression: attributes.take_bool("force-compression")?.unwrap_or(false),
        oci_media_types: attributes.take_bool("oci-mediatypes")?.unwrap_or(true),
    };
    let annotations = attributes.take_annotations()?;
    if !annotations.is_empty() && !layer.oci_media_types {
        bail!("annotations need oci-mediatypes=true");
    }
    Ok(OutputSpec { kind, names, layer, annotations })
}

fn take_codec(attributes: &mut Attributes, default: Codec) -> Result<Codec> {
    let level = attributes
        .take("compression-level")
        .map(|text| text.parse::<i32>().map_err(|_source| anyhow!("compression-level=`{text}` is not a number")))
        .transpose()?;
    let codec = match attributes.take("compression").as_deref() {
        None => default,
        Some("uncompressed") => Codec::None,
        Some("gzip") => Codec::Gzip { level: GZIP_LEVEL },
        Some("zstd") => Codec::Zstd { level: ZSTD_LEVEL },
        Some("estargz") => bail!("compression=estargz is not supported yet"),
        Some(other) => bail!("there is no compression `{other}`; there are gzip, zstd and uncompressed"),
    };
    match (codec, level) {
        (codec, None) => Ok(codec),
        (Codec::Gzip { .. }, Some(level @ 0..=9)) => Ok(Codec::Gzip { level: level.unsigned_abs().try_into()? }),
        (Codec::Zstd { .. }, Some(level @ 0..=22)) => Ok(Codec::Zstd { level }),
        (Codec::None, Some(_)) => bail!("compression-level needs compression=gzip or zstd"),
        (Codec::Gzip { .. }, Some(level)) => bail!("compression-level={level} is not between 0 and 9"),
        (Codec::Zstd { .. }, Some(level)) => bail!("compression-level={level} is not between 0 and 22"),
    }
}

fn take_times(attributes: &mut Attributes, around: &Surroundings<'_>) -> Result<TimePolicy> {
    match (attributes.take_bool("rewrite-timestamp")?.unwrap_or(false), around.epoch) {
        (false, _) => Ok(TimePolicy::Keep),
        (true, Some(epoch)) => Ok(TimePolicy::Clamp(epoch)),
        (true, None) => bail!("rewrite-timestamp=true needs --build-arg SOURCE_DATE_EPOCH=SECONDS"),
    }
}

fn local(attributes: &mut Attributes, around: &Surroundings<'_>) -> Result<OutputSpec> {
    let dest = attributes.take_dest().ok_or_else(|| anyhow!("type=local needs dest=DIRECTORY"))?;
    Ok(OutputSpec { kind: OutputKind::Local(dest), ..store(around) })
}

fn tar(attributes: &mut Attributes, around: &Surroundings<'_>) -> Result<OutputSpec> {
    let to = match attributes.take_dest() {
        Some(path) => Destination::File(path),
        None => stdout(around)?,
    };
    Ok(OutputSpec { kind: OutputKind::Tar(to), ..store(around) })
}

/// `key=value` fields that are taken one by one; what is left over is an error, so that nothing is accepted and ignored.
struct Attributes {
    map: BTreeMap<String, String>,
}

impl Attributes {
    fn parse(fields: &[String]) -> Result<Attributes> {
        let mut map = BTreeMap::new();
        for field in fields {
            let (key, value) = field.split_once('=').ok_or_else(|| anyhow!("`{field}` is not of the form KEY=VALUE"))?;
            // Annotation keys keep their case.
            let key = key.trim();
            let key = if key.starts_with("annotation") { key.to_owned() } else { key.to_ascii_lowercase() };
            if map.insert(key, value.to_owned()).is_some() {
                bail!("`{field}` says again what was said before");
            }
        }
        Ok(Attributes { map })
    }

    fn has(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    fn take(&mut self, key: &str) -> Option<String> {
        self.map.remove(key)
    }

    fn take_bool(&mut self, key: &str) -> Result<Option<bool>> {
        self.take(key).map(|text| crate::args::go_bool(&text).map_err(|reason| anyhow!("{key}=`{text}`: {reason}"))).transpose()
    }

    /// `dest`, where `-` and nothing both mean standard output.
    fn take_dest(&mut self) -> Option<PathBuf> {
        self.take("dest").filter(|dest| !dest.is_empty() && dest != "-").map(PathBuf::from)
    }

    fn take_annotations(&mut self) -> Result<BTreeMap<String, String>> {
        let keys: Vec<String> = self.map.keys().filter(|key| key.starts_with("annotation")).cloned().collect();
        let mut annotations = BTreeMap::new();
        for key in keys {
            let name = key.strip_prefix("annotation.").or_else(|| key.strip_prefix("annotation-manifest."));
            let name = name.filter(|name| !name.is_empty()).ok_or_else(|| anyhow!("`{key}` is not supported yet"))?.to_owned();
            annotations.extend(self.take(&key).map(|value| (name, value)));
        }
        Ok(annotations)
    }

    fn finish(self, kind: &str) -> Result<()> {
        match self.map.keys().next() {
            None => Ok(()),
            Some(key) => Err(anyhow!("type={kind} has no option `{key}`")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn around(tags: &[Reference]) -> Surroundings<'_> {
        Surroundings { tags, epoch: None, terminal: false }
    }

    fn check(word: &str, expected: &str) {
        let tags = ["app:1".parse().unwrap()];
        let spec = one(word, &around(&tags)).unwrap();
        let names: Vec<String> = spec.names.iter().map(Reference::familiar).collect();
        let layer = spec.layer;
        let found = format!(
            "{:?} {} {:?} {:?} force={} oci={} {:?}",
            spec.kind,
            names.join("+"),
            layer.codec,
            layer.times,
            layer.force_compression,
            layer.oci_media_types,
            spec.annotations
        );
        assert_eq!(found, expected, "{word}");
    }

    #[test]
    fn outputs_are_dockers() {
        let plain = "None Keep force=false oci=true {}";
        let gzip = "Gzip { level: 6 } Keep force=false oci=true {}";
        check("out", &format!("Local(\"out\") app:1 {plain}"));
        check("-", &format!("Tar(Stdout) app:1 {plain}"));
        check("type=local,dest=out", &format!("Local(\"out\") app:1 {plain}"));
        check("type=tar,dest=a.tar", &format!("Tar(File(\"a.tar\")) app:1 {plain}"));
        check("type=tar", &format!("Tar(Stdout) app:1 {plain}"));
        check("type=cacheonly", &format!("CacheOnly app:1 {plain}"));
        check("type=docker", &format!("Store app:1 {plain}"));
        check("type=image,name=x", &format!("Store x:latest {plain}"));
        check("type=image,push=false", &format!("Store app:1 {plain}"));
        check("type=docker,dest=a.tar", &format!("Docker(File(\"a.tar\")) app:1 {gzip}"));
        check("TYPE=oci,dest=-", &format!("Oci(Stdout) app:1 {gzip}"));
        check("type=oci,tar=false,dest=d", &format!("Oci(Directory(\"d\")) app:1 {gzip}"));
        check(r#"type=oci,dest=a,"name=x,y:2""#, &format!("Oci(File(\"a\")) x:latest+y:2 {gzip}"));
        check(
            "type=oci,dest=a,compression=zstd,compression-level=19,force-compression=true,oci-mediatypes=false",
            "Oci(File(\"a\")) app:1 Zstd { level: 19 } Keep force=true oci=false {}",
        );
        check(
            "type=oci,dest=a,compression=uncompressed,annotation.Org.x=Y",
            "Oci(File(\"a\")) app:1 None Keep force=false oci=true {\"Org.x\": \"Y\"}",
        );
    }

    #[test]
    fn mistakes_are_named() {
        for (word, message) in [
            ("", "it is empty"),
            ("dest=x", "it has no type"),
            ("type=zip", "there is no output type `zip`; there are oci, docker, image, local, tar and cacheonly"),
            ("type=local", "type=local needs dest=DIRECTORY"),
            ("type=oci,tar=false", "tar=false needs dest=DIRECTORY"),
            ("type=oci,dest=a,foo=1", "type=oci has no option `foo`"),
            ("type=local,dest=a,compression=gzip", "type=local has no option `compression`"),
            ("type=oci,dest=a,dest=b", "`dest=b` says again what was said before"),
            ("type=oci,dest", "`dest` is not of the form KEY=VALUE"),
            ("type=oci,dest=a,compression=lz4", "there is no compression `lz4`; there are gzip, zstd and uncompressed"),
            ("type=oci,dest=a,compression-level=10", "compression-level=10 is not between 0 and 9"),
            ("type=oci,dest=a,tar=maybe", "tar=`maybe`: expected true or false"),
            ("type=registry,name=x", "type=registry is not supported yet"),
            ("type=image,push=true", "push=true is not supported yet"),
            ("type=oci,dest=a,rewrite-timestamp=true", "rewrite-timestamp=true needs --build-arg SOURCE_DATE_EPOCH=SECONDS"),
        ] {
            assert_eq!(one(word, &around(&[])).unwrap_err().to_string(), message, "{word}");
        }
    }

    #[test]
    fn a_terminal_gets_no_archive() {
        let around = Surroundings { tags: &[], epoch: None, terminal: true };
        assert!(one("-", &around).is_err());
        assert!(one("type=oci", &around).is_err());
        assert!(one("type=oci,dest=x", &around).is_ok());
    }

    #[test]
    fn nothing_and_load_mean_the_store() {
        let kinds = |words: &[&str], load: bool| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            let outputs = all(&words, load, &around(&[])).unwrap();
            outputs.iter().map(|output| format!("{:?}", output.kind)).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(kinds(&[], false), "Store");
        assert_eq!(kinds(&["d"], false), "Local(\"d\")");
        assert_eq!(kinds(&["d"], true), "Local(\"d\") Store");
        assert_eq!(kinds(&["type=image"], true), "Store");
        let twice = ["-".to_owned(), "type=oci".to_owned()];
        assert!(all(&twice, false, &around(&[])).is_err());
    }

    #[test]
    fn times_are_clamped_to_the_epoch() {
        let around = Surroundings { tags: &[], epoch: Some(7), terminal: false };
        let spec = one("type=oci,dest=a,rewrite-timestamp=true", &around).unwrap();
        assert_eq!(spec.layer.times, TimePolicy::Clamp(7));
    }
}
