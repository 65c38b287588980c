locals {
  talos_version      = "v1.11.5"
  kubernetes_version = "v1.31.4"
  cilium_version     = "1.18.4"
  rings = ["mars"]
}
