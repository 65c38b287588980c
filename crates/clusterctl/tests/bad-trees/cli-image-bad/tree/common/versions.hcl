locals {
  talos_version      = "v1.11.5"
  kubernetes_version = "v1.31.4"
  cilium_version     = "1.18.4"
  cilium_cli_image   = "https://quay.io/cilium/cilium-cli:v0.18.7"
}
