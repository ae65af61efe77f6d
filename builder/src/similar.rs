//! Did-you-mean among the names of stored images.

use rbuild_oci::Reference;

/// Most names that are offered.
const OFFERED: usize = 3;
/// Longer names are not compared: the distance costs their product.
const LONGEST: usize = 256;

/// The stored names nearest to `wanted`, the nearest first: other tags of it, and names that differ by a typing mistake.
pub(crate) fn similar<'a>(wanted: &Reference, stored: impl IntoIterator<Item = &'a Reference>) -> Vec<String> {
    let mut near: Vec<(usize, String)> =
        stored.into_iter().filter_map(|name| Some((distance(wanted, name)?, name.familiar()))).collect();
    near.sort();
    near.dedup();
    near.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

/// `None` when they are not alike.
fn distance(wanted: &Reference, name: &Reference) -> Option<usize> {
    let (wanted, name) = (wanted.familiar_name(), name.familiar_name());
    if wanted == name {
        return Some(0);
    }
    if wanted.rsplit('/').next() == name.rsplit('/').next() {
        return Some(1);
    }
    let allowed = 1 + wanted.len() / 5;
    let edits = edits(&wanted, &name)?;
    (edits <= allowed).then_some(edits + 1)
}

/// Levenshtein's distance of two short texts.
fn edits(left: &str, right: &str) -> Option<usize> {
    if left.len() > LONGEST || right.len() > LONGEST {
        return None;
    }
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], above + 1);
        for (at, other) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = substituted.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row.last().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        let stored = ["busybox:1.36", "busybox:1.37", "alpine", "localhost:5000/tools/builder", "bussybox"];
        let stored: Vec<Reference> = stored.map(|name| Reference::parse(name).unwrap()).to_vec();
        let check = |wanted: &str, expected: &[&str]| {
            assert_eq!(similar(&Reference::parse(wanted).unwrap(), &stored), expected, "{wanted}");
        };
        check("busybox", &["busybox:1.36", "busybox:1.37", "bussybox:latest"]);
        check("busibox", &["busybox:1.36", "busybox:1.37", "bussybox:latest"]);
        check("builder", &["localhost:5000/tools/builder:latest"]);
        check("alpime", &["alpine:latest"]);
        check("postgres", &[]);
    }
}
