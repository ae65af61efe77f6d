//! Did-you-mean: the nearest of some words, at most two edits away (BuildKit `util/suggest`).

const FARTHEST: usize = 2;
/// Only so many words are compared: a file can set thousands of variables and misspell each.
const MOST_OPTIONS: usize = 300;
/// Longer words are not compared: the distance costs their product.
const LONGEST: usize = 200;

/// The option nearest to `word`; none when it is one of them or all are too far.
pub(crate) fn nearest<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(FARTHEST, word, options)
}

/// The same for words that may well be meant: short ones must be nearer.
pub(crate) fn nearest_likely<'a>(word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    nearest_within(if word.len() < 5 { 1 } else { FARTHEST }, word, options)
}

fn nearest_within<'a>(farthest: usize, word: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for option in options.into_iter().take(MOST_OPTIONS) {
        if option == word {
            return None;
        }
        if option.len().abs_diff(word.len()) > 4 * FARTHEST {
            continue;
        }
        let distance = distance(word, option);
        // A word that is changed all over is another word.
        if distance <= farthest.min(word.len().saturating_sub(1)) && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, option));
        }
    }
    best.map(|(_, option)| option)
}

/// The same for upper-case options whatever the word's case; the answer takes the word's case.
pub(crate) fn nearest_keyword(word: &str, options: &[&str]) -> Option<String> {
    let found = nearest(&word.to_uppercase(), options.iter().copied())?;
    let lower = word.chars().all(|c| !c.is_uppercase());
    Some(if lower { found.to_lowercase() } else { found.to_owned() })
}

/// Levenshtein's distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_found() {
        for (word, options, expected) in [
            ("bulid", &["build", "base"][..], Some("build")),
            ("mont", &["mount", "network"], Some("mount")),
            ("build", &["build", "guild"], None),
            ("x", &["mount"], None),
            ("", &["ab", "abc"], None),
            ("a", &["b"], None),
            ("tmp", &["bind", "tmpfs"], Some("tmpfs")),
        ] {
            assert_eq!(nearest(word, options.iter().copied()), expected, "{word}");
        }
    }

    #[test]
    fn keywords_take_the_case_of_the_word() {
        let options = ["RUN", "COPY"];
        assert_eq!(nearest_keyword("RUNN", &options).as_deref(), Some("RUN"));
        assert_eq!(nearest_keyword("cpy", &options).as_deref(), Some("copy"));
    }
}
