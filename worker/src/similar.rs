//! Names that look alike, for did-you-mean hints.

/// Up to three of `candidates` that are few edits away from `name`, nearest first.
pub(crate) fn similar<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<String> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let lower = name.to_lowercase();
    let mut near: Vec<(usize, &str)> = candidates
        .filter(|candidate| *candidate != name && candidate.len() < 256)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Levenshtein's distance, with a swap of neighbours as two edits.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::similar;

    #[test]
    fn nearest_first() {
        let names = ["package.json", "package-lock.json", "packages.json", "src"];
        assert_eq!(similar("pakage.json", names.into_iter()), ["package.json", "packages.json"]);
        assert!(similar("zzz", names.into_iter()).is_empty());
        assert_eq!(similar("README.MD", ["readme.md"].into_iter()), ["readme.md"]);
    }
}
