//! Rules in their order. The server knows them by position only, puts each new one first, and
//! moves one at a time.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use serde::{Deserialize, Serialize};

/// A rule: the keys of the API without its position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rule(BTreeMap<String, String>);

/// Keys of a rule; others of a row are what the server found out.
pub(crate) const KEYS: [&str; 13] = [
    "type",
    "action",
    "enable",
    "macro",
    "iface",
    "source",
    "dest",
    "proto",
    "sport",
    "dport",
    "icmp-type",
    "log",
    "comment",
];

impl Rule {
    /// A rule that is in force: `type` is `in`, `out`, `forward` or `group`, `action` such as
    /// `ACCEPT` or the name of a group.
    pub fn new(kind: &str, action: &str) -> Self {
        let keys = [("type", kind), ("action", action), ("enable", "1")];
        Self(keys.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
    }

    /// With another key; an empty value takes it away.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        if value.is_empty() {
            self.0.remove(key);
        } else {
            self.0.insert(key.to_owned(), value.to_owned());
        }
        self
    }

    /// From the keys of a row; what is no key of a rule is left out.
    pub fn from_keys(keys: impl IntoIterator<Item = (String, String)>) -> Self {
        let own = keys
            .into_iter()
            .filter(|(key, value)| KEYS.contains(&key.as_str()) && !value.is_empty());
        let mut keys: BTreeMap<String, String> = own.collect();
        keys.entry("enable".to_owned()).or_insert_with(|| "0".to_owned());
        Self(keys)
    }

    /// A key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// All keys.
    pub fn keys(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    fn is_on(&self) -> bool {
        self.get("enable").is_some_and(|flag| flag != "0")
    }

    fn same_kind(&self, other: &Self) -> bool {
        self.get("type") == other.get("type")
    }
}

/// One change: one call. Positions are those at the time of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "change")]
pub enum RuleChange {
    /// A rule is made; it stands first.
    Insert {
        /// The rule.
        rule: Rule,
    },
    /// A rule is put before the one that stands at `to`, or last.
    Move {
        /// Its position.
        from: usize,
        /// Where.
        to: usize,
    },
    /// A rule gets other keys.
    Update {
        /// Its position.
        pos: usize,
        /// Keys with their new values.
        set: BTreeMap<String, String>,
        /// Keys that go.
        removed: Vec<String>,
    },
    /// A rule goes; later ones move up.
    Delete {
        /// Its position.
        pos: usize,
    },
}

impl fmt::Display for RuleChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Insert { rule } => {
                let keys: Vec<String> =
                    rule.keys().map(|(key, value)| format!("{key}={value}")).collect();
                write!(f, "insert {}", keys.join(" "))
            }
            Self::Move { from, to } => write!(f, "move {from} before {to}"),
            Self::Update { pos, set, removed } => {
                let keys = set.iter().map(|(key, value)| format!("{key}={value}"));
                let gone = removed.iter().map(|key| format!("no {key}"));
                write!(f, "update {pos}: {}", keys.chain(gone).collect::<Vec<_>>().join(" "))
            }
            Self::Delete { pos } => write!(f, "delete {pos}"),
        }
    }
}

/// The rules after the changes, as the server makes them.
pub fn apply(changes: &[RuleChange], observed: &[Rule]) -> Vec<Rule> {
    let mut rules = observed.to_vec();
    for change in changes {
        match change {
            RuleChange::Insert { rule } => rules.insert(0, rule.clone()),
            RuleChange::Move { from, to } if *from < rules.len() => {
                let rule = rules.remove(*from);
                let to = if to > from { to - 1 } else { *to };
                rules.insert(to.min(rules.len()), rule);
            }
            RuleChange::Update { pos, set, removed } => {
                if let Some(rule) = rules.get_mut(*pos) {
                    rule.0.retain(|key, _| !removed.contains(key));
                    rule.0.extend(set.clone());
                }
            }
            RuleChange::Delete { pos } if *pos < rules.len() => drop(rules.remove(*pos)),
            RuleChange::Move { .. } | RuleChange::Delete { .. } => {}
        }
    }
    rules
}

/// What becomes of a desired rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It is there and keeps its place among the others; perhaps with other keys.
    Kept,
    /// It is there at another place.
    Moved,
    /// It is new.
    New,
}

/// What it takes to get from `observed` to `desired` with few calls. Rules that mean the same are
/// the same, however they are spelled: see [`Rule::normal`].
///
/// A rule that stays is not touched. One that only changed is updated, one that only stands
/// elsewhere is moved. The server puts each new rule before all others: one that belongs elsewhere
/// comes switched off and is switched on at its place, since in front it would lock out, or let in
/// past the rules before it, for as long as a run that was cut there. What goes, goes last.
pub fn diff(observed: &[Rule], desired: &[Rule]) -> Vec<RuleChange> {
    let normal = |rules: &[Rule]| rules.iter().map(Rule::normal).collect::<Vec<_>>();
    let (before, after) = (normal(observed), normal(desired));
    let (fates, sources) = fates(&before, &after);
    // desired index of each rule that is there now, none for one that will go
    let mut live: Vec<Option<usize>> = vec![None; observed.len()];
    for (index, source) in sources.iter().enumerate() {
        if let Some(slot) = source.and_then(|source| live.get_mut(source)) {
            *slot = Some(index);
        }
    }
    let mut changes = Vec::new();
    // from the end: each rule finds the one behind it in its place already
    for (index, want) in desired.iter().enumerate().rev() {
        let next = live.iter().position(|one| *one == Some(index + 1)).unwrap_or(live.len());
        match fates.get(index) {
            Some(Fate::Moved) => {
                let Some(from) = live.iter().position(|one| *one == Some(index)) else { continue };
                if from + 1 != next {
                    changes.push(RuleChange::Move { from, to: next });
                    let one = live.remove(from);
                    live.insert(if next > from { next - 1 } else { next }, one);
                }
            }
            Some(Fate::New) => {
                let settled = |one: &Option<usize>| {
                    one.is_some_and(|one| one > index || fates.get(one) == Some(&Fate::Kept))
                };
                let stays_first = !live.iter().take(next).any(settled);
                let quiet = !stays_first && want.is_on();
                let rule = if quiet { want.tidy().with("enable", "0") } else { want.tidy() };
                changes.push(RuleChange::Insert { rule });
                live.insert(0, Some(index));
                if !stays_first {
                    changes.push(RuleChange::Move { from: 0, to: next + 1 });
                    let one = live.remove(0);
                    live.insert(next, one);
                }
                if quiet {
                    let set = BTreeMap::from([("enable".to_owned(), "1".to_owned())]);
                    changes.push(RuleChange::Update { pos: next, set, removed: Vec::new() });
                }
            }
            _ => {
                let old = sources.get(index).copied().flatten().and_then(|one| before.get(one));
                let Some(pos) = live.iter().position(|one| *one == Some(index)) else { continue };
                let (Some(old), Some(new)) = (old, after.get(index)) else { continue };
                changes.extend(update(pos, old, new, &want.tidy()));
            }
        }
    }
    for (pos, one) in live.iter().enumerate().rev() {
        if one.is_none() {
            changes.push(RuleChange::Delete { pos });
        }
    }
    changes
}

/// What changes from one normal rule to another one, as `sent` spells it.
fn update(pos: usize, old: &Rule, new: &Rule, sent: &Rule) -> Option<RuleChange> {
    if old == new {
        return None;
    }
    let changed = new.0.keys().filter(|key| old.0.get(*key) != new.0.get(*key));
    let set = changed.filter_map(|key| Some((key.clone(), sent.0.get(key)?.clone()))).collect();
    let removed = old.0.keys().filter(|key| !new.0.contains_key(*key)).cloned().collect();
    Some(RuleChange::Update { pos, set, removed })
}

/// The fate of each desired rule, and the observed one that it comes from.
fn fates(observed: &[Rule], desired: &[Rule]) -> (Vec<Fate>, Vec<Option<usize>>) {
    let mut fates = vec![Fate::New; desired.len()];
    let mut sources: Vec<Option<usize>> = vec![None; desired.len()];
    let mut taken = vec![false; observed.len()];
    let anchors = common(observed, desired);
    let mut settle = |index: usize, source: usize, fate: Fate, taken: &mut Vec<bool>| {
        if let (Some(slot), Some(own), Some(used)) =
            (fates.get_mut(index), sources.get_mut(index), taken.get_mut(source))
        {
            (*slot, *own, *used) = (fate, Some(source), true);
        }
    };
    for (source, index) in &anchors {
        settle(*index, *source, Fate::Kept, &mut taken);
    }
    // the same rule at another place
    let anchored: Vec<usize> = anchors.iter().map(|(_, index)| *index).collect();
    let mut left: Vec<usize> = Vec::new();
    let mut free: BTreeMap<&Rule, VecDeque<usize>> = BTreeMap::new();
    for (source, rule) in observed.iter().enumerate().filter(|(one, _)| !is(&taken, *one)) {
        free.entry(rule).or_default().push_back(source);
    }
    for (index, rule) in desired.iter().enumerate() {
        if anchored.binary_search(&index).is_ok() {
            continue;
        }
        match free.get_mut(rule).and_then(VecDeque::pop_front) {
            Some(source) => settle(index, source, Fate::Moved, &mut taken),
            None => left.push(index),
        }
    }
    // another rule of the same kind between the same neighbours
    let ends = anchors.iter().copied().chain([(observed.len(), desired.len())]);
    let mut start = (0, 0);
    for (source_end, index_end) in ends {
        let mut sources_here: VecDeque<usize> =
            (start.0..source_end).filter(|one| !is(&taken, *one)).collect();
        for index in left.iter().copied().filter(|one| (start.1..index_end).contains(one)) {
            let Some(want) = desired.get(index) else { continue };
            let fits =
                |source: &usize| observed.get(*source).is_some_and(|old| old.same_kind(want));
            let Some(place) = sources_here.iter().position(fits) else { continue };
            if let Some(source) = sources_here.get(place).copied() {
                settle(index, source, Fate::Kept, &mut taken);
            }
            sources_here.drain(..=place);
        }
        start = (source_end + 1, index_end + 1);
    }
    (fates, sources)
}

fn is(flags: &[bool], index: usize) -> bool {
    flags.get(index).copied().unwrap_or(false)
}

/// The longest common subsequence: pairs of positions, both rising.
fn common(observed: &[Rule], desired: &[Rule]) -> Vec<(usize, usize)> {
    let head = observed.iter().zip(desired).take_while(|(a, b)| a == b).count();
    let (rest_a, rest_b) = (observed.get(head..), desired.get(head..));
    let (a, b) = (rest_a.unwrap_or_default(), rest_b.unwrap_or_default());
    let tail = a.iter().rev().zip(b.iter().rev()).take_while(|(a, b)| a == b).count();
    let (a_len, b_len) = (a.len() - tail, b.len() - tail);
    let mut table = vec![vec![0_u32; b_len + 1]; a_len + 1];
    let at = |table: &[Vec<u32>], i: usize, j: usize| {
        table.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0)
    };
    for i in (0..a_len).rev() {
        for j in (0..b_len).rev() {
            let best = if a.get(i) == b.get(j) {
                at(&table, i + 1, j + 1) + 1
            } else {
                at(&table, i + 1, j).max(at(&table, i, j + 1))
            };
            if let Some(slot) = table.get_mut(i).and_then(|row| row.get_mut(j)) {
                *slot = best;
            }
        }
    }
    let mut pairs: Vec<(usize, usize)> = (0..head).map(|one| (one, one)).collect();
    let (mut i, mut j) = (0, 0);
    while i < a_len && j < b_len {
        if a.get(i) == b.get(j) {
            pairs.push((head + i, head + j));
            (i, j) = (i + 1, j + 1);
        } else if at(&table, i + 1, j) >= at(&table, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    let ends = (observed.len() - tail, desired.len() - tail);
    pairs.extend((0..tail).map(|one| (ends.0 + one, ends.1 + one)));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(names: &str) -> Vec<Rule> {
        names.chars().map(|c| Rule::new("in", "ACCEPT").with("dport", &c.to_string())).collect()
    }

    fn calls(before: &[Rule], after: &[Rule]) -> usize {
        let changes = diff(before, after);
        assert_eq!(apply(&changes, before), after, "{changes:?}");
        changes.len()
    }

    #[test]
    fn few_calls_do_it() {
        assert_eq!(calls(&rules("abc"), &rules("abc")), 0);
        assert_eq!(calls(&rules("abc"), &rules("cab")), 1);
        assert_eq!(calls(&rules("abc"), &rules("xabc")), 1);
        assert_eq!(calls(&rules("abc"), &rules("abcx")), 3);
        assert_eq!(calls(&rules("abc"), &rules("axc")), 1);
        assert_eq!(calls(&rules("abc"), &rules("ac")), 1);
        assert_eq!(calls(&[], &rules("abc")), 3);
        assert_eq!(calls(&rules("abc"), &[]), 3);
        assert_eq!(calls(&rules("abcdef"), &rules("xyf")), 5);
    }

    #[test]
    fn a_new_rule_does_nothing_before_it_is_at_its_place() {
        for action in ["DROP", "ACCEPT"] {
            let before = rules("ab");
            let mut after = before.clone();
            after.push(Rule::new("in", action));
            let changes = diff(&before, &after);
            assert_eq!(apply(&changes, &before), after);
            // Cut after any call, no rule is in force where it does not belong.
            for count in 1..changes.len() {
                let between = apply(changes.get(..count).unwrap_or_default(), &before);
                let on: Vec<&Rule> = between.iter().filter(|rule| rule.is_on()).collect();
                assert_eq!(on, before.iter().collect::<Vec<_>>(), "{action} after {count}");
            }
        }
    }
}
