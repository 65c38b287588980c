locals {
  dns_servers = { ipv4 = "dns.example" }
}
