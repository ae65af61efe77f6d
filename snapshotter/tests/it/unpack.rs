//! Unpacking an image's layers, verified.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use rbuild_fs::archive::{Codec, encoder};
use rbuild_oci::{ChainId, Descriptor, DiffId, Digest, MediaType};
use rbuild_snapshotter::{UnpackError, unpack_layers};

use crate::fixture::{Lab, chain, each, tar};

/// One layer: its descriptor, its diff id and its bytes.
struct Layer(Descriptor, DiffId, Vec<u8>);

fn layer(entries: &[&str], codec: Codec) -> Layer {
    let tar = tar(entries);
    let mut bytes = Vec::new();
    let mut to = encoder(codec, Box::new(&mut bytes)).expect("an encoder");
    to.write_all(&tar).expect("writes");
    to.finish().expect("finishes");
    Layer(describe(&bytes), DiffId(Digest::of(&tar)), bytes)
}

fn describe(bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: MediaType::OciLayerGzip,
        digest: Digest::of(bytes),
        size: bytes.len() as u64,
        platform: None,
        annotations: BTreeMap::new(),
        extra: BTreeMap::new(),
    }
}

fn unpack(lab: &Lab, layers: &[Layer]) -> Result<Vec<String>, UnpackError> {
    let stack: Vec<(Descriptor, DiffId)> = layers.iter().map(|layer| (layer.0.clone(), layer.1.clone())).collect();
    let open = |wanted: &Descriptor| -> io::Result<Box<dyn Read + Send>> {
        let found = layers.iter().find(|layer| layer.0.digest == wanted.digest && !layer.2.is_empty());
        let bytes = found.ok_or(io::ErrorKind::NotFound)?.2.clone();
        Ok(Box::new(io::Cursor::new(bytes)))
    };
    let state = unpack_layers(&lab.snapshotter, &stack, &open)?;
    Ok(state.map_or(Vec::new(), |state| lab.tree(&state)))
}

#[test]
fn stacks() {
    each(|lab| {
        let layers = [
            layer(&["dir d", "file d/x X", "file d/y Y"], Codec::Gzip { level: 6 }),
            layer(&["file d/.wh.x", "file z Z"], Codec::Zstd { level: 3 }),
            layer(&["file z again"], Codec::None),
        ];
        assert_eq!(unpack(lab, &[]).expect("unpacks"), Vec::<String>::new());
        assert_eq!(unpack(lab, &layers[..2]).expect("unpacks"), ["d/", "d/y Y", "z Z"]);
        let below = layers.iter().take(2).map(|layer| layer.1.clone()).collect::<Vec<_>>();
        let below = lab.snapshotter.open_chain(&ChainId::of(&below).expect("a chain")).expect("reads").expect("is unpacked");
        // Only the last one is read now.
        let [one, two, three] = layers;
        let again = [Layer(one.0, one.1, Vec::new()), Layer(two.0, two.1, Vec::new()), three];
        assert_eq!(unpack(lab, &again).expect("unpacks"), ["d/", "d/y Y", "z again"], "{}", lab.driver);
        assert_eq!(lab.tree(&below), ["d/", "d/y Y", "z Z"], "{}", lab.driver);
    });
}

#[test]
fn what_does_not_match_stays_invisible() {
    let check = |damage: &dyn Fn(&mut Layer), expected: &str| {
        each(|lab| {
            let mut damaged = layer(&["file x X"], Codec::Gzip { level: 6 });
            damage(&mut damaged);
            let id = ChainId::of(std::slice::from_ref(&damaged.1)).expect("a chain");
            let text = expected.replace("LAYER", &damaged.0.digest.to_string()).replace("DIFF", &damaged.1.0.to_string());
            let error = chain(&unpack(lab, &[damaged]).expect_err("is refused"));
            assert!(error.starts_with(&text), "{}: {error:?} is not {text:?}", lab.driver);
            assert!(lab.snapshotter.open_chain(&id).expect("reads").is_none());
        });
    };
    let bytes_of = |entries: &[&str]| layer(entries, Codec::Gzip { level: 6 }).2;
    check(&|layer| layer.2.clear(), "layer LAYER is not stored");
    check(&|layer| layer.1 = DiffId(Digest::of(b"other")), "layer DIFF has the diff id sha256:");
    check(&|layer| layer.2 = bytes_of(&["file x Y"]), "layer LAYER has the digest sha256:");
    check(&|layer| layer.2.push(0), "layer LAYER could not be read: ");
    check(&|layer| layer.0.size += 1, "layer LAYER has the size ");
    check(&|layer| layer.2.truncate(20), "layer LAYER could not be read: ");
    check(&|layer| *layer = self::layer(&["char x 0 0"], Codec::None), "layer LAYER could not be applied: layer entry `x`");
}
