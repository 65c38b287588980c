locals {
  addressing = { public_ipv6_pattern = "fd00:zz%d::" }
}
