//! Numbers that follow from a seed, and texts and JSON changed by them.

use serde_json::Value;

/// SplitMix64.
pub(super) struct Random(u64);

/// What is likely to mean something to a reader.
const PIECES: [&str; 28] = [
    "=",
    ",",
    ";",
    ":",
    "/",
    "-",
    "+",
    ".",
    "\0",
    "\n",
    " ",
    "%",
    "\"",
    "0",
    "1",
    "00",
    "-1",
    "4294967296",
    "18446744073709551616",
    "1e309",
    "NaN",
    "0x10",
    "ü",
    "\u{200b}",
    "::",
    "=,=",
    "file=",
    "size=",
];

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }

    /// A number below a limit that is not 0.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % limit).unwrap_or_default()
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> Option<&'a T> {
        of.get(self.below(of.len()))
    }

    /// One of the texts, changed in a few places.
    pub(super) fn changed(&mut self, from: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = self.one(from).cloned().unwrap_or_default();
        for _ in 0..=self.below(6) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(8)).min(bytes.len());
            match self.below(7) {
                0 => drop(bytes.drain(at..end)),
                1 => {
                    let piece = self.one(&PIECES).copied().unwrap_or_default();
                    drop(bytes.splice(at..at, piece.bytes()));
                }
                2 => {
                    let byte = u8::try_from(self.below(256)).unwrap_or_default();
                    bytes.splice(at..(at + 1).min(bytes.len()), [byte]);
                }
                3 => {
                    let piece: Vec<u8> = bytes.get(at..end).unwrap_or_default().to_vec();
                    bytes.splice(at..at, piece);
                }
                4 => bytes.truncate(at),
                5 => {
                    let digit = b'0' + u8::try_from(self.below(10)).unwrap_or_default();
                    bytes.splice(at..at, [digit]);
                }
                _ => {
                    let other = self.one(from).cloned().unwrap_or_default();
                    let start = self.below(other.len() + 1);
                    bytes.truncate(at);
                    bytes.extend(other.get(start..).unwrap_or_default());
                }
            }
        }
        bytes
    }

    /// A value of another type, or of an extreme.
    fn strange(&mut self) -> Value {
        let values = [
            Value::Null,
            true.into(),
            (-1).into(),
            0.into(),
            u64::MAX.into(),
            i64::MIN.into(),
            1e308.into(),
            0.5.into(),
            "".into(),
            "0".into(),
            "99999999999999999999".into(),
            "a=b,c;d\0ü".into(),
            Value::Array(Vec::new()),
            serde_json::json!([[], {}, null, 1, "x"]),
            serde_json::json!({}),
            serde_json::json!({"": null, "a": [1]}),
        ];
        self.one(&values).cloned().unwrap_or_default()
    }

    /// Changes a JSON value somewhere.
    pub(super) fn disturb(&mut self, value: &mut Value) {
        if self.below(4) == 0 {
            *value = self.strange();
            return;
        }
        match value {
            Value::Array(rows) if !rows.is_empty() => {
                let index = self.below(rows.len());
                match self.below(6) {
                    0 => drop(rows.remove(index)),
                    1 => rows.extend(rows.get(index).cloned()),
                    _ => {
                        if let Some(row) = rows.get_mut(index) {
                            self.disturb(row);
                        }
                    }
                }
            }
            Value::Object(keys) if !keys.is_empty() => {
                let index = self.below(keys.len());
                let name = keys.keys().nth(index).cloned().unwrap_or_default();
                match self.below(6) {
                    0 => drop(keys.remove(&name)),
                    1 => drop(keys.insert("unheard-of".to_owned(), self.strange())),
                    _ => {
                        if let Some(value) = keys.get_mut(&name) {
                            self.disturb(value);
                        }
                    }
                }
            }
            Value::String(text) => {
                let bytes = self.changed(&[text.as_bytes().to_vec()]);
                *text = String::from_utf8_lossy(&bytes).into_owned();
            }
            other => *other = self.strange(),
        }
    }
}
