locals {
  b = read_terragrunt_config("cluster.hcl").locals
}
