locals {
  addressing = { public_ipv4_pattern = "10.%s.0." }
}
