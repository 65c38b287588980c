locals {
  addressing = { public_ipv4_pattern = { base = "10.0.0.0/24", newbits = 16 } }
}
