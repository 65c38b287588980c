locals {
  zone_id            = "z1"
  controller         = { id = "c1", asn = 65000, peer = ["10.0.0.1"] }
  vnets              = { vnet101 = { vxlan_id = 7 } }
  delegated_prefixes = { vnet109 = { prefix = "2001:db8::/64", gatway = "2001:db8::1" } }
}
