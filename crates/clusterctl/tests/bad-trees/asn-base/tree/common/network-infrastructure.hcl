locals {
  bgp = { asn_base = 64512 }
}
