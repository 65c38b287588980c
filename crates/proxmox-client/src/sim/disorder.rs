//! Answers as a server gives them that promises neither order nor types: keys and rows come in any
//! order, a number now and then as a text, and a row with a key that nobody knows.
//!
//! The same seed gives the same disorder to the same calls in the same order.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Map, Value, json};

/// Endings of endpoints whose rows have an order that counts.
const ORDERED: [&str; 8] = [
    "/tasks",
    "/log",
    "/rules",
    "/groups/{group}",
    "/ipset/{name}",
    "/syslog",
    "/dump",
    "/journal",
];

/// One number, or one flag, of so many comes as a text.
const AS_TEXT: u32 = 4;

/// The answer of the call with this number, in disorder.
pub(super) fn disordered(seed: u64, call: u64, endpoint: &str, data: Value) -> Value {
    let mut hasher = DefaultHasher::new();
    (seed, call, endpoint).hash(&mut hasher);
    let mut random = StdRng::seed_from_u64(hasher.finish());
    let ordered = ORDERED.iter().any(|end| endpoint.ends_with(end));
    match data {
        Value::Array(rows) if !ordered => {
            let mut rows: Vec<Value> =
                rows.into_iter().map(|row| value(&mut random, row)).collect();
            if rows.iter().all(Value::is_object) {
                rows.shuffle(&mut random);
                for row in rows.iter_mut().filter_map(Value::as_object_mut) {
                    if random.random_ratio(1, AS_TEXT) {
                        row.insert("of-a-later-release".to_owned(), json!({"enabled": [1, null]}));
                    }
                }
            }
            Value::Array(rows)
        }
        Value::Array(rows) => rows.into_iter().map(|row| value(&mut random, row)).collect(),
        other => value(&mut random, other),
    }
}

fn value(random: &mut StdRng, data: Value) -> Value {
    match data {
        Value::Object(map) => {
            let mut pairs: Vec<(String, Value)> =
                map.into_iter().map(|(key, inner)| (key, value(random, inner))).collect();
            pairs.shuffle(random);
            Value::Object(pairs.into_iter().collect::<Map<_, _>>())
        }
        Value::Array(rows) => rows.into_iter().map(|row| value(random, row)).collect(),
        Value::Number(number) if random.random_ratio(1, AS_TEXT) => {
            Value::String(number.to_string())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Value {
        (0..20).map(|number| json!({"vmid": number, "name": "a", "status": "running"})).collect()
    }

    fn ids(data: &Value) -> Vec<String> {
        let rows = data.as_array().map(Vec::as_slice).unwrap_or_default();
        rows.iter().map(|row| row["vmid"].to_string().replace('"', "")).collect()
    }

    #[test]
    fn a_seed_gives_one_disorder_and_loses_nothing() {
        let of = |seed, call, endpoint| disordered(seed, call, endpoint, rows());
        let first = of(1, 7, "/nodes/{node}/qemu");
        assert_eq!(first, of(1, 7, "/nodes/{node}/qemu"));
        let mut sorted = ids(&first);
        assert_ne!(sorted, ids(&rows()));
        assert_ne!(ids(&first), ids(&of(2, 7, "/nodes/{node}/qemu")));
        assert_ne!(ids(&first), ids(&of(1, 8, "/nodes/{node}/qemu")));
        sorted.sort_by_key(|text| text.parse::<u32>().ok());
        assert_eq!(sorted, ids(&rows()));
    }

    #[test]
    fn some_numbers_come_as_texts() {
        let texts = (0..50).map(|call| {
            let data = disordered(1, call, "/nodes/{node}/qemu", rows());
            let rows = data.as_array().map(Vec::as_slice).unwrap_or_default();
            rows.iter().filter(|row| row["vmid"].is_string()).count()
        });
        let texts: usize = texts.sum();
        assert!((150..350).contains(&texts), "{texts} of 1000");
    }

    #[test]
    fn rows_whose_order_counts_keep_it() {
        let tasks = disordered(1, 7, "/nodes/{node}/tasks", rows());
        assert_eq!(ids(&tasks), ids(&rows()));
    }
}
