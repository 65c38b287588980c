locals {
  cluster_id    = 102
  cluster_name  = "luna"
  controlplanes = 1
  workers       = 1
  tenant_id     = 101
}
