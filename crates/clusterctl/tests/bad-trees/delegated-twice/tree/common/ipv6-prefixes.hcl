locals {
  delegated_prefixes = { vnet101 = "2001:db8::/64", vnet102 = "2001:db8::/64" }
}
