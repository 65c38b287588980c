locals {
  addressing = { pods_ipv4_pattern = "10.%d.240.1/20" }
}
