locals {
  cluster_id   = 101
  cluster_name = "metal"
}
