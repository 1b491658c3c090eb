//! Layer names by pattern: `*` stands for any run of characters.

/// Whether `name` matches `pattern`.
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| name.strip_prefix(first)) else {
        return false;
    };
    let mut open_ended = !pattern.contains('*');
    let mut ended = rest.is_empty();
    for part in parts {
        open_ended = part.is_empty();
        let Some(at) =
            (if open_ended { Some(rest.len()) } else { last_or_next(part, rest, pattern) })
        else {
            return false;
        };
        rest = &rest[at..];
        ended = rest.is_empty();
    }
    if pattern.contains('*') { open_ended || ended } else { ended }
}

/// Where `part` ends in `rest`: the last occurrence if the pattern ends with it, else the next.
fn last_or_next(part: &str, rest: &str, pattern: &str) -> Option<usize> {
    let found = if pattern.ends_with(part) { rest.rfind(part) } else { rest.find(part) };
    found.map(|at| at + part.len())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_match_runs() {
        for (pattern, name) in [
            ("fc1", "fc1"),
            ("fc*", "fc1"),
            ("*", "x"),
            ("*.weight", "a.weight"),
            ("c*1*", "conv1.w"),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in
            [("fc1", "fc10"), ("fc", "fc1"), ("*.bias", "a.weight"), ("x*", "fc")]
        {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }
}
