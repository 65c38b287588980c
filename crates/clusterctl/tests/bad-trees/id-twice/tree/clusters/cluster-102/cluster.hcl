locals {
  cluster_id    = 101
  cluster_name  = "luna"
  controlplanes = 1
  workers       = 1
}
