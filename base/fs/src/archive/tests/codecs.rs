//! Compression both ways, against the usual programs.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::peers::run;
use super::*;

/// Something that compresses, but not to nothing.
fn sample(length: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut bytes = Vec::with_capacity(length);
    while bytes.len() < length {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.extend_from_slice(format!("{} ", state >> 20).as_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);
impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn encode(codec: Codec, content: &[u8], piece: usize) -> Vec<u8> {
    let sink = Sink::default();
    let mut encoder = encoder(codec, Box::new(sink.clone())).unwrap();
    for piece in content.chunks(piece) {
        encoder.write_all(piece).unwrap();
        encoder.flush().unwrap();
    }
    encoder.finish().unwrap();
    let mut bytes = sink.0.lock().unwrap();
    std::mem::take(&mut *bytes)
}

fn decode(bytes: &[u8]) -> std::io::Result<(Compression, Vec<u8>)> {
    let (compression, mut decoder) = decode_any(Box::new(bytes))?;
    let mut content = Vec::new();
    decoder.read_to_end(&mut content)?;
    Ok((compression, content))
}

const CODECS: [(Codec, Compression, &str); 3] = [
    (Codec::None, Compression::None, "cat"),
    (Codec::Gzip { level: 5 }, Compression::Gzip, "gzip"),
    (Codec::Zstd { level: 3 }, Compression::Zstd, "zstd"),
];

#[test]
fn everybody_decodes_what_is_encoded() {
    for (codec, compression, program) in CODECS {
        for length in [0, 1, 1000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 5 << 20] {
            let content = sample(length);
            let encoded = encode(codec, &content, 70_000);
            if codec != Codec::None || length > 0 {
                assert_eq!(decode(&encoded).unwrap(), (compression, content.clone()), "{codec:?} of {length}");
            }
            let arguments: &[&str] = if program == "cat" { &[] } else { &["-dc"] };
            assert!(run(program, arguments, Path::new("/"), &encoded) == content, "{program} of {length}");
        }
    }
}

#[test]
fn bytes_depend_on_the_input_alone() {
    let content = sample((3 << 20) + 12_345);
    for codec in [Codec::Gzip { level: 1 }, Codec::Gzip { level: 6 }, Codec::Zstd { level: 1 }, Codec::Zstd { level: 9 }] {
        let expect = encode(codec, &content, usize::MAX >> 1);
        for piece in [999, 1 << 20, 1_500_000] {
            assert!(encode(codec, &content, piece) == expect, "{codec:?} in pieces of {piece}");
        }
        // In a rayon job, where waiting for another one could wait for ever.
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(|| encode(codec, &content, 100_000)) == expect, "{codec:?} on {threads} threads");
        }
    }
}

#[test]
fn gzip_members_are_blocks_without_names_and_times() {
    let encoded = encode(Codec::Gzip { level: 5 }, &sample((2 << 20) + 1), 1 << 16);
    let mut lengths = Vec::new();
    let mut rest = &*encoded;
    while !rest.is_empty() {
        assert_eq!(rest[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0], "no flags, no time");
        let mut member = flate2::bufread::GzDecoder::new(rest);
        lengths.push(std::io::copy(&mut member, &mut std::io::sink()).unwrap());
        rest = member.into_inner();
    }
    assert_eq!(lengths, [1 << 20, 1 << 20, 1]);
}

#[test]
fn levels_are_checked() {
    for codec in [Codec::Gzip { level: 13 }, Codec::Zstd { level: 23 }, Codec::Zstd { level: i32::MIN }] {
        let error = encoder(codec, Box::new(std::io::sink())).err().unwrap();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{codec:?}");
    }
    assert!(decode(&encode(Codec::Gzip { level: 0 }, b"stored", 9)).unwrap().1 == b"stored");
    assert!(decode(&encode(Codec::Gzip { level: 12 }, b"small", 9)).unwrap().1 == b"small");
}

#[test]
fn a_failing_output_is_an_error() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for (codec, ..) in CODECS {
        let mut encoder = encoder(codec, Box::new(Full)).unwrap();
        let result = encoder.write_all(&sample(30 << 20)).and_then(|()| encoder.finish());
        assert_eq!(result.unwrap_err().kind(), std::io::ErrorKind::StorageFull, "{codec:?}");
    }
}

/// The same content in every compression that is read.
fn compressed(content: &[u8]) -> Vec<(Compression, Vec<u8>)> {
    let by = |program: &str, arguments: &[&str]| run(program, arguments, Path::new("/"), content);
    vec![
        (Compression::Gzip, by("gzip", &["-c"])),
        (Compression::Bzip2, by("bzip2", &["-c"])),
        (Compression::Xz, by("xz", &["-c"])),
        (Compression::Zstd, by("zstd", &["-c"])),
    ]
}

#[test]
fn members_and_frames_are_concatenated() {
    let (first, second) = (sample(100_000), sample(50));
    for ((compression, one), (_, two)) in compressed(&first).into_iter().zip(compressed(&second)) {
        assert_eq!(detect(&one), compression);
        assert_eq!(decode(&one).unwrap(), (compression, first.clone()));
        let both = [one, two].concat();
        assert!(decode(&both).unwrap().1 == [&*first, &*second].concat(), "{compression:?}");
    }
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3][..], &compressed(b"frame")[3].1].concat();
    assert_eq!(decode(&skippable).unwrap(), (Compression::Zstd, b"frame".to_vec()));
}

#[test]
fn a_cut_anywhere_is_an_error() {
    for (compression, bytes) in compressed(&sample(3000)) {
        for cut in 6..bytes.len() {
            assert!(decode(&bytes[..cut]).is_err(), "{compression:?} cut at {cut} of {}", bytes.len());
        }
    }
}

#[test]
fn changed_bytes_are_errors() {
    for (compression, bytes) in compressed(&sample(3000)) {
        let mut silent = 0;
        for at in 6..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x10;
            silent += usize::from(decode(&changed).is_ok_and(|(_, content)| content != sample(3000)));
        }
        assert_eq!(silent, 0, "{compression:?} has checksums");
    }
}

#[test]
fn memory_is_bounded() {
    let long = run("zstd", &["-c", "--long=31", "--ultra", "-22"], Path::new("/"), &sample(1000));
    // A single small frame needs no window; one of unknown size asks for all of it.
    let streamed = {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(28).unwrap();
        encoder.write_all(&sample(1000)).unwrap();
        encoder.finish().unwrap()
    };
    assert!(decode(&streamed).is_err());
    drop(long);
    let big = run("xz", &["-c", "--lzma2=dict=1GiB"], Path::new("/"), &sample(1000));
    assert!(decode(&big).is_err());
    let usual = run("xz", &["-c", "-9e"], Path::new("/"), &sample(1000));
    assert_eq!(decode(&usual).unwrap().1, sample(1000));
}

#[test]
fn archives_are_told_from_other_files() {
    let tar = write(&[file("f", 3)]);
    assert_eq!(probe(&*tar), Some(Compression::None));
    for (compression, bytes) in compressed(&tar) {
        assert_eq!(probe(&*bytes), Some(compression));
    }
    for (_, bytes) in compressed(b"no tar in here") {
        assert_eq!(probe(&*bytes), None);
    }
    for other in [&b""[..], b"x", b"\x1f\x8b\x08", b"BZh9", &[0; 10_240], &sample(10_000), &tar[..511]] {
        assert_eq!(probe(other), None);
    }
    let damaged = [&tar[..10], b"!", &tar[11..]].concat();
    assert_eq!(probe(&*damaged), None);
}
