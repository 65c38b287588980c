//! Where a run is disturbed, and how; a point has a name that reproduces it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;

/// How a run is disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// `kill -9`.
    Kill,
    /// No answer of Proxmox or a node comes through for a while.
    Cut,
}

/// When it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// As soon as the journal has so many lines, and a while later.
    Journal {
        /// Lines of the journal.
        lines: usize,
        /// The while.
        then: Duration,
    },
    /// While the call of this number to Proxmox is under way.
    Call(u64),
}

/// A point.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// How.
    pub how: How,
    /// When.
    pub when: When,
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let how = match self.how {
            How::Kill => "kill",
            How::Cut => "cut",
        };
        match &self.when {
            When::Journal { lines, then } => {
                write!(f, "{how}@journal:{lines}+{}us", then.as_micros())
            }
            When::Call(number) => write!(f, "{how}@call:{number}"),
        }
    }
}

impl FromStr for Point {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let wrong = || format!("{text:?} is no point such as kill@journal:5+300us or cut@call:17");
        let (how, when) = text.split_once('@').with_context(wrong)?;
        let how = match how {
            "kill" => How::Kill,
            "cut" => How::Cut,
            _ => anyhow::bail!(wrong()),
        };
        let when = match when.split_once(':').with_context(wrong)? {
            ("call", number) => When::Call(number.parse().with_context(wrong)?),
            ("journal", rest) => {
                let (lines, micros) = rest.split_once('+').with_context(wrong)?;
                let micros = micros.strip_suffix("us").with_context(wrong)?;
                When::Journal {
                    lines: lines.parse().with_context(wrong)?,
                    then: Duration::from_micros(micros.parse().with_context(wrong)?),
                }
            }
            _ => anyhow::bail!(wrong()),
        };
        Ok(Self { how, when })
    }
}

/// Numbers that only look random: the same for the same seed (splitmix64).
#[derive(Debug)]
struct Seeded(u64);

impl Seeded {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % below.max(1)
    }
}

/// The points of a sweep: a kill at every line of the journal, so many seeded ones in between, and
/// a cut at the same places; with `all` also both at every call to Proxmox.
pub fn points(lines: usize, calls: u64, seeded: usize, seed: u64, all: bool) -> Vec<Point> {
    let at = |lines: usize, then: u64| When::Journal { lines, then: Duration::from_micros(then) };
    let mut places: Vec<When> = (1..lines).map(|lines| at(lines, 0)).collect();
    let boundaries = places.len();
    let mut random = Seeded(seed);
    let most = u64::try_from(lines).unwrap_or(u64::MAX);
    for _ in 0..seeded {
        let line = usize::try_from(1 + random.next(most.saturating_sub(1))).unwrap_or(1);
        places.push(at(line, random.next(60_000)));
    }
    let mut points: Vec<Point> =
        places.iter().map(|when| Point { how: How::Kill, when: when.clone() }).collect();
    let cuts = if all { places.as_slice() } else { places.get(boundaries..).unwrap_or_default() };
    points.extend(cuts.iter().map(|when| Point { how: How::Cut, when: when.clone() }));
    if all {
        for number in 0..calls {
            points.push(Point { how: How::Kill, when: When::Call(number) });
            points.push(Point { how: How::Cut, when: When::Call(number) });
        }
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_is_read_as_it_is_written_and_a_sweep_is_the_same_each_time() {
        let all = points(40, 5, 60, 7, true);
        assert_eq!(all, points(40, 5, 60, 7, true));
        assert_ne!(all, points(40, 5, 60, 8, true));
        assert_eq!(all.len(), 2 * (39 + 60) + 10);
        for point in all {
            assert_eq!(point.to_string().parse::<Point>().unwrap(), point);
        }
        assert_eq!(points(40, 5, 60, 7, false).len(), 39 + 60 + 60);
        assert!("kill@nowhere".parse::<Point>().is_err());
    }
}
