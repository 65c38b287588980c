locals {
  kubernetes_version = "v1.31.4"
}
