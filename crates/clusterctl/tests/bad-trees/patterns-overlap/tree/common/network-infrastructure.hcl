locals {
  addressing = { pods_ipv4_pattern = "10.%d.0.0/16" }
}
