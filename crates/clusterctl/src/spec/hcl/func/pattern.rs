//! Regular expressions of RE2, as Go has them, in the words of the library that matches here.

use std::iter::Peekable;
use std::str::Chars;

/// Most repetitions that RE2 takes.
const MOST_REPEATS: u32 = 1000;

/// The same expression for the library; none where RE2 refuses it and the library would not.
pub(super) fn of_re2(pattern: &str) -> Option<String> {
    let mut out = String::with_capacity(pattern.len());
    let mut letters = pattern.chars().peekable();
    // A quantifier may be followed by `?`, and by nothing else of its kind.
    let mut quantified = false;
    while let Some(letter) = letters.next() {
        let mut quantifies = false;
        match letter {
            '\\' => escape(&mut letters, &mut out, false)?,
            '[' => class(&mut letters, &mut out)?,
            '(' => {
                out.push('(');
                group(&letters)?;
                // What follows is no quantifier: `(?`.
                if letters.peek() == Some(&'?') {
                    letters.next();
                    out.push('?');
                }
            }
            '{' => match repeat(&letters) {
                Some((text, most)) if !quantified && most <= MOST_REPEATS => {
                    letters.by_ref().take(text.len()).for_each(drop);
                    out.push('{');
                    out.push_str(&text);
                    quantifies = true;
                }
                Some(_) => return None,
                None => out.push_str("\\{"),
            },
            '*' | '+' | '?' if quantified => return None,
            '*' | '+' | '?' => {
                out.push(letter);
                quantifies = true;
            }
            other => out.push(other),
        }
        if quantifies && letters.peek() == Some(&'?') {
            letters.next();
            out.push('?');
        }
        quantified = quantifies;
    }
    Some(out)
}

/// The inside of `{…}` where it repeats what stands before it, and how often at most.
fn repeat(letters: &Peekable<Chars<'_>>) -> Option<(String, u32)> {
    let text: String = letters.clone().take_while(|letter| *letter != '}').collect();
    if !letters.clone().any(|letter| letter == '}') {
        return None;
    }
    let (least, most) = text.split_once(',').unwrap_or((&text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if least.is_empty() || !digits(least) || !digits(most) {
        return None;
    }
    let number = |text: &str| text.parse().unwrap_or(u32::MAX);
    let most = if most.is_empty() { number(least) } else { number(most).max(number(least)) };
    Some((format!("{text}}}"), most))
}

/// Refuses flags that only the library has.
fn group(letters: &Peekable<Chars<'_>>) -> Option<()> {
    let mut rest = letters.clone();
    if rest.next() != Some('?') || matches!(rest.peek(), Some('P' | '<')) {
        return Some(());
    }
    let known = rest
        .take_while(|letter| !matches!(letter, ':' | ')'))
        .all(|letter| matches!(letter, 'i' | 'm' | 's' | 'U' | '-'));
    known.then_some(())
}

/// What follows a backslash. Classes are those of ASCII; what is no letter stands for itself.
fn escape(letters: &mut Peekable<Chars<'_>>, out: &mut String, inside: bool) -> Option<()> {
    match letters.next()? {
        'Q' => {
            let mut quoted = String::new();
            while let Some(letter) = letters.next() {
                if letter == '\\' && letters.peek() == Some(&'E') {
                    letters.next();
                    break;
                }
                quoted.push(letter);
            }
            out.push_str(&regex::escape(&quoted));
        }
        'd' => out.push_str("[0-9]"),
        'D' => out.push_str("[^0-9]"),
        'w' => out.push_str("[0-9A-Za-z_]"),
        'W' => out.push_str("[^0-9A-Za-z_]"),
        's' => out.push_str("[\\t\\n\\f\\r ]"),
        'S' => out.push_str("[^\\t\\n\\f\\r ]"),
        'b' if !inside => out.push_str("(?-u:\\b)"),
        letter @ ('a' | 'f' | 't' | 'n' | 'r' | 'v' | 'x' | 'p' | 'P') => {
            out.push('\\');
            out.push(letter);
        }
        letter @ ('A' | 'B' | 'z') if !inside => {
            out.push('\\');
            out.push(letter);
        }
        letter if letter.is_ascii_alphanumeric() => return None,
        letter => out.push_str(&regex::escape(&letter.to_string())),
    }
    Some(())
}

/// A class in brackets, where `[`, `&&`, `--` and `~~` are nothing special to RE2.
fn class(letters: &mut Peekable<Chars<'_>>, out: &mut String) -> Option<()> {
    out.push('[');
    if letters.peek() == Some(&'^') {
        letters.next();
        out.push('^');
    }
    let mut first = true;
    loop {
        match letters.next()? {
            ']' if !first => break,
            '\\' => escape(letters, out, true)?,
            '[' if letters.peek() == Some(&':') => {
                out.push('[');
                for letter in letters.by_ref() {
                    out.push(letter);
                    if letter == ']' {
                        break;
                    }
                }
            }
            letter @ ('[' | ']' | '&' | '~') => {
                out.push('\\');
                out.push(letter);
            }
            '-' if first || letters.peek() == Some(&']') => out.push_str("\\-"),
            letter => out.push(letter),
        }
        first = false;
    }
    out.push(']');
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(pattern: &str, text: &str) -> Option<String> {
        let regex = regex::Regex::new(&of_re2(pattern).unwrap()).unwrap();
        regex.find(text).map(|found| found.as_str().to_owned())
    }

    #[test]
    fn classes_are_those_of_ascii() {
        assert_eq!(finds(r"\w+", "éab"), Some("ab".into()));
        assert_eq!(finds(r"[\d.]+", "٣1.2"), Some("1.2".into()));
        assert_eq!(finds(r"[^\s]", "\u{b}"), Some("\u{b}".into()));
        assert_eq!(finds(r"\ba", "éa"), Some("a".into()));
    }

    #[test]
    fn what_means_more_here_means_itself() {
        assert_eq!(finds(r"\Qa.b\E+", "axb a.bb"), Some("a.bb".into()));
        assert_eq!(finds(r"[a[&&b]+", "x[&a"), Some("[&a".into()));
        assert_eq!(finds(r"{x}", "a{x}"), Some("{x}".into()));
        assert_eq!(finds(r"\<a\>", "<a>"), Some("<a>".into()));
        assert_eq!(finds(r"[a-]+", "x-a"), Some("-a".into()));
        assert_eq!(finds(r"(?P<n>a){2,3}?", "aaa"), Some("aa".into()));
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for bad in [r"x{1001}", r"\u0041", "a**", "a+*", r"(?x)a", "[a", r"a\", r"\1", "a{2}{3}"] {
            assert!(of_re2(bad).is_none(), "{bad}");
        }
    }
}
