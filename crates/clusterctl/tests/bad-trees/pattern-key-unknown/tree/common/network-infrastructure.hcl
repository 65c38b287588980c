locals {
  addressing = { public_ipv4_pattern = { base = "10.0.0.0/8", newbits = 16, netnum = 3 } }
}
