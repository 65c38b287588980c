//! MAC addresses and UUIDs that follow from what a node is.

use uuid::Uuid;

use crate::id::{ClusterId, MacAddr, Suffix};

/// Name space of all UUIDs that are made here. It must never change.
const NAMESPACE: Uuid = Uuid::from_u128(0x0d5b_7c5e_9d57_5c4b_8c1d_6a3f_2e90_b741);

/// SMBIOS UUID of a node.
pub fn node_uuid(site: &str, cluster: ClusterId, suffix: Suffix) -> Uuid {
    Uuid::new_v5(&NAMESPACE, format!("node/{site}/{cluster}/{suffix}").as_bytes())
}

/// The 20 bits by which the cards of one site differ from those of another.
pub(crate) fn site_bits(site: &str) -> u64 {
    let [a, b, c, ..] = *Uuid::new_v5(&NAMESPACE, format!("site/{site}").as_bytes()).as_bytes();
    (u64::from(a) << 12) | (u64::from(b) << 4) | u64::from(c >> 4)
}

/// MAC address of a node's card: locally administered, and different for every
/// (cluster, suffix, card) of a site, since these fill disjoint bits of it: 20 bits of the site's
/// name, 10 of the cluster's id, 10 of the suffix, 6 of the card's number (0..=63).
pub fn card_mac(site: &str, cluster: ClusterId, suffix: Suffix, card: u8) -> MacAddr {
    mac(site_bits(site), cluster, suffix, card)
}

pub(crate) fn mac(site: u64, cluster: ClusterId, suffix: Suffix, card: u8) -> MacAddr {
    let bits = (site << 26)
        | (u64::from(cluster.get()) << 16)
        | (u64::from(suffix.get()) << 6)
        | u64::from(card & 0x3f);
    let [_, _, first, rest @ ..] = bits.to_be_bytes();
    let mut mac = [0; 6];
    // The two low bits of the first byte say "local" and "one station".
    let bytes = std::iter::once((first << 2) | 0b10).chain(rest);
    mac.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
    MacAddr::new(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_has_its_own_local_address() {
        let mut seen = std::collections::BTreeSet::new();
        for cluster in [1, 2, 255, 256, 999] {
            for suffix in [1, 2, 11, 63, 64, 255, 256, 999] {
                for card in [0, 1, 63] {
                    let mac = card_mac(
                        "live",
                        ClusterId::new(cluster).unwrap(),
                        Suffix::new(suffix).unwrap(),
                        card,
                    );
                    assert!(mac.is_local_unicast());
                    assert!(seen.insert(mac));
                }
            }
        }
        assert_eq!(seen.len(), 5 * 8 * 3);
    }

    #[test]
    fn sites_differ() {
        let (id, suffix) = (ClusterId::MIN, Suffix::MIN);
        assert_ne!(node_uuid("a", id, suffix), node_uuid("b", id, suffix));
        assert_ne!(card_mac("a", id, suffix, 0), card_mac("b", id, suffix, 0));
        assert_eq!(node_uuid("a", id, suffix).get_version_num(), 5);
    }
}
