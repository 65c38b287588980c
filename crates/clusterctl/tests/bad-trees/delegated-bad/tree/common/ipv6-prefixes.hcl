locals {
  delegated_prefixes = { vnet101 = "2001:db8::/129" }
}
