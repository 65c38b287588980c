//! Changes of texts, by a generator that is told where to begin.

/// Numbers that look random and follow from a seed (xorshift64*).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    /// Begins somewhere.
    pub(super) fn new(seed: u64) -> Self {
        // Zero would stay zero.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below another one, which is not zero.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end.max(1)).unwrap_or(u64::MAX);
        usize::try_from(self.next() % end).unwrap_or(0)
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

/// What readers of YAML and JSON look for, and numbers at the ends of their ranges.
const WORDS: [&str; 44] = [
    "\n---\n",
    "\n...\n",
    ": ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ",",
    "\"",
    "'",
    "&a ",
    "*a",
    "<<: ",
    "!!binary ",
    "!!str ",
    "| \n",
    ">-\n",
    "%YAML 1.1\n",
    "\t",
    "\u{feff}",
    "\u{0}",
    "\u{2028}",
    "\r\n",
    "null",
    "~",
    "true",
    "off",
    "0777",
    "0x7fffffffffffffff",
    "-9223372036854775808",
    "18446744073709551616",
    "1e999",
    ".nan",
    "$patch: delete\n",
    "kind: ",
    "name: ",
    "apiVersion: v1alpha1\n",
    "machine: ",
    "-----BEGIN CERTIFICATE-----\n",
    "::/0",
    "300.1.1.1/99",
    "https://%zz",
    "8760h1s",
];

/// Longest text that is made, in bytes.
const LONGEST: usize = 64 << 10;

/// One of the texts with some changes, so many that little or nothing of it is left now and then.
pub(super) fn mutated(random: &mut Random, seeds: &[String]) -> String {
    let mut bytes = random.of(seeds).map(|text| text.as_bytes().to_vec()).unwrap_or_default();
    for _ in 0..=random.below(8) {
        change(random, &mut bytes, seeds);
    }
    bytes.truncate(LONGEST);
    // Readers are given text.
    String::from_utf8_lossy(&bytes).into_owned()
}

fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[String]) {
    let (at, other) = (random.below(bytes.len() + 1), random.below(bytes.len() + 1));
    let (low, high) = (at.min(other), at.max(other));
    match random.below(9) {
        0 => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => bytes.insert(at, u8::try_from(random.below(256)).unwrap_or(0)),
        2 => drop(bytes.drain(low..high.min(low + 1 + random.below(16)))),
        3 | 4 => {
            let word = random.of(&WORDS).copied().unwrap_or_default();
            drop(bytes.splice(at..at, word.bytes()));
        }
        5 => {
            // A piece again, many times: deep nesting and long lists.
            let piece = bytes.get(low..high.min(low + 24)).unwrap_or_default().to_vec();
            let count = 1 << random.below(8);
            drop(bytes.splice(low..low, piece.repeat(count)));
        }
        6 => drop(bytes.drain(low..high)),
        7 => {
            let from = random.of(seeds).map(String::as_bytes).unwrap_or_default();
            let start = random.below(from.len() + 1);
            let piece = from.get(start..).unwrap_or_default();
            let piece = piece.get(..piece.len().min(1 + random.below(200))).unwrap_or_default();
            drop(bytes.splice(at..at, piece.iter().copied()));
        }
        _ => lines(random, bytes),
    }
}

/// Two lines change places, or one moves in or out.
fn lines(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut all: Vec<Vec<u8>> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let (one, other) = (random.below(all.len()), random.below(all.len()));
    match random.below(3) {
        0 => all.swap(one, other),
        1 => {
            if let Some(line) = all.get_mut(one) {
                drop(line.splice(0..0, *b"    "));
            }
        }
        _ => {
            if let Some(line) = all.get_mut(one) {
                let blanks = line.iter().take_while(|byte| **byte == b' ').count().min(4);
                drop(line.drain(..blanks));
            }
        }
    }
    *bytes = all.join(&b'\n');
}
