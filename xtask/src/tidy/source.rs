//! Rust source split into code and comments, line by line, so that a rule on code is not misled by a string.

/// A source file. The three lists have one entry a line.
pub(super) struct Source<'a> {
    /// The lines as they are.
    pub(super) lines: Vec<&'a str>,
    /// The code, with comments and the content of literals blanked.
    pub(super) code: Vec<String>,
    /// The comments, without the code.
    pub(super) comments: Vec<String>,
    /// Whether the line belongs to an item under `#[cfg(test)]`.
    pub(super) is_test: Vec<bool>,
}

/// What the next character belongs to.
#[derive(Clone, Copy, PartialEq)]
enum State {
    Code,
    LineComment,
    /// With the depth of nesting.
    BlockComment(u32),
    Text,
    /// With the number of `#`.
    RawText(usize),
}

impl<'a> Source<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        let mut state = State::Code;
        let mut code = Vec::new();
        let mut comments = Vec::new();
        for line in text.lines() {
            let (code_line, comment_line) = split(line, &mut state);
            code.push(code_line);
            comments.push(comment_line);
        }
        let is_test = test_lines(&code);
        Self { lines: text.lines().collect(), code, comments, is_test }
    }
}

/// Splits one line; `state` carries over what is open at its end.
fn split(line: &str, state: &mut State) -> (String, String) {
    let chars: Vec<char> = line.chars().collect();
    let (mut code, mut comment) = (String::new(), String::new());
    let starts = |at: usize, text: &str| {
        text.chars().enumerate().all(|(i, c)| chars.get(at + i) == Some(&c))
    };
    let hashes = |at: usize| chars[at.min(chars.len())..].iter().take_while(|&&c| c == '#').count();
    let mut at = 0;
    while at < chars.len() {
        let mut len = 1;
        match *state {
            State::LineComment => comment.push(chars[at]),
            State::BlockComment(depth) => {
                if starts(at, "*/") {
                    len = 2;
                    *state = if depth == 1 { State::Code } else { State::BlockComment(depth - 1) };
                } else if starts(at, "/*") {
                    len = 2;
                    *state = State::BlockComment(depth + 1);
                } else {
                    comment.push(chars[at]);
                }
            }
            State::Text => match chars[at] {
                '\\' => len = 2,
                '"' => {
                    code.push('"');
                    *state = State::Code;
                }
                _ => {}
            },
            State::RawText(count) => {
                if chars[at] == '"' && hashes(at + 1) >= count {
                    len = 1 + count;
                    code.push('"');
                    *state = State::Code;
                }
            }
            State::Code => {
                let follows_word = at > 0 && is_word(chars[at - 1]);
                let raw = usize::from(starts(at, "r") || starts(at, "br"))
                    * (1 + usize::from(starts(at, "br")));
                if starts(at, "//") {
                    comment.push_str("//");
                    len = 2;
                    *state = State::LineComment;
                } else if starts(at, "/*") {
                    len = 2;
                    *state = State::BlockComment(1);
                } else if raw > 0 && !follows_word && starts(at + raw + hashes(at + raw), "\"") {
                    let count = hashes(at + raw);
                    len = raw + count + 1;
                    code.push('"');
                    *state = State::RawText(count);
                } else if chars[at] == '"' {
                    code.push('"');
                    *state = State::Text;
                } else if chars[at] == '\'' {
                    // A lifetime has no closing quote one character (or one escape) further on.
                    len = character_len(&chars[at..]).unwrap_or(1);
                    code.push('\'');
                } else {
                    code.push(chars[at]);
                }
            }
        }
        at += len;
    }
    if *state == State::LineComment {
        *state = State::Code;
    }
    (code, comment)
}

/// The length of a character literal at the start of `chars`; `None` for a lifetime.
fn character_len(chars: &[char]) -> Option<usize> {
    if chars.get(1) == Some(&'\\') {
        return chars.iter().skip(3).position(|&c| c == '\'').map(|at| at + 4);
    }
    (chars.get(2) == Some(&'\'')).then_some(3)
}

/// Marks the lines from each `#[cfg(test)]` to the end of the item that it stands on.
fn test_lines(code: &[String]) -> Vec<bool> {
    let mut is_test = vec![false; code.len()];
    let mut line = 0;
    while line < code.len() {
        if !code[line].trim_start().starts_with("#[cfg(test)]") {
            line += 1;
            continue;
        }
        let (mut depth, mut is_open) = (0_i64, false);
        while line < code.len() {
            is_test[line] = true;
            for c in code[line].chars() {
                depth += i64::from(c == '{') - i64::from(c == '}');
                is_open |= c == '{';
            }
            let ends = depth == 0 && (is_open || code[line].trim_end().ends_with(';'));
            line += 1;
            if ends {
                break;
            }
        }
    }
    is_test
}

/// Whether a character can be part of a name.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The places in `line` where `word` stands by itself.
pub(super) fn words<'a>(line: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    line.match_indices(word).map(|(at, _)| at).filter(move |&at| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> Vec<String> {
        Source::new(text).code
    }

    #[test]
    fn literals_and_comments_are_no_code() {
        assert_eq!(code("a(\"unsafe { \\\" }\") // b"), ["a(\"\") "]);
        assert_eq!(code("r#\"x \" y\"# + br\"z\" + for_r"), ["\"\" + \"\" + for_r"]);
        assert_eq!(code("a /* x /* y */ z */ b"), ["a  b"]);
        assert_eq!(code("/* x\ny */ b"), ["", " b"]);
        assert_eq!(
            code("fn f<'a>(c: char) { c == '\"' || c == '\\'' }"),
            ["fn f<'a>(c: char) { c == ' || c == ' }"]
        );
        assert_eq!(code("let s = \"one \\\n  two\"; b"), ["let s = \"", "\"; b"]);
    }

    #[test]
    fn comments_are_kept_apart() {
        let source = Source::new("x; // SAFETY: y\n/* SAFETY: z */ w");
        assert_eq!(source.comments, ["// SAFETY: y", " SAFETY: z "]);
    }

    #[test]
    fn tests_are_marked_to_the_end_of_their_item() {
        let text = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n#[cfg(test)]\nmod d;\nfn e() {}";
        let expected = [false, true, true, true, true, false, true, true, false];
        assert_eq!(Source::new(text).is_test, expected);
    }

    #[test]
    fn words_stand_by_themselves() {
        assert_eq!(words("todo!() my_todo!() todo", "todo").collect::<Vec<_>>(), [0, 19]);
    }
}
