locals {
  cluster_id    = 101
  cluster_name  = "sol"
  controlplanes = 1
  workers       = 1
  x = templatefile("${get_terragrunt_dir()}/t.tpl", { a = 1 })
}
