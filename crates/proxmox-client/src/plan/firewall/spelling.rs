//! One rule has many spellings: the server writes some parts in its own way, and takes others that
//! mean the same.

use super::rules::Rule;
use super::set::normal;

/// Keys that a rule which names a group keeps.
const OF_GROUPS: [&str; 5] = ["type", "action", "enable", "iface", "comment"];

/// A comment as the server keeps it: one line without blanks around it.
pub(crate) fn one_comment(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}

impl Rule {
    /// The rule as it is sent: one line of comment, and no blanks in lists, since the server takes
    /// a rule with blanks and then loses it.
    pub(crate) fn tidy(&self) -> Self {
        let group = self.get("type") == Some("group");
        let kept = self.keys().filter(|(key, _)| !group || OF_GROUPS.contains(key));
        let values = kept.filter_map(|(key, value)| {
            let text = match key {
                "comment" => one_comment(value).to_owned(),
                "type" | "action" | "enable" => value.to_owned(),
                _ => value.split_whitespace().collect(),
            };
            // the server drops a text that its language takes for false
            let counts = key == "enable" || !(text.is_empty() || text == "0");
            counts.then(|| (key.to_owned(), text))
        });
        Self::from_keys(values)
    }

    /// The one spelling of all rules that mean the same: to compare, not to send.
    ///
    /// ```
    /// use proxmox_client::plan::firewall::Rule;
    ///
    /// let ours = Rule::new("in", "ACCEPT").with("macro", "ssh").with("source", "10.0.0.7/32");
    /// let theirs = Rule::new("in", "ACCEPT").with("macro", "SSH").with("source", "10.0.0.7");
    /// assert_eq!(ours.normal(), theirs.normal());
    /// ```
    #[must_use]
    pub fn normal(&self) -> Self {
        let mut keys = Vec::new();
        for (key, value) in self.tidy().keys() {
            let text = match key {
                "enable" => if value == "0" { "0" } else { "1" }.to_owned(),
                "macro" => value.to_ascii_lowercase(),
                "source" | "dest" => sorted(value, address),
                "sport" | "dport" => sorted(value, str::to_owned),
                // what is not logged and what says so are the same
                "log" if value == "nolog" => continue,
                _ => value.to_owned(),
            };
            keys.push((key.to_owned(), text));
        }
        Self::from_keys(keys)
    }
}

fn sorted(list: &str, one: impl Fn(&str) -> String) -> String {
    let mut parts: Vec<String> = list.split(',').map(one).collect();
    parts.sort_unstable();
    parts.dedup();
    parts.join(",")
}

/// An address, a network, a range, or a name whose case does not matter.
fn address(text: &str) -> String {
    let is_address = |text: &str| text.parse::<std::net::IpAddr>().is_ok();
    match text.split_once('-') {
        Some((first, last)) if is_address(first) && is_address(last) => {
            format!("{}-{}", normal(first), normal(last))
        }
        _ => normal(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(keys: &[(&str, &str)]) -> Rule {
        keys.iter().fold(Rule::new("in", "ACCEPT"), |rule, (key, value)| rule.with(key, value))
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        let same: [(&[(&str, &str)], &[(&str, &str)]); 6] = [
            (&[("macro", "ssh")], &[("macro", "SSH"), ("log", "nolog")]),
            (&[("source", "fd00::1, FD00:0::2/128")], &[("source", "fd00::2,fd00::1")]),
            (&[("source", "10.0.0.1 - 10.0.0.9")], &[("source", "10.0.0.1-10.0.0.9")]),
            (&[("dest", "dc/Office")], &[("dest", "dc/office")]),
            (&[("proto", "tcp"), ("dport", "443,80")], &[("proto", "tcp"), ("dport", "80, 443")]),
            (&[("comment", " a \nb"), ("enable", "7"), ("iface", "0")], &[("comment", "a")]),
        ];
        for (one, other) in same {
            assert_eq!(rule(one).normal(), rule(other).normal(), "{one:?}");
        }
        let group = Rule::new("group", "web").with("source", "10.0.0.1");
        assert_eq!(group.normal(), Rule::new("group", "web"));
        assert_ne!(rule(&[("dport", "80")]).normal(), rule(&[("dport", "81")]).normal());
        assert_ne!(rule(&[("enable", "0")]).normal(), rule(&[]).normal());
        assert_ne!(rule(&[("source", "a-b")]).normal(), rule(&[("source", "a-c")]).normal());
    }

    #[test]
    fn what_is_sent_is_as_it_was_written_but_for_blanks() {
        let sent = rule(&[("source", "10.0.0.1 - 10.0.0.9"), ("macro", "ssh")]).tidy();
        assert_eq!(
            (sent.get("source"), sent.get("macro")),
            (Some("10.0.0.1-10.0.0.9"), Some("ssh"))
        );
    }
}
