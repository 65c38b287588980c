locals {
  cluster_id    = 101
  cluster_name  = "ssssssssssssssssssssssssssssssssssssssssssssssssssssssssssss"
  controlplanes = 1
  workers       = 1
}
