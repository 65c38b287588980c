locals {
  cluster_id    = 101
  controlplanes = 1
}
