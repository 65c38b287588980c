//! Regular expressions of RE2, as Go has them, in the words of the library that matches here.

use std::iter::Peekable;
use std::str::Chars;

type Letters<'a> = Peekable<Chars<'a>>;

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
            '\\' => escape(&mut letters, &mut out)?,
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
fn repeat(letters: &Letters<'_>) -> Option<(String, u32)> {
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
fn group(letters: &Letters<'_>) -> Option<()> {
    let mut rest = letters.clone();
    if rest.next() != Some('?') || matches!(rest.peek(), Some('P' | '<')) {
        return Some(());
    }
    let known = rest
        .take_while(|letter| !matches!(letter, ':' | ')'))
        .all(|letter| matches!(letter, 'i' | 'm' | 's' | 'U' | '-'));
    known.then_some(())
}

/// What follows a backslash outside brackets.
fn escape(letters: &mut Letters<'_>, out: &mut String) -> Option<()> {
    match *letters.peek()? {
        'Q' => {
            letters.next();
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
        'b' => {
            letters.next();
            out.push_str("(?-u:\\b)");
        }
        letter @ ('A' | 'B' | 'z') => {
            letters.next();
            out.push('\\');
            out.push(letter);
        }
        letter if names_class(letter) => out.push_str(&named_class(letters)?),
        _ => out.push_str(&literal(character(letters)?)),
    }
    Some(())
}

/// A class follows a backslash that this letter follows.
fn names_class(letter: char) -> bool {
    matches!(letter, 'd' | 'D' | 'w' | 'W' | 's' | 'S' | 'p' | 'P')
}

/// A class with a name: Perl's are those of ASCII, `\p` is one of Unicode; none where the name is no
/// name.
fn named_class(letters: &mut Letters<'_>) -> Option<String> {
    let class = match letters.next()? {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        's' => "[\\t\\n\\f\\r ]",
        'S' => "[^\\t\\n\\f\\r ]",
        kind => return unicode_class(letters, kind == 'p'),
    };
    Some(class.to_owned())
}

/// What follows `\p`, `L`, `{Greek}` or `{^Greek}`; `within` is false for what `\P` leaves out.
fn unicode_class(letters: &mut Letters<'_>, mut within: bool) -> Option<String> {
    let name = match letters.next()? {
        '{' => braced(letters)?,
        letter => letter.to_string(),
    };
    let name = match name.strip_prefix('^') {
        Some(rest) => {
            within = !within;
            rest
        }
        None => &name,
    };
    // RE2 knows plain names only: no `Script=Greek`.
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if name.is_empty() || !name.bytes().all(plain) {
        return None;
    }
    Some(format!("\\{}{{{name}}}", if within { 'p' } else { 'P' }))
}

/// What stands before the next `}`, which is taken too.
fn braced(letters: &mut Letters<'_>) -> Option<String> {
    let mut text = String::new();
    loop {
        match letters.next()? {
            '}' => return Some(text),
            letter => text.push(letter),
        }
    }
}

/// The character that an escape stands for.
fn character(letters: &mut Letters<'_>) -> Option<char> {
    let code = match letters.next()? {
        'a' => 0x07,
        'f' => 0x0c,
        't' => 0x09,
        'n' => 0x0a,
        'r' => 0x0d,
        'v' => 0x0b,
        'x' if letters.peek() == Some(&'{') => {
            letters.next();
            hexadecimal(&braced(letters)?)?
        }
        'x' => {
            let digits: String = letters.by_ref().take(2).collect();
            hexadecimal(&digits).filter(|_| digits.len() == 2)?
        }
        first @ '0'..='7' => {
            // One digit that is no zero would name a group, which RE2 does not do.
            if first != '0' && !letters.peek().is_some_and(|next| next.is_digit(8)) {
                return None;
            }
            let mut code = first.to_digit(8)?;
            for _ in 0..2 {
                let Some(digit) = letters.peek().and_then(|next| next.to_digit(8)) else { break };
                letters.next();
                code = code * 8 + digit;
            }
            code
        }
        letter if letter.is_ascii_punctuation() => return Some(letter),
        _ => return None,
    };
    char::from_u32(code)
}

fn hexadecimal(digits: &str) -> Option<u32> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(digits, 16).ok()
}

/// A character that stands for itself, in brackets as well.
fn literal(letter: char) -> String {
    if letter.is_ascii_alphanumeric() || !letter.is_ascii() {
        return letter.to_string();
    }
    format!("\\x{:02x}", u32::from(letter))
}

/// A class in brackets, where `[`, `&&`, `--` and `~~` are nothing special to RE2.
fn class(letters: &mut Letters<'_>, out: &mut String) -> Option<()> {
    out.push('[');
    if letters.peek() == Some(&'^') {
        letters.next();
        out.push('^');
    }
    let mut first = true;
    while first || letters.peek()? != &']' {
        first = false;
        if let Some(name) = posix_class(letters) {
            out.push_str(&name);
            continue;
        }
        let mut after = letters.clone();
        if after.next() == Some('\\') && after.peek().is_some_and(|next| names_class(*next)) {
            *letters = after;
            out.push_str(&named_class(letters)?);
            continue;
        }
        let least = class_character(letters)?;
        out.push_str(&literal(least));
        let mut after = letters.clone();
        if after.next() == Some('-') && after.peek().is_some_and(|next| *next != ']') {
            *letters = after;
            let most = class_character(letters)?;
            out.push('-');
            out.push_str(&literal(most));
        }
    }
    letters.next();
    out.push(']');
    Some(())
}

/// `[:alpha:]` and its like; what only begins so is a class of these characters.
fn posix_class(letters: &mut Letters<'_>) -> Option<String> {
    let mut after = letters.clone();
    if after.next() != Some('[') || after.next() != Some(':') {
        return None;
    }
    let mut name = String::from("[:");
    while !name.ends_with(":]") || name.len() == 3 {
        name.push(after.next()?);
    }
    *letters = after;
    Some(name)
}

fn class_character(letters: &mut Letters<'_>) -> Option<char> {
    match letters.next()? {
        '\\' => character(letters),
        letter => Some(letter),
    }
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
    fn names_and_numbers_of_characters() {
        assert_eq!(finds(r"\p{L}+", "1é"), Some("é".into()));
        assert_eq!(finds(r"\pL+", "1é"), Some("é".into()));
        assert_eq!(finds(r"[\p{Greek}\d]+", "aλ1"), Some("λ1".into()));
        assert_eq!(finds(r"\p{^Greek}+", "λab"), Some("ab".into()));
        assert_eq!(finds(r"\P{^Greek}+", "abλ"), Some("λ".into()));
        assert_eq!(finds(r"\x{41}+\x42", "AAB"), Some("AAB".into()));
        assert_eq!(finds(r"a\012\0", "a\n\0"), Some("a\n\0".into()));
        assert_eq!(finds(r"[\101-\x{43}]+", "zABC"), Some("ABC".into()));
    }

    #[test]
    fn ranges_begin_and_end_as_in_re2() {
        assert_eq!(finds(r"[!--/]+", "a-./"), Some("-".into()));
        assert_eq!(finds(r"[--/]+", "a-./"), Some("-./".into()));
        assert_eq!(finds(r"[a-b-d]+", "c-ad"), Some("-ad".into()));
        assert_eq!(finds(r"[\d-z]+", "y-1z"), Some("-1z".into()));
        assert_eq!(finds(r"[]a]+", "a]"), Some("a]".into()));
        assert_eq!(finds(r"[[:alpha:]-]+", "1a-"), Some("a-".into()));
        assert_eq!(finds(r"[[:a]+", "b[:a"), Some("[:a".into()));
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for bad in [
            r"x{1001}",
            r"\u0041",
            "a**",
            "a+*",
            r"(?x)a",
            "[a",
            r"a\",
            r"\1",
            "a{2}{3}",
            r"\x4",
            r"\x{}",
            r"\x{110000}",
            r"\p{Script=Greek}",
            r"\p{}",
            r"[\Qa\E]",
            r"[\b]",
            r"\8",
            r"\é",
        ] {
            assert!(of_re2(bad).is_none(), "{bad}");
        }
    }
}
