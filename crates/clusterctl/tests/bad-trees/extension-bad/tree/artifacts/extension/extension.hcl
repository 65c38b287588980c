locals {
  name     = "frr"
  version  = "1"
  image    = "registry.example/frr@sha256:00"
  packages = [
    "http://mirror.example/frr.deb",
    { url = "https://mirror.example/frr.deb", sha256 = "00" },
    7,
    "../nothing.deb",
    "https://me:word@mirror.example/frr.deb",
    { url = "https://mirror.example/frr.deb?token=word" },
  ]
  services = { frr = "start" }
}
