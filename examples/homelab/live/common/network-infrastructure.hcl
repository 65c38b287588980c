# What nodes find on the network: resolvers, time servers, domain.
#
# For a real site: your own servers. Address patterns go here too, as `addressing`, when the
# defaults (`fd00:<id>::/64`, `10.<id>.0.0/24`) do not suit.

locals {
  base_domain = "home.arpa"

  dns_servers = {
    ipv4 = "10.100.0.53"
    ipv6 = "fd00:100::53"
  }

  ntp_servers = ["time.cloudflare.com"]
}
