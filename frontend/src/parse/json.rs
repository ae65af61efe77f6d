//! The JSON (exec) form of arguments.

use serde::Deserialize;

/// What a text that should be a JSON array is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Array {
    /// Strings only.
    Strings(Vec<String>),
    /// An array with something else in it: an error.
    Mixed,
    /// No JSON array: the shell form.
    No,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Text(String),
    Other(serde::de::IgnoredAny),
}

/// Reads the array form.
pub(super) fn array(text: &str) -> Array {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Array::No;
    }
    let Ok(elements) = serde_json::from_str::<Vec<Element>>(text) else { return Array::No };
    let mut strings = Vec::with_capacity(elements.len());
    for element in elements {
        match element {
            Element::Text(text) => strings.push(text),
            Element::Other(_) => return Array::Mixed,
        }
    }
    Array::Strings(strings)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_of_strings_are_the_exec_form() {
        let strings = |items: &[&str]| Array::Strings(items.iter().map(|item| (*item).to_owned()).collect());
        for (text, expected) in [
            (r#"["a", "b c"]"#, strings(&["a", "b c"])),
            (r#"  ["a"] "#, strings(&["a"])),
            ("[]", strings(&[])),
            (r#"["\u00e9\n"]"#, strings(&["é\n"])),
            (r#"["a", 1]"#, Array::Mixed),
            (r#"["a", ["b"]]"#, Array::Mixed),
            ("[null]", Array::Mixed),
            (r"['a']", Array::No),
            (r#"["a"] tail"#, Array::No),
            (r#"["a",]"#, Array::No),
            ("echo", Array::No),
            ("", Array::No),
        ] {
            assert_eq!(array(text), expected, "{text}");
        }
    }
}
