//! A reader of `multipart/form-data` that never holds a file in memory.

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

/// The header of a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) name: String,
    pub(crate) filename: Option<String>,
}

/// Reads parts one after the other.
#[derive(Debug)]
pub(crate) struct Reader {
    body: Incoming,
    buffer: BytesMut,
    /// `\r\n--BOUNDARY`.
    mark: Vec<u8>,
    ended: bool,
    broken: bool,
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    let first = needle.first()?;
    let mut from = 0;
    while let Some(rest) = haystack.get(from..) {
        let at = from + rest.iter().position(|byte| byte == first)?;
        if haystack.get(at..)?.starts_with(needle) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

impl Reader {
    /// A reader of a body with the boundary of its content type.
    pub(crate) fn new(content_type: &str, body: Incoming) -> Option<Self> {
        let boundary =
            content_type.split(';').find_map(|part| part.trim().strip_prefix("boundary="))?;
        let mark = format!("\r\n--{}", boundary.trim_matches('"')).into_bytes();
        Some(Self { body, buffer: BytesMut::from(&b"\r\n"[..]), mark, ended: false, broken: false })
    }

    /// Reads more; false at the end.
    async fn more(&mut self) -> bool {
        while !self.ended {
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                        return true;
                    }
                }
                _ => self.ended = true,
            }
        }
        false
    }

    /// The next part; `None` after the last one or when the body is broken.
    pub(crate) async fn next(&mut self) -> Option<Part> {
        while self.chunk().await.is_some() {}
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let head = self.buffer.split_to(end + 4);
                let start = self.mark.len();
                let text =
                    String::from_utf8_lossy(head.get(start..).unwrap_or_default()).into_owned();
                if text.starts_with("--") {
                    return None;
                }
                return Some(part(&text));
            }
            let closing =
                self.buffer.get(self.mark.len()..).is_some_and(|rest| rest.starts_with(b"--"));
            if closing || !self.more().await {
                return None;
            }
        }
    }

    /// The next bytes of the current part; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Option<Bytes> {
        loop {
            if let Some(end) = find(&self.buffer, &self.mark) {
                return (end > 0).then(|| self.buffer.split_to(end).freeze());
            }
            let safe = self.buffer.len().saturating_sub(self.mark.len());
            if safe > 0 {
                return Some(self.buffer.split_to(safe).freeze());
            }
            if !self.more().await {
                let rest = self.buffer.len();
                self.buffer.advance(rest);
                self.broken = true;
                return None;
            }
        }
    }

    /// The body ended inside of a part: what came of that part is not whole.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    /// The rest of the current part as text.
    pub(crate) async fn text(&mut self) -> String {
        let mut out = Vec::new();
        while let Some(chunk) = self.chunk().await {
            if out.len() < 65_536 {
                out.extend_from_slice(&chunk);
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }
}

fn part(head: &str) -> Part {
    let mut found = Part::default();
    for line in head.lines() {
        let Some((name, rest)) = line.split_once(':') else { continue };
        if !name.trim().eq_ignore_ascii_case("content-disposition") {
            continue;
        }
        for item in rest.split(';') {
            if let Some((key, value)) = item.trim().split_once('=') {
                let value = value.trim_matches('"').to_owned();
                match key {
                    "name" => found.name = value,
                    "filename" => found.filename = Some(value),
                    _ => {}
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_of_a_part_is_read() {
        let head = "\r\nContent-Disposition: form-data; name=\"filename\"; filename=\"a.iso\"\r\nContent-Type: x/y\r\n\r\n";
        assert_eq!(
            part(head),
            Part { name: "filename".to_owned(), filename: Some("a.iso".to_owned()) }
        );
        assert_eq!(find(b"aab", b"ab"), Some(1));
        assert_eq!(find(b"aa", b"ab"), None);
    }
}
