locals {
  talos_version      = "latest"
  kubernetes_version = "v1.31.4"
  cilium_version     = "1.18.4"
}
