//! Claims: who says that something is theirs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

use crate::finding::{Code, Owner};
use crate::input::{ReservedThing, SiteInput};
use crate::pattern::Family;
use crate::plan::{ClusterPlan, SitePlan};

/// Who claims something; its words are made only for a conflict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Holder {
    place: Place,
    what: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Scheme,
    Zone,
    Reserved(usize),
    Vnet(usize),
    Delegated(usize),
    Cluster(usize),
    Node(usize, usize),
}

/// A claim that may lie inside another one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PrefixClaim {
    pub(crate) net: IpNet,
    pub(crate) holder: Holder,
    /// What this one is, for those that may lie inside it.
    group: u64,
    /// The group that it may lie inside.
    inside: u64,
}

/// Two claims that exclude each other.
#[derive(Debug)]
pub(crate) struct Conflict {
    pub(crate) code: Code,
    pub(crate) text: String,
    pub(crate) first_text: String,
    pub(crate) first: Holder,
    pub(crate) second: Holder,
}

/// Claims of numbers: the kind, the number, who.
type Number = (Code, u128, Holder);
/// Claims of texts: the kind, the text, who.
type Text<'a> = (Code, &'a str, u32, Holder);

/// All claims of a site.
#[derive(Debug, Default)]
pub(crate) struct Claims<'a> {
    numbers: Vec<Number>,
    texts: Vec<Text<'a>>,
    prefixes: Vec<PrefixClaim>,
}

const NO_GROUP: u64 = 0;
const LOOPBACK_V6: u64 = 1;
const LOOPBACK_V4: u64 = 2;
/// Groups of VNets begin here.
const VNETS: u64 = 16;

fn number_of(address: IpAddr) -> u128 {
    match address {
        // The mapped form keeps the two families apart and in one key.
        IpAddr::V4(address) => u128::from(address.to_ipv6_mapped()),
        IpAddr::V6(address) => u128::from(address),
    }
}

fn text_of(code: Code, number: u128) -> String {
    match code {
        Code::Address => {
            let address = Ipv6Addr::from(number);
            address.to_ipv4_mapped().map_or_else(|| address.to_string(), |four| four.to_string())
        }
        Code::Uuid => uuid::Uuid::from_u128(number).to_string(),
        Code::Mac => {
            let mut mac = [0; 6];
            mac.iter_mut()
                .rev()
                .zip(number.to_be_bytes().iter().rev())
                .for_each(|(to, from)| *to = *from);
            crate::id::MacAddr::new(mac).to_string()
        }
        Code::ClusterId => format!("cluster id {number}"),
        Code::TenantId => format!("tenant id {number}"),
        Code::VmId => format!("VM id {number}"),
        Code::Vni => format!("VXLAN tag {number}"),
        Code::Vlan => format!("VLAN tag {number}"),
        Code::Asn => format!("AS {number}"),
        _ => number.to_string(),
    }
}

/// Groups of VNets by name, for those that are described by hand or have a delegated prefix.
struct Groups<'a>(BTreeMap<&'a str, (u64, bool)>);

impl<'a> Groups<'a> {
    fn new(input: &'a SiteInput) -> Self {
        let mut groups = BTreeMap::new();
        let by_hand = input.vnets.iter().map(|vnet| (vnet.id.as_str(), vnet.vni.is_some()));
        let delegated = input.delegated.keys().map(|name| (name.as_str(), false));
        for ((name, tagged), group) in by_hand.chain(delegated).zip(VNETS..) {
            groups.entry(name).or_insert((group, tagged));
        }
        Self(groups)
    }

    /// The group of a VNet; none for a bridge that is no VNet of the input.
    fn get(&self, name: &str) -> u64 {
        self.0.get(name).map_or(NO_GROUP, |(group, _)| *group)
    }

    /// Whether the VNet's tag is claimed where it is described by hand.
    fn is_tagged(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(_, tagged)| *tagged)
    }
}

pub(super) fn collect<'a>(input: &'a SiteInput, plan: &'a SitePlan) -> Claims<'a> {
    let mut claims = Claims::default();
    let groups = Groups::new(input);
    claims.site(input, &groups);
    for (index, cluster) in plan.clusters.iter().enumerate() {
        claims.cluster(&groups, index, cluster);
        claims.nodes(index, cluster);
    }
    claims
}

impl<'a> Claims<'a> {
    fn number(&mut self, code: Code, number: u128, place: Place, what: &'static str) {
        self.numbers.push((code, number, Holder { place, what }));
    }

    fn text(&mut self, code: Code, text: &'a str, place: Place, what: &'static str) {
        self.texts.push((code, text, 0, Holder { place, what }));
    }

    fn prefix(&mut self, net: IpNet, holder: Holder, group: u64, inside: u64) {
        self.prefixes.push(PrefixClaim { net: net.trunc(), holder, group, inside });
    }

    fn site(&mut self, input: &SiteInput, groups: &Groups<'_>) {
        let scheme = &input.scheme;
        let pools = [
            (
                &scheme.loopback_ipv6,
                &scheme.public_ipv6,
                Family::Ipv6,
                LOOPBACK_V6,
                "range of IPv6 loopbacks",
            ),
            (
                &scheme.loopback_ipv4,
                &scheme.public_ipv4,
                Family::Ipv4,
                LOOPBACK_V4,
                "range of IPv4 loopbacks",
            ),
        ];
        for (loopback, public, family, group, what) in pools {
            let Some(pool) = loopback.pool(family) else { continue };
            // Interleaved with public addresses, it is no range of its own.
            if public.pool(family).is_some_and(|public| pool.contains(&public)) {
                continue;
            }
            self.prefix(pool, Holder { place: Place::Scheme, what }, group, NO_GROUP);
        }
        if let Some(vni) = input.zone.vrf_vni {
            self.number(Code::Vni, u128::from(vni.get()), Place::Zone, "VRF tag");
        }
        for (index, reserved) in input.reserved.iter().enumerate() {
            let place = Place::Reserved(index);
            match reserved.thing {
                ReservedThing::Prefix(net) => {
                    self.prefix(net, Holder { place, what: "" }, NO_GROUP, NO_GROUP);
                }
                ReservedThing::Asn(asn) => {
                    self.number(Code::Asn, u128::from(asn.get()), place, "");
                }
                ReservedThing::Vni(vni) => {
                    self.number(Code::Vni, u128::from(vni.get()), place, "");
                }
                ReservedThing::Vmid(vmid) => {
                    self.number(Code::VmId, u128::from(vmid.get()), place, "");
                }
            }
        }
        for (index, vnet) in input.vnets.iter().enumerate() {
            let (place, group) = (Place::Vnet(index), groups.get(&vnet.id));
            for (net, what) in [
                (vnet.ipv6.map(IpNet::V6), "IPv6 subnet"),
                (vnet.ipv4.map(IpNet::V4), "IPv4 subnet"),
            ] {
                if let Some(net) = net {
                    self.prefix(net, Holder { place, what }, group, NO_GROUP);
                }
            }
            if let Some(vni) = vnet.vni {
                self.number(Code::Vni, u128::from(vni.get()), place, "VXLAN tag");
            }
            if let Some(vlan) = vnet.vlan {
                self.number(Code::Vlan, u128::from(vlan.get()), place, "VLAN tag");
            }
        }
        for (index, (name, delegated)) in input.delegated.iter().enumerate() {
            let holder = Holder { place: Place::Delegated(index), what: "delegated prefix" };
            let group = groups.get(name);
            self.prefix(IpNet::V6(delegated.prefix), holder, group, NO_GROUP);
        }
    }

    fn cluster(&mut self, groups: &Groups<'_>, index: usize, cluster: &'a ClusterPlan) {
        let place = Place::Cluster(index);
        self.number(Code::ClusterId, u128::from(cluster.id.get()), place, "id");
        self.number(Code::TenantId, u128::from(cluster.tenant_id.get()), place, "tenant id");
        self.text(Code::ClusterName, cluster.name.as_str(), place, "name");
        let vnet_group = groups.get(&cluster.bridge.value);
        // The tag of a VNet that is described by hand is claimed there.
        if let Some(vni) = &cluster.vni
            && !groups.is_tagged(&cluster.bridge.value)
        {
            self.number(Code::Vni, u128::from(vni.value.get()), place, "VXLAN tag");
        }
        if cluster.managed {
            let tag = cluster.card_vlan.as_ref().map_or(0, |vlan| u32::from(vlan.value.get()));
            let holder = Holder { place, what: "segment of the first card" };
            self.texts.push((Code::Segment, &cluster.bridge.value, tag, holder));
        }
        let mut prefix = |net: IpNet, what, inside| {
            self.prefix(net, Holder { place, what }, NO_GROUP, inside);
        };
        if let Some(net) = &cluster.public_ipv6 {
            prefix(IpNet::V6(net.value), "public IPv6 prefix", vnet_group);
        }
        if let Some(net) = &cluster.public_ipv4 {
            prefix(IpNet::V4(net.value), "public IPv4 prefix", vnet_group);
        }
        if let Some(net) = &cluster.loopback_ipv6 {
            prefix(IpNet::V6(net.value), "IPv6 loopbacks", LOOPBACK_V6);
        }
        if let Some(net) = &cluster.loopback_ipv4 {
            prefix(IpNet::V4(net.value), "IPv4 loopbacks", LOOPBACK_V4);
        }
        cluster.pods.iter().for_each(|net| prefix(net.value, "pod range", NO_GROUP));
        cluster.services.iter().for_each(|net| prefix(net.value, "service range", NO_GROUP));
        let balancers = cluster.load_balancers.iter();
        balancers.for_each(|net| prefix(net.value, "load balancer range", NO_GROUP));
        for vip in &cluster.vips {
            self.number(Code::Address, number_of(vip.value), place, "virtual address");
        }
        if let Some(gateway) = &cluster.gateway_ipv6 {
            self.number(Code::Address, number_of(IpAddr::V6(gateway.value)), place, "gateway");
        }
        if let Some(gateway) = &cluster.gateway_ipv4 {
            self.number(Code::Address, number_of(IpAddr::V4(gateway.value)), place, "gateway");
        }
    }

    fn nodes(&mut self, index: usize, cluster: &'a ClusterPlan) {
        for (number, node) in cluster.nodes.iter().enumerate() {
            let place = Place::Node(index, number);
            self.text(Code::NodeName, &node.name.value, place, "name");
            self.number(Code::VmId, u128::from(node.vmid.value.get()), place, "VM id");
            self.number(Code::Mac, node.mac.value.number(), place, "MAC address");
            self.number(Code::Uuid, node.uuid.value.as_u128(), place, "UUID");
            if let Some(asn) = &node.asn {
                self.number(Code::Asn, u128::from(asn.value.get()), place, "AS number");
            }
            let six = [
                (&node.ipv6, "public IPv6 address"),
                (&node.loopback_ipv6, "IPv6 loopback"),
                (&node.gua, "delegated address"),
                (&node.link_local, "link-local address"),
            ];
            for (net, what) in six {
                if let Some(net) = net {
                    let address = number_of(IpAddr::V6(net.value.addr()));
                    self.number(Code::Address, address, place, what);
                }
            }
            let four =
                [(&node.ipv4, "public IPv4 address"), (&node.loopback_ipv4, "IPv4 loopback")];
            for (net, what) in four {
                if let Some(net) = net {
                    let address = number_of(IpAddr::V4(net.value.addr()));
                    self.number(Code::Address, address, place, what);
                }
            }
        }
    }

    /// Sorts the claims and lists what collides.
    pub(super) fn conflicts(&mut self) -> Vec<Conflict> {
        let mut found = Vec::new();
        self.numbers.sort_unstable();
        let mut before: Option<&Number> = None;
        for claim in &self.numbers {
            if let Some(first) = before
                && (first.0, first.1) == (claim.0, claim.1)
            {
                let text = text_of(claim.0, claim.1);
                let (code, first, second) = (claim.0, first.2, claim.2);
                found.push(Conflict { code, first_text: text.clone(), text, first, second });
            }
            before = Some(claim);
        }
        self.texts.sort_unstable();
        let mut before: Option<&Text<'_>> = None;
        for claim in &self.texts {
            if let Some(first) = before
                && (first.0, first.1, first.2) == (claim.0, claim.1, claim.2)
            {
                let text = match (claim.0, claim.2) {
                    (Code::Segment, 0) => claim.1.to_owned(),
                    (Code::Segment, tag) => format!("{} with VLAN {tag}", claim.1),
                    _ => format!("name {}", claim.1),
                };
                let (code, first, second) = (claim.0, first.3, claim.3);
                found.push(Conflict { code, first_text: text.clone(), text, first, second });
            }
            before = Some(claim);
        }
        for (first, second) in overlaps(&mut self.prefixes) {
            found.push(Conflict {
                code: Code::Prefix,
                text: second.net.to_string(),
                first_text: first.net.to_string(),
                first: first.holder,
                second: second.holder,
            });
        }
        found
    }
}

/// The words for a holder.
pub(super) fn owner(input: &SiteInput, plan: &SitePlan, holder: Holder) -> Owner {
    let what = holder.what;
    match holder.place {
        Place::Scheme => Owner { what: what.to_owned(), cluster: None, origin: None },
        Place::Zone => Owner {
            what: format!("zone: {what}"),
            cluster: None,
            origin: input.zone.origin.clone(),
        },
        Place::Reserved(index) => {
            let reserved = input.reserved.get(index);
            Owner {
                what: reserved.map(|reserved| reserved.what.clone()).unwrap_or_default(),
                cluster: None,
                origin: reserved.and_then(|reserved| reserved.origin.clone()),
            }
        }
        Place::Vnet(index) => {
            let vnet = input.vnets.get(index);
            let id = vnet.map(|vnet| vnet.id.as_str()).unwrap_or_default();
            Owner {
                what: format!("VNet {id}: {what}"),
                cluster: None,
                origin: vnet.and_then(|vnet| vnet.origin.clone()),
            }
        }
        Place::Delegated(index) => {
            let name = input.delegated.keys().nth(index).map(String::as_str);
            let what = format!("VNet {}: {what}", name.unwrap_or_default());
            Owner { what, cluster: None, origin: None }
        }
        Place::Cluster(index) => {
            let cluster = input.clusters.get(index);
            let name = cluster.map(|cluster| cluster.name.to_string());
            Owner {
                what: format!("cluster {}: {what}", name.as_deref().unwrap_or_default()),
                cluster: name,
                origin: cluster.and_then(|cluster| cluster.origin.clone()),
            }
        }
        Place::Node(index, number) => {
            let cluster = input.clusters.get(index);
            let node = plan
                .clusters
                .get(index)
                .and_then(|cluster| cluster.nodes.get(number))
                .map(|node| node.name.value.as_str());
            Owner {
                what: format!("node {}: {what}", node.unwrap_or_default()),
                cluster: cluster.map(|cluster| cluster.name.to_string()),
                origin: cluster.and_then(|cluster| cluster.origin.clone()),
            }
        }
    }
}

/// First address, length, and whether it is IPv4: what prefixes are sorted by.
fn edge(net: &IpNet) -> (bool, u128, u8) {
    match net {
        IpNet::V6(net) => (false, u128::from(net.network()), net.prefix_len()),
        IpNet::V4(net) => (true, u128::from(u32::from(net.network())), net.prefix_len()),
    }
}

fn permitted(outer: &PrefixClaim, inner: &PrefixClaim) -> bool {
    let within = |claim: &PrefixClaim, other: &PrefixClaim| {
        claim.inside != NO_GROUP && claim.inside == other.group
    };
    let same = outer.group != NO_GROUP && outer.group == inner.group;
    same || within(inner, outer) || (outer.net == inner.net && within(outer, inner))
}

/// Every prefix that lies in another one, with the nearest such: a sort and a sweep with a stack.
fn overlaps(claims: &mut [PrefixClaim]) -> Vec<(PrefixClaim, PrefixClaim)> {
    claims.sort_unstable_by_key(|claim| {
        // Of equal ones, those that others may lie in come first.
        (edge(&claim.net), Reverse(claim.group), claim.holder)
    });
    let mut found = Vec::new();
    let mut open: Vec<PrefixClaim> = Vec::new();
    for claim in claims.iter() {
        while open.last().is_some_and(|outer| !outer.net.contains(&claim.net)) {
            open.pop();
        }
        let nearest = open.iter().rev().find(|outer| !permitted(outer, claim));
        if let Some(outer) = nearest {
            found.push((*outer, *claim));
        }
        open.push(*claim);
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn claim(index: usize, net: IpNet, group: u64, inside: u64) -> PrefixClaim {
        let holder = Holder { place: Place::Cluster(index), what: "" };
        PrefixClaim { net: net.trunc(), holder, group, inside }
    }

    fn net() -> impl Strategy<Value = IpNet> {
        let four = (0_u32..64, 24_u8..=32).prop_map(|(low, len)| {
            IpNet::V4(crate::pattern::v4(std::net::Ipv4Addr::from(0x0a00_0000 | (low << 3)), len))
        });
        let six = (0_u128..64, 120_u8..=128)
            .prop_map(|(low, len)| IpNet::V6(crate::pattern::v6(Ipv6Addr::from(low << 3), len)));
        prop_oneof![four, six]
    }

    proptest! {
        #[test]
        fn the_sweep_misses_no_overlap(nets in prop::collection::vec((net(), 0_u64..3, 0_u64..3), 0..40)) {
            let claims: Vec<PrefixClaim> = nets
                .iter()
                .enumerate()
                .map(|(index, (net, group, inside))| claim(index, *net, *group, *inside))
                .collect();
            let found = overlaps(&mut claims.clone());
            let overlap = |a: &PrefixClaim, b: &PrefixClaim| {
                a.net.contains(&b.net) || b.net.contains(&a.net)
            };
            for (outer, inner) in &found {
                prop_assert!(overlap(outer, inner) && outer.holder != inner.holder);
            }
            for (index, a) in claims.iter().enumerate() {
                for b in claims.iter().skip(index + 1) {
                    let (outer, inner) = if a.net.contains(&b.net) { (a, b) } else { (b, a) };
                    if !overlap(a, b) || permitted(outer, inner) {
                        continue;
                    }
                    let mut inners = found.iter().map(|(_, inner)| inner.holder);
                    prop_assert!(
                        inners.any(|holder| holder == inner.holder || (a.net == b.net && holder == outer.holder)),
                        "{} and {} are not reported", outer.net, inner.net
                    );
                }
            }
        }
    }
}
